"""Keys that are no paths: a run over a bucket of them loses none, and every later command finds each by its key."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import verger
from tests.flat_store import FlatStore, serving
from tests.integration.runs import finished, photograph
from tests.integration.runs import verger as verger_process
from tests.integration.s3 import Server
from tests.integration.s3_runs import reach
from tests.inventories import Listed, report
from tests.unit.storage.test_s3_inventory import put
from verger.config import PruneSettings, ResultSettings
from verger.errors import UsageError
from verger.insight.identify.identification import identify
from verger.photographs import inventory
from verger.pipeline import maintenance
from verger.progress import Progress
from verger.storage.s3_inventory import Report
from verger.storage.stores import Stores
from verger.storage.uri import canonical

pytestmark = pytest.mark.required_in_ci

DECOMPOSED, COMPOSED = (unicodedata.normalize(form, "Pêche") for form in ("NFD", "NFC"))
# Keys that no server on a file system keeps, with label and split.
NO_PATHS = {
    "in/apple//1.jpg": ("apple", None),
    "in/apple//2.jpg": ("apple", None),
    "in/apple///3.jpg": ("apple", None),
    "in//pear/1.jpg": ("pear", None),
    "in//4.jpg": (None, None),
    "in/./apple/5.jpg": ("apple", None),
    "in/apple/./6.jpg": ("apple", None),
    "in/apple/../7.jpg": ("apple", None),
    "in/Test//apple//8.jpg": ("apple", "Test"),
    "in/Training//9.jpg": (None, "Training"),
    "in/nul\x00/1.jpg": ("nul\x00", None),
}
# Keys that are strange in another way, and that MinIO keeps.
STRANGE = {
    "in/a\x01b/1.jpg": ("a\x01b", None),
    "in/tab\tnew\nline/1.jpg": ("tab\tnew\nline", None),
    "in/cr\rlf/1.jpg": ("cr\rlf", None),
    "in/back\\slash/1.jpg": ("back\\slash", None),
    "in/100%25/a%20b.jpg": ("100%25", None),
    "in/q?x=1/#h.jpg": ("q?x=1", None),
    "in/ spaces /a b.jpg": (" spaces ", None),
    "in/plus+plus/a+b.jpg": ("plus+plus", None),
    f"in/{DECOMPOSED}/1.jpg": (DECOMPOSED, None),
    f"in/{COMPOSED}/1.jpg": (COMPOSED, None),
    "in/" + "/".join(["k" * 200] * 5) + "/" + "k" * 12 + ".jpg": ("k" * 200, None),
    "in/a&b<c>'\"/1.jpg": ("a&b<c>'\"", None),
    "in/\u2028/1.jpg": ("\u2028", None),
}
ALL = NO_PATHS | STRANGE


@pytest.fixture(scope="module")
def bytes_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A photograph for each key, all different."""
    folder = tmp_path_factory.mktemp("drawn")
    return {key: photograph(folder / f"{at}.png", at).read_bytes() for at, key in enumerate(ALL)}


@pytest.fixture
def flat(bytes_of: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FlatStore]:
    """The stand-in for AWS, with all keys, two folder markers and a photograph whose key ends in a slash."""
    more = {"in/apple/": b"", "in//": b"", "in/apple/whole.jpg/": bytes_of["in/apple//1.jpg"]}
    with serving(bytes_of | more) as store:
        reach(store, monkeypatch)  # type: ignore[arg-type]
        yield store


def labelled(photographs: Any, root: str) -> dict[str, tuple[str | None, str | None]]:
    """Label and split by key."""
    return {
        row["path"].removeprefix(f"{root}/"): (row["label"], row["split"])
        for row in photographs.select(["path", "label", "split"]).to_pylist()
    }


def test_the_longest_key_has_1024_bytes() -> None:
    assert max(len(key.encode()) for key in ALL) == 1024


def test_keys_that_are_no_paths_are_listed_labelled_and_read(flat: FlatStore, bytes_of: dict[str, bytes]) -> None:
    stores, root = Stores(), "s3://orchard"
    found = inventory.take(f"{root}/in", stores)
    assert labelled(found.photographs.to_table(), root) == ALL
    assert found.ignored == {"": 1}  # the photograph whose key ends in a slash is told, the empty markers are not
    for row in found.photographs.to_table().to_pylist():
        read = stores.of(root).read_version(row["path"], row["version"])
        assert read == bytes_of[row["path"].removeprefix(f"{root}/")]


def test_a_key_may_begin_with_a_slash(flat: FlatStore, bytes_of: dict[str, bytes]) -> None:
    flat.objects = {"/apple/1.jpg": bytes_of["in/apple//1.jpg"], "//2.jpg": bytes_of["in/apple//2.jpg"]}
    stores = Stores()
    found = inventory.take("s3://orchard", stores).photographs.to_table()
    assert labelled(found, "s3://orchard") == {"/apple/1.jpg": ("apple", None), "//2.jpg": (None, None)}
    for row in found.to_pylist():
        assert stores.of(row["path"]).read_version(row["path"], row["version"])


def test_strange_keys_on_a_real_server(minio: Server, bytes_of: dict[str, bytes], monkeypatch: Any) -> None:
    reach(minio, monkeypatch)
    bucket, client, stores = minio.bucket(), minio.client(), Stores()
    for key in STRANGE:
        client.put_object(Bucket=bucket, Key=key, Body=bytes_of[key])
    found = inventory.take(f"s3://{bucket}/in", stores).photographs.to_table()
    assert labelled(found, f"s3://{bucket}") == STRANGE
    for row in found.to_pylist():
        read = stores.of(row["path"]).read_version(row["path"], row["version"])
        assert read == bytes_of[row["path"].removeprefix(f"s3://{bucket}/")]


@pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
def test_an_inventory_report_names_strange_keys_as_the_store_does(flat: FlatStore, tmp_path: Path, kind: str) -> None:
    stores, listed = Stores(), inventory.take("s3://orchard/in", Stores())
    pages = stores.client(stores.bucket("orchard")).get_paginator("list_objects_v2").paginate(Bucket="orchard")
    objects = [Listed(it["Key"], it["Size"], it["ETag"].strip('"')) for page in pages for it in page["Contents"]]
    reports = put(tmp_path, report(objects, kind))
    found = inventory.take("s3://orchard/in", stores, report=Report.open(str(reports), "s3://orchard/in", stores))
    assert found.photographs.to_table().equals(listed.photographs.to_table())
    assert found.ignored == listed.ignored


def ran(folder: Path, *more: str) -> dict[str, Any]:
    """A run over the bucket to folder/out, in a process of its own: workers have the environment of their JVM."""
    quick = ["--backbone", "pixels", "--input-size", "8", "--components", "2", "--cores", "1", "--log-format", "json"]
    places = ["--input", "s3://orchard/in", "--output", str(folder / "out"), "--store-location", "eu"]
    code, stderr, _ = finished(verger_process("run", *places, *quick, *more, cwd=folder))
    assert code == 0, stderr
    latest = json.loads((folder / "out" / "latest.json").read_text())
    manifest: dict[str, Any] = json.loads((folder / "out" / latest["manifest"]).read_text())
    return manifest


@pytest.mark.slow
def test_a_run_over_them_and_what_comes_after(flat: FlatStore, tmp_path: Path) -> None:
    """List, split, read, PCA, table, report, identify and prune."""
    root, output = "s3://orchard", tmp_path / "out"
    manifest = ran(tmp_path, "--csv", "--report")
    counts = manifest["photographs"]
    assert (counts["listed"], counts["rejected"], counts["ignored"]) == (len(ALL), 0, {"": 1})
    assert labelled(verger.load(str(output)), root) == ALL
    page = (output / manifest["report"]["path"]).read_text()
    assert "apple//1.jpg" in page
    assert f"{root}/in/" not in page  # paths are relative to the input
    asked = [f"{root}/{key}" for key in ("in/apple//1.jpg", "in/apple/../7.jpg", "in/a\x01b/1.jpg", "in//4.jpg")]
    looking = ResultSettings(store_location="eu")
    with Progress.of(looking) as progress:
        found = list(identify(looking, str(output), asked, 1, progress))
    assert [(looked.photograph, looked.nearest[0][0]) for looked, _ in found] == [(uri, uri) for uri in asked]
    del flat.objects["in/apple//2.jpg"], flat.objects["in/nul\x00/1.jpg"]
    pruning = PruneSettings(output=str(output), store_location="eu")
    with Progress.of(pruning) as progress:
        assert maintenance.prune(pruning, None, True, progress)["photographs"] == 2
    again = ran(tmp_path)["photographs"]
    assert (again["computed"], again["known"], again["gone"]) == (0, len(ALL) - 2, 0)


@pytest.mark.parametrize("key", ["in//apple", "./in", "in/../apple", "/in"])
def test_a_folder_that_is_no_path_is_refused_with_the_reason(key: str) -> None:
    with pytest.raises(UsageError, match="not supported in a bucket"):
        canonical(f"s3://orchard/{key}")
