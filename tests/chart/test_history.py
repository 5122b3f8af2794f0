"""The manifest of Spark's history server: Kubernetes takes it, and it stands where a run's pods do.

`tests/integration/test_history.py` starts the server as the manifest configures it.
"""

import pytest
import yaml

from tests import history
from tests.chart.conftest import Objects, container

pytestmark = pytest.mark.required_in_ci


@pytest.fixture
def objects():
    return Objects(yaml.safe_load_all(history.MANIFEST.read_text()))


def test_the_manifest_is_valid(objects, check_objects):
    check_objects(objects)


def test_the_server_is_restricted_as_a_runs_pods_are(objects, helm3):
    pod = objects.one("Deployment")["spec"]["template"]["spec"]
    driver = helm3.render().pod("driver")
    assert pod["securityContext"] == driver["securityContext"]
    assert container(pod)["securityContext"] == container(driver)["securityContext"]
    assert pod["automountServiceAccountToken"] is False


def test_the_server_reads_event_logs_of_the_region_alone(objects):
    pod = objects.one("Deployment")["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in container(pod)["env"]}
    options = dict(option.removeprefix("-D").split("=") for option in environment["SPARK_HISTORY_OPTS"].split())
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    (region,) = [item for item in term["matchExpressions"] if item["key"] == "topology.kubernetes.io/region"]
    assert region["values"] == [options["spark.hadoop.fs.s3a.endpoint.region"]]
    assert options["spark.history.fs.logDirectory"].startswith("s3a://")
    assert options["spark.hadoop.fs.s3a.cross.region.access.enabled"] == "false"
    assert "DefaultCredentialsProvider" in options["spark.hadoop.fs.s3a.aws.credentials.provider"]


def test_the_server_may_ask_pod_identity_as_a_driver_may(objects, helm3):
    values = {"run": {"input": "s3://my-photographs/in", "output": "s3://my-results/out"}}
    with_it, without = (
        helm3.render({**values, "credentials": {"podIdentity": used}}).one("NetworkPolicy", "orchard-driver")["spec"]
        for used in (True, False)
    )
    (to_agent,) = [rule for rule in with_it["egress"] if rule not in without["egress"]]
    assert to_agent in objects.one("NetworkPolicy")["spec"]["egress"]
