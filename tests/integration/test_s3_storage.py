"""storage/s3 on real servers: what `Storage` promises, as tests/unit/storage/test_local.py has it of folders."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.integration.s3 import Minio, Server, Versity
from tests.integration.s3_gateway import in_front_of
from tests.integration.s3_runs import reach
from verger.errors import NothingToReadError, Reason, Rejection, StoreError
from verger.planning import workload
from verger.storage import listing
from verger.storage.base import AlreadyPublishedError, Storage
from verger.storage.stores import Stores
from verger.tables.parts import write_part
from verger.tables.rejections import read_refused
from verger.tables.store import FeatureStore

pytestmark = pytest.mark.required_in_ci

ODD = (
    "a b.jpg",
    "100%.jpg",
    "a%20b.jpg",
    "été 🍑.jpg",
    "梨/一.png",
    "a+b&c=d?e#f.jpg",
    "a-b",
    "a.b",
    "ab/x",
    "a/b/c/d",
)


@pytest.fixture(params=["minio", "versity"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server of all tests, to which this process's own settings lead."""
    served: Server = request.getfixturevalue(request.param)
    reach(served, monkeypatch)
    return served


@pytest.fixture
def root(server: Server) -> str:
    """An empty bucket."""
    return f"s3://{server.bucket()}"


@pytest.fixture
def storage(root: str) -> Storage:
    return Stores().of(root)


def at_once(count: int, do: Callable[[int], Any]) -> None:
    """Do it in so many threads, that begin together."""
    together = threading.Barrier(count)

    def one(number: int) -> None:
        together.wait()
        do(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))


def keys_in(server: Server, root: str) -> list[str]:
    found = server.client().list_objects_v2(Bucket=root.removeprefix("s3://")).get("Contents", [])
    return [item["Key"] for item in found]


def uploads_in(server: Server, root: str) -> list[str]:
    found = server.client().list_multipart_uploads(Bucket=root.removeprefix("s3://")).get("Uploads", [])
    return [item["Key"] for item in found]


def test_names_are_kept_as_they_are(storage: Storage, root: str) -> None:
    for name in ODD:
        storage.write(f"{root}/in/{name}", name.encode())
    storage.write(f"{root}/inner/x.jpg", b"elsewhere")
    found = {entry.path: entry for entry in storage.list(f"{root}/in")}
    assert set(found) == {f"{root}/in/{name}" for name in ODD}
    for name in ODD:
        entry = found[f"{root}/in/{name}"]
        assert entry.size == len(name.encode())
        assert storage.read(entry.path) == storage.read_version(entry.path, entry.version) == name.encode()
    assert len(list(storage.list(root))) == len(ODD) + 1


def test_more_than_a_page_is_listed_and_deleted(storage: Storage, root: str) -> None:
    names = [f"{root}/in/{number // 450}/{number % 11}/{number}" for number in range(1400)]
    at_once(8, lambda hand: [storage.write(name, b"x") for name in names[hand::8]])
    storage.write(f"{root}/inner", b"stays")
    assert [entry.path for entry in storage.list(f"{root}/in")] == sorted(names)
    storage.delete(f"{root}/in")
    assert [entry.path for entry in storage.list(root)] == [f"{root}/inner"]
    storage.delete(f"{root}/in")


def test_ranges_of_names_are_listed_as_the_whole_is(versity: Versity, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on AWS; of MinIO this is not asked."""
    bucket, client = versity.bucket(), versity.client()
    names = [f"in/{number // 450}/{number % 11}/{number}" for number in range(1400)]
    at_once(8, lambda hand: [client.put_object(Bucket=bucket, Key=name) for name in names[hand::8]])
    monkeypatch.setattr(listing, "_SEQUENTIAL_PAGES", 1)
    found = [key for key, _, _ in listing.list_objects(client, bucket, "in/", ranges=True)]
    assert found == sorted(names)


def test_listing_a_missing_folder_is_an_error(storage: Storage, root: str) -> None:
    storage.write(f"{root}/inner", b"x")
    for nowhere in (f"{root}/in", f"{root}-none/in"):
        with pytest.raises(NothingToReadError, match=nowhere):
            list(Stores().of(nowhere).list(nowhere))
    with pytest.raises(NothingToReadError, match="does not exist"):
        storage.read(f"{root}/in")


def test_an_object_and_a_folder_with_something_in_it_exist(storage: Storage, root: str) -> None:
    assert not storage.exists(root)
    storage.write(f"{root}/in/x.jpg", b"x")
    assert storage.exists(root)
    assert [storage.exists(f"{root}/{name}") for name in ("in", "in/x.jpg", "i", "in/x", "in/y")] == [
        *(True, True),
        *(False, False, False),
    ]


def test_a_made_folder_exists_and_is_empty(storage: Storage, root: str) -> None:
    storage.make_folder(f"{root}/events")
    assert storage.exists(f"{root}/events")
    assert list(storage.list(f"{root}/events")) == []


def test_a_photograph_is_read_in_the_version_that_was_listed(storage: Storage, root: str) -> None:
    for name in "abc":
        storage.write(f"{root}/in/{name}", b"one")
    unchanged, changed, vanished = sorted(storage.list(f"{root}/in"), key=lambda entry: entry.path)
    storage.write(changed.path, b"two")
    storage.delete(vanished.path)
    assert storage.read_version(unchanged.path, unchanged.version) == b"one"
    for entry, reason in ((changed, Reason.CHANGED), (vanished, Reason.VANISHED)):
        with pytest.raises(Rejection) as refused:
            storage.read_version(entry.path, entry.version)
        assert refused.value.reason == reason


def test_a_photograph_that_is_denied_is_unreadable(s3_environment: Minio, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3_environment.bucket()
    s3_environment.client().put_object(Bucket=bucket, Key="in/x", Body=b"x")
    may = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}
    not_read = {"Effect": "Deny", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    access, secret = s3_environment.user({"Version": "2012-10-17", "Statement": [may, not_read]})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    storage = Stores().of(f"s3://{bucket}")
    (entry,) = storage.list(f"s3://{bucket}/in")
    with pytest.raises(Rejection) as refused:
        storage.read_version(entry.path, entry.version)
    assert refused.value.reason == Reason.UNREADABLE


def test_of_many_publishers_one_wins(storage: Storage, root: str) -> None:
    path, won = f"{root}/x", []

    def publish(number: int) -> None:
        try:
            storage.publish_once(path, b"%d" % number)
            won.append(number)
        except AlreadyPublishedError:
            pass

    at_once(16, publish)
    assert len(won) == 1
    assert storage.read(path) == b"%d" % won[0]


def test_updates_do_not_lose_one_another(s3_environment: Minio) -> None:
    """Of MinIO alone: versitygw beside a writer answers a GET with the one body and the other's ETag."""
    root = f"s3://{s3_environment.bucket()}"
    storage, path = Stores().of(root), f"{root}/words"

    def add(number: int) -> None:
        for word in (b"%d.%d " % (number, time) for time in range(5)):
            assert storage.update(path, lambda data, word=word: (data or b"") + word)  # type: ignore[misc]

    at_once(8, add)
    words = storage.read(path).split()
    assert len(words) == len(set(words)) == 40
    assert storage.update(path, lambda data: None) is False


@pytest.mark.parametrize("size", [0, 1000, 35 << 20], ids=["empty", "small", "in three parts"])
def test_a_stream_appears_whole(server: Server, storage: Storage, root: str, size: int) -> None:
    data = os.urandom(size)
    with storage.stream(f"{root}/x.csv") as file:
        for start in range(0, size, 9_999_999):
            file.write(data[start : start + 9_999_999])
        assert keys_in(server, root) == []
    assert storage.read(f"{root}/x.csv") == data


@pytest.mark.parametrize("size", [1000, 20 << 20], ids=["small", "in parts"])
def test_a_stream_that_fails_leaves_what_was_there(server: Server, storage: Storage, root: str, size: int) -> None:
    storage.write(f"{root}/x.csv", b"old")
    with pytest.raises(ZeroDivisionError), storage.stream(f"{root}/x.csv") as file:
        file.write(bytes(size))
        assert len(uploads_in(server, root)) == (size > 1000)
        raise ZeroDivisionError
    assert storage.read(f"{root}/x.csv") == b"old"
    assert uploads_in(server, root) == []


def test_a_store_that_restarts_is_waited_for_unless_the_run_is_over(
    own_minio: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(own_minio, monkeypatch)
    path = f"s3://{own_minio.bucket()}/x"
    Stores().of(path).write(path, b"x")
    own_minio.stop()
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="cannot be reached"):
        patch.setattr(Stores, "patience_s", 0)  # of itself botocore has three more attempts, within 7 s
        Stores().of(path).read(path)
    stores = Stores()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(stores.of(path).read, path)
        with pytest.raises(TimeoutError):
            reading.result(10)
        own_minio.start()
        assert reading.result() == b"x"
        own_minio.stop()
        reading = pool.submit(stores.of(path).read, path)
        stores.fail_fast.set()
        with pytest.raises(StoreError, match="cannot be reached"):
            reading.result(30)


def test_arrow_reads_the_columns_that_are_asked_for(
    storage: Storage, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = pa.FixedSizeBinaryArray.from_buffers(pa.binary(1000), 5000, [None, pa.py_buffer(os.urandom(5_000_000))])
    table = pa.table({"path": [f"in/{number}" for number in range(5000)], "features": wide})
    pq.write_table(table, tmp_path / "x.parquet", compression="none", use_dictionary=False)
    storage.write(f"{root}/x.parquet", (tmp_path / "x.parquet").read_bytes())
    sizes: list[int] = []
    ranged = "verger.storage.ranges.RangedFile._get"
    counted = _counting(sizes)
    monkeypatch.setattr(ranged, counted)
    found = ds.dataset([f"{root}/x.parquet"], filesystem=storage.arrow())
    assert found.to_table(["path"])["path"].to_pylist() == table["path"].to_pylist()
    assert 0 < sum(sizes) < 500_000  # of five million
    assert found.to_table() == table


def _counting(sizes: list[int]) -> Callable[..., Any]:
    from verger.storage.ranges import RangedFile

    get = RangedFile._get

    def counted(self: Any, *arguments: str, **conditions: str) -> Any:
        answer = get(self, *arguments, **conditions)
        sizes.append(len(answer[0]))
        return answer

    return counted


@pytest.mark.parametrize(("rows", "written"), [(100, ["PUT"]), (6000, ["POST", "POST", "PUT", "PUT"])])
def test_requests_of_files_are_those_that_the_plan_counts(
    server: Server, root: str, monkeypatch: pytest.MonkeyPatch, rows: int, written: list[str]
) -> None:
    """A small file, and one of 24 MB, which is uploaded in two parts."""
    asked: list[str] = []
    with in_front_of(server, lambda request: asked.append(request.method)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        storage, path = Stores().of(root), f"{root}/part.parquet"
        table = pa.table({"path": [str(row) for row in range(rows)], "features": _vectors(rows)})
        write_part(storage, path, table.schema, table.to_batches(max_chunksize=500))
        assert sorted(asked) == written
        assert len(written) == workload._puts_a_file(table.nbytes)
        for columns in (["path"], None):
            asked.clear()
            with storage.arrow().open_input_file(path) as file:
                assert pq.ParquetFile(file).read(columns)["path"] == table["path"]
            assert asked == ["GET"] * workload._GET_A_READ


def _vectors(rows: int) -> pa.Array:
    """Numbers that cannot be compressed: 4 kB a row."""
    numbers = pa.Array.from_buffers(pa.float32(), rows * 1000, [None, pa.py_buffer(os.urandom(rows * 4000))])
    return pa.ListArray.from_arrays(pa.array(range(0, rows * 1000 + 1, 1000), pa.int32()), numbers)


def test_arrow_raises_file_not_found_for_missing_objects(storage: Storage, root: str) -> None:
    storage.write(f"{root}/y.parquet", b"x")
    with pytest.raises(FileNotFoundError):
        ds.dataset([f"{root}/x.parquet"], filesystem=storage.arrow())


def test_refused_batches_are_kept_and_forgotten(storage: Storage, root: str) -> None:
    store = FeatureStore(storage, f"{root}/out", "pixels-8-000000000000", pytest.fail)
    assert read_refused(store).num_rows == 0
    store.remember_refused("run-a", [pa.table({"path": [f"{root}/in/à 1.jpg"], "version": ["1"]})])
    refused = read_refused(store).to_table()
    assert refused.to_pylist() == [
        {"path": f"{root}/in/à 1.jpg", "version": "1", "file": f"{store.refused_folder}/run-a.zstd.parquet"}
    ]
    store.forget_refused([])
    assert read_refused(store).to_table().equals(refused)
    store.forget_refused(refused["file"].to_pylist())
    assert read_refused(store).num_rows == 0
