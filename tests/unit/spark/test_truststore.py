"""spark/truststore: PEM certificates as the JVM reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from verger.errors import UsageError
from verger.spark import truststore


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Two authorities in one file, as bundles have."""
    path = tmp_path / "ca.pem"
    for _ in range(2):
        trustme.CA().cert_pem.write_to_path(path, append=True)
    return path


def certificates(store: bytes) -> set[x509.Certificate]:
    found = pkcs12.load_pkcs12(store, truststore.PASSWORD.encode()).additional_certs
    return {each.certificate for each in found}


# Old certificates of the machine's, when a test looks into a store.
ODD = pytest.mark.filterwarnings("ignore:Parsed a serial number")


@ODD
def test_the_trust_store_holds_the_bundles_certificates_and_the_machines(bundle: Path) -> None:
    own = x509.load_pem_x509_certificates(bundle.read_bytes())
    assert len(own) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a run must not show them
        store = truststore.make([str(bundle), str(bundle)])
    assert certificates(store) == {*own, *truststore._system_certificates()}


@ODD
def test_java_reads_the_trust_store(bundle: Path, tmp_path: Path) -> None:
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("no keytool on the PATH: it comes with Java")
    store = tmp_path / "authorities.p12"
    program = [sys.executable, "-m", "verger.spark.truststore"]
    subprocess.run([*program, str(store), str(bundle)], check=True)
    listed = subprocess.run(
        [keytool, "-list", "-keystore", str(store), "-storepass", truststore.PASSWORD],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed.count("trustedCertEntry") == len(certificates(store.read_bytes()))


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "something else"])
def test_a_file_without_certificates_is_a_usage_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{path} holds no PEM certificates .*Check --ca-bundle"):
        truststore.make([str(path)])


def test_the_path_in_the_options_may_have_spaces() -> None:
    assert '-Djavax.net.ssl.trustStore="/a folder/x.p12" ' in truststore.options("/a folder/x.p12")
