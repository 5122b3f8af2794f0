"""The executors' pods: Kubernetes' API as the driver's pod reaches it, and why pods do not run yet."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from verger import redaction

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_TIMEOUT_S = (2, 5)  # to connect, to read
_MOST_CHARACTERS = 160  # of a reason
_ENDED = ("Succeeded", "Failed")
# Why a container waits where nothing is wrong: its reason says all.
_USUAL = ("ContainerCreating", "PodInitializing")


def connect() -> tuple[Any, str]:
    """Connect to Kubernetes' API, with the permissions of this pod's service account.

    Returns
    -------
    tuple of kubernetes.client.CoreV1Api and str
        The API, which asks once and not again, and the namespace of this pod.

    Raises
    ------
    Exception
        ConfigException of the kubernetes package, or OSError: this process is in no pod, or one without a token.
    """
    from kubernetes import client
    from kubernetes.config import load_incluster_config

    settings, load = client.Configuration(), cast(Any, load_incluster_config)
    load(settings)
    namespace = NAMESPACE_FILE.read_text().strip()
    for token in (settings.api_key or {}).values():
        redaction.remember(token.partition(" ")[2])
    settings.retries = False
    return client.CoreV1Api(client.ApiClient(settings)), namespace


def selector(application: str) -> str:
    """The labels by which Spark marks the executors' pods of an application.

    Parameters
    ----------
    application : str
        Spark's id of it.

    Returns
    -------
    str
        A label selector of Kubernetes.
    """
    return f"spark-role=executor,spark-app-selector={application}"


def executors(api: Any, namespace: str, application: str) -> list[dict[str, Any]]:
    """The pods of an application's executors that have not ended.

    Parameters
    ----------
    api : kubernetes.client.CoreV1Api
        As `connect` gives it.
    namespace : str
        Of the pods.
    application : str
        Spark's id of the application.

    Returns
    -------
    list of dict
        Pods, as Kubernetes' JSON has them.

    Raises
    ------
    Exception
        ApiException of the kubernetes package, or an error of urllib3: no permission, or no answer.
    """
    answer = api.list_namespaced_pod(
        namespace, label_selector=selector(application), _request_timeout=_TIMEOUT_S, _preload_content=False
    )
    return [pod for pod in json.loads(answer.data)["items"] if _is_alive(pod)]


def _is_alive(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") not in _ENDED and "deletionTimestamp" not in pod["metadata"]


def is_running(pod: Mapping[str, Any]) -> bool:
    """Whether the container of a pod runs; its executor may still be starting.

    Parameters
    ----------
    pod : mapping
        As Kubernetes' JSON has it.
    """
    return bool(pod.get("status", {}).get("phase") == "Running")


def why_pending(pods: Iterable[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Why pods do not run yet, in Kubernetes' own words.

    Parameters
    ----------
    pods : iterable of mapping
        As Kubernetes' JSON has them; those that run are left out.

    Returns
    -------
    list of tuple of str and int
        Each reason with the number of its pods, the most frequent first.
    """
    counted = Counter(_reason(pod.get("status", {})) for pod in pods if not is_running(pod))
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _reason(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unscheduled(condition.get("message") or "") or condition.get("reason") or "not scheduled"
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        if waiting := (container.get("state") or {}).get("waiting"):
            return _waiting(waiting)
    return str(status.get("reason") or "not scheduled yet")


def _unscheduled(message: str) -> str:
    """The scheduler's causes: the bare one where all nodes have the same, else with their numbers of nodes.

    "0/3 nodes are available: 3 Insufficient memory. preemption: ..." becomes "Insufficient memory".
    """
    nodes, _, causes = message.partition(": ")
    causes = re.split(r"\.(?:\s|$)", causes)[0]  # what follows is about preemption
    number = re.match(r"0/(\d+) nodes", nodes)
    if not number or not causes:
        return _cut(message)
    parts = re.split(r", (?=\d+ )", causes)
    if len(parts) == 1:
        return _cut(re.sub(r"^\d+ (?:node\(s\) )?", "", parts[0]))
    return _cut(f"of {number[1]} nodes {', '.join(parts)}")


def _waiting(waiting: Mapping[str, Any]) -> str:
    reason, message = str(waiting.get("reason") or "waiting"), waiting.get("message")
    return reason if reason in _USUAL or not message else _cut(f"{reason} ({message})")


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
