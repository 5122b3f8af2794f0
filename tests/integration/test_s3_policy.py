"""What manifests/aws grants is what runs need, and no more: on MinIO, which enforces the very policy."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import validate_parameters

from tests.conftest import ROOT
from tests.integration.runs import photograph, verger
from tests.integration.s3 import Minio
from tests.integration.s3_runs import reach

pytestmark = pytest.mark.required_in_ci

AWS = ROOT / "manifests" / "aws"
STORE = ("--store-location", "eu")
SETTINGS = (*STORE, "--backbone", "pixels", "--input-size", "8", "--cores", "1")


def filled_in(manifest: str, **names: str) -> str:
    """A manifest with one's own names, as its README says to put them in."""
    text = (AWS / manifest).read_text()
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return text


@dataclass(frozen=True)
class Account:
    """Two buckets, and commands by users who may do what a policy says.

    Attributes
    ----------
    store : Minio
    folder : Path
        Where the commands run.
    names : dict
        The placeholders of the policy, and what is in their place.
    """

    store: Minio
    folder: Path
    names: dict[str, str]

    @property
    def policy(self) -> dict[str, Any]:
        """The one of manifests/aws."""
        policy: dict[str, Any] = json.loads(filled_in("policy.json", **self.names))
        return policy

    @property
    def output(self) -> str:
        return f"s3://{self.names['RESULTS']}/{self.names['PREFIX']}"

    def arguments(self, command: str) -> list[str]:
        """A command as one would type it."""
        places = {
            "run": ["--input", f"s3://{self.names['PHOTOGRAPHS']}", *SETTINGS],
            "doctor": ["--input", f"s3://{self.names['PHOTOGRAPHS']}", *STORE, "--stale-after", "0", "--fix"],
            "prune": [*STORE, "--keep-runs", "1"],
            "compact": [*STORE],
        }
        return [command, "--output", self.output, *places[command]]

    def photograph(self, number: int) -> None:
        """Put one more into the bucket that is read."""
        body = photograph(self.folder / f"{number}.png", number).read_bytes()
        key = f"apple {number % 2}/{number}.png"
        self.store.client().put_object(Bucket=self.names["PHOTOGRAPHS"], Key=key, Body=body)

    def abandon(self) -> None:
        """Begin an upload that nobody finishes."""
        key = f"{self.names['PREFIX']}/abandoned"
        self.store.client().create_multipart_upload(Bucket=self.names["RESULTS"], Key=key)

    def uploads(self) -> list[Any]:
        found: list[Any] = self.store.client().list_multipart_uploads(Bucket=self.names["RESULTS"]).get("Uploads", [])
        return found

    def kept(self, name: str) -> Any:
        """A JSON file of the output."""
        key = f"{self.names['PREFIX']}/{name}"
        return json.loads(self.store.client().get_object(Bucket=self.names["RESULTS"], Key=key)["Body"].read())

    def manifest(self) -> Any:
        """That of the latest run."""
        return self.kept(self.kept("latest.json")["manifest"])

    def does(self, command: str, policy: dict[str, Any]) -> tuple[int, str]:
        """Run a command as a user who may do what the policy says: its code, and what it says."""
        key, secret = self.store.user(policy)
        with pytest.MonkeyPatch.context() as environment:
            reach(self.store, environment)
            environment.setenv("AWS_ACCESS_KEY_ID", key)
            environment.setenv("AWS_SECRET_ACCESS_KEY", secret)
            process = verger(*self.arguments(command), cwd=self.folder)
        said, stderr = process.communicate(timeout=250)
        return process.returncode, said + stderr


@pytest.fixture(scope="module")
def account(minio: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account in which one run has been made, with all the rights of the policy."""
    names = {"PHOTOGRAPHS": minio.bucket(), "RESULTS": minio.bucket(), "PREFIX": "fruit/table"}
    account = Account(minio, tmp_path_factory.mktemp("account"), names)
    for number in range(6):
        account.photograph(number)
    code, stderr = account.does("run", account.policy)
    assert code == 0, stderr
    yield account


@pytest.mark.slow
class TestRights:
    def test_a_run_needs_no_more_than_the_policy_grants(self, account: Account) -> None:
        assert account.manifest()["photographs"]["computed"] == 6
        assert account.uploads() == []

    def test_nor_do_the_runs_after_it_and_what_keeps_a_store_in_order(self, account: Account) -> None:
        code, stderr = account.does("run", account.policy)
        assert (code, account.manifest()["photographs"]["computed"]) == (0, 0), stderr
        account.photograph(6)
        code, stderr = account.does("run", account.policy)
        assert (code, account.manifest()["photographs"]["computed"]) == (0, 1), stderr
        for command in ("prune", "compact"):
            code, stderr = account.does(command, account.policy)
            assert code == 0, stderr
        account.abandon()
        code, stderr = account.does("doctor", account.policy)
        assert (code, account.uploads()) == (0, []), stderr

    def test_what_is_not_below_the_prefix_cannot_be_written(self, account: Account) -> None:
        granted = account.store.client(*account.store.user(account.policy))
        for bucket, key in ((account.names["PHOTOGRAPHS"], "apple 0/0.png"), (account.names["RESULTS"], "fruit/other")):
            with pytest.raises(ClientError, match="AccessDenied"):
                granted.put_object(Bucket=bucket, Key=key, Body=b"")

    @pytest.mark.parametrize(("statement", "right", "command", "said"), [
        ("AskTheBuckets", "s3:ListBucket", "run", "access denied"),
        ("ReadPhotographs", "s3:GetObject", "run", "access denied (GetObject)"),
        ("KeepResults", "s3:GetObject", "run", "access denied (GetObject)"),
        ("KeepResults", "s3:PutObject", "run", "access denied (CreateMultipartUpload)"),
        ("KeepResults", "s3:DeleteObject", "prune", "access denied (DeleteObjects)"),
        ("KeepResults", "s3:AbortMultipartUpload", "run", "access denied (AbortMultipartUpload)"),
        ("FindUploads", "s3:ListBucketMultipartUploads", "doctor", "access denied (ListMultipartUploads)"),
    ])  # fmt: skip
    def test_without_a_right_a_command_ends_in_a_line_that_names_it(
        self, account: Account, statement: str, right: str, command: str, said: str
    ) -> None:
        for number in range(7, 9):
            account.photograph(number)
        account.abandon()
        if command == "prune":  # two runs, so that there is one to delete
            assert account.does("run", account.policy)[0] == 0
        code, lines = account.does(command, without(account.policy, statement, right))
        assert code == 4, lines
        assert said in lines
        assert right in lines

    def test_without_the_right_to_ask_where_a_bucket_is_copied_to_a_run_says_so(self, account: Account) -> None:
        code, stderr = account.does("run", without(account.policy, "AskTheBuckets", "s3:GetReplicationConfiguration"))
        assert code == 0, stderr
        assert "is replicated is unknown (AccessDenied)" in json.dumps(account.manifest())

    def test_every_right_has_its_test(self) -> None:
        (cases,) = [mark for mark in self.test_without_a_right_a_command_ends_in_a_line_that_names_it.pytestmark
                    if mark.name == "parametrize"]  # fmt: skip
        tested = {case[:2] for case in cases.args[1]} | {("AskTheBuckets", "s3:GetReplicationConfiguration")}
        policy = json.loads((AWS / "policy.json").read_text())
        assert tested == {(part["Sid"], right) for part in policy["Statement"] for right in part["Action"]}


def without(policy: dict[str, Any], statement: str, right: str) -> dict[str, Any]:
    """The policy without one right; without the statement too, where it has no other."""
    less = copy.deepcopy(policy)
    (part,) = [part for part in less["Statement"] if part["Sid"] == statement]
    part["Action"].remove(right)
    if not part["Action"]:
        less["Statement"].remove(part)
    return less


def test_s3_would_take_the_lifecycle_rule() -> None:
    # No server here does: MinIO refuses the action, versitygw has no lifecycle.
    rule = json.loads(filled_in("lifecycle.json", PREFIX="fruit/table"))
    takes = get_session().get_service_model("s3").operation_model("PutBucketLifecycleConfiguration").input_shape
    validate_parameters({"Bucket": "results", "LifecycleConfiguration": rule}, takes)
    (only,) = rule["Rules"]
    assert only["Filter"] == {"Prefix": "fruit/table/"}
    assert only["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
