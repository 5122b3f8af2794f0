"""In which region the driver's and the executors' nodes stand: what Kubernetes says of them, or no run."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from verger.config import ResidencySettings
from verger.errors import ResidencyError
from verger.residency import regions
from verger.spark.jobs import cancel_jobs_until

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LABEL = "topology.kubernetes.io/region"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

PATIENCE_S = 30  # without an answer about the executors
_RELIST_S = 10  # a watch is begun anew this often, and then tells of every pod again
_PAUSE_S = 1
_TIMEOUT_S = (2, 5)  # to connect, to answer


class _Unanswered(Exception):
    """Kubernetes cannot be asked, or says what may be over in a moment."""


def driver(settings: ResidencySettings) -> str:
    """The region of the node on which this process's pod runs.

    Raises
    ------
    ResidencyError
        It is outside the EU, or cannot be told.
    """
    try:
        cluster = _Cluster()
        name = os.environ.get("HOSTNAME", "")
        region = cluster.region(cluster.pod(name))
    except _Unanswered as error:
        raise _closed("the driver's", error) from error
    if region is None:
        raise ResidencyError(f"the driver's pod {name} is on no node yet", "See what Kubernetes says of it")
    if not regions.allowed_for_nodes(region, settings):
        raise regions.node_refusal("the driver's node is", region, settings)
    return region


@contextmanager
def watched(spark: SparkSession, settings: ResidencySettings) -> Iterator[Executors]:
    """Verify every executor's node, those present at once and the others as they join, for as long as it lasts.

    An executor in a region that is not allowed, or in one that cannot be told, ends the run: Spark's jobs are
    cancelled, and the context ends in the refusal, whatever its body raised.

    Yields
    ------
    Executors
        What was found so far; nothing where ``verify_nodes`` is off or Spark runs inside the driver.

    Raises
    ------
    ResidencyError
    """
    executors = Executors(spark, settings)
    master = spark.sparkContext.master or ""
    if not settings.verify_nodes or master.startswith("local"):
        yield executors
        return
    if not master.startswith("k8s"):
        raise ResidencyError(
            f"where the executors of {master} stand cannot be verified", "Leave --verify-nodes out, or use Kubernetes"
        )
    with executors.kept_in_sight():
        yield executors


class Executors:
    """The executors of one Spark application, and where their nodes stand.

    Attributes
    ----------
    regions : dict
        Pod to region, of all that were verified.
    """

    def __init__(self, spark: SparkSession, settings: ResidencySettings) -> None:
        self.regions: dict[str, str] = {}
        self._context = spark.sparkContext
        self._settings = settings
        self._refused: ResidencyError | None = None
        self._over = threading.Event()
        self._watching = False
        self._selector = f"spark-role=executor,spark-app-selector={self._context.applicationId}"

    @property
    def evidence(self) -> list[str]:
        """A sentence for each region in which executors stood."""
        counted = sorted(Counter(self.regions.values()).items())
        return [f"{n} executor{'s' * (n > 1)} stood on nodes in {region} ({LABEL})" for region, n in counted]

    @contextmanager
    def kept_in_sight(self) -> Iterator[None]:
        """Look at once, then in a thread until the context ends."""
        try:
            cluster = _Cluster()
            for pod in cluster.pods(self._selector):
                self._verify(cluster, pod)
        except _Unanswered as error:
            raise _closed("an executor's", error) from error
        self._watching = True
        thread = threading.Thread(target=self._watch, args=(cluster,), name="nodes", daemon=True)
        thread.start()
        try:
            yield
        except BaseException as error:
            if self._refused:
                raise self._refused from error
            raise
        finally:
            self._over.set()
        self.confirm()

    def confirm(self) -> None:
        """All executors that have been there stood where they may.

        Raises
        ------
        ResidencyError
            One did not, or none was seen at all.
        """
        if self._refused is None and self._watching and not self.regions:
            self._refused = ResidencyError(
                "no executor's pod was seen, though Spark ran in Kubernetes",
                "Check that the executors' pods are in the driver's namespace and have Spark's labels",
            )
        if self._refused:
            raise self._refused

    def _watch(self, cluster: _Cluster) -> None:
        answered = time.monotonic()
        while not self._over.is_set():
            try:
                self._follow(cluster)
                answered = time.monotonic()
            except ResidencyError as refused:
                self._refuse(refused)
            except _Unanswered as error:
                if time.monotonic() - answered > PATIENCE_S:
                    self._refuse(_closed("an executor's", error))
                self._over.wait(_PAUSE_S)
            except Exception as error:  # a defect here must not pass for an executor that is where it should be
                self._refuse(_closed("an executor's", error))

    def _follow(self, cluster: _Cluster) -> None:
        """Verify all executors that there are, and for a while those that join."""
        for event in cluster.events(self._selector):
            if event["type"] in ("ADDED", "MODIFIED"):
                self._verify(cluster, event["object"])
            if self._over.is_set():
                return

    def _verify(self, cluster: _Cluster, pod: Any) -> None:
        name = pod.metadata.name
        if name in self.regions or (region := cluster.region(pod)) is None:
            return
        if not regions.allowed_for_nodes(region, self._settings):
            raise regions.node_refusal(f"the node of executor {name} is", region, self._settings)
        self.regions[name] = region

    def _refuse(self, refused: ResidencyError) -> None:
        self._refused = refused
        cancel_jobs_until(self._over, self._context)


class _Cluster:
    """Kubernetes' API, as this pod's service account may use it."""

    def __init__(self) -> None:
        from kubernetes import client
        from kubernetes.config import load_incluster_config

        settings, load = client.Configuration(), cast(Any, load_incluster_config)
        try:
            load(settings)
            self.namespace = NAMESPACE_FILE.read_text().strip()
        except Exception as error:  # its own ConfigException, or a file's OSError
            why = str(error).rstrip(".")
            raise ResidencyError(
                f"--verify-nodes is for runs in a Kubernetes cluster, and this is no pod of one ({why})",
                "Leave it out, or let the pod mount its service account's token",
            ) from None
        settings.retries = False
        self._api: Any = client.CoreV1Api(client.ApiClient(settings))

    def pod(self, name: str) -> Any:
        with _asking("get", "pods"):
            return self._api.read_namespaced_pod(name, self.namespace, _request_timeout=_TIMEOUT_S)

    def pods(self, selector: str) -> list[Any]:
        with _asking("list", "pods"):
            found = self._api.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=_TIMEOUT_S)
            return list(found.items)

    def events(self, selector: str) -> Iterator[Any]:
        """One for each pod that there is, then what happens to them, for a while."""
        from kubernetes.watch import Watch

        watch = cast(Any, Watch)()
        with _asking("watch", "pods"):
            yield from watch.stream(
                self._api.list_namespaced_pod,
                self.namespace,
                label_selector=selector,
                timeout_seconds=_RELIST_S,
                _request_timeout=(_TIMEOUT_S[0], _RELIST_S + _TIMEOUT_S[1]),
            )

    def region(self, pod: Any) -> str | None:
        """By the pod's own label, else its node's; None for a pod without a node, which runs nothing yet."""
        node = pod.spec.node_name
        if not node:
            return None
        labels = pod.metadata.labels or {}
        if LABEL not in labels:
            with _asking("get", "nodes"):
                labels = self._api.read_node(node, _request_timeout=_TIMEOUT_S).metadata.labels or {}
        if not labels.get(LABEL):
            raise ResidencyError(
                f"neither pod {pod.metadata.name} nor its node {node} has the label {LABEL}", "Label the node with it"
            )
        return str(labels[LABEL])


@contextmanager
def _asking(verb: str, what: str) -> Iterator[None]:
    """Tell a refusal, which stays one, from what may be over in a moment."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status in (401, 403):
            raise ResidencyError(
                f"where the nodes stand cannot be told: Kubernetes lets this service account not {verb} {what}",
                f"Grant it the verb {verb} on {what}{' by a ClusterRole' if what == 'nodes' else ''}",
            ) from error
        raise _Unanswered(f"{verb} {what}: {error.status} {error.reason}") from error
    except (HTTPError, OSError) as error:
        raise _Unanswered(f"{verb} {what}: {type(error).__name__}") from error


def _closed(whose: str, error: Exception) -> ResidencyError:
    return ResidencyError(
        f"in which region {whose} node stands cannot be told: Kubernetes does not answer ({error})",
        "Run again when its API does, or leave --verify-nodes out",
    )
