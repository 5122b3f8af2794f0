"""What pods may reach and be reached by, and nothing else."""

import ipaddress
import json

import pytest

from tests.chart.conftest import cluster, merge_values

pytestmark = pytest.mark.required_in_ci

# What any address never includes: a node's own services, of which one hands out the node's role.
OF_NODES = {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10", "fd00:ec2::254/128"]}
PRIVATE = {"0.0.0.0/0": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"], "::/0": ["fc00::/7"]}
NOT_THERE = {block: OF_NODES[block] + PRIVATE[block] for block in OF_NODES}
EVERYWHERE = set(OF_NODES)
IN_CLUSTER = {
    "run": {"endpoint_url": "http://store.store:9000", "store_location": "eu"},
    "networkPolicy": {"store": {"namespace": "store", "podLabels": {"app": "store"}}},
}


def selected(selector, labels):
    """Whether a pod with these labels is meant."""
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(item["key"]) in item["values"] for item in selector.get("matchExpressions", [])
    )


def peers(rules, side):
    """Who is let through, and where: (peer, port, protocol) by rule; a rule without peers or ports would be open."""
    for rule in rules:
        assert rule[side]
        assert rule["ports"]
        for peer in rule[side]:
            assert peer
            yield from ((peer, port["port"], port["protocol"]) for port in rule["ports"])


def flows(objects, role):
    """What policies let a pod do, in words: direction, peer, port."""
    labels = {
        "app.kubernetes.io/name": "verger",
        "app.kubernetes.io/instance": "orchard",
        "app.kubernetes.io/component": role,
    }
    found = set()
    for policy in (item["spec"] for item in objects if item["kind"] == "NetworkPolicy"):
        if selected(policy["podSelector"], labels):
            assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
            for direction, side in (("ingress", "from"), ("egress", "to")):
                for peer, port, protocol in peers(policy[direction], side):
                    found |= {(side, who, port, protocol) for who in named(peer, labels)}
    return found


def named(peer, labels):
    if "ipBlock" in peer:
        assert {*OF_NODES.get(peer["ipBlock"]["cidr"], ())} <= {*peer["ipBlock"].get("except", ())}
        return {peer["ipBlock"]["cidr"]}
    if "namespaceSelector" in peer:
        return {json.dumps(peer["namespaceSelector"]["matchLabels"]) + json.dumps(peer.get("podSelector", {}))}
    roles = ("driver", "executor", "doctor")
    return {role for role in roles if selected(peer["podSelector"], labels | {"app.kubernetes.io/component": role})}


DNS = '{"kubernetes.io/metadata.name": "kube-system"}{"matchLabels": {"k8s-app": "kube-dns"}}'
STORE = '{"kubernetes.io/metadata.name": "store"}{"matchLabels": {"app": "store"}}'
CACHE = "169.254.20.10/32"
OF_ALL = {("to", who, 53, protocol) for who in (DNS, CACHE) for protocol in ("UDP", "TCP")} | {
    ("to", STORE, 9000, "TCP")
}
OF_THE_DRIVER = {
    ("from", "executor", 7078, "TCP"),
    ("from", "executor", 7079, "TCP"),
    ("to", "executor", 7079, "TCP"),
    ("to", "10.0.0.1/32", 443, "TCP"),
}
OF_EXECUTORS = {
    ("from", "driver", 7079, "TCP"),
    ("from", "executor", 7079, "TCP"),
    ("to", "driver", 7078, "TCP"),
    ("to", "driver", 7079, "TCP"),
    ("to", "executor", 7079, "TCP"),
}


def excepted(objects, role):
    """What the blocks of any address do not include."""
    policy = objects.one("NetworkPolicy", f"orchard-{role}")["spec"]
    blocks = [peer["ipBlock"] for rule in policy["egress"] for peer in rule["to"] if "ipBlock" in peer]
    return {block["cidr"]: set(block["except"]) for block in blocks if "except" in block}


def is_inside(part, whole):
    """Whether a network is a part of another, and not all of it."""
    return part.version == whole.version and part != whole and part.subnet_of(whole)


def to_the_store(objects, role):
    """The addresses and ports that are neither DNS nor Kubernetes nor the run's own pods."""
    return {
        (who, port)
        for side, who, port, _ in flows(objects, role)
        if side == "to" and port != 53 and who not in ("driver", "executor", "10.0.0.1/32")
    }


@pytest.mark.parametrize("role", ["driver", "doctor"])
def test_a_driver_may_reach_executors_the_store_and_kubernetes_only(helm, role):
    assert flows(helm.render(IN_CLUSTER), role) == OF_ALL | OF_THE_DRIVER


def test_an_executor_may_reach_the_other_pods_and_the_store_only(helm):
    assert flows(helm.render(IN_CLUSTER), "executor") == OF_ALL | OF_EXECUTORS


def test_pods_of_other_releases_are_not_allowed(helm3):
    for policy in (item["spec"] for item in helm3.render() if item["kind"] == "NetworkPolicy"):
        assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "orchard"
        for rule in policy["ingress"] + policy["egress"]:
            for peer in rule.get("from", []) + rule.get("to", []):
                if peer.keys() == {"podSelector"}:
                    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "orchard"


class TestStore:
    @pytest.mark.parametrize("role", ["driver", "executor"])
    @pytest.mark.parametrize("endpoint", [None, "https://s3.eusc-de-east-1.amazonaws.eu"])
    def test_aws_is_allowed_at_any_public_address(self, helm3, role, endpoint):
        objects = helm3.render({"run": {"endpoint_url": endpoint}})
        assert to_the_store(objects, role) == {(block, 443) for block in EVERYWHERE}

    @pytest.mark.parametrize("role", ["driver", "executor"])
    def test_any_address_on_aws_does_not_include_private_networks(self, helm3, role):
        """The API server and every service of the VPC listen on 443 too."""
        assert excepted(helm3.render(), role) == {block: set(NOT_THERE[block]) for block in EVERYWHERE}

    def test_what_any_address_excludes_can_be_set(self, helm3):
        objects = helm3.render({"networkPolicy": {"store": {"except": ["10.0.0.0/16", "fd00::/64"]}}})
        own = {"0.0.0.0/0": {"10.0.0.0/16"}, "::/0": {"fd00::/64"}}
        assert excepted(objects, "driver") == {block: own[block] | set(OF_NODES[block]) for block in EVERYWHERE}

    @pytest.mark.parametrize("role", ["driver", "executor"])
    def test_an_exception_is_one_of_every_block_that_it_lies_inside(self, helm, role):
        """Kubernetes refuses one that does not, or that is all of the block."""
        addresses = ["10.0.0.0/8", "10.3.0.0/16", "10.64.0.0/10", "2001:db8::/32", "::/0", "203.0.113.0/24"]
        own = ["10.3.7.0/24", "10.3.0.0/16", "2001:DB8:0:1::/64", "203.0.113.128/25"]
        objects = helm.render({"networkPolicy": {"store": {"addresses": addresses, "except": own}}})
        assert excepted(objects, role) == {
            "10.0.0.0/8": {"10.3.7.0/24", "10.3.0.0/16"},
            "10.3.0.0/16": {"10.3.7.0/24"},
            "2001:db8::/32": {"2001:DB8:0:1::/64"},
            "::/0": {*OF_NODES["::/0"], "2001:DB8:0:1::/64"},
            "203.0.113.0/24": {"203.0.113.128/25"},
        }
        assert {who for who, _ in to_the_store(objects, role)} == {*addresses}

    @pytest.mark.parametrize("block", ["10.0.0.0/7", "0.0.0.0/1", "169.0.0.0/8", "128.0.0.0/1", "fd00::/8", "f000::/4"])
    def test_every_exception_lies_inside_its_block(self, helm3, block):
        blocks = excepted(
            helm3.render({"networkPolicy": {"store": {"addresses": [block, "::/0", "0.0.0.0/0"]}}}), "driver"
        )
        whole = ipaddress.ip_network(block)
        of_nodes = [found for family in OF_NODES.values() for found in family]
        inside = {part for part in of_nodes if is_inside(ipaddress.ip_network(part), whole)}
        assert blocks.get(block, set()) == inside
        assert {found for found in blocks if found in EVERYWHERE} == EVERYWHERE

    def test_private_networks_are_not_excluded_of_what_was_given(self, helm3):
        for addresses in (["10.0.0.0/7"], ["10.1.0.0/24"], ["172.16.0.0/12"]):
            assert excepted(helm3.render({"networkPolicy": {"store": {"addresses": addresses}}}), "driver") == {}

    def test_a_nodes_own_services_are_excluded_always(self, helm3):
        objects = helm3.render({"networkPolicy": {"store": {"except": [], "addresses": ["0.0.0.0/0", "10.0.5.0/24"]}}})
        assert excepted(objects, "driver")["0.0.0.0/0"] == {"169.254.0.0/16"}
        assert ("10.0.5.0/24", 443) in to_the_store(objects, "driver")

    def test_an_interface_endpoint_needs_its_addresses(self, helm3):
        run = {"endpoint_url": "https://bucket.vpce-0a1b-cd.s3.eu-west-3.vpce.amazonaws.com", "region": "eu-west-3"}
        assert "networkPolicy.store.addresses: give the subnets" in helm3.refuses({"run": run})
        objects = helm3.render({"run": run, "networkPolicy": {"store": {"addresses": ["10.0.5.0/24"]}}})
        assert to_the_store(objects, "driver") == {("10.0.5.0/24", 443)}

    @pytest.mark.parametrize("role", ["driver", "executor"])
    def test_addresses_can_be_given_for_aws_too(self, helm3, role):
        objects = helm3.render({"networkPolicy": {"store": {"addresses": ["10.1.0.0/24"]}}})
        assert to_the_store(objects, role) == {("10.1.0.0/24", 443)}

    @pytest.mark.parametrize(
        ("endpoint", "port"),
        [
            ("https://store.example", 443),
            ("http://store.example", 80),
            ("https://store.example:8443/", 8443),
            ("http://[fd00::7]:9000", 9000),
        ],
    )
    def test_another_store_is_allowed_at_its_address_and_port_only(self, helm3, endpoint, port):
        given = {
            "run": {"endpoint_url": endpoint},
            "networkPolicy": {"store": {"addresses": ["203.0.113.7/32", "fd00::7/128"]}},
        }
        expected = {("203.0.113.7/32", port), ("fd00::7/128", port)}
        assert to_the_store(helm3.render(given), "executor") == expected

    def test_the_port_of_the_stores_pods_can_be_set(self, helm3):
        objects = helm3.render(merge_values(IN_CLUSTER, {"networkPolicy": {"store": {"port": 9001}}}))
        assert to_the_store(objects, "executor") == {(STORE, 9001)}

    @pytest.mark.parametrize("endpoint", ["https://amazonaws.com.example.org", "https://notamazonaws.com"])
    def test_a_host_with_a_name_like_aws_is_not_taken_for_aws(self, helm3, endpoint):
        assert "networkPolicy.store" in helm3.refuses({"run": {"endpoint_url": endpoint}})


def test_the_pod_identity_agent_is_allowed_where_it_is_used(helm3):
    objects = helm3.render(merge_values(IN_CLUSTER, {"credentials": {"podIdentity": True}}))
    agent = {("to", "169.254.170.23/32", 80, "TCP"), ("to", "fd00:ec2::23/128", 80, "TCP")}
    assert flows(objects, "driver") == OF_ALL | OF_THE_DRIVER | agent
    assert flows(objects, "executor") == OF_ALL | OF_EXECUTORS | agent


@pytest.mark.parametrize("role", ["driver", "executor"])
def test_a_proxy_is_reached_in_the_stores_place(helm3, role):
    """On any cluster the rest is as without it."""
    proxy = {"proxy": {"url": "http://proxy.example:3128/", "addresses": ["10.0.9.0/24"]}}
    reached = flows(helm3.render(merge_values(IN_CLUSTER, proxy)), role)
    directly = ("to", STORE, 9000, "TCP")
    expected = OF_ALL | (OF_THE_DRIVER if role == "driver" else OF_EXECUTORS)
    assert reached == expected - {directly} | {("to", "10.0.9.0/24", 3128, "TCP")}


def test_metrics_can_be_read_from_the_given_namespace_only(helm3):
    metrics = {"metrics": {"enabled": True, "namespaceLabels": {"team": "operations"}}}
    objects = helm3.render(merge_values(IN_CLUSTER, metrics))
    assert flows(objects, "driver") == OF_ALL | OF_THE_DRIVER | {("from", '{"team": "operations"}{}', 4040, "TCP")}
    assert flows(objects, "executor") == OF_ALL | OF_EXECUTORS
    annotations = objects.spec["driver"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == "/metrics/prometheus"
    assert "annotations" not in objects.spec["executor"]["template"]["metadata"]


@pytest.mark.parametrize("role", ["driver", "executor", "doctor"])
def test_a_dns_cache_on_the_nodes_is_allowed(helm3, role):
    assert ("to", CACHE, 53, "UDP") in flows(helm3.render(IN_CLUSTER), role)


def test_dns_at_an_address_is_allowed_beside_its_pods(helm3):
    """On EKS Auto Mode the nodes answer at the ClusterIP, and no pod has the label."""
    given = merge_values(IN_CLUSTER, {"networkPolicy": {"dns": {"addresses": ["172.20.0.10/32", CACHE]}}})
    reached = flows(helm3.render(given), "executor")
    assert {who for _, who, port, _ in reached if port == 53} == {DNS, CACHE, "172.20.0.10/32"}


def test_the_port_of_dns_can_be_set(helm3):
    reached = flows(helm3.render(merge_values(IN_CLUSTER, {"networkPolicy": {"dns": {"port": 5353}}})), "executor")
    assert {port for _, who, port, _ in reached if who == DNS} == {5353}


def test_network_policies_can_be_disabled(helm3):
    objects = helm3.render({"networkPolicy": {"enabled": False, "apiServer": {"addresses": []}}})
    assert not objects.names("NetworkPolicy")


class TestApiServer:
    def test_the_api_servers_addresses_are_looked_up_at_install(self, helm):
        given = merge_values(IN_CLUSTER, {"networkPolicy": {"apiServer": {"addresses": []}}})
        with cluster() as where:
            objects = helm.render(given, "--dry-run=server", "--disable-openapi-validation", *where)
        found = {("to", "172.18.0.2/32", 6443, "TCP"), ("to", "172.18.0.3/32", 6443, "TCP")}
        assert found <= flows(objects, "driver")
        assert not found & flows(objects, "executor")

    def test_the_services_own_address_is_looked_up_too(self, helm):
        """Agents that filter before they translate addresses see it, and not those of the endpoints."""
        given = merge_values(IN_CLUSTER, {"networkPolicy": {"apiServer": {"addresses": []}}})
        with cluster() as where:
            objects = helm.render(given, "--dry-run=server", "--disable-openapi-validation", *where)
        found = {("to", "10.96.0.1/32", 443, "TCP"), ("to", "fd00::1/128", 443, "TCP")}
        assert found <= flows(objects, "driver")
        assert not found & flows(objects, "executor")

    @pytest.mark.parametrize("role", ["driver", "doctor"])
    def test_the_services_own_address_can_be_given(self, helm3, role):
        given = {"networkPolicy": {"apiServer": {"clusterIPs": ["10.100.0.1", "fd00::1"], "port": 6443}}}
        reached = flows(helm3.render(given), role)
        assert {
            ("to", "10.0.0.1/32", 6443, "TCP"),
            ("to", "10.100.0.1/32", 443, "TCP"),
            ("to", "fd00::1/128", 443, "TCP"),
        } <= reached

    def test_a_cluster_that_reports_no_address_is_an_error(self, helm3):
        with cluster(says={}) as where:
            said = helm3.refuses({"networkPolicy": {"apiServer": {"addresses": []}}}, "--dry-run=server", *where)
        assert "networkPolicy.apiServer.addresses" in said

    def test_given_addresses_are_not_looked_up(self, helm3):
        given = {"networkPolicy": {"apiServer": {"addresses": ["10.0.0.0/16", "fd00::/64"], "port": 6443}}}
        reached = flows(helm3.render(given), "driver")
        assert {("to", "10.0.0.0/16", 6443, "TCP"), ("to", "fd00::/64", 6443, "TCP")} <= reached

    def test_a_compaction_may_reach_the_api_server(self, helm3):
        assert ("to", "10.0.0.1/32", 443, "TCP") in flows(helm3.render({"command": "compact"}), "driver")
