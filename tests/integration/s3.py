"""Real S3-compatible servers as processes of their own: MinIO, and versitygw, which lists uploads by prefix."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Becomes the server itself, and leaves behind one who waits until the other end of the pipe is gone, be it by SIGKILL.
OUTLIVE_NOBODY = 'exec 3<&0; { read -r _; kill -9 $$; } <&3 & exec "$@" 3<&- </dev/null'


def free_port() -> int:
    """A port that no outgoing connection takes while its server is stopped: below those that the kernel hands out."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@dataclass
class Server(ABC):
    """A store in a folder of its own, with keys that nothing else knows. As a context manager it is started and ended.

    Parameters
    ----------
    folder : Path
        Where it keeps all that it has; made where it is missing.
    region : str
        What it says its region is.
    tls : bool
        Serve HTTPS, with a certificate that the private authority in ``ca`` has signed.
    """

    folder: Path
    region: str = "eu-west-3"
    tls: bool = False
    port: int = field(default_factory=free_port)
    access_key: str = field(default_factory=lambda: secrets.token_hex(10), repr=False)
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)

    program: ClassVar[str]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for needed in (self.data, self.certificates):
            needed.mkdir(parents=True, exist_ok=True)
        if self.tls:
            authority = trustme.CA()
            certificate = authority.issue_cert("127.0.0.1", "localhost")
            authority.cert_pem.write_to_path(self.ca)
            certificate.private_key_pem.write_to_path(self.certificates / "private.key")
            certificate.cert_chain_pems[0].write_to_path(self.certificates / "public.crt")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def data(self) -> Path:
        """The folder with the objects."""
        return self.folder / "data"

    @property
    def certificates(self) -> Path:
        """The folder with ``public.crt`` and ``private.key``."""
        return self.folder / "certificates"

    @property
    def ca(self) -> Path:
        """The private authority's certificate, a PEM file; there is one with ``tls`` alone."""
        return self.folder / "ca.pem"

    @property
    def endpoint_url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it, but for the private authority."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, access_key: str | None = None, secret_key: str | None = None, attempts: int = 3) -> Any:
        """A boto3 client, of its own keys or others; it reads nothing from the environment that matters."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            verify=str(self.ca) if self.tls else None,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=30,
                retries={"total_max_attempts": attempts, "mode": "standard"},
            ),
        )

    def bucket(self, name: str | None = None) -> str:
        """Make a bucket, which is empty, and tell its name."""
        name = name or f"bucket-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": self.region})
        return name

    def start(self) -> None:
        """Start it, on the same port and folder as before, and wait until it serves; it ends when this process does."""
        if shutil.which(self.program) is None:
            pytest.skip(f"{self.program} is not on the PATH: `make programs` builds it")
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", OUTLIVE_NOBODY, "sh", self.program, *self._arguments()],
                env=self._variables() | {"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.program} did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGKILL: whatever it was doing, it does no more."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def pause(self) -> None:
        """Let it accept connections and answer nothing, as a machine does that hangs."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None, "it does not run"
        os.killpg(self._process.pid, number)

    @abstractmethod
    def _arguments(self) -> list[str]:
        """Of its command line."""

    @abstractmethod
    def _variables(self) -> dict[str, str]:
        """The environment that tells it its keys."""

    def _ready(self) -> bool:
        try:
            self.client(attempts=1).list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


class Minio(Server):
    """MinIO, which knows users and policies; it lists uploads by whole bucket or exact key alone."""

    program = "minio"
    kms_key = "orchard"  # encrypts what is put with x-amz-server-side-encryption

    def user(self, policy: dict[str, Any] | str) -> tuple[str, str]:
        """Make a user that may do what a policy says, or one of MinIO's own policies by name: its keys."""
        access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
        if isinstance(policy, dict):
            document = self.folder / f"policy-{access_key}.json"
            document.write_text(json.dumps(policy))
            policy = document.stem
            self._mc("policy", "create", "store", policy, str(document))
        self._mc("user", "add", "store", access_key, secret_key)
        self._mc("policy", "attach", "store", policy, "--user", access_key)
        return access_key, secret_key

    def _mc(self, *arguments: str) -> None:
        if shutil.which("mc") is None:
            pytest.skip("mc is not on the PATH: `make programs` builds it")
        settings = self.folder / "mc"
        if self.tls:
            trusted = settings / "certs" / "CAs"
            trusted.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.ca, trusted)
        address = self.endpoint_url.replace("://", f"://{self.access_key}:{self.secret_key}@")
        done = subprocess.run(
            ["mc", "--config-dir", str(settings), "admin", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "MC_HOST_store": address},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _arguments(self) -> list[str]:
        return [
            *("server", "--quiet", "--address", f"127.0.0.1:{self.port}"),
            *("--certs-dir", str(self.certificates), str(self.data)),
        ]

    def _variables(self) -> dict[str, str]:
        return {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_REGION": self.region,
            "MINIO_BROWSER": "off",
            "MINIO_KMS_SECRET_KEY": f"{self.kms_key}:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        }

    def _ready(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.ca)) if self.tls else None
        try:
            with urlopen(f"{self.endpoint_url}/minio/health/ready", timeout=2, context=trust) as answer:
                return answer.status == 200 and super()._ready()
        except (URLError, OSError):
            return False


class Versity(Server):
    """versitygw, which keeps objects as files and lists uploads by prefix, as AWS does."""

    program = "versitygw"

    def _arguments(self) -> list[str]:
        certificate = ["--cert", str(self.certificates / "public.crt"), "--key", str(self.certificates / "private.key")]
        attributes = self.folder / "attributes"  # beside the files, for not every file system keeps them
        attributes.mkdir(exist_ok=True)
        return [
            *("--quiet", "--keep-alive", "--port", f"127.0.0.1:{self.port}", "--region", self.region),
            *(certificate if self.tls else []),
            *("posix", "--sidecar", str(attributes), str(self.data)),
        ]

    def _variables(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
