"""What a release may not say is refused before anything is made, in words that name the value."""

import ipaddress

import pytest

from tests.chart.conftest import LEAST, merge_values, nested

pytestmark = pytest.mark.required_in_ci

KEY = "sparkConf.spark\\.kubernetes\\."

# Values, and what the message must hold.
REFUSED = [
    ("run.variance", 2, "/run/variance"),
    ("run.varianc", 0.5, "'varianc'"),
    ("run.components", 0, "/run/components"),
    ("run.backbone", "resnet", "/run/backbone"),
    ("run.driver_memory", "1Gi", "/run/driver_memory"),
    ("run.driver_memory", None, "run.driver_memory: is required"),
    ("run.name", "Äpfel", "/run/name"),
    ("run.label", "Apple", "/run/label"),
    ("run.input", "/data/fruit", "run.input: must be s3://BUCKET/FOLDER"),
    ("run.output", "file:/out", "run.output: must be s3://BUCKET/FOLDER"),
    ("run.inventory", "/reports", "run.inventory: must be s3://BUCKET/FOLDER"),
    ("run.event_log", "/events", "run.event_log: must be s3://BUCKET/FOLDER"),
    ("run.ca_bundle", "/ca.pem", "caBundle.configMap"),
    ("run.executors_timeout", -1, "/run/executors_timeout"),
    ("run.executors_timeout", 86_400, "86400 s is no shorter than the 86400 s of an attempt (deadlineSeconds"),
    # where the data may be
    ("run.region", "us-east-1", "/run/region"),
    ("run.region", "eu-west-4", "/run/region"),
    ("run.region", "eu-west-2", "run.region: eu-west-2 is not in the EU: give run.allow_london"),
    ("run.region", "eu-central-2", "run.region: eu-central-2 is not in the EU: give run.allow_zurich"),
    ("run.store_location", "us", "/run/store_location"),
    ("run.allow_london", "yes", "/run/allow_london"),
    ("run.node_region", ["us-east:US:a good reason"], "/run/node_region/0"),
    ("run.node_region", ["fr-par:FR"], "/run/node_region/0"),
    ("run.node_region", ["fr-par:FR:" + 8 * " "], "/run/node_region/0"),
    ("run.allow_london", 8 * " ", "/run/allow_london"),
    ("run.allow_zurich", 8 * " ", "/run/allow_zurich"),
    ("run.node_region", ["fr-par:FR:DPA of 2026", "us-east-1:FR:contract"], "run.node_region: us-east-1:FR:contract"),
    ("run.node_region", ["US-Gov-West-1:FR:contract xy"], "run.node_region: US-Gov-West-1:FR:contract xy"),
    ("run.node_region", ["eu-west-2:FR:contract xy"], "give run.allow_london"),
    ("run.node_region", ["EU-CENTRAL-2:FR:contract xy"], "give run.allow_zurich"),
    ("residency.regions", ["eu-west-2"], "/residency/regions/0"),
    ("residency.regions", ["us-east-1"], "/residency/regions/0"),
    ("residency.regions", [], "residency.regions: is empty"),
    # what pods may reach
    ("run.endpoint_url", "http://s3.eu-west-3.amazonaws.com", "networkPolicy.store: say where the store"),
    ("networkPolicy.dns.namespace", "", "/networkPolicy/dns/namespace"),
    ("networkPolicy.dns.port", 0, "/networkPolicy/dns/port"),
    ("run.endpoint_url", "http://store.store:9000", "networkPolicy.store: say where the store"),
    ("networkPolicy.apiServer.addresses", [], "networkPolicy.apiServer.addresses: give the API server's CIDRs"),
    ("networkPolicy.apiServer.addresses", ["10.0.0.1"], "/networkPolicy/apiServer/addresses/0"),
    ("networkPolicy.apiServer.addresses", ["10.0.0.256/16"], "networkPolicy.apiServer.addresses: 10.0.0.256/16 is no"),
    (
        "networkPolicy.apiServer.clusterIPs",
        ["10.100.0.0/16"],
        "networkPolicy.apiServer.clusterIPs: 10.100.0.0/16 is no",
    ),
    ("networkPolicy.store.addresses", ["10.0.0.0/33"], "networkPolicy.store.addresses: 10.0.0.0/33 is no CIDR"),
    ("networkPolicy.store.addresses", ["10.0.0/8"], "networkPolicy.store.addresses: 10.0.0/8 is no CIDR"),
    ("networkPolicy.store.addresses", ["10.00.0.0/8"], "networkPolicy.store.addresses: 10.00.0.0/8 is no CIDR"),
    ("networkPolicy.store.except", ["0.0.0.0/0"], "networkPolicy.store.except: 0.0.0.0/0 is every address"),
    ("networkPolicy.store.except", ["fe80::/129"], "networkPolicy.store.except: fe80::/129 is no CIDR"),
    ("networkPolicy.store.except", ["fd00::/16", "::/0"], "networkPolicy.store.except: ::/0 is every address"),
    (
        "networkPolicy.store",
        {"addresses": ["10.0.0.0/8"], "except": ["11.0.0.0/16"]},
        "11.0.0.0/16 must lie inside one of",
    ),
    (
        "networkPolicy.store",
        {"addresses": ["10.0.0.0/8"], "except": ["10.0.0.0/8"]},
        "10.0.0.0/8 must lie inside one of",
    ),
    (
        "networkPolicy.store",
        {"addresses": ["10.0.0.0/8"], "except": ["10.0.0.0/7"]},
        "10.0.0.0/7 must lie inside one of",
    ),
    ("networkPolicy.store", {"addresses": ["10.0.0.0/8"], "except": ["a00::/16"]}, "a00::/16 must lie inside one of"),
    (
        "networkPolicy.store",
        {"addresses": ["10.0.0.0/8", "fd00::/8"], "except": ["10.1.0.0/16", "fe00::/16"]},
        "networkPolicy.store.except: fe00::/16 must lie inside one of the store's addresses and be smaller; they are",
    ),
    (
        "networkPolicy.store",
        {"namespace": "store", "except": ["10.1.0.0/16"]},
        "10.1.0.0/16 must lie inside one of the store's addresses and be smaller; they are those of its pods alone",
    ),
    ("networkPolicy.dns.addresses", ["fd00::1::2/64"], "networkPolicy.dns.addresses: fd00::1::2/64 is no CIDR"),
    ("networkPolicy.dns.addresses", ["fd00:1/64"], "networkPolicy.dns.addresses: fd00:1/64 is no CIDR"),
    ("networkPolicy.dns.addresses", [":::/64"], "networkPolicy.dns.addresses: :::/64 is no CIDR"),
    ("proxy.url", "http://user:word@proxy:3128", "/proxy/url"),
    ("proxy.url", "proxy:3128", "/proxy/url"),
    ("proxy.url", "http://proxy:3128", "proxy.addresses: give the CIDRs of http://proxy:3128"),
    ("proxy", {"url": "http://proxy:3128", "addresses": ["10.0.0/8"]}, "proxy.addresses: 10.0.0/8 is no CIDR"),
    ("driver.extraEnv", [{"name": "https_proxy", "value": "http://a:1"}], "driver.extraEnv: https_proxy is refused"),
    ("metrics.enabled", True, "metrics.namespaceLabels: say from which namespace"),
    ("metrics.podMonitor.enabled", True, "metrics.podMonitor.enabled: needs metrics.enabled"),
    ("metrics.prometheusRule.enabled", True, "metrics.prometheusRule.enabled: needs metrics.enabled"),
    ("metrics.podMonitor.interval", "15", "/metrics/podMonitor/interval"),
    ("metrics.podMonitor.interval", "5m", "/metrics/podMonitor/interval"),  # an alert would fire on a healthy run
    ("metrics.podMonitor.interval", "121s", "/metrics/podMonitor/interval"),
    # what belongs together
    ("command", "delete", "/command"),
    ("command", "project", "fittedRun: is required"),
    ("fittedRun", "s3://results/verger", "fittedRun: is for command project"),
    ("fittedRun", "/runs/1", "/fittedRun"),
    # nothing secret
    ("run.endpoint_url", "https://user:word@store", "/run/endpoint_url"),
    ("run.input", "s3://KEY:word@bucket/fruit", "run.input: must hold no user and password"),
    ("run.weights", "s3://KEY:word@bucket/own.h5", "run.weights: must hold no user and password"),
    ("credentials.accessKey", "KEY", "'accessKey'"),
    (f"{KEY}driver\\.secrets\\.keys", "/keys", "sparkConf: spark.kubernetes.driver.secrets.keys is refused"),
    (f"{KEY}driver\\.secretKeyRef\\.KEY", "keys:KEY", "is refused"),
    (f"{KEY}authenticate\\.oauthToken", "abc", "is refused"),
    ("sparkConf.spark\\.hadoop\\.fs\\.s3a\\.access\\.key", "KEY", "'spark.hadoop.fs.s3a.access.key' not allowed"),
    ("sparkConf.spark\\.hadoop\\.fs\\.s3a\\.secret\\.key", "KEY", "'spark.hadoop.fs.s3a.secret.key' not allowed"),
    ("sparkConf.spark\\.ssl\\.keyPassword", "word", "'spark.ssl.keyPassword' not allowed"),
    # what others set: the job's session, the operator, the templates
    ("sparkConf.spark\\.sql\\.shuffle\\.partitions", "8", "'spark.sql.shuffle.partitions' not allowed"),
    ("sparkConf.spark\\.master", "local", "'spark.master' not allowed"),
    ("sparkConf.spark\\.task\\.maxFailures", "1", "'spark.task.maxFailures' not allowed"),
    ("sparkConf.spark\\.executor\\.memory", "1g", "'spark.executor.memory' not allowed"),
    (f"{KEY}namespace", "other", "the operator sets it"),
    (f"{KEY}driver\\.master", "https://x", "the operator sets it"),
    (f"{KEY}driver\\.pod\\.name", "x", "the operator sets it"),
    (f"{KEY}executor\\.podNamePrefix", "x", "the operator sets it"),
    (f"{KEY}container\\.image", "x:1", "image.repository"),
    (f"{KEY}executor\\.container\\.image", "x:1", "image.repository"),
    (f"{KEY}authenticate\\.driver\\.serviceAccountName", "x", "driver.serviceAccount"),
    (f"{KEY}executor\\.label\\.app", "x", "executor.labels"),
    (f"{KEY}driver\\.annotation\\.app", "x", "driver.labels, executor.labels and annotations"),
    (f"{KEY}node\\.selector\\.zone", "a", "driver.nodeSelector"),
    (f"{KEY}executor\\.podTemplateFile", "/x", "templates"),
    (f"{KEY}driver\\.pod\\.featureSteps", "x", "templates"),
    (f"{KEY}driverEnv\\.KEY", "x", "templates"),
    (f"{KEY}securityContext\\.allowPrivilegeEscalation", "true", "templates"),
    (f"{KEY}trust\\.certificates", "true", "the API server is known by its certificate"),
    (f"{KEY}driver\\.volumes\\.hostPath\\.a\\.mount\\.path", "/a", "a node's disk is not the run's"),
    (f"{KEY}executor\\.volumes\\.nfs\\.a\\.mount\\.path", "/a", "a node's disk is not the run's"),
    (f"{KEY}executor\\.decommissionLabel", "gone", "the driver's Role"),
    (f"{KEY}allocation\\.pods\\.allocator", "statefulset", "the driver's Role"),
    (f"{KEY}executor\\.limit\\.cores", "1", "a value of driver or executor"),
    (f"{KEY}executor\\.request\\.cores", "1", "a value of driver or executor"),
    (f"{KEY}memoryOverheadFactor", "0.5", "a value of driver or executor"),
    (f"{KEY}allocation\\.batch\\.size", 10, "/sparkConf/spark.kubernetes.allocation.batch.size"),
    ("driver.labels.app\\.kubernetes\\.io/component", "executor", "driver.labels: app.kubernetes.io/component"),
    ("executor.labels.spark-role", "driver", "executor.labels: spark-role is reserved"),
    ("driver.affinity", {}, "'affinity'"),
    ("driver.env", [], "'env'"),
    ("driver.extraEnv", [{"name": "A-B", "value": "c"}], "/driver/extraEnv/0/name"),
    ("driver.extraEnv", [{"name": "A", "value": 1}], "/driver/extraEnv/0/value"),
    ("driver.extraEnv", [{"name": "VERGER_INPUT", "value": "s3://a/b"}], "driver.extraEnv: VERGER_INPUT is refused"),
    ("executor.extraEnv", [{"name": "SPARK_USER", "value": "x"}], "executor.extraEnv: SPARK_USER is refused"),
    ("executor.extraEnv", [{"name": "HOME", "value": "/"}], "executor.extraEnv: HOME is refused"),
    ("driver.extraEnv", [{"name": "AWS_REGION", "value": "us-east-1"}], "run.region"),
    ("driver.extraEnv", [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}], "credentials.existingSecret"),
    ("driver.extraEnv", [{"name": "API_TOKEN", "value": "x"}], "driver.extraEnv: API_TOKEN: a secret belongs into"),
    ("driver.extraEnv", 2 * [{"name": "A", "value": "x"}], "driver.extraEnv: A is given twice"),
    ("driver.extraEnv", [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {}}}], "not both"),
    ("executor.extraEnvFrom", [{"prefix": "A_"}], "executor.extraEnvFrom: name a ConfigMap"),
    (
        "executor.volumeMounts",
        [{"name": "a", "mountPath": "/a"}],
        "executor.volumeMounts: a is none of executor.volumes",
    ),
    ("securityContext.runAsUser", 0, "/securityContext/runAsUser"),
    ("securityContext.privileged", True, "'privileged'"),
    ("applicationLabels.app\\.kubernetes\\.io/name", "x", "applicationLabels: app.kubernetes.io/name is reserved"),
    ("applicationLabels.queue", "of the team", "/applicationLabels/queue"),
    ("schedule.cron", "every night", "/schedule/cron"),
    ("schedule.cron", "0 0 3 * * *", "/schedule/cron"),
    ("schedule.cron", "61 * * * *", "schedule.cron: 61 is no minute, which is 0 to 59"),
    ("schedule.cron", "0 24 * * *", "schedule.cron: 24 is no hour, which is 0 to 23"),
    ("schedule.cron", "0 0 0 * *", "schedule.cron: 0 is no day of the month, which is 1 to 31"),
    ("schedule.cron", "0 0 1,32 * *", "schedule.cron: 32 is no day of the month"),
    ("schedule.cron", "0 0 1 13 *", "schedule.cron: 13 is no month, which is 1 to 12"),
    ("schedule.cron", "0 0 * sun *", "schedule.cron: sun is no month"),
    ("schedule.cron", "0 0 * * 1-7", "schedule.cron: 1-7 is no day of the week, which is 0 to 6, Sunday is 0"),
    ("schedule.cron", "0 0 * * funday", "schedule.cron: funday is no day of the week"),
    ("schedule.cron", "a 0 * * *", "schedule.cron: a is no minute"),
    ("schedule.cron", "*/0 * * * *", "schedule.cron: */0: the step, behind the slash, must be at least 1"),
    ("schedule.cron", "0 8-18/00 * * *", "schedule.cron: 8-18/00: the step, behind the slash, must be at least 1"),
    ("schedule.cron", "*/a * * * *", "schedule.cron: */a is no minute"),
    ("schedule.cron", "1-2-3 * * * *", "schedule.cron: 1-2-3 is no minute"),
    ("schedule.cron", "0, * * * *", "schedule.cron:  is no minute"),
    ("schedule.cron", "30-15 * * * *", "schedule.cron: 30-15 ends before it begins"),
    ("schedule.cron", "0 0 * * fri-mon", "schedule.cron: fri-mon ends before it begins"),
    ("schedule.cron", "@reboot", "/schedule/cron"),
    ("schedule.cron", "@every 5", "/schedule/cron"),
    ("schedule.cron", "@every h", "/schedule/cron"),
    ("schedule.cron", "@every 1d", "/schedule/cron"),
    ("schedule.cron", "@every 0h0m", "schedule.cron: @every 0h0m is no time"),
    ("schedule.timeZone", "", "/schedule/timeZone"),
    ("schedule.timeZone", "Paris", "/schedule/timeZone"),
    ("schedule.timeZone", "europe/paris", "/schedule/timeZone"),
    ("schedule.timeZone", "Mars/Olympus", "/schedule/timeZone"),
    ("schedule.timeZone", "Mars", "/schedule/timeZone"),
    ("schedule.timeZone", "Europe/../Etc", "/schedule/timeZone"),
    ("schedule.timeZone", "local", "/schedule/timeZone"),
    ("schedule.timeZone", "+02:00", "/schedule/timeZone"),
    ("schedule.successfulRunHistoryLimit", 0, "/schedule/successfulRunHistoryLimit"),
    # units, counts, names
    ("image.repository", "registry.example/verger:1", "/image/repository"),
    ("image.repository", "verger:1", "/image/repository"),
    ("image.repository", f"registry.example:5000/verger@sha256:{64 * 'a'}", "/image/repository"),
    ("image.repository", "", "image.repository: is required"),
    ("image.digest", "sha256:abc", "/image/digest"),
    ("image.digest", 64 * "a", "/image/digest"),
    ("image.pullSecrets", [""], "/image/pullSecrets/0"),
    ("image.architectures", [], "/image/architectures"),
    ("image.architectures", "arm64", "/image/architectures"),
    ("image.architectures", ["x86/64"], "/image/architectures/0"),
    ("caBundle.key", "", "/caBundle/key"),
    ("credentials.existingSecret", "Keys", "/credentials/existingSecret"),
    ("driver.coreLimit", "half", "/driver/coreLimit"),
    ("image.tag", "latest", "image.tag: latest is refused"),
    ("executor.memory", "1Gi", "/executor/memory"),
    ("executor.memory", "1.5g", "/executor/memory"),
    ("executor.memory", "", "/executor/memory"),
    ("driver.memoryOverhead", "1Gi", "/driver/memoryOverhead"),
    ("driver.coreRequest", "half", "/driver/coreRequest"),
    ("executor.instances", 0, "/executor/instances"),
    ("executor.cores", 0, "/executor/cores"),
    # what Kubernetes or Spark would refuse later
    ("executor.coreLimit", "500m", "executor.coreLimit: 500m is less than the request, 1"),
    ("driver", {"coreRequest": "1.5", "coreLimit": "1"}, "driver.coreLimit: 1 is less than the request, 1.5"),
    (
        "executor",
        {"ephemeralStorageRequest": "1Gi", "ephemeralStorageLimit": "1G"},
        "executor.ephemeralStorageLimit: 1G",
    ),
    ("driver.ephemeralStorageRequest", "8gb", "/driver/ephemeralStorageRequest"),
    ("driver.emptyDirSizeLimit", "0", "/driver/emptyDirSizeLimit"),
    ("executor.memory", "100m", "executor.memory: 100m is less than 450m"),
    ("run.driver_memory", "2000g", "run.driver_memory: 2000g is more than 1024g"),
    ("driver.memoryOverhead", "1m", "driver.memoryOverhead: 1m is less than 384m"),
    ("executor.memoryOverhead", "383m", "executor.memoryOverhead: 383m is less than 384m"),
    ("executor.memoryOverhead", "2000000m", "executor.memoryOverhead: 2000000m is more than 1024g"),
    ("driver.labels.team", "fruit and vegetables", "/driver/labels/team"),
    ("driver.labels.team", 64 * "x", "/driver/labels/team"),
    ("executor.labels.of the team", "fruit", "'of the team'"),
    ("executor.annotations.-note", "x", "'-note'"),
    ("driver.nodeSelector.pool", "a/b", "/driver/nodeSelector/pool"),
    ("spot.nodeLabels.lifecycle", "-spot", "/spot/nodeLabels/lifecycle"),
    ("metrics.namespaceLabels.team", "a b", "/metrics/namespaceLabels/team"),
    ("networkPolicy.store.podLabels.app", "a b", "/networkPolicy/store/podLabels/app"),
    ("driver.nodeExpressions", [{"key": "a", "operator": "in", "values": ["b"]}], "/driver/nodeExpressions/0/operator"),
    ("driver.nodeExpressions", [{"key": "a"}], "'operator'"),
    ("driver.nodeExpressions", [{"key": "a", "operator": "In"}], "driver.nodeExpressions: a: operator In needs values"),
    ("executor.nodeExpressions", [{"key": "a", "operator": "Exists", "values": ["b"]}], "Exists takes no values"),
    ("executor.nodeExpressions", [{"key": "a", "operator": "Gt", "values": ["b"]}], "Gt needs one whole number"),
    ("executor.nodeExpressions", [{"key": "a", "operator": "Gt", "values": []}], "Gt needs one whole number"),
    ("driver.tolerations", [{"key": "a", "effect": "NoRun"}], "/driver/tolerations/0/effect"),
    ("driver.tolerations", [{"key": "a", "operator": "exists"}], "/driver/tolerations/0/operator"),
    ("executor.tolerations", [{"key": "a", "operator": "Exists", "value": "b"}], "executor.tolerations: a: operator"),
    ("spot.tolerations", [{"value": "b"}], "spot.tolerations: without a key"),
    ("spot.tolerations", [{"key": "a", "tolerationSeconds": 5}], "spot.tolerations: a: tolerationSeconds"),
    ("executor.topologySpreadConstraints", [{"maxSkew": 1}], "'topologyKey'"),
    (
        "executor.topologySpreadConstraints",
        [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}],
        "/executor/topologySpreadConstraints/0/maxSkew",
    ),
    ("driver.serviceAccount.name", "default", "driver.serviceAccount.name: default is a name that is taken"),
    (
        "executor.serviceAccount.name",
        "orchard-driver",
        "executor.serviceAccount.name: orchard-driver is a name that is",
    ),
    ("driver.volumes", [{"name": "a", "hostPath": {"path": "/"}}], "driver.volumes: hostPath is refused"),
    ("driver.volumes", [{"name": "a", "nfs": {"server": "s", "path": "/"}}], "driver.volumes: nfs is refused"),
    ("driver.volumes", [{"name": "a"}], "driver.volumes: a must be exactly one of"),
    (
        "driver.volumes",
        [{"name": "a", "emptyDir": {}, "secret": {"secretName": "b"}}],
        "driver.volumes: a must be exactly one of",
    ),
    ("driver.volumes", [{"emptyDir": {}}], "'name'"),
    ("driver.volumes", [{"name": "A_", "emptyDir": {}}], "/driver/volumes/0/name"),
    ("driver.volumes", [{"name": "verger-tmp", "emptyDir": {}}], "driver.volumes: verger-tmp is a name that is taken"),
    (
        "driver",
        {"volumes": [{"name": "spark-local-dir-1", "emptyDir": {}}], "emptyDirSizeLimit": "8Gi"},
        "driver.volumes: spark-local-dir-1 is a name that is taken",
    ),
    ("driver.volumes", 2 * [{"name": "a", "emptyDir": {}}], "driver.volumes: a is a name that is taken"),
    ("driver.volumeMounts", [{"name": "a", "mountPath": "/a"}], "driver.volumeMounts: a is none of driver.volumes"),
    ("driver.volumeMounts", [{"name": "a", "mountPath": "a"}], "/driver/volumeMounts/0/mountPath"),
    (
        "driver",
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/tmp/"}]},
        "driver.volumeMounts: /tmp/ is a path that is taken",
    ),
    (
        "driver",
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": 2 * [{"name": "a", "mountPath": "/a"}]},
        "driver.volumeMounts: /a is a path that is taken",
    ),
    ("driver.volumes", [{"name": "a", "persistentVolumeClaim": {}}], "missing property 'claimName'"),
    ("driver.volumes", [{"name": "a", "persistentVolumeClaim": None}], "/driver/volumes/0/persistentVolumeClaim"),
    (
        "executor.volumes",
        [{"name": "a", "persistentVolumeClaim": {"claimName": ""}}],
        "/executor/volumes/0/persistentVolumeClaim/claimName",
    ),
    ("executor.volumes", [{"name": "a", "configMap": {}}], "missing property 'name'"),
    ("executor.volumes", [{"name": "a", "secret": {"name": "b"}}], "missing property 'secretName'"),
    ("executor.volumes", [{"name": "a", "csi": {}}], "missing property 'driver'"),
    ("executor.volumes", [{"name": "a", "ephemeral": {}}], "missing property 'volumeClaimTemplate'"),
    ("retries", -1, "/retries"),
    ("deadlineSeconds", 0, "/deadlineSeconds"),
    ("deadlineSeconds", 5, "/deadlineSeconds"),
    ("totalDeadlineSeconds", 20, "/totalDeadlineSeconds"),
    ("totalDeadlineSeconds", 199, "totalDeadlineSeconds: 199 is too short for 3 attempts of at least 60 s"),
    ("totalDeadlineSeconds", 199, "with 10 s between them; give at least 200, or fewer retries"),
    ("timeToLiveSeconds", "1h", "/timeToLiveSeconds"),
    ("suspend", "yes", "/suspend"),
    ("executors", {}, "'executors'"),
]


@pytest.mark.parametrize(("path", "value", "says"), REFUSED, ids=[f"{path}={value}" for path, value, _ in REFUSED])
def test_an_invalid_value_is_refused_by_its_name(helm, path, value, says):
    assert says in helm.refuses(nested(path, value))


def test_the_least_time_for_all_attempts_is_said(helm3):
    given = {"totalDeadlineSeconds": 60, "retries": 10}
    assert "60 is too short for 11 attempts of at least 60 s" in helm3.refuses(given)
    assert "give at least 760, or fewer retries" in helm3.refuses(given)
    assert helm3.render(given | {"totalDeadlineSeconds": 760}).pod("driver")["activeDeadlineSeconds"] == 60


@pytest.mark.parametrize("command", ["run", "project"])
@pytest.mark.parametrize("given", ["input", "output"])
def test_a_run_needs_input_and_output(helm, command, given):
    (missing,) = {"input", "output"} - {given}
    said = helm.refuses({"command": command, "run": {given: "s3://a/b"}}, least=False)
    assert f"at '/run': missing property '{missing}'" in said


def test_a_compaction_needs_no_input(helm):
    values = merge_values(LEAST, {"command": "compact"})
    values["run"] = {"output": "s3://results/verger"}
    assert helm.template(values, least=False).returncode == 0


@pytest.mark.parametrize("block", [
    "0.0.0.0/0", "10.0.0.7/8", "255.255.255.255/32", "::/0", "::1/128", "fd00::/8", "2001:DB8:0:0:0:0:0:1/64", "1::/16",
    "1:2:3:4:5:6:7::/112",
])  # fmt: skip
def test_a_cidr_that_kubernetes_accepts_is_accepted(helm3, block):
    ipaddress.ip_network(block, strict=False)
    helm3.render(nested("networkPolicy.dns.addresses", [block]))


@pytest.mark.parametrize("key", [
    "spark.kubernetes.allocation.batch.size",
    "spark.kubernetes.executor.missingPodDetectDelta",
    "spark.kubernetes.executor.scheduler.name",
    "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1.mount.path",
])  # fmt: skip
def test_spark_settings_of_pods_without_a_value_are_accepted(helm, key):
    assert helm.render({"sparkConf": {key: "5"}}).spec["sparkConf"][key] == "5"


@pytest.mark.parametrize(
    "path", ["run.input", "run.inventory", "run.output", "run.event_log", "run.endpoint_url", "fittedRun"]
)
@pytest.mark.parametrize("scheme", ["s3", "https"])
def test_a_password_in_a_uri_is_refused_and_not_rendered(helm3, path, scheme):
    command = {"command": "project", "fittedRun": "s3://results/verger"} if path == "fittedRun" else {}
    said = helm3.refuses(merge_values(command, nested(path, f"{scheme}://KEY:hunter2@bucket/fruit")))
    assert path in said.replace("/", ".")


def test_the_session_sets_no_kubernetes_setting_of_spark():
    """Local and cluster cannot part: what the job sets of Spark, no release can."""
    from verger.spark import session, submitted

    own = session.SETTINGS | submitted._METRICS | submitted._KUBERNETES
    assert not [key for key in own if key.startswith("spark.kubernetes.")]
