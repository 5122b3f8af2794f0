"""storage/s3_inventory: the objects that a report lists are those that a listing of the bucket would give."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote_plus

import pyarrow as pa
import pytest

from tests.inventories import BEGAN, VERSIONS, Listed, report
from verger.errors import NothingToReadError, StoreError, UsageError
from verger.storage.s3_inventory import OBJECTS, Report
from verger.storage.s3_inventory_files import FORMATS, url_decoded
from verger.storage.stores import Stores

SOURCE = "s3://orchard/in"
KEYS = [
    "in/Apple/1.jpg",
    "in/Apple Red/a b+c.jpg",
    "in/été/ü 100%.jpg",
    "in/%41/%2B.jpg",
    'in/quote"/comma, and = & ?.jpg',
    "in/苹果/🍏.png",
    "in//1.jpg",
]
OBJECTS_OF_KEYS = [Listed(key, 10 + number, f"{number:032x}") for number, key in enumerate(KEYS)]


def put(folder: Path, files: dict[str, bytes]) -> Path:
    """A report on a disk, as it would be copied there from its bucket: the folder of the configuration."""
    for key, data in files.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return folder / "inventory" / "orchard" / "daily"


def manifest_of(reports: Path) -> Path:
    (path,) = reports.glob("*/manifest.json")
    return path


def change_manifest(reports: Path, change: Callable[[dict], None]) -> None:
    """Change the only manifest, and its checksum with it."""
    path = manifest_of(reports)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    path.with_suffix(".checksum").write_text(hashlib.md5(path.read_bytes()).hexdigest())


def opened(uri: Path, source: str = SOURCE) -> Report:
    return Report.open(str(uri), source, Stores())


def rows(uri: Path, source: str = SOURCE) -> list[tuple[str, int, str]]:
    table = pa.Table.from_batches(opened(uri, source).objects(source), OBJECTS)
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def as_listed(objects: list[Listed]) -> list[tuple[str, int | None, str]]:
    """Path, size and version as `verger.storage.s3.S3Storage.list` gives them."""
    return sorted((f"s3://orchard/{item.key}", item.size, f"{item.etag}-{item.size}") for item in objects)


@pytest.mark.parametrize("kind", FORMATS)
def test_all_keys_of_a_report_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    reports = put(tmp_path, report(OBJECTS_OF_KEYS, kind))
    assert rows(reports) == as_listed(OBJECTS_OF_KEYS)
    assert opened(reports).created == BEGAN


@pytest.mark.parametrize("kind", FORMATS)
def test_earlier_versions_and_delete_markers_are_left_out(tmp_path: Path, kind: str) -> None:
    latest = [Listed("in/a.jpg", 2, "b" * 32), Listed("in/c.jpg", 3, "c" * 32)]
    others = [
        Listed("in/a.jpg", 1, "a" * 32, latest=False),
        Listed("in/gone.jpg", None, None, deleted=True),
        Listed("in/gone.jpg", 4, "d" * 32, latest=False),
        Listed("in/c.jpg", None, None, latest=False, deleted=True),
    ]
    reports = put(tmp_path, report([*others, *latest], kind, without=()))
    assert rows(reports) == as_listed(latest)


@pytest.mark.parametrize("kind", FORMATS)
def test_keys_outside_the_input_are_left_out(tmp_path: Path, kind: str) -> None:
    inside, outside = Listed("in/a.jpg", 1, "a"), [Listed("in2/b.jpg", 1, "b"), Listed("b/in/c.jpg", 1, "c")]
    markers = [Listed("in/", 0, "d"), Listed("in/empty/", 0, "d")]
    reports = put(tmp_path, report([inside, *outside, *markers], kind))
    assert rows(reports) == as_listed([inside])
    assert rows(reports, "s3://orchard") == as_listed([inside, *outside])


def test_an_object_whose_key_ends_in_a_slash_is_listed_unless_it_is_empty(tmp_path: Path) -> None:
    whole = Listed("in/whole.jpg/", 5, "e")
    assert rows(put(tmp_path, report([whole, Listed("in/empty.jpg/", 0, "f")]))) == as_listed([whole])


def test_an_etag_of_several_parts_is_taken_as_it_is(tmp_path: Path) -> None:
    parts = Listed("in/a.jpg", 9_000_000_000, "0123456789abcdef0123456789abcdef-17")
    assert rows(put(tmp_path, report([parts], files=1))) == as_listed([parts])


def test_quotes_around_an_etag_are_removed(tmp_path: Path) -> None:
    reports = put(tmp_path, report([Listed("in/a.jpg", 1, '"abc"')], "Parquet"))
    assert rows(reports) == [("s3://orchard/in/a.jpg", 1, "abc-1")]


def test_an_object_without_etag_gets_a_version_that_no_object_has(tmp_path: Path) -> None:
    assert rows(put(tmp_path, report([Listed("in/a.jpg", 1, None)], files=1))) == [("s3://orchard/in/a.jpg", 1, "-1")]


def test_files_are_copied_one_ahead_and_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Listed(f"in/{number}.jpg", 1, "a") for number in range(1000)]
    reports, copied, copy = put(tmp_path, report(many, "Parquet", files=10)), [], Report._copy
    monkeypatch.setattr("verger.storage.s3_inventory_files._BATCH_ROWS", 64)
    monkeypatch.setattr(Report, "_copy", lambda *given: copied.append(1) or copy(*given))
    ahead, read = [], 0
    for batch in opened(reports).objects(SOURCE, str(tmp_path)):
        assert batch.num_rows <= 64
        ahead.append(len(copied) - read / 100)
        read += batch.num_rows
    assert (read, len(copied)) == (1000, 10)
    assert max(ahead) <= 3  # the present one, the next one, and one that is being copied


@pytest.mark.parametrize("kind", FORMATS)
def test_a_report_without_objects(tmp_path: Path, kind: str) -> None:
    assert rows(put(tmp_path / "files", report([], kind))) == []
    assert rows(put(tmp_path / "none", report([], kind, files=0))) == []


class TestWhichReport:
    def test_a_manifest_or_the_folder_of_its_report_may_be_named(self, tmp_path: Path) -> None:
        manifest = manifest_of(put(tmp_path, report(OBJECTS_OF_KEYS)))
        assert opened(manifest).path == opened(manifest.parent).path == str(manifest)

    def test_the_newest_complete_report_of_a_folder_is_taken(self, tmp_path: Path) -> None:
        for days in (1, 2, 10):
            reports = put(tmp_path, report(OBJECTS_OF_KEYS, began=BEGAN - timedelta(days=days)))
        put(tmp_path, {"inventory/orchard/daily/hive/dt=2026-11-28-01-00/symlink.txt": b""})
        assert opened(reports).created == BEGAN - timedelta(days=1)
        unfinished = report(OBJECTS_OF_KEYS, began=BEGAN)
        (checksum,) = [key for key in unfinished if key.endswith(".checksum")]
        last = {checksum: unfinished.pop(checksum)}
        put(tmp_path, unfinished)
        assert opened(reports).created == BEGAN - timedelta(days=1)
        put(tmp_path, last)
        assert opened(reports).created == BEGAN

    def test_a_copied_manifest_may_come_without_its_checksum(self, tmp_path: Path) -> None:
        manifest = manifest_of(put(tmp_path, report(OBJECTS_OF_KEYS)))
        manifest.with_suffix(".checksum").unlink()
        assert rows(manifest) == as_listed(OBJECTS_OF_KEYS)

    @pytest.mark.parametrize("above", [".", ".."])
    def test_a_folder_without_a_complete_report_is_refused(self, tmp_path: Path, above: str) -> None:
        reports = put(tmp_path, report(OBJECTS_OF_KEYS))
        if above == ".":
            manifest_of(reports).with_suffix(".checksum").unlink()
        with pytest.raises(NothingToReadError, match="has no complete report. Name a report's manifest.json, or"):
            opened(reports / above)

    def test_a_manifest_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(NothingToReadError, match=r"nowhere/manifest\.json does not exist"):
            opened(tmp_path / "nowhere" / "manifest.json")

    @pytest.mark.parametrize("source", ["s3://meadow/in", "/data/orchard"])
    def test_a_report_of_another_bucket_is_refused(self, tmp_path: Path, source: str) -> None:
        reports = put(tmp_path, report(OBJECTS_OF_KEYS))
        with pytest.raises(UsageError, match=f"lists s3://orchard, and the input is {source}"):
            opened(reports, source)


class TestDamage:
    def test_a_changed_manifest_is_noticed(self, tmp_path: Path) -> None:
        manifest = manifest_of(put(tmp_path, report(OBJECTS_OF_KEYS)))
        manifest.write_bytes(manifest.read_bytes() + b"\n")
        with pytest.raises(StoreError, match=r"is not the file of which .*manifest\.checksum is the MD5"):
            opened(manifest)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', "no JSON"])
    def test_another_file_is_no_manifest(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match="is not the manifest of an S3 Inventory report"):
            opened(tmp_path / "manifest.json")

    def test_an_unknown_format_is_refused(self, tmp_path: Path) -> None:
        reports = put(tmp_path, report(OBJECTS_OF_KEYS))
        change_manifest(reports, lambda document: document.update(fileFormat="Avro"))
        with pytest.raises(UsageError, match="is in the format Avro, which is not read. Choose CSV or Parquet or ORC"):
            opened(reports)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_file_with_another_checksum_is_not_read(self, tmp_path: Path, kind: str) -> None:
        reports = put(tmp_path, report(OBJECTS_OF_KEYS, kind))
        damaged = sorted((reports / "data").iterdir())[1]
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        with pytest.raises(StoreError, match=f"{damaged} is not the file that the inventory report .* names"):
            rows(reports)

    def test_a_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        reports = put(tmp_path, report(OBJECTS_OF_KEYS))
        missing = sorted((reports / "data").iterdir())[1]
        missing.unlink()
        with pytest.raises(StoreError, match=f"{missing}, a file of the inventory report .*, does not exist"):
            rows(reports)

    @pytest.mark.parametrize(
        "data",
        [b"no such file", gzip.compress(b'"a","b"\n', mtime=0)[:-9], gzip.compress(b'"a","b"\n', mtime=0)],
        ids=["text", "a truncated archive", "an archive of two columns"],
    )
    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_file_that_cannot_be_parsed_is_named(self, tmp_path: Path, kind: str, data: bytes) -> None:
        reports = put(tmp_path, report(OBJECTS_OF_KEYS, kind))
        bad = sorted((reports / "data").iterdir())[0]
        bad.write_bytes(data)
        change_manifest(reports, lambda it: it["files"][0].update(MD5checksum=hashlib.md5(data).hexdigest()))
        with pytest.raises(StoreError, match=f"{bad}, a file of the inventory report, cannot be read"):
            rows(reports)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("without", "line"),
    [
        (("size",), "has no column Size. Switch on Size among the additional fields of the inventory's configuration"),
        (("e_tag",), "has no column ETag. Switch on ETag among"),
        (("size", "e_tag"), "has no column Size and no column ETag. Switch on Size and ETag among"),
    ],
)
def test_a_column_that_is_missing_is_named(tmp_path: Path, kind: str, without: tuple[str, ...], line: str) -> None:
    reports = put(tmp_path, report(OBJECTS_OF_KEYS, kind, without=(*VERSIONS, *without)))
    with pytest.raises(UsageError, match=line):
        rows(reports)


def test_versions_without_a_mark_of_the_latest_are_refused(tmp_path: Path) -> None:
    reports = put(tmp_path, report(OBJECTS_OF_KEYS, without=("is_latest",)))
    with pytest.raises(UsageError, match="has no column IsLatest"):
        rows(reports)


def test_no_copy_is_left_behind(tmp_path: Path) -> None:
    reports = put(tmp_path, report(OBJECTS_OF_KEYS, files=3))
    next(opened(reports).objects(SOURCE, str(tmp_path / "scratch")))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_texts_are_decoded_as_by_python() -> None:
    draws = random.Random(0)
    texts = [
        "".join(draws.choices(["%41", "%2B", "+", "%", "%4", "%zz", "x", "%C3%A9", "/", "%25"], k=draws.randrange(9)))
        for _ in range(2000)
    ]
    encoded = pa.array([text.encode() for text in texts], pa.binary())
    expected = [unquote_plus(text) for text in texts]
    assert url_decoded(encoded).to_pylist() == expected
    assert url_decoded(encoded.slice(7, 90)).to_pylist() == expected[7:97]
    assert url_decoded(encoded.slice(0, 0)).to_pylist() == []
