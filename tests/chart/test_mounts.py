"""Volumes of one's own: where they may be mounted, and where they would hide what a pod needs."""

import pytest

from tests.chart.conftest import ROLES, container, merge_values, nested

pytestmark = pytest.mark.required_in_ci


def mounted(role, path, **more):
    """An empty volume at a place of a pod."""
    return {
        role: {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": path} | more]}
    }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("path", "needs"),
    [
        # what the chart, Spark and Kubernetes mount
        *[(path, path) for path in ("/tmp", "/opt/spark/work-dir", "/opt/spark/conf", "/opt/spark/pod-template")],
        *[(path, path) for path in ("/etc/verger", "/etc/verger-ca", "/var/run/secrets", "/run/secrets")],
        *[("/tmp/", "/tmp"), ("/etc/verger/run.yaml", "/etc/verger"), ("/var", "/var/run/secrets")],
        *[("/var/run", "/var/run/secrets"), ("/run", "/run/secrets")],
        *[
            (f"{secrets}/{path}", f"{secrets}/{path.partition('/')[0]}")
            for secrets in ("/var/run/secrets", "/run/secrets")
            for path in ("kubernetes.io", "kubernetes.io/serviceaccount", "eks.amazonaws.com/serviceaccount/token")
        ],
        ("/run/secrets/pods.eks.amazonaws.com", "/run/secrets/pods.eks.amazonaws.com"),
        ("/opt/spark", "/opt/spark/conf"),
        # what the image holds
        *[(path, path) for path in ("/opt/verger", "/opt/java", "/usr/lib", "/usr/bin", "/lib", "/lib64", "/bin")],
        *[
            ("/opt", "/opt/verger"),
            ("/opt/verger/weights", "/opt/verger"),
            ("/opt/entrypoint.sh", "/opt/entrypoint.sh"),
        ],
        *[("/usr", "/usr/bin"), ("/usr/lib/python3", "/usr/lib"), ("/usr/share", "/usr/share/ca-certificates")],
        *[("/etc", "/etc/verger"), ("/etc/ssl", "/etc/ssl/certs"), ("/etc/ssl/certs", "/etc/ssl/certs")],
        # what the kernel shows
        *[("/proc", "/proc"), ("/proc/self", "/proc"), ("/sys/fs/cgroup", "/sys"), ("/dev", "/dev"), ("//", "/bin")],
    ],
)
def test_a_mount_that_would_hide_what_a_pod_needs_is_refused(helm3, role, path, needs):
    said = helm3.refuses(mounted(role, path))
    assert f"{role}.volumeMounts: {path} is a path that is taken: the pod needs {needs}\n" in said


@pytest.mark.parametrize("path", [
    "/weights", "/mnt/data", "/data", "/srv", "/home/verger", "/tmp/cache", "/opt/spark/work-dir/data", "/opt/weights",
    "/opt/verger-weights", "/etc/ssl/certs/own.crt", "/etc/ssl/certs/own/", "/etc/verger-weights", "/etc/passwd",
    "/etc/pki", "/usr/local/share/ca-certificates", "/usr/share/fruit", "/var/data/local", "/var/lib/fruit", "/dev/shm",
    "/library", "/a..b/.c", "/var/data", "/var/data/verger", "/var/run/secrets/tokens", "/run/secrets/keys",
])  # fmt: skip
def test_other_places_may_be_mounted(helm3, path):
    for role in ROLES:
        pod = helm3.render(mounted(role, path)).pod(role)
        assert {"name": "a", "mountPath": path} in container(pod)["volumeMounts"]


@pytest.mark.parametrize("path", ["/var/data", "/var/data/verger"])
def test_the_folder_for_sparks_own_files_is_taken_where_the_chart_mounts_it(helm3, path):
    values = merge_values(mounted("executor", path), nested("executor.emptyDirSizeLimit", "8Gi"))
    said = helm3.refuses(values)
    assert f"executor.volumeMounts: {path} is a path that is taken: the pod needs /var/data/verger\n" in said
    helm3.render(merge_values(values, nested("executor.emptyDirSizeLimit", "")))
    own = {"volumes": [{"name": "spark-local-dir-1", "emptyDir": {}}]}
    own["volumeMounts"] = [{"name": "spark-local-dir-1", "mountPath": path}]
    helm3.render({"executor": own | {"emptyDirSizeLimit": "8Gi"}})


@pytest.mark.parametrize("path", ["/tmp/../etc/verger", "/a/..", "/..", "/a/./b", "/a//b", "/a//"])
def test_a_mount_at_a_path_that_is_not_plain_is_refused(helm, path):
    assert f"driver.volumeMounts: {path} must be a path without ., .. and empty parts" in helm.refuses(
        mounted("driver", path)
    )


@pytest.mark.parametrize("path", ["tmp", "", "/", "./a", "/a:b"])
def test_a_mount_at_a_path_that_kubernetes_refuses_is_refused(helm, path):
    assert "/executor/volumeMounts/0/mountPath" in helm.refuses(mounted("executor", path))


@pytest.mark.parametrize(("sub_path", "accepted"), [
    ("a", True), ("a/b..c", True), ("..", False), ("a/../b", False), ("a/..", False), ("/a", False),
])  # fmt: skip
def test_a_sub_path_stays_in_its_volume(helm3, sub_path, accepted):
    values = mounted("driver", "/a", subPath=sub_path)
    if accepted:
        helm3.render(values)
    else:
        assert f"driver.volumeMounts: subPath {sub_path} must be relative" in helm3.refuses(values)


def test_two_mounts_at_one_place_are_refused(helm):
    values = mounted("driver", "/a")
    values["driver"]["volumeMounts"].append({"name": "a", "mountPath": "/a/"})
    assert "driver.volumeMounts: /a/ is a path that is taken" in helm.refuses(values)
