"""A trust store for the JVM, which cannot read PEM files."""

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

# The trust store holds no secret, but Java requires a password.
PASSWORD = "verger"


def make(bundles: Iterable[str]) -> bytes:
    """Make a PKCS #12 trust store of the certificates in PEM files and of those that this machine trusts.

    Parameters
    ----------
    bundles : iterable of str
        Paths of PEM files.

    Returns
    -------
    bytes
        The content of the trust store.

    Raises
    ------
    UsageError
        A file is missing, or holds no certificate.
    """
    certificates = dict.fromkeys(_system_certificates())
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
    """The JVM's options with which it uses a trust store.

    Parameters
    ----------
    path : str
        Of the trust store.

    Returns
    -------
    str
        The options for its path, type and password, separated by spaces.
    """
    return (
        f'-Djavax.net.ssl.trustStore="{path}" -Djavax.net.ssl.trustStoreType=PKCS12 '
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}"
    )


def _system_certificates() -> list[x509.Certificate]:
    found = ssl.get_default_verify_paths().cafile
    with warnings.catch_warnings():  # old certificates with deprecated fields
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_pem_x509_certificates(Path(found).read_bytes()) if found else []


if __name__ == "__main__":  # python -m verger.spark.truststore STORE PEM...: the entry point of the image calls it
    try:
        Path(sys.argv[1]).write_bytes(make(sys.argv[2:]))
    except UsageError as error:
        sys.exit(error.line)
    print(options(sys.argv[1]))
