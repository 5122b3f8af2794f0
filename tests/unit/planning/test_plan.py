import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tests.manifests
import verger
from verger.cli import main
from verger.config import RunConfig
from verger.errors import NothingToReadError, UsageError
from verger.network import cpu
from verger.network.backbones import resolve
from verger.photographs import inventory
from verger.photographs.images import decoders
from verger.planning import plan as planning
from verger.planning.plan import plan
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables import manifest, runs
from verger.tables.schemas import FEATURES, REMEMBERED


@pytest.fixture
def config(tmp_path) -> RunConfig:
    """Three apples, two pears, and a text, of which nothing is computed yet."""
    for number, label in enumerate(["apple", "apple", "apple", "pear", "pear"]):
        folder = tmp_path / "in" / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    (tmp_path / "in" / "notes.txt").write_text("no photograph")
    return RunConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out"), backbone="pixels")


def store_rows(config: RunConfig, kind: str, rows: list[dict]) -> None:
    """Rows as a run would have left them in the store."""
    schema = {"features": FEATURES, "rejects": REMEMBERED}[kind]
    folder = Path(config.output, kind, resolve(config, Stores()).fingerprint, "run-0")
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "part-0.parquet")


def finished_run(config: RunConfig, fingerprint: str, rate: float | None, computed: int = 5000, day: int = 1) -> str:
    """A finished run that measured its speed."""
    run_id = f"202603{day:02d}T120000Z-verger-0a1b2c"
    document = tests.manifests.manifest_with(
        started_at=f"2026-03-{day:02d}T12:00:00.000000Z",
        run_id=run_id,
        features={"fingerprint": fingerprint},
        photographs={"computed": computed},
        throughput={"photographs_per_s_per_core": rate},
        pca={"n_components": 7},
    )
    run = runs.Run(config.output, run_id, LocalStorage())
    manifest.publish(run, manifest.Manifest.model_validate(document))
    runs.point_latest(run, "verger", document["started_at"])
    return run_id


def listed_photographs(config: RunConfig) -> list[dict]:
    return inventory.take(config.input, Stores()).photographs.to_table().to_pylist()


class TestPlan:
    def test_without_a_store_all_photographs_are_new(self, config):
        planned = plan(config)
        assert (planned.listed, planned.known, planned.rejected, planned.new, planned.gone) == (5, 0, 0, 5, 0)
        assert planned.labels == {"apple": 3, "pear": 2}
        assert planned.ignored == {".txt": 1}
        assert planned.bytes == planned.new_bytes == sum(row["size"] for row in listed_photographs(config))

    def test_stored_features_and_remembered_rejections_are_not_new(self, config):
        first, second, third, *_ = listed_photographs(config)
        gone = {"path": f"{config.input}/apple/gone.png", "version": "1-1"}
        elsewhere = {"path": "/elsewhere/apple/1.png", "version": "1-1"}
        changed = {"path": second["path"], "version": "1-1"}
        store_rows(config, "features", [first, changed, gone, gone | {"version": "2-2"}, elsewhere])
        fourth = listed_photographs(config)[3]  # was rejected by an earlier version, which could not read it
        rejected = {"reason": "truncated", "decoders": decoders()}
        remembered = [third | rejected, fourth | rejected | {"decoders": None}]
        store_rows(config, "rejects", remembered)
        planned = plan(config)
        assert (planned.listed, planned.known, planned.rejected, planned.new, planned.gone) == (5, 1, 1, 3, 1)
        assert planned.new_bytes == planned.bytes - first["size"] - third["size"]

    def test_nothing_outside_a_subset_is_gone(self, config):
        store_rows(config, "features", listed_photographs(config))
        planned = plan(config.model_copy(update={"label": ("pear",)}))
        assert (planned.listed, planned.known, planned.new, planned.gone) == (2, 2, 0, 0)

    def test_nothing_is_written(self, config, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        plan(config)
        assert sorted(tmp_path.rglob("*")) == before

    def test_an_empty_input_is_an_error(self, config, tmp_path):
        with pytest.raises(NothingToReadError):
            plan(config.model_copy(update={"input": str(tmp_path / "none")}))

    def test_input_and_output_that_contain_one_another_are_refused(self, config):
        with pytest.raises(UsageError, match="contain one another"):
            plan(config.model_copy(update={"output": f"{config.input}/out"}))

    def test_a_damaged_file_of_the_store_is_a_warning(self, config):
        store_rows(config, "features", listed_photographs(config))
        part = Path(config.output, "features", resolve(config, Stores()).fingerprint, "run-0", "part-0.parquet")
        part.write_bytes(part.read_bytes()[:-10])
        planned = plan(config)
        assert (planned.known, planned.new) == (0, 5)
        assert "part-0.parquet is damaged" in planned.warnings[0]

    def test_more_cores_take_less_time_and_cost_the_same_work(self, config, monkeypatch):
        monkeypatch.setattr(planning, "START_S", 0.0)
        finished_run(config, resolve(config, Stores()).fingerprint, 0.01)
        one, twelve = plan(config, 1, 1), plan(config, 3, 4)
        assert one.seconds == pytest.approx(500)
        assert twelve.seconds == pytest.approx(500 / 12, abs=0.1)
        assert one.workload.core_hours == twelve.workload.core_hours == pytest.approx(500 / 3600)
        assert one.cost.items[0].eur == pytest.approx(twelve.cost.items[0].eur)
        assert one.cost.items[0].eur == pytest.approx(500 / 3600 / 4 * 0.224 / 1.105)

    def test_the_region_is_that_of_the_settings_or_else_paris(self, config):
        assert plan(config).cost.region == "eu-west-3"
        config = config.model_copy(update={"region": "eu-west-1"})
        assert plan(config).cost.region == "eu-west-1"

    def test_the_number_of_components_is_as_set_or_as_in_the_last_run_or_the_maximum(self, config):
        assert (plan(config).components, plan(config).components_source) == (5, "at most; the first run will show")
        finished_run(config, resolve(config, Stores()).fingerprint, None, 0)
        assert (plan(config).components, plan(config).components_source) == (7, "as in the last run")
        config = config.model_copy(update={"components": 3})
        assert (plan(config).components, plan(config).components_source) == (3, "as set")


class TestDecoding:
    def test_large_photographs_that_are_decoded_in_full_are_told_of(self, config):
        assert plan(config).warnings == []
        for row in listed_photographs(config):
            with open(row["path"], "ab") as file:
                file.truncate(planning.LARGE_BYTES)
        (warning,) = plan(config).warnings
        assert "500.0 kB on average: --decode scaled" in warning and "anew" not in warning
        assert plan(config.model_copy(update={"decode": "scaled"})).warnings == []

    def test_that_known_photographs_are_computed_anew_is_told(self, config):
        first, *others = listed_photographs(config)
        store_rows(config, "features", [first | {"features": [0.0]}])
        for row in others:
            with open(row["path"], "ab") as file:
                file.truncate(planning.LARGE_BYTES)
        (warning,) = plan(config).warnings
        assert "computes the 1 known ones anew" in warning

    def test_nothing_is_told_where_nothing_is_new(self, config):
        for row in listed_photographs(config):
            with open(row["path"], "ab") as file:
                file.truncate(planning.LARGE_BYTES)
        store_rows(config, "features", [row | {"features": [0.0]} for row in listed_photographs(config)])
        assert plan(config).warnings == []


class TestRate:
    @pytest.fixture(autouse=True)
    def cpuinfo(self, monkeypatch, tmp_path) -> Path:
        """This machine is taken to have the benchmark's CPU, whatever it has."""
        file = tmp_path / "cpuinfo"
        file.write_text("processor : 0\nmodel name : Zen 4\nflags : fpu avx avx2 avx512f avx512_vnni avx512_bf16\n")
        monkeypatch.setattr(cpu, "_CPUINFO", file)
        for name in ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"):
            monkeypatch.delenv(name, raising=False)
        return file

    def test_a_cpu_without_avx512_and_bf16_takes_longer_and_is_told(self, config, cpuinfo):
        network = {"backbone": "mobilenet_v2", "weights": "random"}
        rates = {}
        for precision in ("float32", "bfloat16"):
            asked = config.model_copy(update=network | {"precision": precision})
            fast = plan(asked)
            assert "Zen 4, with AVX2, AVX-512, bf16" in fast.cpu and fast.warnings == plan(config).warnings
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(cpu, "_read", lambda: "model name : An older CPU\nflags : avx avx2\n")
                slow = plan(asked)
            rates[precision] = slow.photographs_per_s_per_core
            assert slow.photographs_per_s_per_core < 0.6 * fast.photographs_per_s_per_core
            warned = [warning for warning in slow.warnings if "bfloat16 is emulated on a CPU (An older CPU)" in warning]
            assert len(warned) == (precision == "bfloat16")
            assert "An older CPU, with AVX2" in slow.cpu
        assert rates["bfloat16"] < rates["float32"]

    def test_the_rate_for_small_photographs_is_that_of_the_network(self, config):
        config = config.model_copy(update={"backbone": "mobilenet_v2", "weights": "random"})
        assert plan(config).photographs_per_s_per_core == pytest.approx(
            resolve(config, Stores()).photographs_per_s_per_core, abs=0.01
        )

    def test_large_photographs_lower_the_rate(self, config):
        with open(f"{config.input}/apple/0.png", "ab") as file:
            file.write(bytes(5 << 20))
        assert plan(config).photographs_per_s_per_core < resolve(config, Stores()).photographs_per_s_per_core / 10

    def test_photographs_that_are_known_do_not_change_the_rate_of_the_new_ones(self, config):
        with open(f"{config.input}/apple/0.png", "ab") as file:
            file.truncate(50 << 20)
        large, *small = sorted(listed_photographs(config), key=lambda row: -row["size"])
        before = plan(config).photographs_per_s_per_core
        store_rows(config, "features", [large | {"features": [0.0]}])
        after = plan(config)
        assert (after.new, after.known) == (len(small), 1)
        assert after.photographs_per_s_per_core > 2 * before

    def test_scaled_decoding_of_large_photographs_is_faster(self, config):
        for row in listed_photographs(config):
            with open(row["path"], "ab") as file:
                file.truncate(5 << 20)
        full, scaled = (plan(config.model_copy(update={"decode": way})) for way in ("full", "scaled"))
        assert 2 < scaled.photographs_per_s_per_core / full.photographs_per_s_per_core < 3

    def test_a_rate_measured_by_a_run_of_this_output_is_preferred(self, config):
        finished_run(config, resolve(config, Stores()).fingerprint, 12.5)
        planned = plan(config)
        assert planned.photographs_per_s_per_core == 12.5
        assert planned.rate_source == "measured by the last run that computed enough here"

    def test_of_several_measured_rates_the_median_of_the_last_five_is_taken(self, config):
        for day, rate in enumerate([1000, 900, 10, 11, 50, 12, 13], start=1):
            finished_run(config, resolve(config, Stores()).fingerprint, rate, day=day)
        finished_run(config, resolve(config, Stores()).fingerprint, 0.1, computed=3, day=20)
        planned = plan(config)
        assert planned.photographs_per_s_per_core == 12
        assert planned.rate_source == "the median of the last 5 runs that computed enough here"

    def test_a_damaged_manifest_is_skipped(self, config):
        finished_run(config, resolve(config, Stores()).fingerprint, 12.5)
        run_id = finished_run(config, resolve(config, Stores()).fingerprint, 14, day=2)
        Path(config.output, "runs", run_id, "manifest.json").write_text("{")
        assert plan(config).photographs_per_s_per_core == 12.5

    @pytest.mark.parametrize(("same", "rate", "computed"), [(False, 12.5, 5000), (True, None, 0), (True, 0.6, 28)])
    def test_rates_of_other_networks_and_of_small_runs_are_not_used(self, config, same, rate, computed):
        finished_run(
            config, resolve(config, Stores()).fingerprint if same else "vgg16-224-f32-000000000000", rate, computed
        )
        assert "benchmark" in plan(config).rate_source


class TestCommand:
    def arguments(self, config: RunConfig, *more: str) -> list[str]:
        return ["plan", "--input", config.input, "--output", config.output, "--backbone", "pixels", *more]

    def test_json(self, config, capsys):
        with pytest.raises(SystemExit) as ended:
            main(self.arguments(config, "--json", "--nodes", "2", "--node-cores", "8"))
        out, err = capsys.readouterr()
        planned = json.loads(out)
        assert (ended.value.code, err) == (0, "")
        assert (planned["listed"], planned["nodes"], planned["node_cores"]) == (5, 2, 8)
        assert planned["cost"]["eur"] > 0
        assert planned["cost"]["items"][0]["price"]["source"]
        assert planned["cost"]["items"][0]["price"]["date"] == "2023-12"
        assert planned["workload"]["gets"] > 5

    def test_table(self, config, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit):
            main(self.arguments(config))
        out = capsys.readouterr().out
        assert re.search(r"^ *5 +new, to compute", out, re.MULTILINE)
        assert re.search(r"^Labels +2 \(apple: 3, pear: 2\)$", out, re.MULTILINE)
        assert re.search(r"^ *1 +other files, ignored \(\.txt: 1\)$", out, re.MULTILINE)
        assert "no region is known: AWS in eu-west-3 (Paris) is assumed" in out
        assert re.search(r"^PUT and POST +\d+ +requests +USD 0.0053 / 1,000 +0\.\d+$", out, re.MULTILINE)
        assert re.search(r"^Cheapest - eu-north-1 \(Stockholm\)", out, re.MULTILINE)

    def test_unknown_prices_are_named(self, config, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit):
            main(self.arguments(config, "--region", "eu-central-1"))
        out = capsys.readouterr().out
        assert re.search(r"^LIST +\d+ +requests +unknown +unknown$", out, re.MULTILINE)
        assert re.search(r"^Sum of what is known +0\.\d+$", out, re.MULTILINE)
        assert "Unknown  - LIST; PUT and POST; GET and HEAD" in out

    def test_tensorflow_and_pyspark_are_not_imported(self, config):
        script = (
            f"import atexit, sys; from verger.cli import main\n"
            f"atexit.register(lambda: print(*sorted({{'tensorflow', 'pyspark', 'keras'}} & set(sys.modules)), 'end'))\n"
            f"main({['plan', '--input', config.input, '--output', config.output]!r})"
        )
        environment = os.environ | {"PYTHONPATH": str(Path(verger.__file__).parents[1])}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "end"), done.stderr
