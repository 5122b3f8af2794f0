"""spark/s3a: what Spark is found about buckets, and where its jars are."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from verger.config import RunConfig
from verger.errors import UsageError
from verger.spark import s3a
from verger.storage.buckets import Bucket

pytestmark = pytest.mark.required_in_ci

PHOTOGRAPHS = Bucket("photographs", "eu-west-3")
RESULTS = Bucket("results", "eu-central-1", "http://127.0.0.1:9000", path_style=True)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name == "VERGER_JARS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "nor-this")


def settings(*buckets: Bucket, **more: str) -> dict[str, str]:
    """Those of Hadoop, by their own names."""
    found = s3a.spark_settings(buckets, RunConfig(input="in", output="out", **more))
    return {name.removeprefix("spark.hadoop."): value for name, value in found.items()}


class TestSettings:
    def test_each_bucket_has_its_own_region_and_endpoint(self) -> None:
        found = settings(PHOTOGRAPHS, RESULTS)
        own = {name: value for name, value in found.items() if name.startswith("fs.s3a.bucket.")}
        assert own == {
            "fs.s3a.bucket.photographs.path.style.access": "false",
            "fs.s3a.bucket.photographs.endpoint.region": "eu-west-3",
            "fs.s3a.bucket.photographs.create.checksum.algorithm": "CRC32",
            "fs.s3a.bucket.results.path.style.access": "true",
            "fs.s3a.bucket.results.endpoint.region": "eu-central-1",
            "fs.s3a.bucket.results.endpoint": "http://127.0.0.1:9000",
            "fs.s3a.bucket.results.connection.ssl.enabled": "false",
        }
        assert found["fs.s3a.cross.region.access.enabled"] == "false"
        assert found["fs.s3a.input.stream.type"] == "classic"

    @pytest.mark.parametrize(
        ("given", "expected"), [("AES256", "AES256"), ("aws:kms", "SSE-KMS"), ("aws:kms:dsse", "DSSE-KMS")]
    )
    def test_each_bucket_has_its_own_encryption_and_payer(self, given: str, expected: str) -> None:
        key = "arn:aws:kms:eu-west-3:123456789012:key/0a1b"
        encrypted = replace(RESULTS, sse=given, sse_kms_key_id=None if given == "AES256" else key, requester_pays=True)
        found = settings(PHOTOGRAPHS, encrypted)
        assert found["fs.s3a.bucket.results.encryption.algorithm"] == expected
        assert found.get("fs.s3a.bucket.results.encryption.key") == encrypted.sse_kms_key_id
        assert found["fs.s3a.bucket.results.requester.pays.enabled"] == "true"
        assert not [name for name in found if name.startswith("fs.s3a.bucket.photographs.enc")]

    def test_no_key_is_among_the_settings(self) -> None:
        found = settings(PHOTOGRAPHS, RESULTS)
        assert found["fs.s3a.aws.credentials.provider"].endswith(".EnvironmentVariableCredentialsProvider")
        for secret in ("AKIAEXAMPLE", "not-to-be-shown", "nor-this"):
            assert secret not in str(found)

    def test_nothing_is_set_for_the_tables_which_python_writes(self) -> None:
        assert [name for name in settings(RESULTS) if "commit" in name or not name.startswith("fs.s3a.")] == []

    def test_names_are_not_percent_encoded(self) -> None:
        assert s3a.uri("s3://results/event log/ü%") == "s3a://results/event log/ü%"

    def test_s3a_buffers_in_the_local_folder(self, tmp_path: Path) -> None:
        assert "fs.s3a.buffer.dir" not in settings(RESULTS)
        assert settings(RESULTS, local_dir=str(tmp_path))["fs.s3a.buffer.dir"] == str(tmp_path)


class TestJars:
    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where `make jars` puts them."""
        folder = tmp_path / "share" / "verger" / "jars"
        folder.mkdir(parents=True)
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        (folder / "hadoop-aws-3.5.0.jar").touch()
        return folder

    def test_jars_of_make_jars_are_found(self, installed: Path) -> None:
        assert s3a.jars_folder() == installed
        assert s3a.class_path() == f"{installed}/*"

    def test_jars_in_sparks_own_folder_are_found(
        self, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "spark").mkdir()
        installed.rename(tmp_path / "spark" / "jars")
        monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
        monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")  # spark-submit's own; another Spark's jars are not searched
        assert s3a.jars_folder() == tmp_path / "spark" / "jars"

    def test_verger_jars_wins_even_where_it_has_no_jars(
        self, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "mine").mkdir()
        monkeypatch.setenv("VERGER_JARS", str(tmp_path / "mine"))
        with pytest.raises(UsageError, match=f"none is in {tmp_path / 'mine'}. Fetch the jars with `make jars`"):
            s3a.class_path()
        (tmp_path / "mine" / "hadoop-aws-3.5.0.jar").touch()
        assert s3a.class_path() == f"{tmp_path / 'mine'}/*"

    def test_missing_jars_are_a_usage_error(self, installed: Path) -> None:
        for jar in installed.iterdir():
            jar.unlink()
        with pytest.raises(UsageError, match=r"Spark lacks the jars with which it writes its event log to S3\. Fetch"):
            s3a.class_path()


class TestTrust:
    def test_without_a_bundle_java_keeps_its_trust_store(self, tmp_path: Path) -> None:
        assert s3a.trust_store_options(tmp_path / "store.p12", [RESULTS]) == []
        assert not (tmp_path / "store.p12").exists()

    def test_with_a_bundle_the_jvm_gets_a_trust_store(self, tmp_path: Path) -> None:
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        private = Bucket("b", None, "https://store:9000", True, str(tmp_path / "ca.pem"))
        (options,) = s3a.trust_store_options(tmp_path / "store.p12", [RESULTS, private])
        assert str(tmp_path / "store.p12") in options
        assert (tmp_path / "store.p12").stat().st_size > 0
