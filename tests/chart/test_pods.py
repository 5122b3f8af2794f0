"""Pods that are restricted, write where they may, and hold no key."""

import json
import re

import pytest

from tests.chart.conftest import PODS, ROLES, container

pytestmark = pytest.mark.required_in_ci

NOT_TO_BE_EVICTED = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
KEPT = {
    "run": {"allow_london": "an adequacy decision", "region": "eu-west-3"},
    "credentials": {"existingSecret": "store-keys", "podIdentity": True},
    "caBundle": {"configMap": "authority"},
}


@pytest.mark.parametrize("role", PODS)
def test_pods_meet_the_restricted_security_standard(helm3, role):
    pod = helm3.render().pod(role)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 185,
        "runAsGroup": 0,
        "fsGroup": 185,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("role", PODS)
def test_the_user_id_can_be_left_to_the_cluster(helm3, role):
    chosen = {"securityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    assert helm3.render(chosen).pod(role)["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}


@pytest.mark.parametrize("role", PODS)
def test_pods_have_writable_tmp_and_work_folders(helm3, role):
    pod = helm3.render().pod(role)
    empty = {volume["name"] for volume in pod["volumes"] if volume.get("emptyDir") == {}}
    mounted = {mount["mountPath"] for mount in container(pod)["volumeMounts"] if mount["name"] in empty}
    assert mounted == {"/tmp", "/opt/spark/work-dir"}
    assert {"name": "HOME", "value": "/tmp"} in container(pod)["env"]


@pytest.mark.parametrize("role", PODS)
def test_services_of_the_namespace_set_no_environment_variables(helm3, role):
    assert helm3.render().pod(role)["enableServiceLinks"] is False


@pytest.mark.parametrize(("role", "has"), [("driver", True), ("doctor", True), ("executor", False)])
def test_only_the_driver_and_the_doctor_mount_the_configuration(helm3, role, has):
    assert ("/etc/verger" in json.dumps(helm3.render().pod(role))) is has


def test_added_volumes_of_the_driver_are_not_the_executors(helm3):
    objects = helm3.render(
        {
            "driver": {
                "volumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}],
                "volumeMounts": [{"name": "weights", "mountPath": "/weights", "readOnly": True}],
            }
        }
    )
    assert "weights" in {volume["name"] for volume in objects.pod("driver")["volumes"]}
    assert "/weights" in {mount["mountPath"] for mount in container(objects.pod("driver"))["volumeMounts"]}
    assert "weights" not in json.dumps(objects.pod("executor"))


def test_added_volumes_of_executors_are_not_the_drivers(helm3):
    added = {
        "volumes": [{"name": "spark-local-dir-1", "emptyDir": {"sizeLimit": "50Gi"}}],
        "volumeMounts": [{"name": "spark-local-dir-1", "mountPath": "/var/data/local"}],
    }
    objects = helm3.render({"executor": added})
    pod = objects.pod("executor")
    assert added["volumes"][0] in pod["volumes"]
    assert added["volumeMounts"][0] in container(pod)["volumeMounts"]
    assert "spark-local-dir-1" not in json.dumps(objects.pod("driver"))


@pytest.mark.parametrize("role", PODS)
def test_pods_use_the_proxy_for_the_store_and_not_for_the_cluster(helm3, role):
    proxy = {"url": "http://proxy.example:3128/", "noProxy": "store.example", "addresses": ["10.0.9.0/24"]}
    objects = helm3.render({"proxy": proxy})
    environment = {entry["name"]: entry.get("value") for entry in container(objects.pod(role))["env"]}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        assert environment[name] == "http://proxy.example:3128"
    assert environment["NO_PROXY"] == environment["no_proxy"]
    without = set(environment["NO_PROXY"].split(","))
    assert {"store.example", ".svc", "$(KUBERNETES_SERVICE_HOST)", "169.254.170.23"} <= without
    settings = objects.spec["sparkConf"]
    assert settings["spark.hadoop.fs.s3a.proxy.host"] == "proxy.example"
    assert settings["spark.hadoop.fs.s3a.proxy.port"] == "3128"


@pytest.mark.parametrize("role", PODS)
def test_without_a_proxy_no_variable_names_one(helm3, role):
    assert "proxy" not in json.dumps(helm3.render().pod(role)).lower()


@pytest.mark.parametrize("role", PODS)
def test_variables_can_be_added_to_the_environment(helm3, role):
    named = role if role in ROLES else "driver"
    (other,) = {*ROLES} - {named}
    literal = {"name": "MALLOC_ARENA_MAX", "value": "2"}
    secret = {"name": "API_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}
    every = {"prefix": "OTHER_", "configMapRef": {"name": "variables"}}
    objects = helm3.render({named: {"extraEnv": [literal, secret], "extraEnvFrom": [every]}})
    added = container(objects.pod(role))
    assert literal in added["env"]
    assert secret in added["env"]
    assert added["envFrom"] == [every]
    assert "MALLOC_ARENA_MAX" not in json.dumps(objects.pod(other))


@pytest.mark.parametrize("role", ROLES)
def test_the_container_has_the_name_that_spark_expects(helm3, role):
    assert container(helm3.render().pod(role))["name"] == f"spark-kubernetes-{role}"


@pytest.mark.parametrize("role", ROLES)
def test_pods_have_their_roles_label_and_the_added_ones(helm3, role):
    objects = helm3.render({role: {"labels": {"team": "fruit"}, "annotations": {"note": "x"}}})
    metadata = objects.metadata(role)
    assert metadata["labels"]["app.kubernetes.io/component"] == role
    assert metadata["labels"]["team"] == "fruit"
    assert metadata["annotations"].items() >= {"note": "x"}.items()


def test_the_doctor_has_the_drivers_labels_and_annotations(helm3):
    """Admission and billing that ask for a label would let the driver pass, and not the doctor."""
    driver = {"labels": {"team": "fruit"}, "annotations": {"note": "x", "helm.sh/hook": "post-install"}}
    metrics = {"enabled": True, "namespaceLabels": {"a": "b"}}
    metadata = helm3.render({"driver": driver, "metrics": metrics}).metadata("doctor")
    assert metadata["labels"]["app.kubernetes.io/component"] == "doctor"
    assert metadata["labels"]["team"] == "fruit"
    assert metadata["annotations"] == {
        **NOT_TO_BE_EVICTED,
        "note": "x",
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    }


@pytest.mark.parametrize("role", ["driver", "doctor"])
def test_the_driver_is_not_evicted_to_save_a_node(helm3, role):
    assert helm3.render().metadata(role)["annotations"].items() >= NOT_TO_BE_EVICTED.items()
    allowed = {"karpenter.sh/do-not-disrupt": "false"}
    annotations = helm3.render({"driver": {"annotations": allowed}}).metadata(role)["annotations"]
    assert annotations.items() >= {**NOT_TO_BE_EVICTED, **allowed}.items()


def test_executors_may_be_evicted(helm3):
    assert "annotations" not in helm3.render().metadata("executor")


@pytest.mark.parametrize("role", PODS)
def test_the_size_of_writable_folders_can_be_limited(helm3, role):
    values = {named: {"emptyDirSizeLimit": "8Gi"} for named in ROLES}
    volumes = {volume["name"]: volume for volume in helm3.render(values).pod(role)["volumes"]}
    for name in ("verger-tmp", "verger-work"):
        assert volumes[name]["emptyDir"] == {"sizeLimit": "8Gi"}


def local_dirs(pod):
    """Volumes into which Spark puts its own files, each with its places."""
    return {
        volume["name"]: (
            volume["emptyDir"],
            [mount["mountPath"] for mount in container(pod)["volumeMounts"] if mount["name"] == volume["name"]],
        )
        for volume in pod["volumes"]
        if volume["name"].startswith("spark-local-dir-")
    }


@pytest.mark.parametrize("role", ROLES)
def test_the_folder_for_sparks_own_files_is_limited_with_them(helm, role):
    """Spark makes one without a limit where no volume of such a name is mounted."""
    pod = helm.render({role: {"emptyDirSizeLimit": "8Gi"}}).pod(role)
    assert local_dirs(pod) == {"spark-local-dir-1": ({"sizeLimit": "8Gi"}, ["/var/data/verger"])}
    assert not local_dirs(helm.render().pod(role))


def test_the_limit_of_one_role_is_not_the_others(helm3):
    objects = helm3.render({"executor": {"emptyDirSizeLimit": "8Gi"}})
    assert not [role for role in ("driver", "doctor") if "sizeLimit" in json.dumps(objects.pod(role))]


def test_the_folder_for_sparks_own_files_may_be_in_memory(helm3):
    tmpfs = {"spark.kubernetes.local.dirs.tmpfs": "true"}
    pod = helm3.render({"executor": {"emptyDirSizeLimit": "1Gi"}, "sparkConf": tmpfs}).pod("executor")
    assert local_dirs(pod)["spark-local-dir-1"][0] == {"sizeLimit": "1Gi", "medium": "Memory"}


@pytest.mark.parametrize("name", ["spark-local-dir-1", "spark-local-dir-fast"])
def test_a_folder_of_ones_own_for_sparks_files_is_the_only_one(helm3, name):
    added = {
        "volumes": [{"name": name, "emptyDir": {"sizeLimit": "50Gi"}}],
        "volumeMounts": [{"name": name, "mountPath": "/var/data/local"}],
    }
    pod = helm3.render({"executor": added | {"emptyDirSizeLimit": "1Gi"}}).pod("executor")
    assert local_dirs(pod) == {name: ({"sizeLimit": "50Gi"}, ["/var/data/local"])}
    claim = f"spark.kubernetes.executor.volumes.persistentVolumeClaim.{name}.mount.path"
    both = {role: {"emptyDirSizeLimit": "1Gi"} for role in ROLES}
    objects = helm3.render({**both, "sparkConf": {claim: "/var/data/local"}})
    assert not local_dirs(objects.pod("executor"))
    assert local_dirs(objects.pod("driver"))


def test_a_volume_for_sparks_files_that_is_not_mounted_is_none(helm3):
    """Spark goes by the mounts, and would make a folder without a limit."""
    given = {"volumes": [{"name": "spark-local-dir-9", "emptyDir": {}}], "emptyDirSizeLimit": "1Gi"}
    found = local_dirs(helm3.render({"executor": given}).pod("executor"))
    assert found["spark-local-dir-1"] == ({"sizeLimit": "1Gi"}, ["/var/data/verger"])
    assert found["spark-local-dir-9"] == ({}, [])


def test_an_empty_volume_may_be_written_without_braces(helm3):
    """``emptyDir:`` is null in YAML."""
    volumes = [{"name": "a", "emptyDir": None}, {"name": "b", "emptyDir": {"sizeLimit": "1Gi"}}]
    rendered = helm3.render({"driver": {"volumes": volumes}}).pod("driver")["volumes"]
    assert rendered[-2:] == [{"name": "a", "emptyDir": {}}, volumes[1]]


def test_the_application_has_no_component_label(helm3):
    """It gives the SparkApplication's labels to every pod, over those of the template."""
    assert "app.kubernetes.io/component" not in helm3.render().one("SparkApplication")["metadata"]["labels"]


def test_all_pods_trust_the_ca_bundle(helm3):
    objects = helm3.render({"caBundle": {"configMap": "authority", "key": "root.pem"}})
    for role in PODS:
        pod = objects.pod(role)
        (path,) = [entry["value"] for entry in container(pod)["env"] if entry["name"] == "AWS_CA_BUNDLE"]
        (mount,) = [mount for mount in container(pod)["volumeMounts"] if path.startswith(mount["mountPath"] + "/")]
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
        (item,) = volume["configMap"]["items"]
        assert (volume["configMap"]["name"], item["key"]) == ("authority", "root.pem")
        assert f"{mount['mountPath']}/{item['path']}" == path


@pytest.mark.parametrize("role", PODS)
def test_credentials_are_references_to_the_secret(helm3, role):
    keys = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]
        for entry in container(helm3.render(KEPT).pod(role))["env"]
        if "valueFrom" in entry
    }
    assert keys == {
        "AWS_ACCESS_KEY_ID": {"name": "store-keys", "key": "AWS_ACCESS_KEY_ID"},
        "AWS_SECRET_ACCESS_KEY": {"name": "store-keys", "key": "AWS_SECRET_ACCESS_KEY"},
        "AWS_SESSION_TOKEN": {"name": "store-keys", "key": "AWS_SESSION_TOKEN", "optional": True},
    }


@pytest.mark.parametrize("role", PODS)
def test_without_a_secret_pods_have_no_credentials(helm3, role):
    assert not [entry for entry in container(helm3.render().pod(role))["env"] if entry["name"].startswith("AWS_")]


def test_credentials_are_not_in_the_fields_that_the_operator_logs(helm3):
    """It prints sparkConf, arguments and envVars."""
    spec = helm3.render(KEPT).spec
    logged = json.dumps([spec["sparkConf"], spec["arguments"], spec.get("hadoopConf"), spec.get("envVars")])
    assert not re.search(r"(?i)secret|password|token|access.?key", logged)
    assert not {"env", "envVars", "envFrom", "envSecretKeyRefs", "secrets"} & {*spec["driver"], *spec["executor"]}


def test_no_rendered_object_holds_a_key(helm3):
    objects = helm3.render(KEPT)
    assert "Secret" not in {item["kind"] for item in objects}
    assert objects.one("ConfigMap")["data"].keys() == {"run.yaml"}
