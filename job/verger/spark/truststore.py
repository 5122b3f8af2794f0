"""Certificates for the JVM, which reads no PEM file."""

from __future__ import annotations

import ssl
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from verger.errors import UsageError

# Nothing in it is secret, but Java wants a password.
PASSWORD = "verger"


def make(bundles: Iterable[str]) -> bytes:
    """A PKCS #12 trust store with the certificates of PEM files, and those that this machine trusts anyway.

    Raises
    ------
    UsageError
        A file is not there, or has no certificate in it.
    """
    certificates = dict.fromkeys(_system())
    for bundle in bundles:
        try:
            certificates |= dict.fromkeys(x509.load_pem_x509_certificates(Path(bundle).read_bytes()))
        except (OSError, ValueError) as error:
            raise UsageError(f"{bundle} holds no PEM certificates ({error})", "Check --ca-bundle") from error
    named = [
        pkcs12.PKCS12Certificate(certificate, f"authority-{number}".encode())
        for number, certificate in enumerate(certificates)
    ]
    return pkcs12.serialize_java_truststore(named, serialization.BestAvailableEncryption(PASSWORD.encode()))


def options(path: str) -> str:
    """The JVM's options that make it use the trust store at ``path``."""
    return (
        f'-Djavax.net.ssl.trustStore="{path}" -Djavax.net.ssl.trustStoreType=PKCS12 '
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"
    )


def _system() -> list[x509.Certificate]:
    found = ssl.get_default_verify_paths().cafile
    with warnings.catch_warnings():  # of certificates that are odd, and old
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_pem_x509_certificates(Path(found).read_bytes()) if found else []


if __name__ == "__main__":  # python -m verger.spark.truststore STORE PEM...: for the start of a container
    try:
        Path(sys.argv[1]).write_bytes(make(sys.argv[2:]))
    except UsageError as error:
        sys.exit(error.line)
    print(options(sys.argv[1]))
