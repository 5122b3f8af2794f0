"""What a run will take, estimated beforehand: requests to the store, bytes that it adds, hours of nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from verger.batches import slices
from verger.config import RunConfig
from verger.network.backbones import Network
from verger.network.waves import task_counts, wave_size
from verger.storage.buckets import PART_BYTES

# Keys that one LIST request returns at most.
KEYS_PER_LIST = 1000

# Requests of an upload in parts beside its parts: its start and its end. Counted at the store, as these are.
_PUT_AN_UPLOAD = 2
# Of each read of a Parquet file, by pyarrow: its end, and the columns that are read.
_GET_A_READ = 2
# The manifest and three pointers; pca.npz, pca.json and moments.npz; three of the snapshot. Once in a store, its
# fingerprint and weights.
_OWN_FILES, _STORE_FILES = 10, 2
# Where nothing has changed: the manifest and two pointers.
_POINTED_FILES = 3
# Files of the audit (its table), the classifier (two) and the report (page and pictures).
_AUDIT_FILES, _CLASSIFIER_FILES, _REPORT_FILES = 1, 2, 4
# Photographs that the report shows at most; each is read again.
_REPORT_PHOTOGRAPHS = 600

# Bytes of a row besides its features or components: path, version, digest, label, sizes, time.
_ROW_BYTES = 200


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run will take.

    Attributes
    ----------
    core_hours : float
        Hours of one core, for computing features alone, at the measured rate.
    hours : float
        Wall time from the start to the last feature.
    nodes, node_cores : int
        Number of nodes, and cores of each.
    waves, files : int
        Groups of tasks that compute features, and Parquet files that these write.
    lists, puts, gets : int
        Requests, as S3 prices them: PUT with POST, GET with HEAD.
    feature_bytes, projection_bytes : int
        Bytes that the run adds to the store, before compression.
    """

    core_hours: float
    hours: float
    nodes: int
    node_cores: int
    waves: int
    files: int
    lists: int
    puts: int
    gets: int
    feature_bytes: int
    projection_bytes: int

    @property
    def vcpu_hours(self) -> float:
        """Hours of all cores, idle or not: all rented cores are paid for while the run lasts."""
        return self.hours * self.nodes * self.node_cores


def estimate_workload(
    config: RunConfig,
    network: Network,
    *,
    keys: int,
    listed: int,
    new: int,
    stored_files: int,
    components: int,
    core_hours: float,
    hours: float,
    nodes: int,
    node_cores: int,
    known_files: int = 0,
) -> Workload:
    """Estimate what a run will take.

    Parameters
    ----------
    config : RunConfig
        Gives sizes of waves and batches, and whether there will be a classifier and a report.
    network : Network
        Gives the number of features, and photographs a second and core.
    keys : int
        Objects that are listed, photographs or not.
    listed, new : int
        Photographs selected, and those of them whose features are to be computed.
    stored_files : int
        Parquet files of features that the store has.
    components : int
        Principal components of a photograph.
    core_hours, hours : float
        As in `Workload`.
    nodes, node_cores : int
        As in `Workload`.
    known_files : int
        Those of ``stored_files`` that the run before knew; 0 where there is no such run.

    Returns
    -------
    Workload
        Requests are counted as docs/cost.md explains.
    """
    cores = nodes * node_cores
    size = wave_size(config, cores, network.photographs_per_s_per_core)
    waves = [wave.stop - wave.start for wave in slices(new, size)]
    files = sum(sum(task_counts(rows, cores, config, number == 0)) for number, rows in enumerate(waves))
    features = stored_files + files
    listings = 3 * max(1, math.ceil(features / KEYS_PER_LIST))  # the feature store before and after, and the rejects
    unchanged = known_files > 0 and new == 0  # the table of the run before stands
    projection_files = 0 if unchanged else min(cores, listed)  # one a core
    feature_bytes = new * (4 * network.dimension + _ROW_BYTES)
    projection_bytes = 0 if unchanged else listed * (4 * components + _ROW_BYTES)
    return Workload(
        core_hours=core_hours,
        hours=hours,
        nodes=nodes,
        node_cores=node_cores,
        waves=len(waves),
        files=files,
        lists=math.ceil(keys / KEYS_PER_LIST) + listings,
        puts=files * _puts_a_file(feature_bytes / max(1, files))
        + projection_files * _puts_a_file(projection_bytes / max(1, projection_files))
        + (_POINTED_FILES if unchanged else _OWN_FILES + _insight_files(config))
        + (0 if stored_files else _STORE_FILES),
        gets=new
        + _GET_A_READ * _reads(config, stored_files, known_files, files, projection_files)
        + (min(listed, _REPORT_PHOTOGRAPHS) if config.report and not unchanged else 0),
        feature_bytes=feature_bytes,
        projection_bytes=projection_bytes,
    )


def _puts_a_file(size: float) -> int:
    """Requests of writing a file: one, or those of an upload in parts. Deletes are free."""
    return 1 if size < PART_BYTES else _PUT_AN_UPLOAD + math.ceil(size / PART_BYTES)


def _insight_files(config: RunConfig) -> int:
    """Objects that audit, classifier and report write."""
    return (
        (_AUDIT_FILES if config.audit else 0)
        + (_CLASSIFIER_FILES if config.classifier else 0)
        + (_REPORT_FILES if config.report else 0)
    )


def _reads(config: RunConfig, stored_files: int, known_files: int, files: int, projection_files: int) -> int:
    """Parquet files that are read: their keys where they are not known, for the fit, and for what follows it."""
    keys = stored_files - known_files + files
    if known_files and not files:
        return keys
    features = stored_files + files
    fitted = files if known_files else features
    projected = files if known_files and config.pca != "fit" else features
    # For audit, classifier and report digests are read, then a sample of the numbers, all where these are few.
    sampled = 2 * (features + projection_files) if _insight_files(config) else 0
    return keys + fitted + projected + projection_files + sampled
