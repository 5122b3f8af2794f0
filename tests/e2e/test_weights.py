"""Weights that the driver alone can read are enough: executors get the network from it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.conftest import INPUT, OUTPUT
from tests.e2e.observer import Observer
from verger.storage.stores import Stores
from verger.tables import manifest, runs

pytestmark = pytest.mark.required_in_ci

CLAIM = "e2e-weights"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def put_into_a_volume(cluster: Cluster, file: Path) -> None:
    """A claim with the file in it, by a pod that goes again."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    container = {
        "name": "filler",
        "image": cluster.image,
        "command": ["sleep", "600"],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "weights", "mountPath": "/weights"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CLAIM},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": CLAIM}}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 185,
                "fsGroup": 185,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 0,
        },
    }
    cluster.apply(claim, pod)
    cluster.kubectl("wait", "pod", CLAIM, "--for=condition=Ready", "--timeout=120s")
    put = ["kubectl", "--context", cluster.context, "--namespace", cluster.namespace]
    with file.open("rb") as content:
        subprocess.run(
            [*put, "exec", "--stdin", CLAIM, "--", "sh", "-c", "cat > /weights/own.h5"], stdin=content, check=True
        )
    cluster.kubectl("delete", "pod", CLAIM, "--wait")


def test_executors_need_no_weights(
    cluster: Cluster, data: Path, photographs: Path, release: Any, tmp_path: Path
) -> None:
    put_into_a_volume(cluster, data / "weights" / "mobilenet_v2_0.35_224_no_top.h5")
    one = release("e2e-weights")
    try:
        with Observer(one) as observer:
            one.install(
                tmp_path,
                {
                    "run": {
                        "input": INPUT,
                        "output": OUTPUT,
                        "weights": "/weights/own.h5",
                        "max_photographs": 64,
                        "verify_nodes": True,
                    },
                    "executor": {"instances": 2},
                    "driver": {
                        "volumes": [
                            {"name": "weights", "persistentVolumeClaim": {"claimName": CLAIM, "readOnly": True}}
                        ],
                        "volumeMounts": [{"name": "weights", "mountPath": "/weights", "readOnly": True}],
                    },
                },
            )
            assert one.ended() == "COMPLETED", one.message
        of_release = ("clusterrole,clusterrolebinding", "--selector", f"app.kubernetes.io/instance={one.name}")
        assert len(cluster.get(*of_release)["items"]) == 2
    finally:
        one.uninstall()
        cluster.kubectl("delete", "pvc", CLAIM, "--wait=false")
    assert cluster.get(*of_release)["items"] == []
    document = manifest.read(runs.latest(Stores().of(OUTPUT), OUTPUT, one.name)).as_dict()
    assert document["photographs"]["computed"] == 64
    assert document["features"]["fingerprint"].startswith("mobilenet_v2-a0.35-")
    for name, pod in observer.pods.items():
        mounted = [volume["name"] for volume in pod["spec"]["volumes"]]
        assert ("weights" in mounted) == name.endswith("-driver")
    # what Kubernetes said of the nodes, of real ones
    evidence = " ".join(document["residency"]["evidence"])
    assert "eu-west-3 (topology.kubernetes.io/region)" in evidence
    assert "2 executors ran on nodes in eu-west-3" in evidence
