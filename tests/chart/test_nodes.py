"""Where pods may stand: in the EU, the driver on no node that may be taken away, and all of it said in one place."""

import botocore.session
import pytest

from tests.chart.conftest import PODS, ROLES, nested
from verger.config import RunConfig
from verger.errors import ResidencyError
from verger.residency import regions as guard

pytestmark = pytest.mark.required_in_ci

REGION = "topology.kubernetes.io/region"
BOTO = botocore.session.get_session()
# All that the SDK knows, of every partition.
AWS = sorted(
    region for partition in BOTO.get_available_partitions() for region in BOTO.get_available_regions("s3", partition)
)


def required(pod):
    """The expressions that a node must meet, all of them."""
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return term["matchExpressions"]


def regions(pod):
    ((operator, values),) = [(item["operator"], item["values"]) for item in required(pod) if item["key"] == REGION]
    assert operator == "In"
    return values


@pytest.mark.parametrize("role", PODS)
def test_pods_require_nodes_in_the_eu(helm3, role):
    assert set(regions(helm3.render().pod(role))) == guard.EU


@pytest.mark.parametrize("role", PODS)
def test_regions_of_an_opt_in_are_allowed(helm3, role):
    run = {
        "allow_london": "an adequacy decision",
        "allow_zurich": "an adequacy decision",
        "node_region": ["fr-par:FR:DPA: of 2026-03-01", "GRA11:FR:DPA with OVH"],
    }
    objects = helm3.render({"run": run, "residency": {"regions": ["eu-west-3"]}})
    assert regions(objects.pod(role)) == ["eu-west-3", "eu-west-2", "eu-central-2", "fr-par", "GRA11"]


@pytest.mark.parametrize("region", AWS)
def test_an_aws_region_outside_the_eu_cannot_be_declared_as_a_node_region(helm3, region):
    """The job would refuse it too, on a pod that stands there already."""
    run = {"node_region": [f"{region}:FR:contract xy"]}
    if region in guard.EU:
        assert set(regions(helm3.render({"run": run}).pod("driver"))) == guard.EU
    else:
        with pytest.raises(ResidencyError):
            guard.declared_node_regions(RunConfig(input="i", output="o", **run))
        assert f"run.node_region: {region}:FR:contract xy" in helm3.refuses({"run": run})


@pytest.mark.parametrize(("region", "option"), [("eu-west-2", "allow_london"), ("eu-central-2", "allow_zurich")])
def test_a_region_of_an_opt_in_can_be_declared_as_a_node_region(helm3, region, option):
    run = {"node_region": [f"{region}:FR:contract xy"], option: "an adequacy decision"}
    assert set(regions(helm3.render({"run": run}).pod("driver"))) == {*guard.EU, region}


def test_a_region_for_data_is_accepted_with_its_opt_in(helm3):
    helm3.render({"run": {"region": "eu-west-2", "allow_london": "an adequacy decision"}})


@pytest.mark.parametrize("role", PODS)
def test_all_affinity_is_in_the_template(helm3, role):
    """The operator's webhook would replace it by that of the SparkApplication's own field."""
    objects = helm3.render({"spot": {"enabled": True}})
    assert "affinity" in objects.pod(role)
    assert not {"affinity", "nodeSelector", "tolerations"} & objects.spec[role if role in ROLES else "driver"].keys()


def test_executors_are_spread_over_nodes(helm3):
    (term,) = helm3.render().pod("executor")["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert term["podAffinityTerm"]["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "orchard"


def test_executors_may_share_a_node_without_a_preference(helm3):
    """Karpenter takes a preference for a requirement first, and buys a node an executor."""
    assert "podAntiAffinity" not in helm3.render(nested("executor.spreadOverNodes", False)).pod("executor")["affinity"]


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("role", ["driver", "doctor"])
def test_the_driver_never_runs_on_spot_nodes(helm3, role, enabled):
    expressions = required(helm3.render(nested("spot.enabled", enabled)).pod(role))
    assert {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]} in expressions
    assert {"key": "eks.amazonaws.com/capacityType", "operator": "NotIn", "values": ["SPOT"]} in expressions


def test_executors_prefer_spot_nodes_where_allowed(helm3):
    taint = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
    objects = helm3.render({"spot": {"enabled": True, "nodeLabels": {"lifecycle": "spot"}, "tolerations": [taint]}})
    pod = objects.pod("executor")
    preferred = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert {"key": "lifecycle", "operator": "In", "values": ["spot"]} in [
        expression for term in preferred for expression in term["preference"]["matchExpressions"]
    ]
    assert not [item for item in required(pod) if item["operator"] == "NotIn"]
    assert taint in pod["tolerations"]
    assert taint not in objects.pod("driver").get("tolerations", [])


def test_executors_avoid_spot_nodes_where_not_allowed(helm3):
    pod = helm3.render().pod("executor")
    assert [item["key"] for item in required(pod) if item["operator"] == "NotIn"]
    assert "tolerations" not in pod


@pytest.mark.parametrize("role", ROLES)
def test_added_affinity_terms_only_narrow_the_selection(helm3, role):
    added = {"key": REGION, "operator": "In", "values": ["us-east-1", "eu-west-3"]}
    expressions = required(helm3.render({role: {"nodeExpressions": [added]}}).pod(role))
    assert added in expressions
    assert len([item for item in expressions if item["key"] == REGION]) == 2


def wanted(pod, label):
    """The values that a node's label must have, of the chart's expression for it."""
    ((operator, values),) = [(item["operator"], item["values"]) for item in required(pod) if item["key"] == label]
    assert operator == "In"
    return values


@pytest.mark.parametrize("role", PODS)
def test_pods_require_nodes_that_can_run_the_image(helm3, role):
    """An image for x86-64 would end on an arm64 node with "exec format error"."""
    pod = helm3.render().pod(role)
    assert wanted(pod, "kubernetes.io/arch") == ["amd64"]
    assert wanted(pod, "kubernetes.io/os") == ["linux"]


@pytest.mark.parametrize("role", PODS)
def test_an_image_for_other_architectures_names_them(helm3, role):
    pod = helm3.render(nested("image.architectures", ["arm64", "amd64"])).pod(role)
    assert wanted(pod, "kubernetes.io/arch") == ["arm64", "amd64"]


@pytest.mark.parametrize("role", PODS)
def test_own_expressions_and_selectors_do_not_replace_the_architecture(helm3, role):
    own = {"key": "kubernetes.io/arch", "operator": "Exists"}
    selector = {"kubernetes.io/arch": "amd64", "pool": "fruit"}
    named = role if role in ROLES else "driver"
    pod = helm3.render({named: {"nodeExpressions": [own], "nodeSelector": selector}, "spot": {"enabled": True}}).pod(
        role
    )
    expressions = required(pod)
    assert {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]} in expressions
    assert own in expressions
    assert pod["nodeSelector"] == selector


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("label", "value"), [("arch", "arm64"), ("os", "windows")])
def test_a_selector_that_contradicts_the_image_is_refused(helm3, role, label, value):
    """Pods would be pending until the deadline."""
    line = helm3.refuses({role: {"nodeSelector": {f"kubernetes.io/{label}": value}}})
    assert f"{role}.nodeSelector: kubernetes.io/{label}: {value} contradicts the image, which is for" in line
    assert ("image.architectures" in line) == (label == "arch")
