"""What the tests of manifests/aws share: its files, with names in them as its README says to put them in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.conftest import ROOT

AWS = ROOT / "manifests" / "aws"
NAMES = {
    "CLUSTER": "orchard",
    "PHOTOGRAPHS": "orchard-photographs",
    "RESULTS": "orchard-results",
    "PREFIX": "fruit/table",
    "ACCOUNT_ID": "111122223333",
    "MY_ADDRESS": "192.0.2.7/32",
    "VPC_ID": "vpc-0123456789abcdef0",
    "PRIVATE_A": "subnet-0123456789abcdef0",
    "PRIVATE_B": "subnet-0123456789abcdef1",
    "OIDC_ISSUER": "oidc.eks.eu-west-3.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
}


def fill(manifest: str, **names: str) -> subprocess.CompletedProcess[str]:
    """Run ``fill`` of names.sh on a file, by a shell that finds neither AWS nor the network."""
    with TemporaryDirectory() as programs:
        for program in ("cat", "sed"):
            Path(programs, program).symlink_to(shutil.which(program) or "/nowhere")
        given = "".join(f"{name}='{value}'; " for name, value in ({**NAMES, **names}).items())
        command = f'. ./names.sh 2>&-; {given} fill "$1"'
        shell = shutil.which("sh") or "/bin/sh"
        environment = {"PATH": programs, "HOME": os.environ.get("HOME", "/")}
        return subprocess.run(
            [shell, "-c", command, "sh", manifest], cwd=AWS, env=environment, capture_output=True, text=True, timeout=60
        )


def filled(manifest: str) -> str:
    """The file with all names in it."""
    done = fill(manifest)
    assert done.returncode == 0, done.stderr
    return done.stdout


def document(manifest: str) -> dict[str, Any]:
    """A file of one YAML document, with all names in it."""
    (only,) = documents(manifest)
    return only


def documents(manifest: str) -> list[dict[str, Any]]:
    """The YAML documents of a file, with all names in it."""
    return list(yaml.safe_load_all(filled(manifest)))
