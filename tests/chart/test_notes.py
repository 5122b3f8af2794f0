"""What `helm install` tells a person to type next."""

import pytest

from tests.chart.conftest import CHART, LEAST, NAMESPACE, RELEASE, cluster, merge_values

pytestmark = pytest.mark.required_in_ci


def notes(helm, values):
    with cluster() as where:
        arguments = (RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *where)
        done = helm.run("install", *arguments, "--disable-openapi-validation", values=merge_values(LEAST, values))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


def test_notes_say_where_results_will_be(helm):
    said = notes(helm, {"run": {"output": "s3://results/verger/", "name": "apples"}})
    assert "s3://results/verger/names/apples.json" in said
    assert "s3://results/verger/names/orchard.json" in notes(helm, {})


def test_notes_say_where_the_report_will_be(helm):
    assert "runs/RUN/report/index.html" in notes(helm, {})
    assert "report/index.html" not in notes(helm, {"run": {"report": False}})


def test_notes_of_a_compaction_name_no_report(helm):
    said = notes(helm, {"command": "compact"})
    assert "names/" not in said and "report" not in said


def test_notes_say_how_to_follow_a_run_and_what_to_do_when_it_fails(helm):
    said = notes(helm, {})
    assert "--wait" in said
    assert "kubectl -n verger get sparkapplication orchard -w" in said
    assert "kubectl -n verger logs -f orchard-driver" in said
    assert "kubectl -n verger get pod orchard-driver -o jsonpath='{..terminated.message}" in said
    assert "{.status.applicationState.errorMessage}" in said
    assert "tried 3 times" in said
    assert "helm test" not in said


def test_notes_say_where_to_look_when_the_pod_is_gone(helm):
    said = notes(helm, {"run": {"name": "apples"}, "retries": 0}).partition("Pod is gone:")[2]
    assert said.lstrip().startswith("s3://results/verger/names/apples.json\n")
    assert "`failed`" in said and "failure.json" in said
    assert "was killed, leaves nothing there" in said
    application = "kubectl -n verger get sparkapplication orchard -o jsonpath="
    assert said.index("names/apples.json") < said.index(application) < said.index("kubectl -n verger get events")
    assert "log collector" in said


def test_notes_of_a_compaction_whose_pod_is_gone_name_no_file(helm):
    said = notes(helm, {"command": "compact"}).partition("Pod is gone:")[2]
    assert "get sparkapplication orchard" in said and "get events" in said
    assert "failure.json" not in said and "s3://" not in said


def test_notes_say_how_to_test_and_resume_a_suspended_release(helm):
    said = notes(helm, {"suspend": True})
    assert "helm test -n verger orchard --logs" in said
    assert """kubectl -n verger patch sparkapplication orchard --type merge -p '{"spec":{"suspend":false}}'""" in said


def test_lines_of_notes_have_at_most_120_characters(helm):
    for values in ({}, {"suspend": True}, {"command": "compact"}):
        assert max(map(len, notes(helm, values).splitlines())) <= 120


@pytest.mark.parametrize("suspend", [False, True])
def test_notes_of_a_schedule_say_how_to_find_its_runs(helm, suspend):
    said = notes(helm, {"schedule": {"cron": "0 3 * * *"}, "suspend": suspend})
    assert "scheduled, `0 3 * * *` (UTC)" in said
    assert "kubectl -n verger get scheduledsparkapplication orchard" in said
    assert "kubectl -n verger get pod RUN-driver -o jsonpath='{..terminated.message}" in said
    assert "s3://results/verger/names/orchard.json" in said
    assert ("patch scheduledsparkapplication orchard" in said) is suspend
    assert "orchard-driver" not in said
    assert max(map(len, said.splitlines())) <= 120
