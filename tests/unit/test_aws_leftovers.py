"""The script that lists what is left of a cluster on AWS: what it finds, by whose tags, and what its code says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import pytest

from tests.conftest import ROOT

AWS = ROOT / "manifests" / "aws"
NAMES = {"CLUSTER": "orchard", "PHOTOGRAPHS": "orchard-photographs", "RESULTS": "orchard-results"}
# Stands for the AWS CLI: it answers with what the test says is there, by the query that it is given.
ANSWERS = """#!{python}
import json, os, sys
import jmespath
service, question, *options = sys.argv[1:]
given = dict(zip(options, options[1:]))
there = json.load(open(os.environ["THERE"]))
if service + " " + question in there.get("refused", []):
    sys.exit("Unable to locate credentials")
answer = there.get(question, {{}})
if question == "describe-log-groups":
    prefix = given["--log-group-name-prefix"]
    answer = {{"logGroups": [{{"logGroupName": name}} for name in there.get("logs", []) if name.startswith(prefix)]}}
found = jmespath.search(given["--query"], answer)
assert given["--output"] == "text"
print("None" if found is None else "\\t".join(found))
"""


THERE: dict[str, Any] = {
    "list-clusters": {"clusters": ["orchard", "another"]},
    "describe-volumes": {
        "Volumes": [
            {"VolumeId": "vol-eks", "Tags": [{"Key": "eks:cluster-name", "Value": "orchard"}]},
            {"VolumeId": "vol-driver", "Tags": [{"Key": "kubernetes.io/cluster/orchard", "Value": "owned"}]},
            {"VolumeId": "vol-other", "Tags": [{"Key": "kubernetes.io/cluster/another", "Value": "owned"}]},
            {"VolumeId": "vol-bare"},
        ]
    },
    "list-open-id-connect-providers": {"OpenIDConnectProviderList": [{"Arn": "arn:aws:iam::1:oidc-provider/a"}]},
    "list-open-id-connect-provider-tags": {"Tags": [{"Key": "alpha.eksctl.io/cluster-name", "Value": "orchard"}]},
    "logs": ["/aws/eks/orchard/cluster", "/aws/eks/another/cluster", "/verger/pods"],
    "list-buckets": {"Buckets": [{"Name": "orchard-results"}, {"Name": "mine"}]},
}


@pytest.fixture
def leftovers(tmp_path: Path) -> Any:
    """Run it where the account has what is said: its code, and its lines."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "aws"
    program.write_text(ANSWERS.format(python=sys.executable))
    program.chmod(0o755)

    def run(**there: Any) -> tuple[int, str]:
        (tmp_path / "there.json").write_text(json.dumps(there))
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "THERE": str(tmp_path / "there.json"),
            **NAMES,
        }
        return ran(environment)

    return run


def ran(environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["sh", str(AWS / "leftovers")], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_an_account_with_nothing_in_it(leftovers: Any) -> None:
    code, lines = leftovers()
    assert code == 0, lines
    assert "LEFT" not in lines
    assert "none   cluster\n" in lines


def test_what_the_cluster_left_is_listed_and_nothing_of_others(leftovers: Any) -> None:
    code, lines = leftovers(**THERE)
    assert code == 1
    assert "LEFT   cluster:\n         orchard\n" in lines
    assert "LEFT   volumes:\n         vol-eks\n         vol-driver\n" in lines
    assert "LEFT   logs:\n         /aws/eks/orchard/cluster\n" in lines
    assert "LEFT   identity provider:\n         arn:aws:iam::1:oidc-provider/a\n" in lines
    assert not {"another", "vol-other", "vol-bare", "mine"} & set(lines.split())


def test_what_is_kept_on_purpose_is_listed_and_no_fault(leftovers: Any) -> None:
    code, lines = leftovers(**{"list-buckets": THERE["list-buckets"], "logs": ["/verger/pods"]})
    assert code == 0
    assert lines.endswith("(README.md):\n       bucket orchard-results\n       logs /verger/pods\n")


@pytest.mark.parametrize("question", ["ec2 describe-vpcs", "iam list-roles", "s3api list-buckets"])
def test_no_answer_is_not_taken_for_nothing(leftovers: Any, question: str) -> None:
    code, lines = leftovers(refused=[question])
    assert code == 2
    assert f"AWS did not answer: aws {question}" in lines


@pytest.fixture
def simulated() -> Iterator[dict[str, str]]:
    """An account in moto, which answers as AWS does: the environment that leads to it."""
    for program in ("moto_server", "aws"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on the PATH: `pip install 'moto[server]' awscli` has it")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(["moto_server", "-H", "127.0.0.1", "-p", str(port)], **quiet)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(URLError, OSError), urlopen(f"{url}/moto-api/data.json", timeout=5):
                break
            time.sleep(0.2)
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "eu-west-3"}
        yield {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": url, **keys, **NAMES}
    finally:
        server.terminate()
        server.wait()


@pytest.mark.slow
def test_the_script_finds_what_the_network_s_template_makes(simulated: dict[str, str]) -> None:
    client = boto3.client(
        "cloudformation",
        endpoint_url=simulated["AWS_ENDPOINT_URL"],
        region_name="eu-west-3",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    template = (AWS / "network.yaml").read_text()
    parameters = [{"ParameterKey": "Cluster", "ParameterValue": "orchard"}]
    client.create_stack(StackName="orchard-network", TemplateBody=template, Parameters=parameters)
    (stack,) = client.describe_stacks(StackName="orchard-network")["Stacks"]
    assert {output["OutputKey"] for output in stack["Outputs"]} == {"Vpc", "PrivateA", "PrivateB"}
    code, lines = ran(simulated)
    assert code == 1
    for kind in ("stacks", "NAT gateways", "endpoints", "networks"):
        assert f"LEFT   {kind}:" in lines
