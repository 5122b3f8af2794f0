"""What manifests/aws gives to Kubernetes, helm and eksctl: each takes it, and the parts name one another rightly."""

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml

from tests.chart.aws import AWS, NAMES, document, documents, fill, filled
from tests.chart.conftest import CHART, NAMESPACE, Objects, container, invalid
from verger.config import RunConfig

pytestmark = pytest.mark.required_in_ci

# What ends in no file that is filled: text, scripts, and templates that have parameters.
UNFILLED = {"README.md", "names.sh", "leftovers", "network.yaml", "data.yaml"}
FILLED = sorted(path.name for path in AWS.iterdir() if path.name not in UNFILLED)
GROUPS = {group["name"]: group for group in document("cluster.yaml")["managedNodeGroups"]}
# Of an m5.xlarge, what EKS leaves to pods (4 vCPU less 80m), and what its own pods on every node ask for.
NODE_CPU, DAEMONS_CPU = 3.92, 0.2
NODE_GIB = 14.0


def cloudformation(name):
    class Loader(yaml.SafeLoader):
        pass

    def tagged(loader, suffix, node):
        value = loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else loader.construct_sequence(node)
        return {suffix: value}

    Loader.add_multi_constructor("!", tagged)
    return yaml.load((AWS / name).read_text(), Loader)


def cpu(quantity):
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def gib(quantity):
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", str(quantity)).groups()
    return float(number) * {"k": 1e3, "Mi": 2**20, "m": 2**20, "Gi": 2**30, "g": 2**30}[unit] / 2**30


@pytest.fixture
def rendered(helm):
    return helm.render(document("run-values.yaml"), release="fruit-1")


@pytest.fixture(scope="module")
def operator_chart():
    """The folder of the operator's own chart, of the version that ours names, where `make schemas` has left it."""
    if shutil.which("go") is None:
        pytest.skip("go is not on the PATH: it keeps the operator's chart")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]["verger/spark-operator"]
    command = ["go", "mod", "download", "-json", f"github.com/kubeflow/spark-operator/v2@v{version}"]
    environment = {**os.environ, "GOPROXY": "off", "GOFLAGS": "", "GONOSUMDB": "*", "GONOSUMCHECK": "1"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"no chart of the operator: `make schemas` fetches it ({done.stdout[-200:]})")
    return Path(json.loads(done.stdout)["Dir"]) / "charts" / "spark-operator-chart"


class TestNames:
    @pytest.mark.parametrize("manifest", FILLED)
    def test_every_name_is_put_in_and_the_file_parses(self, manifest):
        text = filled(manifest)
        read = json.loads if manifest.endswith(".json") else lambda text: list(yaml.safe_load_all(text))
        assert read(text)
        assert not re.search("|".join(NAMES), text)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_name_that_is_not_set_is_refused(self, name):
        users = [manifest for manifest in FILLED if name in (AWS / manifest).read_text()]
        assert users
        done = fill(users[0], **{name: ""})
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{users[0]}: set {name} first\n")

    def test_the_page_says_where_each_name_comes_from(self):
        said = (AWS / "README.md").read_text() + (AWS / "names.sh").read_text()
        assert {name for name in NAMES if not re.search(rf"\b{name}=", said)} == set()

    def test_the_page_has_every_file(self):
        page = (AWS / "README.md").read_text()
        assert {path.name for path in AWS.iterdir() if path.name not in page} == {"README.md"}


class TestCluster:
    def test_eksctl_takes_the_cluster(self, check_objects):
        check_objects(documents("cluster.yaml"))

    def test_the_schema_finds_a_field_that_eksctl_does_not_know(self, schemas):
        cluster = document("cluster.yaml")
        cluster["managedNodeGroups"][0]["disablePodIMS"] = True
        assert "disablePodIMS" in invalid([cluster], schemas)

    @pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
    def test_nodes_are_private_encrypted_and_keep_their_role_from_pods(self, group):
        wanted = {"privateNetworking", "volumeEncrypted", "disableIMDSv1", "disablePodIMDS", "propagateASGTags"}
        assert {name for name in wanted if group.get(name) is True} == wanted
        assert group["volumeSize"] > 0
        assert "ssh" not in group

    def test_drivers_are_on_demand_and_executors_on_spot_from_none_in_one_zone(self):
        drivers, executors = GROUPS["drivers"], GROUPS["executors"]
        assert not drivers.get("spot") and drivers["minSize"] >= 1
        assert executors["spot"] is True
        assert executors["minSize"] == executors["desiredCapacity"] == 0 < executors["maxSize"]
        assert drivers["availabilityZones"] == executors["availabilityZones"] == ["eu-west-3a"]
        # m6g and the like are arm64, for which there is no image.
        assert not [name for name in executors["instanceTypes"] if re.match(r"[a-z]+\d+g", name)]

    def test_policies_are_enforced_and_pod_identity_has_its_agent(self):
        addons = {addon["name"]: addon for addon in document("cluster.yaml")["addons"]}
        assert set(addons) == {"eks-pod-identity-agent", "vpc-cni", "kube-proxy", "coredns"}
        assert json.loads(addons["vpc-cni"]["configurationValues"]) == {"enableNetworkPolicy": "true"}

    def test_the_network_that_is_named_is_the_one_that_is_made(self):
        made = cloudformation("network.yaml")["Resources"]
        given = document("run-values.yaml")["networkPolicy"]["apiServer"]
        private = {made[name]["Properties"]["CidrBlock"] for name in ("PrivateA", "PrivateB")}
        services = ip_network(document("cluster.yaml")["kubernetesNetworkConfig"]["serviceIPv4CIDR"])
        assert set(given["addresses"]) == private
        assert given["clusterIPs"] == [str(services[1])]
        assert not services.overlaps(ip_network(made["Vpc"]["Properties"]["CidrBlock"]))
        assert made["S3"]["Properties"]["RouteTableIds"] == [{"Ref": "PrivateRoutes"}]


class TestNamespace:
    def test_kubernetes_takes_it(self, check_objects):
        check_objects(documents("namespace.yaml"))

    def test_it_is_restricted_and_where_the_operator_looks(self):
        namespace = Objects(documents("namespace.yaml")).one("Namespace")["metadata"]
        assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert document("operator-values.yaml")["spark"]["jobNamespaces"] == [namespace["name"]] == [NAMESPACE]

    def test_the_quota_has_room_for_a_run_and_its_doctor(self, rendered):
        values, spec = document("run-values.yaml"), rendered.spec
        pods = [(rendered.spec["driver"], 2), (spec["executor"], values["executor"]["instances"])]
        doctor = container(rendered.pod("doctor"))["resources"]["requests"]
        hard = Objects(documents("namespace.yaml")).one("ResourceQuota")["spec"]["hard"]
        asked = cpu(doctor["cpu"]) + sum(cpu(pod.get("coreRequest") or pod["cores"]) * count for pod, count in pods)
        memory = gib(doctor["memory"]) + sum(memory_of(pod) * count for pod, count in pods)
        assert asked <= cpu(hard["requests.cpu"])
        assert memory <= gib(hard["requests.memory"])
        assert 1 + sum(count for _, count in pods) <= int(hard["pods"])


def memory_of(pod):
    return gib(pod["memory"]) + gib(pod.get("memoryOverhead", "0m"))


class TestRun:
    def test_helm_renders_what_kubernetes_and_the_operator_take(self, rendered, check_objects):
        check_objects(rendered)
        RunConfig(**yaml.safe_load(rendered.config))

    @pytest.mark.parametrize("role", ["driver", "executor"])
    def test_pods_find_their_nodes(self, rendered, role):
        group = GROUPS[f"{role}s"]
        pod = rendered.pod(role)
        assert pod["nodeSelector"].items() <= group["labels"].items()
        tolerated = [{name: toleration[name] for name in ("key", "value", "effect")}
                     for toleration in pod.get("tolerations", [])]  # fmt: skip
        assert group.get("taints", []) == tolerated
        spec = rendered.spec[role]
        collector = cpu(document("collector-values.yaml")["resources"]["requests"]["cpu"])
        assert cpu(spec.get("coreRequest") or spec["cores"]) <= NODE_CPU - DAEMONS_CPU - collector
        assert memory_of(spec) < NODE_GIB

    def test_no_more_executors_than_nodes(self):
        assert document("run-values.yaml")["executor"]["instances"] <= GROUPS["executors"]["maxSize"]

    def test_pods_have_the_accounts_that_have_the_role(self, rendered):
        accounts = {rendered.spec[role]["serviceAccount"] for role in ("driver", "executor")}
        assert accounts == Objects(documents("namespace.yaml")).names("ServiceAccount")
        associated = document("cluster.yaml")["iam"]["podIdentityAssociations"]
        assert accounts == {one["serviceAccountName"] for one in associated if one["namespace"] == NAMESPACE}
        assert not rendered.names("ServiceAccount")

    def test_the_autoscaler_has_the_account_that_has_its_role(self):
        associated = document("cluster.yaml")["iam"]["podIdentityAssociations"]
        account = document("autoscaler-values.yaml")["rbac"]["serviceAccount"]["name"]
        assert [one["serviceAccountName"] for one in associated if one["namespace"] == "kube-system"] == [account]


class TestOperator:
    @pytest.fixture
    def operator(self, helm, operator_chart):
        done = helm.run("template", "spark-operator", str(operator_chart), "--namespace", "spark-operator",
                        values=document("operator-values.yaml"))  # fmt: skip
        assert done.returncode == 0, done.stderr
        return Objects(filter(None, yaml.safe_load_all(done.stdout)))

    def test_it_has_no_account_for_drivers(self, operator):
        accounts = {(one["metadata"]["namespace"], one["metadata"]["name"])
                    for one in operator if one["kind"] == "ServiceAccount"}  # fmt: skip
        assert {namespace for namespace, _ in accounts} == {"spark-operator"}
        bound = [subject for one in operator if one["kind"].endswith("RoleBinding") for subject in one["subjects"]]
        assert {subject["namespace"] for subject in bound} == {"spark-operator"}

    def test_it_is_on_the_node_that_is_always_there_and_asks_for_what_it_needs(self, operator):
        deployments = [one["spec"]["template"]["spec"] for one in operator if one["kind"] == "Deployment"]
        assert len(deployments) == 2
        for pod in deployments:
            assert pod["nodeSelector"] == {"workload": "drivers"}
            assert container(pod)["resources"]["requests"].keys() == {"cpu", "memory"}

    def test_it_watches_the_namespace_of_runs_alone(self, operator):
        (controller,) = [one for one in operator if one["metadata"]["name"].endswith("-controller")
                         and one["kind"] == "Deployment"]  # fmt: skip
        assert f"--namespaces={NAMESPACE}" in container(controller["spec"]["template"]["spec"])["args"]


class TestTrust:
    def condition(self, name):
        (statement,) = json.loads(filled(name))["Statement"]
        return statement["Condition"]

    def test_pod_identity_trusts_the_two_accounts_of_this_cluster(self):
        trusted = self.condition("trust-pod-identity.json")["StringEquals"]
        accounts = Objects(documents("namespace.yaml")).names("ServiceAccount")
        assert set(trusted["aws:RequestTag/kubernetes-service-account"]) == accounts
        assert trusted["aws:RequestTag/kubernetes-namespace"] == NAMESPACE
        assert trusted["aws:RequestTag/eks-cluster-name"] == document("cluster.yaml")["metadata"]["name"]

    def test_irsa_trusts_the_same_two(self):
        accounts = Objects(documents("namespace.yaml")).names("ServiceAccount")
        trusted = self.condition("trust-irsa.json")["StringEquals"][f"{NAMES['OIDC_ISSUER']}:sub"]
        assert set(trusted) == {f"system:serviceaccount:{NAMESPACE}:{account}" for account in accounts}

    @pytest.mark.parametrize("release", ["fruit-1", "fruit-2"])
    def test_irsa_by_release_trusts_the_accounts_of_every_release_and_no_others(self, helm3, release):
        patterns = self.condition("trust-irsa-by-release.json")["StringLike"][f"{NAMES['OIDC_ISSUER']}:sub"]
        made = helm3.render(release=release).names("ServiceAccount")
        assert len(made) == 2
        for account in made:
            subject = f"system:serviceaccount:{NAMESPACE}:{account}"
            assert [fnmatchcase(subject, pattern) for pattern in patterns].count(True) == 1
        for other in ("system:serviceaccount:verger:default", f"system:serviceaccount:other:{release}-driver"):
            assert not any(fnmatchcase(other, pattern) for pattern in patterns)

    @pytest.mark.parametrize("name", ["trust-irsa.json", "trust-irsa-by-release.json"])
    def test_a_token_must_be_for_sts(self, name):
        assert self.condition(name)["StringEquals"][f"{NAMES['OIDC_ISSUER']}:aud"] == "sts.amazonaws.com"


class TestTemplates:
    """CloudFormation takes them, by the schemas of eu-west-3's resources, which cfn-lint brings."""

    @staticmethod
    def lint(template):
        beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        program = shutil.which("cfn-lint", path=beside_python)
        if program is None:
            pytest.skip(
                "cfn-lint is not on the PATH: `pip install cfn-lint`, or make install with requirements/dev.lock"
            )
        command = [program, "--regions", "eu-west-3", "--include-checks", "I", "--non-zero-exit-code", "informational"]
        return subprocess.run([*command, "-t", str(template)], capture_output=True, text=True, timeout=120, check=False)

    @pytest.mark.parametrize("template", ["network.yaml", "data.yaml"])
    def test_each_resource_is_one_that_the_region_has(self, template):
        done = self.lint(AWS / template)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_property_that_does_not_exist_is_found(self, tmp_path):
        wrong = tmp_path / "network.yaml"
        wrong.write_text((AWS / "network.yaml").read_text().replace("VpcEndpointType", "EndpointType"))
        done = self.lint(wrong)
        assert done.returncode != 0
        assert "'EndpointType'" in done.stdout


class TestBuckets:
    made = cloudformation("data.yaml")["Resources"]

    @pytest.mark.parametrize("bucket", ["Photographs", "Results"])
    def test_a_bucket_is_private_encrypted_and_outlives_its_stack(self, bucket):
        one = self.made[f"{bucket}Bucket"]
        properties = one["Properties"]
        assert (one["DeletionPolicy"], one["UpdateReplacePolicy"]) == ("Retain", "Retain")
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(properties["PublicAccessBlockConfiguration"]) == 4
        assert properties["BucketEncryption"]
        (statement,) = self.made[f"{bucket}ByTlsOnly"]["Properties"]["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert len(statement["Resource"]) == 2

    def test_stale_uploads_are_aborted_as_lifecycle_json_says(self):
        (rule,) = self.made["ResultsBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
        (same,) = json.loads((AWS / "lifecycle.json").read_text())["Rules"]
        assert rule == {
            "Id": same["ID"],
            "Status": same["Status"],
            "Prefix": {"Sub": same["Filter"]["Prefix"].replace("PREFIX", "${Prefix}")},
            "AbortIncompleteMultipartUpload": same["AbortIncompleteMultipartUpload"],
        }

    def test_the_registry_is_the_one_that_the_run_names(self):
        repository = document("run-values.yaml")["image"]["repository"]
        assert repository.endswith(f"/{self.made['Images']['Properties']['RepositoryName']}")

    def test_the_budget_mails_before_and_when_it_is_spent(self):
        alarms = self.made["Budget"]["Properties"]["NotificationsWithSubscribers"]
        kinds = {(alarm["Notification"]["NotificationType"], alarm["Notification"]["Threshold"]) for alarm in alarms}
        assert kinds == {("ACTUAL", 50), ("ACTUAL", 100), ("FORECASTED", 100)}
        assert all(alarm["Subscribers"] for alarm in alarms)
