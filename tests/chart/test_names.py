"""One release is one run, and everything in it is named after it."""

import pytest

from tests.chart.conftest import nested

pytestmark = pytest.mark.required_in_ci


@pytest.mark.parametrize("name", ["a", "orchard-2026", "x" * 53])
def test_a_dns_label_is_accepted_as_release_name(helm, name):
    objects = helm.render(release=name)
    assert objects.one("SparkApplication")["metadata"]["name"] == name
    assert objects.one("Pod")["metadata"]["name"] == f"{name}-doctor"
    assert all(len(item["metadata"]["name"]) <= 63 for item in objects)


@pytest.mark.parametrize("name", ["1run", "run.1"])
def test_a_release_name_that_is_no_dns_label_is_refused(helm, name):
    assert f'release name "{name}": must be a DNS-1035 label of at most 53' in helm.refuses(release=name)


def test_a_scheduled_releases_name_leaves_room_for_the_time(helm3):
    """The operator appends a hyphen and 19 digits of nanoseconds, and takes 63 characters."""
    helm3.render(nested("schedule.cron", "@daily"), release=43 * "x")
    said = helm3.refuses(nested("schedule.cron", "@daily"), release=44 * "x")
    assert "must have at most 43 characters with schedule.cron" in said


@pytest.mark.parametrize("name", ["x" * 54, "Orchard", "run_1", "run-"])
def test_names_that_helm_forbids_are_refused_by_helm(helm, name):
    assert "release name" in helm.refuses(release=name)


def test_an_upgrade_is_refused_with_the_reason(helm):
    said = helm.refuses(None, "--is-upgrade")
    assert "one release is one run" in said
    assert "helm uninstall orchard" in said


def test_everything_is_named_after_the_release(helm3):
    objects = helm3.render({"run": {"verify_nodes": True}})
    for item in objects:
        prefix = "verger:verger:orchard" if item["kind"].startswith("Cluster") else "orchard"
        assert item["metadata"]["name"].startswith(prefix)
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "orchard"


def test_the_runs_name_is_the_releases_by_default(helm3):
    assert "name: orchard\n" in helm3.render().config
    assert "name: apples\n" in helm3.render(nested("run.name", "apples")).config


def names(helm, release, *arguments):
    objects = helm.render(nested("run.verify_nodes", True), *arguments, release=release)
    return {(item["kind"], item["metadata"]["name"]) for item in objects}


def test_two_releases_share_no_name(helm3):
    assert not names(helm3, "a") & names(helm3, "b")


def test_releases_in_two_namespaces_share_no_cluster_wide_name(helm3):
    assert not names(helm3, "c", "--namespace", "a-b") & names(helm3, "b-c", "--namespace", "a")


@pytest.mark.parametrize("word", ["true", "null", "y"])
def test_release_names_like_yaml_literals_stay_strings(helm, check_objects, word):
    objects = helm.render(nested("run.verify_nodes", True), release=word)
    check_objects(objects)
    assert objects.one("SparkApplication")["metadata"]["name"] == word
    selector = objects.one("NetworkPolicy", f"{word}-driver")["spec"]["podSelector"]
    assert selector["matchLabels"]["app.kubernetes.io/instance"] == word


@pytest.mark.parametrize("word", ["123", "0x1f", "true", "null"])
def test_values_like_yaml_literals_stay_strings(helm, check_objects, word):
    role = {"serviceAccount": {"name": word}, "priorityClassName": word, "nodeSelector": {word: word}}
    objects = helm.render(
        {
            "run": {"endpoint_url": "https://store.example", "verify_nodes": True},
            "image": {"repository": word, "pullSecrets": [word]},
            "credentials": {"existingSecret": word},
            "caBundle": {"configMap": word, "key": word},
            "driver": role,
            "executor": role | {"serviceAccount": {"create": False, "name": word}},
            "spot": {"enabled": True, "nodeLabels": {word: word}},
            "networkPolicy": {"store": {"namespace": word, "podLabels": {word: word}}, "dns": {"namespace": word}},
            "metrics": {"enabled": True, "namespaceLabels": {word: word}},
        },
        "--namespace",
        word,
    )
    check_objects(objects)
    assert objects.spec["executor"]["serviceAccount"] == word
    assert objects.spec["driver"]["serviceAccount"] == objects.pod("executor")["priorityClassName"] == word
    assert objects.pod("driver")["imagePullSecrets"] == [{"name": word}]
