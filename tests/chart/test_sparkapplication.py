"""What the operator is told beside the pods: the command, their size, and how long and how often."""

import json
import re

import pytest
import yaml

from tests.chart.conftest import PODS, ROLES, container, nested
from verger.config import RunConfig
from verger.planning.doctor import WORKER_BYTES

pytestmark = pytest.mark.required_in_ci


def mebibytes(size):
    number, unit = re.fullmatch(r"(\d+)([mg])", size).groups()
    return int(number) * {"m": 1, "g": 1024}[unit]


class TestCommand:
    @pytest.mark.parametrize("command", ["run", "compact"])
    def test_each_command_is_given_the_configuration_file(self, helm3, command):
        arguments = helm3.render({"command": command}).spec["arguments"]
        assert arguments == [command, "--config", "/etc/verger/run.yaml"]

    def test_project_is_given_the_fitted_run(self, helm3):
        objects = helm3.render({"command": "project", "fittedRun": "s3://results/verger"})
        assert objects.spec["arguments"][:3] == ["project", "--run", "s3://results/verger"]

    @pytest.mark.parametrize("command", ["run", "project", "compact"])
    def test_the_command_line_accepts_the_rendered_arguments(self, helm3, tmp_path, command, monkeypatch):
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

    def test_the_image_tag_is_the_charts_version_by_default(self, helm3):
        assert helm3.render().spec["image"] == "verger:0.1.0"
        assert helm3.render({"image": {"repository": "r.example/v", "tag": "1"}}).spec["image"] == "r.example/v:1"
        assert helm3.render({"image": {"repository": "r.example:5000/a/v"}}).spec["image"] == "r.example:5000/a/v:0.1.0"

    @pytest.mark.parametrize(("tag", "image"), [("", "r.example/v"), ("1", "r.example/v:1")])
    def test_the_image_may_be_a_digest(self, helm3, tag, image):
        digest = f"sha256:{64 * 'a'}"
        objects = helm3.render({"image": {"repository": "r.example/v", "tag": tag, "digest": digest}})
        assert objects.spec["image"] == container(objects.pod("doctor"))["image"] == f"{image}@{digest}"


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
    def test_memory_overhead_can_be_set(self, helm3, role):
        assert helm3.render(nested(f"{role}.memoryOverhead", "3g")).spec[role]["memoryOverhead"] == "3g"

    @pytest.mark.parametrize("role", ROLES)
    def test_a_core_request_is_a_string(self, helm3, role):
        assert "coreRequest" not in helm3.render().spec[role]
        assert helm3.render(nested(f"{role}.coreRequest", "1")).spec[role]["coreRequest"] == "1"

    @pytest.mark.parametrize("role", ROLES)
    def test_a_core_limit_can_be_set_for_a_resource_quota(self, helm3, role):
        assert "coreLimit" not in helm3.render().spec[role]
        assert helm3.render(nested(f"{role}.coreLimit", "2")).spec[role]["coreLimit"] == "2"

    def test_the_doctor_has_the_drivers_core_limit(self, helm3):
        assert "cpu" not in container(helm3.render().pod("doctor"))["resources"]["limits"]
        pod = helm3.render(nested("driver.coreLimit", "2")).pod("doctor")
        assert container(pod)["resources"]["limits"]["cpu"] == "2"

    def test_the_doctor_is_as_large_as_the_driver(self, helm3):
        objects = helm3.render()
        driver = objects.spec["driver"]
        size = f"{mebibytes(driver['memory']) + mebibytes(driver['memoryOverhead'])}Mi"
        assert container(objects.pod("doctor"))["resources"]["limits"]["memory"] == size

    @pytest.mark.parametrize("role", PODS)
    def test_disk_can_be_requested_and_limited(self, helm3, role):
        named = role if role in ROLES else "driver"
        assert "ephemeral-storage" not in json.dumps(helm3.render().pod(role))
        given = {named: {"ephemeralStorageRequest": "4Gi", "ephemeralStorageLimit": "8Gi"}}
        resources = container(helm3.render(given).pod(role))["resources"]
        assert resources["requests"]["ephemeral-storage"] == "4Gi"
        assert resources["limits"]["ephemeral-storage"] == "8Gi"
        # those that Spark adds to a template's are not in it
        assert ("cpu" in resources["requests"]) is (role == "doctor")


class TestSecurity:
    def test_pods_of_a_run_know_one_another_and_encrypt_what_they_send(self, helm3):
        settings = helm3.render().spec["sparkConf"]
        assert settings["spark.authenticate"] == "true"
        assert settings["spark.network.crypto.enabled"] == "true"

    def test_the_ui_cannot_end_a_run(self, helm3):
        assert helm3.render().spec["sparkConf"]["spark.ui.killEnabled"] == "false"


class TestTime:
    def test_a_run_that_fails_is_tried_again_twice(self, helm3):
        policy = helm3.render().spec["restartPolicy"]
        assert (policy["type"], policy["onFailureRetries"]) == ("OnFailure", 2)

    def test_an_attempt_has_a_deadline(self, helm3):
        assert helm3.render().pod("driver")["activeDeadlineSeconds"] == 86_400
        assert helm3.render({"deadlineSeconds": 1_000_000}).pod("driver")["activeDeadlineSeconds"] == 1_000_000
        assert "activeDeadlineSeconds" not in helm3.render({"deadlineSeconds": None}).pod("driver")

    @pytest.mark.parametrize(
        ("total", "deadline", "retries", "attempt"),
        [
            (3000, 86_400, 2, 993),
            (3000, None, 2, 993),
            (3000, 600, 2, 600),
            (599, 600, 0, 599),
            (3600, 7200, 2, 1193),
            (3600, 86_400, 0, 3600),
            (200, 86_400, 2, 60),
        ],
    )
    def test_all_attempts_together_have_a_deadline(self, helm3, total, deadline, retries, attempt):
        given = {"totalDeadlineSeconds": total, "deadlineSeconds": deadline, "retries": retries}
        assert helm3.render(given).pod("driver")["activeDeadlineSeconds"] == attempt
        # with the operator's pauses between them
        assert (retries + 1) * attempt + 10 * retries <= total

    def test_an_attempt_says_why_no_executor_comes_before_its_deadline_ends_it(self, helm3):
        """The default is the job's, which the chart leaves out where there is time for it."""
        default = RunConfig.model_fields["executors_timeout"].default
        for deadline, timeout in [(86_400, None), (2 * default, None), (2 * default - 2, default - 1), (60, 30)]:
            config = yaml.safe_load(helm3.render({"deadlineSeconds": deadline}).config)
            assert config.get("executors_timeout") == timeout
        shared = yaml.safe_load(helm3.render({"totalDeadlineSeconds": 3000}).config)
        assert shared["executors_timeout"] == 993 // 2
        assert "executors_timeout" not in yaml.safe_load(helm3.render({"deadlineSeconds": None}).config)

    @pytest.mark.parametrize("given", [0, 900])
    def test_a_timeout_that_is_given_stays(self, helm3, given):
        values = {"run": {"executors_timeout": given}, "deadlineSeconds": 1000}
        assert yaml.safe_load(helm3.render(values).config)["executors_timeout"] == given

    def test_a_finished_application_is_kept_unless_a_time_to_live_is_set(self, helm3):
        assert "timeToLiveSeconds" not in helm3.render().spec
        assert helm3.render({"timeToLiveSeconds": 2_000_000}).spec["timeToLiveSeconds"] == 2_000_000

    def test_a_release_can_be_suspended(self, helm3):
        assert "suspend" not in helm3.render().spec
        assert helm3.render({"suspend": True}).spec["suspend"] is True

    def test_pods_have_a_termination_grace_period(self, helm3):
        spec = helm3.render({"driver": {"terminationGracePeriodSeconds": 90}}).spec
        assert spec["driver"]["template"]["spec"]["terminationGracePeriodSeconds"] == 90
        # Spark 4.3 overwrites an executor's by this setting
        assert spec["sparkConf"]["spark.kubernetes.executor.terminationGracePeriodSeconds"] == "120s"


SCHEDULE = {"schedule": {"cron": "*/5 * * * *", "timeZone": "Europe/Paris"}}


class TestSchedule:
    def test_a_scheduled_run_is_the_run_of_a_release_without_a_schedule(self, helm3):
        assert helm3.render(SCHEDULE).spec == helm3.render().spec

    def test_runs_do_not_overlap(self, helm3):
        scheduled = helm3.render(SCHEDULE).one("ScheduledSparkApplication")["spec"]
        assert scheduled["concurrencyPolicy"] == "Forbid"
        assert (scheduled["schedule"], scheduled["timeZone"]) == ("*/5 * * * *", "Europe/Paris")
        assert (scheduled["successfulRunHistoryLimit"], scheduled["failedRunHistoryLimit"]) == (1, 1)

    @pytest.mark.parametrize("suspend", [False, True])
    def test_a_schedule_can_be_suspended(self, helm3, suspend):
        objects = helm3.render({**SCHEDULE, "suspend": suspend})
        assert objects.one("ScheduledSparkApplication")["spec"]["suspend"] is suspend
        assert "suspend" not in objects.spec

    @pytest.mark.parametrize("cron", ["", "@daily", "@every 10m", "0 3 * * mon-fri", "15,45 */2 1 1 ?"])
    def test_labels_of_the_application_reach_it_alone(self, helm3, cron):
        queue = {"kueue.x-k8s.io/queue-name": "fruit"}
        objects = helm3.render({"schedule": {"cron": cron}, "applicationLabels": queue})
        kind = "ScheduledSparkApplication" if cron else "SparkApplication"
        assert objects.one(kind)["metadata"]["labels"].items() >= queue.items()
        assert not [role for role in PODS if queue.keys() & objects.metadata(role)["labels"].keys()]
