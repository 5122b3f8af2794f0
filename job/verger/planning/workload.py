"""What a run takes, counted before it runs: requests to the store, bytes that it adds, hours of nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from verger.config import RunConfig
from verger.network.backbones import Network
from verger.network.waves import partition_count, wave_size

# Keys that one LIST tells of.
KEYS_A_PAGE = 1000

# Requests of Spark 4.3.0 and the magic committer of hadoop-aws 3.5.0 for one write, counted at the store:
# so many a file (a task writes one), and so many a write whatever it holds. Deletes are free.
_PUT_A_FILE, _PUT_A_WRITE = 7, 3  # a multipart upload's start, part and end; marker, .pending and .pendingset; _SUCCESS
_LIST_A_FILE, _LIST_A_WRITE = 5, 12
_GET_A_FILE, _GET_A_WRITE = 9, 10
# The same for reading a small Parquet file.
_LIST_A_SPARK_READ, _GET_A_SPARK_READ = 1, 6
_GET_AN_ARROW_READ = 5
# Spark reads the features to centre them, to fit the components, and to project them.
_PASSES = 3
# The manifest, latest.json and names/<name>.json, the components and their numbers; once a store, its fingerprint and
# its weights.
_OWN_FILES, _STORE_FILES = 5, 2
# The audit's table, the classifier and what is known of it, the page and its pictures; photographs on it, at most.
_AUDIT_FILES, _CLASSIFIER_FILES, _REPORT_FILES = 1, 2, 4
_PICTURED = 600

# Bytes of a row beside its numbers: path, version, digest, label, sizes, time.
_ROW_BYTES = 200


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run takes.

    Attributes
    ----------
    core_hours : float
        Computing alone, at the measured rate.
    hours : float
        From the start to the last feature.
    nodes, node_cores : int
    waves, files : int
        Commits of features, and Parquet files that they make.
    lists, puts, gets : int
        Requests, as S3 prices them: PUT with POST, GET with HEAD.
    feature_bytes, projection_bytes : int
        What the run adds to the store, not compressed.
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
        """Every core, as long as the run lasts: rented cores are paid for, idle or not."""
        return self.hours * self.nodes * self.node_cores


def foresee(
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
) -> Workload:
    """Count what a run will take.

    Parameters
    ----------
    config : RunConfig
    network : Network
    keys : int
        Everything below the input, photographs or not.
    listed, new : int
        Photographs chosen, and those of them to compute.
    stored_files : int
        Parquet files of features that the store has.
    components : int
        Width of the projection.
    core_hours, hours, nodes, node_cores
        As in `Workload`.
    """
    cores = nodes * node_cores
    size = wave_size(config, cores, network.photographs_per_s_per_core)
    waves = [min(size, new - start) for start in range(0, new, size)]
    files = sum(partition_count(rows, cores, config) for rows in waves)
    parts = min(cores, listed)  # of the projection: a file a core
    writes, written, features = len(waves) + 1, files + parts, stored_files + files
    listings = 3 * max(1, math.ceil(features / KEYS_A_PAGE))  # the store's own: before, after, and the rejects
    read = stored_files + (features if new else 0) + parts  # what is known before and after; the table, read back
    looked = 2 * (
        features + parts
    )  # digests and features, names and components: a sample of them, whole where it is small
    return Workload(
        core_hours=core_hours,
        hours=hours,
        nodes=nodes,
        node_cores=node_cores,
        waves=len(waves),
        files=files,
        lists=math.ceil(keys / KEYS_A_PAGE)
        + listings
        + _LIST_A_FILE * written
        + _LIST_A_WRITE * writes
        + _LIST_A_SPARK_READ * features,
        puts=_PUT_A_FILE * written
        + _PUT_A_WRITE * writes
        + _OWN_FILES
        + (0 if stored_files else _STORE_FILES)
        + _AUDIT_FILES
        + (_CLASSIFIER_FILES if config.classifier else 0)
        + (_REPORT_FILES if config.report else 0),
        gets=new
        + _GET_A_FILE * written
        + _GET_A_WRITE * writes
        + _GET_AN_ARROW_READ * (read + looked)
        + _GET_A_SPARK_READ * _PASSES * features
        + (min(listed, _PICTURED) if config.report else 0),
        feature_bytes=new * (4 * network.dimension + _ROW_BYTES),
        projection_bytes=listed * (4 * components + _ROW_BYTES),
    )
