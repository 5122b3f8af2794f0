"""The collector of logs on AWS: whose lines it takes, what it makes of them, and what it may."""

import re
from fnmatch import fnmatchcase

import pytest
import yaml

from tests.chart.aws import AWS, NAMES, document
from tests.chart.conftest import NAMESPACE

pytestmark = pytest.mark.required_in_ci

VALUES = document("collector-values.yaml")
CLUSTER = document("cluster.yaml")
GROUP = "/verger/pods"
ID = "0123456789abcdef" * 4


def sections(part):
    """The sections of a part of Fluent Bit's configuration, each as its name and its keys in lower case."""
    found = []
    for line in VALUES["config"][part].splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            found.append((heading[1], {}))
        elif line.strip():
            key, value = line.split(maxsplit=1)
            assert key.lower() not in found[-1][1], f"{key} twice"
            found[-1][1][key.lower()] = value
    return found


def only(part):
    ((_, keys),) = sections(part)
    return keys


def file_of(pod, container, namespace=NAMESPACE):
    """What kubelet calls the file of a container's lines."""
    return f"/var/log/containers/{pod}_{namespace}_{container}-{ID}.log"


def stream_of(file):
    """The stream that the lines of a file go to; None where it is not read."""
    tail = only("inputs")
    if not fnmatchcase(file, tail["path"]):
        return None
    found = re.search(tail["tag_regex"].replace("(?<", "(?P<"), file)
    tag = re.sub(r"<(\w+)>", lambda name: found[name[1]], tail["tag"])
    return only("outputs")["log_stream_prefix"] + tag


@pytest.mark.parametrize(
    ("pod", "container"),
    [
        ("fruit-1-driver", "spark-kubernetes-driver"),
        ("fruit-1-4f8e2a9b1c3d5e7f-exec-12", "spark-kubernetes-executor"),
        ("fruit-1-doctor", "doctor"),
    ],
)
def test_each_container_of_a_run_has_its_stream(pod, container):
    assert stream_of(file_of(pod, container)) == f"pod/{pod}.{container}.{ID}"


@pytest.mark.parametrize("namespace", ["default", "kube-system", "logs", "spark-operator", "my-verger", "verger-2"])
def test_other_namespaces_are_left_alone(namespace):
    assert stream_of(file_of("verger", "verger", namespace)) is None


def test_the_query_of_the_page_finds_the_streams_of_its_release():
    page = (AWS / "README.md").read_text()
    begins = re.findall(r'@logStream like "(.*?)"', page) + re.findall(r"--log-stream-name-prefix (\S+)", page)
    assert len(begins) == 2
    for begin in begins:
        assert stream_of(file_of("fruit-1-driver", "spark-kubernetes-driver")).startswith(begin)
        assert not stream_of(file_of("fruit-2-driver", "spark-kubernetes-driver")).startswith(begin)
    assert set(re.findall(r"--log-group-name (\S+)", page)) == {GROUP}


def test_a_line_that_is_json_becomes_fields_and_any_other_stays():
    ((kind, parser),) = sections("customParsers")
    # Without a time of its own: that of the line, which kubelet has written, stays.
    assert (kind, parser["format"]) == ("PARSER", "json") and "time_key" not in parser
    wanted = {"name": "parser", "key_name": "log", "parser": parser["name"], "reserve_data": "On"}
    assert wanted.items() <= only("filters").items()
    assert only("inputs")["multiline.parser"] == "cri"  # which joins the parts of a long line


def test_a_pod_that_is_gone_in_seconds_is_read_from_its_first_line():
    tail = only("inputs")
    assert tail["read_from_head"] == "On" and int(tail["refresh_interval"]) <= 5
    assert only("outputs")["retry_limit"] == "no_limits"


def test_lines_stay_in_the_region_of_the_cluster():
    assert only("outputs")["region"] == CLUSTER["metadata"]["region"] == "eu-west-3"


def test_lines_go_to_the_group_that_is_made_for_a_number_of_days_and_to_no_other():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda *_: None)
    template = yaml.load((AWS / "data.yaml").read_text(), Loader)
    assert template["Resources"]["Logs"]["Properties"]["LogGroupName"] == only("outputs")["log_group_name"] == GROUP
    assert "RetentionInDays" in template["Resources"]["Logs"]["Properties"]
    days = template["Parameters"]["LogDays"]
    assert days["Default"] in days["AllowedValues"]
    assert "auto_create_group" not in only("outputs")


def test_its_account_may_write_to_this_group_and_nothing_else():
    (associated,) = [one for one in CLUSTER["iam"]["podIdentityAssociations"] if one["namespace"] == "logs"]
    assert associated["serviceAccountName"] == VALUES["serviceAccount"]["name"]
    (statement,) = associated["permissionPolicy"]["Statement"]
    assert set(statement["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert statement["Resource"] == f"arn:aws:logs:eu-west-3:{NAMES['ACCOUNT_ID']}:log-group:{GROUP}:*"
    # Of Kubernetes it may nothing: it has no Role, and no token. EKS brings that of Pod Identity by itself.
    assert VALUES["rbac"]["create"] is VALUES["serviceAccount"]["automountServiceAccountToken"] is False


def test_it_is_on_every_node():
    taints = [taint for group in CLUSTER["managedNodeGroups"] for taint in group.get("taints", [])]
    tolerated = [{name: one[name] for name in ("key", "value", "effect")} for one in VALUES["tolerations"]]
    assert taints and all(taint in tolerated for taint in taints)
    assert "nodeSelector" not in VALUES and "affinity" not in VALUES


def test_of_a_node_it_writes_to_its_own_folder_alone():
    mounts = {mount["name"]: mount for mount in VALUES["daemonSetVolumeMounts"]}
    folders = {volume["name"]: volume["hostPath"]["path"] for volume in VALUES["daemonSetVolumes"]}
    assert mounts.keys() == folders.keys()
    writable = [mount for mount in mounts.values() if not mount.get("readOnly")]
    assert [folders[mount["name"]] for mount in writable] == ["/var/lib/fluent-bit"]
    assert only("inputs")["db"].startswith(writable[0]["mountPath"] + "/")
    security = VALUES["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]} and not security.get("privileged")


def test_the_page_installs_one_version_of_it_where_its_account_is():
    page = re.sub(r"\\\n\s*", "", (AWS / "README.md").read_text())
    (command,) = [line for line in page.splitlines() if "helm install fluent-bit " in line]
    assert re.search(r"--version \d+\.\d+\.\d+ ", command)
    assert "--namespace logs --create-namespace --values collector-values.yaml" in command
    assert "helm uninstall fluent-bit --namespace logs" in page
