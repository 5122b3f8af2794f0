"""The regions of the driver's and the executors' nodes, as Kubernetes reports them; without them there is no run."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from verger import redaction
from verger.config import ResidencySettings
from verger.errors import ResidencyError
from verger.residency import regions
from verger.spark import pods
from verger.spark.jobs import cancel_jobs_until

if TYPE_CHECKING:
    from pyspark import SparkContext

LABEL = "topology.kubernetes.io/region"

PATIENCE_S = 30  # how long Kubernetes may fail to answer before the run ends
_RELIST_S = 10  # a watch is restarted this often, and then lists every pod again
_RETRY_S = 1
_TIMEOUT_S = (2, 5)  # to connect, to read


class _NoAnswer(Exception):
    """Kubernetes cannot be reached, or its error may be temporary."""


def check_driver(settings: ResidencySettings) -> str:
    """Check the region of the node on which this process's pod runs.

    Parameters
    ----------
    settings : ResidencySettings
        ``allow_london``, ``allow_zurich`` and ``node_region`` allow regions besides AWS's in the EU.

    Returns
    -------
    str
        The region.

    Raises
    ------
    ResidencyError
        It is outside the EU, or unknown.
    """
    try:
        cluster = _Cluster()
        name = os.environ.get("HOSTNAME", "")
        region = cluster.region(cluster.pod(name))
    except _NoAnswer as error:
        raise _region_unknown("the driver's", error) from error
    if region is None:
        raise ResidencyError(f"the driver's pod {name} is on no node yet", f"See kubectl describe pod {name}")
    if not regions.allowed_for_nodes(region, settings):
        raise regions.node_refusal("the driver's node is", region, settings)
    return region


@contextmanager
def check_executors(context: SparkContext, settings: ResidencySettings) -> Iterator[Executors]:
    """Check the region of every executor's node: of those that run now, and of others as they start.

    If a region is not allowed, or unknown, the run ends: Spark's jobs are cancelled, and the context raises the
    refusal instead of what its body raised.

    Parameters
    ----------
    context : SparkContext
        Its application id selects the executors' pods.
    settings : ResidencySettings
        ``verify_nodes`` turns the check on; opt-ins and ``node_region`` allow regions besides AWS's in the EU.

    Yields
    ------
    Executors
        Updated as executors start; empty where ``verify_nodes`` is off or Spark runs inside the driver.

    Raises
    ------
    ResidencyError
        A node is outside the EU, its region is unknown, or the executors do not run in Kubernetes.
    """
    executors = Executors(context, settings)
    master = context.master or ""
    if not settings.verify_nodes or master.startswith("local"):
        yield executors
        return
    if not master.startswith("k8s"):
        raise ResidencyError(
            f"the regions of the executors of {master} cannot be verified",
            "Leave --verify-nodes out, or use Kubernetes",
        )
    with executors.watching():
        yield executors


class Executors:
    """The executors of one Spark application, and the regions of their nodes.

    Parameters
    ----------
    context : SparkContext
        The application whose executors are meant; a refusal cancels its jobs.
    settings : ResidencySettings
        ``allow_london``, ``allow_zurich`` and ``node_region`` allow regions besides AWS's in the EU.

    Attributes
    ----------
    regions : dict of str to str
        Pod to region, of all executors that were checked.
    """

    def __init__(self, context: SparkContext, settings: ResidencySettings) -> None:
        self.regions: dict[str, str] = {}
        self._context = context
        self._settings = settings
        self._refusal: ResidencyError | None = None
        self._ended = threading.Event()
        self._watching = False
        self._selector = pods.selector(self._context.applicationId)

    @property
    def evidence(self) -> list[str]:
        """A sentence for each region in which executors ran."""
        counted = sorted(Counter(self.regions.values()).items())
        return [f"{n} executor{'s' * (n > 1)} ran on nodes in {region} ({LABEL})" for region, n in counted]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check the executors that run now, then those that start, in a thread, until the context ends.

        Raises
        ------
        ResidencyError
            As `check_executors`.
        """
        try:
            cluster = _Cluster()
            for pod in cluster.pods(self._selector):
                self._check(cluster, pod)
        except _NoAnswer as error:
            raise _region_unknown("an executor's", error) from error
        self._watching = True
        thread = threading.Thread(target=self._watch, args=(cluster,), name="nodes", daemon=True)
        thread.start()
        try:
            yield
        except BaseException as error:
            if self._refusal:
                raise self._refusal from error
            raise
        finally:
            self._ended.set()
        self.confirm()

    def confirm(self) -> None:
        """Confirm that all executors so far ran in allowed regions.

        Raises
        ------
        ResidencyError
            One did not, or no executor was found at all.
        """
        if self._refusal is None and self._watching and not self.regions:
            self._refusal = ResidencyError(
                "no executor's pod was found, though Spark ran in Kubernetes",
                "Check that the executors' pods are in the driver's namespace and have Spark's labels",
            )
        self.raise_if_refused()

    def raise_if_refused(self) -> None:
        """End a run before it sends anything to an executor that was refused meanwhile.

        Raises
        ------
        ResidencyError
            An executor so far ran in a region that is not allowed or unknown.
        """
        if self._refusal:
            raise self._refusal

    def _watch(self, cluster: _Cluster) -> None:
        answered = time.monotonic()
        while not self._ended.is_set():
            try:
                self._follow(cluster)
                answered = time.monotonic()
            except ResidencyError as refusal:
                self._refuse(refusal)
            except _NoAnswer as error:
                if time.monotonic() - answered > PATIENCE_S:
                    self._refuse(_region_unknown("an executor's", error))
                self._ended.wait(_RETRY_S)
            except Exception as error:  # a defect here must not let an executor run in a wrong region
                self._refuse(_region_unknown("an executor's", error))

    def _follow(self, cluster: _Cluster) -> None:
        """Check all executors that run, and those that start within `_RELIST_S`."""
        for event in cluster.events(self._selector):
            if event["type"] in ("ADDED", "MODIFIED"):
                self._check(cluster, event["object"])
            if self._ended.is_set():
                return

    def _check(self, cluster: _Cluster, pod: Any) -> None:
        name = pod.metadata.name
        if name in self.regions or (region := cluster.region(pod)) is None:
            return
        if not regions.allowed_for_nodes(region, self._settings):
            raise regions.node_refusal(f"the node of executor {name} is", region, self._settings)
        self.regions[name] = region

    def _refuse(self, refusal: ResidencyError) -> None:
        self._refusal = refusal
        cancel_jobs_until(self._ended, self._context)


class _Cluster:
    """Kubernetes' API, with the permissions of this pod's service account."""

    def __init__(self) -> None:
        try:
            self._api, self.namespace = pods.connect()
        except Exception as error:  # ConfigException of the kubernetes package, or OSError
            why = str(error).rstrip(".")
            raise ResidencyError(
                f"--verify-nodes is for runs in a Kubernetes cluster, and this process is not in a pod ({why})",
                "Leave it out, or let the pod mount its service account's token",
            ) from None
        for token in (self._api.api_client.configuration.api_key or {}).values():
            if kind := redaction.bad_character(token.partition(" ")[2]):
                raise ResidencyError(f"the token of the pod's service account holds {kind}", "Mount it without")

    def pod(self, name: str) -> Any:
        with _translate_errors("get", "pods"):
            return self._api.read_namespaced_pod(name, self.namespace, _request_timeout=_TIMEOUT_S)

    def pods(self, selector: str) -> list[Any]:
        with _translate_errors("list", "pods"):
            found = self._api.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=_TIMEOUT_S)
            return list(found.items)

    def events(self, selector: str) -> Iterator[Any]:
        """An event for each pod that exists, then the changes during `_RELIST_S`."""
        from kubernetes.watch import Watch

        watch = cast(Any, Watch)()
        with _translate_errors("watch", "pods"):
            yield from watch.stream(
                self._api.list_namespaced_pod,
                self.namespace,
                label_selector=selector,
                timeout_seconds=_RELIST_S,
                _request_timeout=(_TIMEOUT_S[0], _RELIST_S + _TIMEOUT_S[1]),
            )

    def region(self, pod: Any) -> str | None:
        """The region in the label of a pod, else of its node; None for a pod that is on no node yet."""
        node = pod.spec.node_name
        if not node:
            return None
        labels = pod.metadata.labels or {}
        if LABEL not in labels:
            with _translate_errors("get", "nodes"):
                labels = self._api.read_node(node, _request_timeout=_TIMEOUT_S).metadata.labels or {}
        if not labels.get(LABEL):
            raise ResidencyError(
                f"neither pod {pod.metadata.name} nor its node {node} has the label {LABEL}", "Label the node with it"
            )
        return str(labels[LABEL])


@contextmanager
def _translate_errors(verb: str, what: str) -> Iterator[None]:
    """Turn an error that stays into ResidencyError, and one that may be temporary into _NoAnswer."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status in (401, 403):
            raise ResidencyError(
                f"the regions of the nodes are unknown: Kubernetes does not let this service account {verb} {what}",
                f"Grant it the verb {verb} on {what}{' by a ClusterRole' if what == 'nodes' else ''}",
            ) from error
        raise _NoAnswer(f"{verb} {what}: {error.status} {error.reason}") from error
    except (HTTPError, OSError) as error:
        raise _NoAnswer(f"{verb} {what}: {type(error).__name__}") from error


def _region_unknown(whose: str, error: Exception) -> ResidencyError:
    return ResidencyError(
        f"the region of {whose} node is unknown: Kubernetes does not answer ({error})",
        "Run again when its API answers, or leave --verify-nodes out",
    )
