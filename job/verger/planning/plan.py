"""What a run would do, how long it would take and what it would cost, without writing anything."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import pyarrow.compute as pc

from verger.config import ComponentSettings, NetworkSettings, RunConfig, StoreSettings
from verger.cores import available_cores
from verger.errors import NothingToReadError, StoreError
from verger.network.backbones import Network, resolve
from verger.network.cpu import Cpu, precision_warning
from verger.photographs import inventory
from verger.photographs.images import decoders
from verger.photographs.labels import label_warnings
from verger.planning.cost import Bill, bill
from verger.planning.workload import Workload, estimate_workload
from verger.residency.preflight import check_access, uris_by_role
from verger.spool import Spool
from verger.storage.base import Storage
from verger.storage.buckets import is_aws
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, require_disjoint
from verger.tables import changes, manifest, runs
from verger.tables.changes import Input
from verger.tables.manifest import Manifest
from verger.tables.store import FeatureStore
from verger.units import bytes_text

# Seconds before the first photograph: start of the Spark session, and import of TensorFlow in each worker.
START_S = 6.0
# A network's rate was measured on photographs of 100 x 100 pixels, of about so many bytes; larger ones take longer to
# decode.
BENCHMARK_BYTES = 6_000
DECODED_BYTES_PER_S = {"full": 16e6, "scaled": 40e6}  # JPEG, one core; of bench/decode.py the ratio is 2.4 to 3.4
# Files that are as large on average are mostly photographs of some megapixels, which take longer to decode than to
# compute.
LARGE_BYTES = 500_000
# The rate of a run of fewer photographs depends mostly on how long its workers took to start.
MIN_MEASURED_PHOTOGRAPHS = 1000
# So many finished runs are read, the newest, and at most so many of their rates are used.
MAX_RUNS_READ, MAX_RATES = 20, 5


@dataclass(frozen=True)
class Plan:
    """What a run would find and do.

    Attributes
    ----------
    input, output : str
        Their paths or URIs.
    fingerprint : str
        Of the features, which names their folder in the store.
    listed, known, rejected, new, gone : int
        Photographs: selected; with features in the store; remembered as rejected; to compute; in the store but no
        longer in the input.
    labels : dict of str to int
        Photographs of each label.
    ignored : dict of str to int
        Other files, by suffix.
    bytes, new_bytes : int
        Bytes of the photographs listed, and of those to read.
    nodes, node_cores : int
        Number of nodes that the estimate is for, and cores of each.
    photographs_per_s_per_core : float
        Photographs that one core computes in a second.
    rate_source : str
        Where that rate comes from.
    cpu : str
        What this machine's CPU has, and what that means for the speed.
    seconds : float
        Wall time until the last feature is computed.
    components : int
        Principal components of a photograph.
    components_source : str
        Where that number comes from.
    workload : Workload
        Requests, bytes and hours.
    cost : Bill
        What these cost.
    warnings : list of str
        What the user should know about the labels, the store and the size of the photographs.
    """

    input: str
    output: str
    fingerprint: str
    listed: int
    known: int
    rejected: int
    new: int
    gone: int
    labels: dict[str, int]
    ignored: dict[str, int]
    bytes: int
    new_bytes: int
    nodes: int
    node_cores: int
    photographs_per_s_per_core: float
    rate_source: str
    cpu: str
    seconds: float
    components: int
    components_source: str
    workload: Workload
    cost: Bill
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON has it.

        Returns
        -------
        dict
            The attributes by name, with dicts for workload and cost.
        """
        return asdict(self)


def plan(config: RunConfig, nodes: int = 1, node_cores: int | None = None) -> Plan:
    """Find the photographs that a run would compute, and estimate its time and cost.

    Parameters
    ----------
    config : RunConfig
        Settings of the run.
    nodes : int
        Nodes to estimate for.
    node_cores : int, optional
        Cores of each; default: ``config.cores``, else those of this machine.

    Returns
    -------
    Plan
        For this input, this output and these nodes.

    Raises
    ------
    UsageError
        Input and output contain one another, or the report is none of the input's bucket.
    ResidencyError
        One of the buckets is not in the EU.
    StoreError
        A store refuses or cannot be reached.
    NothingToReadError
        There is no photograph.
    WeightsError
        The weights, on which the fingerprint depends, cannot be read.
    """
    source, output = require_disjoint(config.input, config.output)
    stores = Stores()
    uris = uris_by_role(input=source, inventory=config.inventory, output=output, weights=config.weights)
    residency = check_access(stores, uris, config, written={"output"}, try_writing=False)
    warnings: list[str] = []
    found = inventory.find(config, source, stores, warnings.append)
    chosen = inventory.select(found.photographs, config, source, config.local_dir)
    network = resolve(config, stores, config.seed)
    labels = inventory.label_counts(chosen)
    warnings += label_warnings(labels)
    storage = stores.of(output)
    store = FeatureStore(storage, output, network.fingerprint, warnings.append, decoders())
    base = changes.find_base(store, source, config)
    compared = changes.find_changes(
        store, Input(source, found.photographs, chosen, found.excluded), base, config.local_dir
    )
    new, rejected = compared.pending, compared.rejected.num_rows
    warnings += _decoding_warnings(config, new, known=chosen.num_rows - rejected - new.num_rows)
    node_cores = node_cores or config.cores or available_cores()
    history = _history(storage, output, network.fingerprint)
    cpu = Cpu.read()
    if network.recipe and (warning := precision_warning(network.precision)):
        warnings.append(warning)
    decoded = new if new.num_rows else chosen
    rate, rate_source = _rate(history, network, cpu, _total_bytes(decoded) / decoded.num_rows)
    components, components_source = _components(history, config, network, chosen.num_rows)
    core_s = new.num_rows / rate
    seconds = START_S + core_s / (nodes * node_cores)
    work = estimate_workload(
        config,
        network,
        keys=0 if config.inventory else found.photographs.num_rows + sum(found.ignored.values()),
        listed=chosen.num_rows,
        new=new.num_rows,
        stored_files=len(compared.files),
        known_files=len(compared.base.snapshot.files) if compared.base else 0,
        components=components,
        core_hours=core_s / 3600,
        hours=seconds / 3600,
        nodes=nodes,
        node_cores=node_cores,
    )
    region, aws = _region_and_provider(stores, config, output, residency.region(output))
    return Plan(
        input=source,
        output=output,
        fingerprint=network.fingerprint,
        listed=chosen.num_rows,
        known=chosen.num_rows - rejected - new.num_rows,
        rejected=rejected,
        new=new.num_rows,
        gone=compared.gone,
        labels=labels,
        ignored=found.ignored,
        bytes=_total_bytes(chosen),
        new_bytes=_total_bytes(new),
        nodes=nodes,
        node_cores=node_cores,
        photographs_per_s_per_core=round(rate, 2),
        rate_source=rate_source,
        cpu=cpu.describe(),
        seconds=round(seconds, 1),
        components=components,
        components_source=components_source,
        workload=work,
        cost=bill(work, new.num_rows, config, region, aws),
        warnings=warnings,
    )


def _total_bytes(photographs: Spool) -> int:
    return sum(pc.sum(batch["size"]).as_py() or 0 for batch in photographs.batches())


def _decoding_warnings(config: NetworkSettings, new: Spool, known: int) -> list[str]:
    """That large photographs can be decoded faster, where they are decoded in full."""
    mean = _total_bytes(new) / new.num_rows if new.num_rows else 0
    if config.decode == "scaled" or mean < LARGE_BYTES:
        return []
    anew = f"; it computes the {known:,} known ones anew, in a store of its own" if known else ""
    return [
        f"new photographs have {bytes_text(round(mean))} on average: --decode scaled decodes large JPEGs faster{anew}"
    ]


def _region_and_provider(
    stores: Stores, config: StoreSettings, output: str, region: str | None
) -> tuple[str | None, bool]:
    """The region of the output, as far as it is known, and whether AWS charges for the store."""
    name = bucket_name(output)
    if name is None:
        return region, True
    bucket = stores.bucket(name)
    return region or bucket.region, is_aws(config.endpoint_url or bucket.endpoint_url)


def _history(storage: Storage, output: str, fingerprint: str) -> list[Manifest]:
    """Manifests of the last finished runs with this fingerprint, newest first."""
    finished = [run_id for run_id, done in runs.run_ids(storage, output) if done]
    documents = []
    for run_id in reversed(finished[-MAX_RUNS_READ:]):
        with suppress(NothingToReadError, StoreError):  # an unreadable manifest is skipped
            documents.append(manifest.read(runs.Run(output, run_id, storage)))
    return [document for document in documents if document.features.fingerprint == fingerprint]


def _rate(history: list[Manifest], network: Network, cpu: Cpu, mean_bytes: float) -> tuple[float, str]:
    """Photographs a second and core, measured by this output's runs if possible, and where that rate comes from."""
    measured = [
        document.throughput.photographs_per_s_per_core
        for document in history
        if document.photographs.computed >= MIN_MEASURED_PHOTOGRAPHS
    ][:MAX_RATES]
    if len(measured) == 1:
        return measured[0], "measured by the last run that computed enough here"
    if measured:
        return median(measured), f"the median of the last {len(measured)} runs that computed enough here"
    decoding = max(0.0, mean_bytes - BENCHMARK_BYTES) / DECODED_BYTES_PER_S[network.decode]
    seconds = 1 / network.photographs_per_s_on(cpu) + decoding
    source = "figures of Verger's benchmark, for CPUs like this machine's; after a large run, that run's own"
    return 1 / seconds, source


def _components(
    history: list[Manifest], config: ComponentSettings, network: Network, photographs: int
) -> tuple[int, str]:
    """The number of components, and where it comes from."""
    if config.components:
        return config.components, "as set"
    if history:
        return history[0].pca.n_components, "as in the last run"
    return min(network.dimension, photographs), "at most; the first run will show"
