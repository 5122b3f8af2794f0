"""What the operator is told: the pods by their templates, and beside them what only the CRD can say."""

import json
import re

import pytest

from tests.chart.conftest import nested
from verger.planning.doctor import WORKER_BYTES

REGION = "topology.kubernetes.io/region"
ROLES = ("driver", "executor")
PODS = (*ROLES, "doctor")


def required(pod):
    """The expressions that a node must meet, all of them."""
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return term["matchExpressions"]


def regions(pod):
    ((operator, values),) = [(item["operator"], item["values"]) for item in required(pod) if item["key"] == REGION]
    assert operator == "In"
    return values


def container(pod):
    (found,) = pod["containers"]
    return found


def mebibytes(size):
    number, unit = re.fullmatch(r"(\d+)([mg])", size).groups()
    return int(number) * {"m": 1, "g": 1024}[unit]


class TestCommand:
    @pytest.mark.parametrize("command", ["run", "compact"])
    def test_it_is_given_its_configuration(self, helm3, command):
        arguments = helm3.render({"command": command}).spec["arguments"]
        assert arguments == [command, "--config", "/etc/verger/run.yaml"]

    def test_a_projection_is_given_the_fitted_run(self, helm3):
        objects = helm3.render({"command": "project", "fittedRun": "s3://results/verger"})
        assert objects.spec["arguments"][:3] == ["project", "--run", "s3://results/verger"]

    @pytest.mark.parametrize("command", ["run", "project", "compact"])
    def test_the_job_knows_the_command_and_takes_the_arguments(self, helm3, tmp_path, command, monkeypatch):
        from verger import cli, pipeline

        taken = []
        monkeypatch.setattr(pipeline, command, lambda config, *_, **__: taken.append(config) or 1 / 0)
        given = {"command": command} | ({"fittedRun": "s3://results/verger"} if command == "project" else {})
        objects = helm3.render(given)
        (tmp_path / "run.yaml").write_text(objects.config)
        arguments = [part.replace("/etc/verger", str(tmp_path)) for part in objects.spec["arguments"]]
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert [config.output for config in taken] == ["s3://results/verger"]

    def test_the_image_is_that_of_the_version_or_what_is_named(self, helm3):
        assert helm3.render().spec["image"] == "verger:0.1.0"
        assert helm3.render({"image": {"repository": "r.example/v", "tag": "1"}}).spec["image"] == "r.example/v:1"


class TestPods:
    @pytest.mark.parametrize("role", PODS)
    def test_they_are_restricted(self, helm3, role):
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
    def test_the_cluster_may_choose_the_user(self, helm3, role):
        chosen = {"securityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
        assert helm3.render(chosen).pod(role)["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}

    @pytest.mark.parametrize("role", PODS)
    def test_they_have_room_to_write(self, helm3, role):
        pod = helm3.render().pod(role)
        empty = {volume["name"] for volume in pod["volumes"] if volume.get("emptyDir") == {}}
        mounted = {mount["mountPath"] for mount in container(pod)["volumeMounts"] if mount["name"] in empty}
        assert mounted == {"/tmp", "/opt/spark/work-dir"}
        assert {"name": "HOME", "value": "/tmp"} in container(pod)["env"]

    @pytest.mark.parametrize("role", PODS)
    def test_the_namespaces_services_set_nothing(self, helm3, role):
        assert helm3.render().pod(role)["enableServiceLinks"] is False

    @pytest.mark.parametrize(("role", "has"), [("driver", True), ("doctor", True), ("executor", False)])
    def test_the_configuration_is_the_drivers(self, helm3, role, has):
        assert ("/etc/verger" in json.dumps(helm3.render().pod(role))) is has

    def test_volumes_of_ones_own_are_the_drivers(self, helm3):
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

    @pytest.mark.parametrize("role", ROLES)
    def test_the_container_is_the_one_that_spark_fills_in(self, helm3, role):
        assert container(helm3.render().pod(role))["name"] == f"spark-kubernetes-{role}"

    @pytest.mark.parametrize("role", ROLES)
    def test_labels_tell_them_apart(self, helm3, role):
        objects = helm3.render({role: {"labels": {"team": "fruit"}, "annotations": {"note": "x"}}})
        metadata = objects.spec[role]["template"]["metadata"]
        assert metadata["labels"]["app.kubernetes.io/component"] == role
        assert metadata["labels"]["team"] == "fruit"
        assert metadata["annotations"] == {"note": "x"}

    def test_the_operator_hands_on_no_component(self, helm3):
        """It gives the SparkApplication's labels to every pod, over those of the template."""
        assert "app.kubernetes.io/component" not in helm3.render().one("SparkApplication")["metadata"]["labels"]

    def test_a_private_authority_is_trusted_by_all(self, helm3):
        objects = helm3.render({"caBundle": {"configMap": "authority", "key": "root.pem"}})
        for role in PODS:
            pod = objects.pod(role)
            (path,) = [entry["value"] for entry in container(pod)["env"] if entry["name"] == "AWS_CA_BUNDLE"]
            (mount,) = [mount for mount in container(pod)["volumeMounts"] if path.startswith(mount["mountPath"] + "/")]
            (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
            (item,) = volume["configMap"]["items"]
            assert (volume["configMap"]["name"], item["key"]) == ("authority", "root.pem")
            assert f"{mount['mountPath']}/{item['path']}" == path


class TestNodes:
    @pytest.mark.parametrize("role", PODS)
    def test_they_stand_in_the_eu(self, helm3, role):
        from verger.access import regions as guard

        assert set(regions(helm3.render().pod(role))) == guard.EU

    @pytest.mark.parametrize("role", PODS)
    def test_what_the_run_opts_in_to_is_added(self, helm3, role):
        run = {
            "allow_london": "an adequacy decision",
            "allow_zurich": "an adequacy decision",
            "node_region": ["fr-par:FR:DPA: of 2026-03-01", "GRA11:FR:DPA with OVH"],
        }
        objects = helm3.render({"run": run, "residency": {"regions": ["eu-west-3"]}})
        assert regions(objects.pod(role)) == ["eu-west-3", "eu-west-2", "eu-central-2", "fr-par", "GRA11"]

    def test_data_may_be_where_the_run_says_why(self, helm3):
        helm3.render({"run": {"region": "eu-west-2", "allow_london": "an adequacy decision"}})

    @pytest.mark.parametrize("role", PODS)
    def test_all_affinity_is_in_the_template(self, helm3, role):
        """The operator's webhook would replace it by that of the SparkApplication's own field."""
        objects = helm3.render({"spot": {"enabled": True}})
        assert "affinity" in objects.pod(role)
        assert (
            not {"affinity", "nodeSelector", "tolerations"} & objects.spec[role if role in ROLES else "driver"].keys()
        )

    def test_executors_keep_apart(self, helm3):
        (term,) = helm3.render().pod("executor")["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
        assert term["podAffinityTerm"]["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "orchard"

    @pytest.mark.parametrize("enabled", [False, True])
    @pytest.mark.parametrize("role", ["driver", "doctor"])
    def test_the_driver_never_stands_on_spot(self, helm3, role, enabled):
        expressions = required(helm3.render(nested("spot.enabled", enabled)).pod(role))
        assert {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]} in expressions
        assert {"key": "eks.amazonaws.com/capacityType", "operator": "NotIn", "values": ["SPOT"]} in expressions

    def test_executors_prefer_spot_where_they_may(self, helm3):
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

    def test_executors_avoid_spot_where_they_may_not(self, helm3):
        pod = helm3.render().pod("executor")
        assert [item["key"] for item in required(pod) if item["operator"] == "NotIn"]
        assert "tolerations" not in pod

    @pytest.mark.parametrize("role", ROLES)
    def test_what_is_added_narrows_and_never_widens(self, helm3, role):
        added = {"key": REGION, "operator": "In", "values": ["us-east-1", "eu-west-3"]}
        expressions = required(helm3.render({role: {"nodeExpressions": [added]}}).pod(role))
        assert added in expressions
        assert len([item for item in expressions if item["key"] == REGION]) == 2


class TestResources:
    @pytest.mark.parametrize("cores", [1, 2, 8])
    def test_an_executor_has_room_for_a_worker_a_core(self, helm3, cores):
        executor = helm3.render(nested("executor.cores", cores)).spec["executor"]
        assert executor["cores"] == cores
        room = mebibytes(executor["memoryOverhead"]) << 20
        assert cores * WORKER_BYTES <= room <= cores * WORKER_BYTES * 1.4 + (384 << 20)

    @pytest.mark.parametrize("memory", ["512m", "2g", "16g"])
    def test_a_driver_has_room_for_python_and_the_pca(self, helm3, memory):
        driver = helm3.render(nested("run.driver_memory", memory)).spec["driver"]
        assert driver["memory"] == memory
        assert mebibytes(driver["memoryOverhead"]) == 384 + 768 + mebibytes(memory) // 2

    @pytest.mark.parametrize("role", ROLES)
    def test_the_overhead_may_be_said(self, helm3, role):
        assert helm3.render(nested(f"{role}.memoryOverhead", "3g")).spec[role]["memoryOverhead"] == "3g"

    @pytest.mark.parametrize("role", ROLES)
    def test_a_request_is_a_string(self, helm3, role):
        assert "coreRequest" not in helm3.render().spec[role]
        assert helm3.render(nested(f"{role}.coreRequest", "1")).spec[role]["coreRequest"] == "1"

    def test_the_doctor_is_as_large_as_the_driver(self, helm3):
        objects = helm3.render()
        driver = objects.spec["driver"]
        size = f"{mebibytes(driver['memory']) + mebibytes(driver['memoryOverhead'])}Mi"
        assert container(objects.pod("doctor"))["resources"]["limits"]["memory"] == size


class TestTime:
    def test_a_run_that_fails_is_tried_again_twice(self, helm3):
        policy = helm3.render().spec["restartPolicy"]
        assert (policy["type"], policy["onFailureRetries"]) == ("OnFailure", 2)

    def test_an_attempt_has_a_deadline(self, helm3):
        assert helm3.render().pod("driver")["activeDeadlineSeconds"] == 86_400
        assert helm3.render({"deadlineSeconds": 1_000_000}).pod("driver")["activeDeadlineSeconds"] == 1_000_000
        assert "activeDeadlineSeconds" not in helm3.render({"deadlineSeconds": None}).pod("driver")

    def test_logs_stay_unless_it_is_said(self, helm3):
        assert "timeToLiveSeconds" not in helm3.render().spec
        assert helm3.render({"timeToLiveSeconds": 2_000_000}).spec["timeToLiveSeconds"] == 2_000_000

    def test_it_waits_where_it_is_asked_to(self, helm3):
        assert "suspend" not in helm3.render().spec
        assert helm3.render({"suspend": True}).spec["suspend"] is True

    def test_pods_are_given_time_to_end(self, helm3):
        spec = helm3.render({"driver": {"terminationGracePeriodSeconds": 90}}).spec
        assert spec["driver"]["template"]["spec"]["terminationGracePeriodSeconds"] == 90
        # Spark 4.3 overwrites an executor's by this setting
        assert spec["sparkConf"]["spark.kubernetes.executor.terminationGracePeriodSeconds"] == "120s"


KEPT = {
    "run": {"allow_london": "an adequacy decision", "region": "eu-west-3"},
    "credentials": {"existingSecret": "store-keys", "podIdentity": True},
    "caBundle": {"configMap": "authority"},
}


class TestSecrets:
    @pytest.mark.parametrize("role", PODS)
    def test_keys_come_by_reference(self, helm3, role):
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
    def test_without_a_secret_pods_have_none(self, helm3, role):
        assert not [entry for entry in container(helm3.render().pod(role))["env"] if entry["name"].startswith("AWS_")]

    def test_nothing_secret_is_where_the_operator_logs(self, helm3):
        """It prints sparkConf, arguments and envVars."""
        spec = helm3.render(KEPT).spec
        logged = json.dumps([spec["sparkConf"], spec["arguments"], spec.get("hadoopConf"), spec.get("envVars")])
        assert not re.search(r"(?i)secret|password|token|access.?key", logged)
        assert not {"env", "envVars", "envFrom", "envSecretKeyRefs", "secrets"} & {*spec["driver"], *spec["executor"]}

    def test_no_object_holds_a_key(self, helm3):
        objects = helm3.render(KEPT)
        assert "Secret" not in {item["kind"] for item in objects}
        assert objects.one("ConfigMap")["data"].keys() == {"run.yaml"}
