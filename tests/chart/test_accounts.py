"""Who pods are, and what they may ask of Kubernetes: drivers the least, executors nothing."""

import json
from fnmatch import fnmatchcase

import pytest
import yaml

from tests.chart.conftest import NAMESPACE
from tests.conftest import ROOT

pytestmark = pytest.mark.required_in_ci

AWS = ROOT / "manifests" / "aws"
ARN = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/verger"}
# What Spark 4.3's driver calls, by its sources, and what --verify-nodes looks at.
NEEDED = {
    "pods": {"get", "list", "watch", "create", "delete", "deletecollection"},
    "configmaps": {"create", "deletecollection"},
    "persistentvolumeclaims": {"get", "list", "create", "delete", "deletecollection"},
    "services": {"deletecollection"},
}


def rules(role):
    return {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}


def test_a_driver_has_the_permissions_that_spark_needs(helm):
    objects = helm.render()
    role, binding = objects.one("Role"), objects.one("RoleBinding")
    assert rules(role) == NEEDED
    assert all(rule["apiGroups"] == [""] for rule in role["rules"])
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [objects.spec["driver"]["serviceAccount"]]


def test_executors_have_no_permissions(helm):
    objects = helm.render()
    account = objects.spec["executor"]["serviceAccount"]
    assert objects.one("ServiceAccount", account)["automountServiceAccountToken"] is False
    assert objects.pod("executor")["automountServiceAccountToken"] is False
    bound = [
        subject["name"] for item in objects if item["kind"].endswith("RoleBinding") for subject in item["subjects"]
    ]
    assert account not in bound


@pytest.mark.parametrize("role", ["driver", "doctor"])
def test_the_driver_has_its_token(helm3, role):
    assert helm3.render().pod(role)["automountServiceAccountToken"] is True


def test_the_doctor_uses_the_drivers_service_account(helm3):
    objects = helm3.render()
    assert objects.pod("doctor")["serviceAccountName"] == objects.spec["driver"]["serviceAccount"]


@pytest.mark.parametrize("verify", [False, True])
def test_nodes_can_be_read_only_with_verify_nodes(helm3, verify):
    objects = helm3.render({"run": {"verify_nodes": verify}})
    kinds = {item["kind"] for item in objects}
    assert ("ClusterRole" in kinds) is ("ClusterRoleBinding" in kinds) is verify
    if verify:
        assert rules(objects.one("ClusterRole")) == {"nodes": {"get"}}
        (subject,) = objects.one("ClusterRoleBinding")["subjects"]
        assert (subject["name"], subject["namespace"]) == ("orchard-driver", "verger")


def test_service_accounts_are_named_after_the_release(helm3):
    assert helm3.render().names("ServiceAccount") == {"orchard-driver", "orchard-executor"}


def test_an_iam_role_is_set_by_annotation(helm3):
    accounts = {role: {"serviceAccount": {"annotations": ARN}} for role in ("driver", "executor")}
    objects = helm3.render(accounts)
    for name in ("orchard-driver", "orchard-executor"):
        assert objects.one("ServiceAccount", name)["metadata"]["annotations"] == ARN


def test_existing_service_accounts_can_be_used(helm3):
    objects = helm3.render(
        {
            "driver": {"serviceAccount": {"create": False, "name": "verger-driver"}},
            "executor": {"serviceAccount": {"create": False, "name": "verger-executor"}},
        }
    )
    assert not objects.names("ServiceAccount")
    assert objects.spec["driver"]["serviceAccount"] == "verger-driver"
    assert objects.spec["executor"]["serviceAccount"] == "verger-executor"
    assert [subject["name"] for subject in objects.one("RoleBinding")["subjects"]] == ["verger-driver"]


def test_rbac_can_be_left_to_the_cluster(helm3):
    objects = helm3.render({"rbac": {"create": False}, "run": {"verify_nodes": True}})
    assert not [item["kind"] for item in objects if "Role" in item["kind"]]


def trusted(account):
    """Whether the trust policy that we ship lets a service account of the namespace take the role."""
    (statement,) = json.loads((AWS / "trust-irsa-by-release.json").read_text())["Statement"]
    assert statement["Condition"]["StringEquals"] == {"OIDC_ISSUER:aud": "sts.amazonaws.com"}
    patterns = statement["Condition"]["StringLike"]["OIDC_ISSUER:sub"]
    return any(fnmatchcase(f"system:serviceaccount:{account}", pattern) for pattern in patterns)


@pytest.mark.parametrize("release", ["orchard-1", "orchard-2"])
def test_the_trust_policy_holds_for_every_release(helm3, release):
    accounts = helm3.render(release=release).names("ServiceAccount")
    assert len(accounts) == 2
    assert all(trusted(f"{NAMESPACE}:{account}") for account in accounts)


@pytest.mark.parametrize("account", ["other:orchard-1-driver", f"{NAMESPACE}:default", f"{NAMESPACE}:driver"])
def test_the_trust_policy_holds_for_no_other_account(account):
    assert not trusted(account)


def test_the_accounts_that_outlive_releases_are_valid_and_those_of_the_example(check_objects):
    objects = list(yaml.safe_load_all((AWS / "namespace.yaml").read_text()))
    check_objects(objects)
    accounts = [item for item in objects if item["kind"] == "ServiceAccount"]
    example = yaml.safe_load((ROOT / "charts/verger/ci/eks-pod-identity-values.yaml").read_text())
    named = {example[role]["serviceAccount"]["name"] for role in ("driver", "executor")}
    assert {account["metadata"]["name"] for account in accounts} == named
    assert all(trusted(f"{account['metadata']['namespace']}:{account['metadata']['name']}") for account in accounts)


def test_the_trust_policy_of_pod_identity_trusts_its_service():
    (statement,) = json.loads((AWS / "trust-pod-identity.json").read_text())["Statement"]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert set(statement["Action"]) == {"sts:AssumeRole", "sts:TagSession"}
