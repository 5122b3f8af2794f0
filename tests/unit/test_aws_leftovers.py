"""The script that lists what is left of a cluster on AWS: what it finds, by whose tags, and what its code says."""

from __future__ import annotations

import json
import os
import re
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
import yaml

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
print("None" if found is None else found if isinstance(found, str) else "\\t".join(found))
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
# What network.yaml and data.yaml make, and the question that finds it. The rest is a part of one of these.
ASKED = {
    "AWS::EC2::VPC": "ec2 describe-vpcs",
    "AWS::EC2::InternetGateway": "ec2 describe-internet-gateways",
    "AWS::EC2::EIP": "ec2 describe-addresses",
    "AWS::EC2::NatGateway": "ec2 describe-nat-gateways",
    "AWS::EC2::VPCEndpoint": "ec2 describe-vpc-endpoints",
    "AWS::S3::Bucket": "s3api list-buckets",
    "AWS::ECR::Repository": "ecr describe-repositories",
    "AWS::Logs::LogGroup": "logs describe-log-groups",
    "AWS::Budgets::Budget": "budgets describe-budgets",
}
PARTS = {
    *("AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::Route", "AWS::EC2::SubnetRouteTableAssociation"),
    *("AWS::EC2::VPCGatewayAttachment", "AWS::S3::BucketPolicy"),
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


def test_what_eksctl_makes_without_a_tag_of_the_cluster_is_found_by_its_name(leftovers: Any) -> None:
    names = ["eksctl-orchard-nodegroup-drivers", "eksctl-orchard-2-nodegroup-drivers", "orchard"]
    parts = ["cluster-ServiceRole-1", "nodegroup-drivers-NodeInstanceRole-1", "addon-vpc-cni-Role1-1"]
    parts += ["podidentityrole-verger-1", "accessentry-a-1", "fargate-PodRole-1", "karpenter-Role-1"]
    roles = [f"eksctl-orchard-{part}" for part in parts]
    others = [f"eksctl-{cluster}-{part}" for cluster in ("orchard-2", "another") for part in parts]
    nodes = ["orchard-drivers-Node", "orchard-executors-Node", "orchard-2-drivers-Node"]
    code, lines = leftovers(
        **{
            "describe-launch-templates": {"LaunchTemplates": [{"LaunchTemplateName": name} for name in names]},
            "describe-stacks": {"Stacks": [{"StackName": name} for name in [*names, "eksctl-orchard-cluster"]]},
            "list-roles": {"Roles": [{"RoleName": name} for name in [*others, *roles, "verger"]]},
            "describe-volumes": {
                "Volumes": [{"VolumeId": name, "Tags": [{"Key": "Name", "Value": name}]} for name in nodes]
            },
        }
    )
    assert code == 1
    assert f"LEFT   launch templates:\n         {names[0]}\nnone" in lines
    assert f"LEFT   stacks:\n         {names[0]}\n         eksctl-orchard-cluster\nnone" in lines
    assert f"LEFT   volumes:\n         {nodes[0]}\n         {nodes[1]}\nnone" in lines
    listed = "".join(f"         {name}\n" for name in roles)
    assert f"LEFT   roles of eksctl:\n{listed}\n" in lines


def test_the_groups_of_nodes_are_those_of_the_cluster() -> None:
    groups = yaml.safe_load((AWS / "cluster.yaml").read_text())["managedNodeGroups"]
    named = re.findall(r"\$CLUSTER-(\w+)-Node", (AWS / "leftovers").read_text())
    assert named == [group["name"] for group in groups]


def test_what_keeps_a_network_from_going_is_listed_with_it(leftovers: Any) -> None:
    network = {"Vpcs": [{"VpcId": "vpc-1", "Tags": [{"Key": "Name", "Value": "orchard"}]}]}
    groups = {"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "default"}, {"GroupId": "sg-2", "GroupName": "a"}]}
    code, lines = leftovers(**{"describe-vpcs": network, "describe-security-groups": groups})
    assert code == 1
    assert "LEFT   security groups:\n         sg-2\nnone" in lines


@pytest.mark.parametrize("template", ["network.yaml", "data.yaml"])
def test_each_thing_that_a_template_makes_is_asked_for(template: str) -> None:
    made = set(re.findall(r"^    Type: (AWS::\S+)$", (AWS / template).read_text(), re.MULTILINE))
    assert made
    script = (AWS / "leftovers").read_text()
    assert {kind for kind in made - PARTS if ASKED[kind] not in script} == set()


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


def client(simulated: dict[str, str], service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=simulated["AWS_ENDPOINT_URL"],
        region_name="eu-west-3",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def stack(simulated: dict[str, str], name: str, template: str, **parameters: str) -> set[str]:
    """Make one, and tell the names of its outputs."""
    formation = client(simulated, "cloudformation")
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    formation.create_stack(StackName=name, TemplateBody=(AWS / template).read_text(), Parameters=given)
    (made,) = formation.describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"] for output in made["Outputs"]}


@pytest.mark.slow
def test_the_script_finds_what_the_network_s_template_makes(simulated: dict[str, str]) -> None:
    outputs = stack(simulated, "orchard-network", "network.yaml", Cluster="orchard")
    assert outputs == {"Vpc", "PrivateA", "PrivateB"}
    code, lines = ran(simulated)
    assert code == 1
    for kind in ("stacks", "NAT gateways", "endpoints", "internet gateways", "networks"):
        assert f"LEFT   {kind}:" in lines


@pytest.mark.slow
def test_the_script_finds_what_the_template_of_what_stays_makes(simulated: dict[str, str]) -> None:
    names = {"Photographs": NAMES["PHOTOGRAPHS"], "Results": NAMES["RESULTS"], "Prefix": "verger"}
    stack(simulated, "verger-data", "data.yaml", **names, Email="you@example.org", MonthlyUsd="50")
    monthly = {"BudgetName": "verger", "BudgetType": "COST", "TimeUnit": "MONTHLY"}  # moto's stacks make none
    account = client(simulated, "sts").get_caller_identity()["Account"]
    limit = {"BudgetLimit": {"Amount": "50", "Unit": "USD"}}
    client(simulated, "budgets").create_budget(AccountId=account, Budget=monthly | limit)
    iam = client(simulated, "iam")
    iam.create_policy(PolicyName="verger", PolicyDocument=(AWS / "policy.json").read_text())
    iam.create_role(RoleName="verger", AssumeRolePolicyDocument=(AWS / "trust-pod-identity.json").read_text())
    code, lines = ran(simulated)
    assert code == 0, lines
    kept = [line.split()[0] for line in lines.partition("(README.md):\n")[2].splitlines()]
    assert kept == ["bucket", "bucket", "registry", "logs", "role", "policy", "stack", "budget"]
