from typing import Any

import pytest

from verger.config import RunConfig
from verger.network.backbones import resolve
from verger.network.waves import partition_count, wave_size
from verger.planning.workload import Workload, estimate_workload
from verger.storage.stores import Stores

CONFIG = RunConfig(input="/in", output="/out", backbone="pixels", wave_size=1000, partitions=10)
NETWORK = resolve(CONFIG, Stores())


def estimated(config: RunConfig = CONFIG, **given: Any) -> Workload:
    assumed = {"keys": 2500, "listed": 2500, "new": 2500, "stored_files": 0, "components": 30}
    return estimate_workload(config, NETWORK, core_hours=1.0, hours=0.5, nodes=1, node_cores=2, **assumed | given)


def test_files_are_counted_as_the_extraction_writes_them():
    work = estimated()
    assert (work.waves, work.files) == (3, 30)
    free = CONFIG.model_copy(update={"wave_size": None, "partitions": None})
    size = wave_size(free, 2, NETWORK.photographs_per_s_per_core)
    work = estimated(free, new=size + 7)
    assert work.waves == 2
    small = 2  # tasks of one batch, with which a run begins
    assert work.files == small + partition_count(size - small * free.batch_size, 2, free) + partition_count(7, 2, free)


def test_requests_of_a_write_are_those_counted_at_the_store():
    """As `test_requests_of_files_are_those_that_the_plan_counts` in tests/integration/test_s3_storage.py sees them."""
    four, ten = (estimated(CONFIG.model_copy(update={"partitions": files}), new=1000) for files in (4, 10))
    assert ten.puts - four.puts == 6
    assert ten.lists == four.lists
    # Each file is read for its keys, for fit and projection, and twice for audit, classifier and report.
    assert ten.gets - four.gets == 6 * 2 * (1 + 2 + 2)


def test_a_wave_takes_no_requests_of_its_own():
    few, many = (estimated(CONFIG.model_copy(update={"wave_size": 1000 // waves, "partitions": 12 // waves}), new=1000)
                 for waves in (1, 4))  # fmt: skip
    assert (few.files, few.puts, few.lists, few.gets) == (many.files, many.puts, many.lists, many.gets)


def test_large_files_are_uploaded_in_parts():
    rows = 3 * (16 << 20) // (4 * NETWORK.dimension + 200)  # nearly three parts in one file
    one = CONFIG.model_copy(update={"wave_size": 10**6, "partitions": 1})
    small, large = estimated(one, listed=10, new=10), estimated(one, listed=10, new=rows)
    assert (small.files, large.files) == (1, 1)
    assert large.puts - small.puts == 2 + 3 - 1


def test_a_thousand_keys_take_one_list_request():
    assert estimated(keys=1_000_000).lists - estimated(keys=1000).lists == 999


def test_no_classifier_and_no_report_take_no_requests():
    whole, bare = estimated(), estimated(CONFIG.model_copy(update={"classifier": False, "report": False}))
    assert whole.puts - bare.puts == 6
    assert whole.gets - bare.gets == 600
    assert (
        estimated(listed=50, new=50).gets
        - estimated(CONFIG.model_copy(update={"report": False}), listed=50, new=50).gets
        == 50
    )


def test_a_new_photograph_takes_one_get_and_one_row():
    more, less = estimated(new=2500), estimated(new=2400)
    assert more.gets - less.gets == 100
    assert more.feature_bytes - less.feature_bytes == 100 * (4 * NETWORK.dimension + 200)
    assert more.projection_bytes == less.projection_bytes == 2500 * (4 * 30 + 200)


def test_a_run_without_new_photographs_still_lists_and_projects():
    work = estimated(new=0, stored_files=30)
    assert (work.waves, work.files, work.feature_bytes) == (0, 0, 0)
    assert work.lists > 3
    assert work.puts == 2 + 10 + 7  # the projection's two files, the run's own objects, insight's
    assert work.projection_bytes > 0


def test_a_run_in_which_nothing_has_changed_takes_next_to_nothing():
    work = estimated(new=0, stored_files=30, known_files=30)
    assert (work.puts, work.gets, work.projection_bytes) == (3, 0, 0)
    assert work.lists == 3 + 3


def test_known_files_are_not_read_for_keys_and_sums():
    bare = CONFIG.model_copy(update={"classifier": False, "report": False, "audit": False})
    assert estimated(bare, stored_files=300).gets - estimated(bare, stored_files=300, known_files=300).gets == 600 * 2
    auto = bare.model_copy(update={"pca": "auto"})
    once, again = (estimated(auto, stored_files=stored, known_files=stored) for stored in (300, 3000))
    assert once.gets == again.gets


def test_vcpu_hours_count_all_cores_for_the_whole_time():
    assert estimated().vcpu_hours == pytest.approx(1.0)
