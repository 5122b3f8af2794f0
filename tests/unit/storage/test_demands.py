"""storage/clients and storage/s3: what a bucket's owner demands is sent, and what S3 answers about one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.web import Answer, Request, Web, serving
from verger.config import RunConfig
from verger.errors import NothingToReadError, Reason, Rejection, StoreError
from verger.residency.preflight import check_access
from verger.storage import credentials
from verger.storage.base import AlreadyPublishedError
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores

pytestmark = [pytest.mark.required_in_ci, pytest.mark.usefixtures("example_keys")]

KEY = "arn:aws:kms:eu-west-3:123456789012:key/0a1b"
PHOTOGRAPH = "s3://orchard/in/a.jpg"
LISTED = "<Contents><Key>in/{}.jpg</Key><Size>3</Size><ETag>&quot;e&quot;</ETag></Contents>"


def error(code: str, status: int, message: str = "no", more: str = "") -> Answer:
    return Answer(f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>", status)


def storage(web: Web, **more: Any) -> Any:
    bucket = replace(Bucket("orchard", "eu-west-3", web.url, path_style=True), **more)
    return Stores([bucket]).of(PHOTOGRAPH)


class TestHeaders:
    @staticmethod
    def sent(**more: Any) -> list[Request]:
        """What is sent to put an object at once, in parts and as a copy, to list, and to read."""

        def answer(request: Request) -> Answer:
            upload = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return Answer(upload if request.method == "POST" else "")

        with serving(answer) as web:
            store = storage(web, **more)
            store.write(PHOTOGRAPH, b"x")
            store.client.create_multipart_upload(Bucket="orchard", Key="in/b")
            store.client.upload_part(Bucket="orchard", Key="in/b", UploadId="u", PartNumber=1, Body=b"x")
            store.client.copy_object(Bucket="orchard", Key="in/c", CopySource="orchard/in/a.jpg")
            store.exists(PHOTOGRAPH)
            store.read(PHOTOGRAPH)
            return web.asked

    def test_what_makes_an_object_asks_for_encryption(self) -> None:
        asked = self.sent(sse="aws:kms", sse_kms_key_id=KEY)
        headers = [[value for name, value in request.headers.items() if "encryption" in name] for request in asked]
        assert [sorted(each) for each in headers] == [[KEY, "aws:kms"]] * 2 + [[]] + [[KEY, "aws:kms"]] + [[]] * 2

    def test_without_the_settings_nothing_is_asked_for(self) -> None:
        names = {name for request in self.sent() for name in request.headers}
        assert not [name for name in names if "encryption" in name or "payer" in name]

    def test_every_request_names_its_payer_and_is_signed_with_it(self) -> None:
        for request in self.sent(requester_pays=True):
            assert request.headers["x-amz-request-payer"] == "requester"
            assert "x-amz-request-payer" in request.headers["authorization"]

    def test_the_settings_reach_the_bucket(self) -> None:
        more = {"sse": "aws:kms:dsse", "sse_kms_key_id": KEY, "requester_pays": True}
        bucket = credentials.resolve("orchard", RunConfig.model_validate({"input": "i", "output": "o", **more}))
        assert (bucket.sse, bucket.sse_kms_key_id, bucket.requester_pays) == ("aws:kms:dsse", KEY, True)


OF_ONE_OBJECT = {
    "archived": (
        error("InvalidObjectState", 403, more="<StorageClass>DEEP_ARCHIVE</StorageClass>"),
        "archived (DEEP_ARCHIVE): restore it first",
    ),
    "archived by Intelligent-Tiering": (
        error(
            "InvalidObjectState",
            403,
            more="<StorageClass>INTELLIGENT_TIERING</StorageClass><AccessTier>ARCHIVE_ACCESS</AccessTier>",
        ),
        "archived (ARCHIVE_ACCESS): restore it first",
    ),
    "of a customer's key": (
        error(
            "InvalidRequest",
            400,
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to "
            "retrieve the object.",
        ),
        "encrypted with a key that the store does not have (SSE-C)",
    ),
    "of a disabled key": (
        error("KMS.DisabledException", 400, f"{KEY} is disabled."),
        f"its encryption key cannot be used (KMS.DisabledException: {KEY} is disabled.)",
    ),
    "of a key that is gone": (
        error("kms:KeyNotFound", 404, "key with given key ID does not exist"),
        "its encryption key cannot be used (kms:KeyNotFound: key with given key ID does not exist)",
    ),
}


class TestOneObject:
    @pytest.mark.parametrize("case", OF_ONE_OBJECT)
    def test_its_photograph_is_unreadable(self, case: str) -> None:
        answer, message = OF_ONE_OBJECT[case]
        with serving(lambda _: answer) as web, pytest.raises(Rejection) as rejected:
            storage(web).read_version(PHOTOGRAPH, "e-3")
        assert (rejected.value.reason, rejected.value.message) == (Reason.UNREADABLE, message)

    def test_a_denial_is_repeated_in_the_quarantine(self) -> None:
        said = f"User: u is not authorized to perform: kms:Decrypt on resource: {KEY}"
        for answer, message in ((error("AccessDenied", 403, said), f"access denied: {said}"),
                                (error("AccessDenied", 403, "Access Denied"), "access denied")):  # fmt: skip
            with serving(lambda _, answer=answer: answer) as web, pytest.raises(Rejection) as rejected:
                storage(web).read_version(PHOTOGRAPH, "e-3")
            assert rejected.value.message == message

    def test_a_denial_that_repeats_a_secret_is_still_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STORE_TOKEN", "Tn5Rb1Ly8Hd4Mf6Js2Gc")
        answer = error("AccessDenied", 403, "not for Tn5Rb1Ly8Hd4Mf6Js2Gc")
        with serving(lambda _: answer) as web, pytest.raises(Rejection) as rejected:
            storage(web).read_version(PHOTOGRAPH, "e-3")
        assert rejected.value.message == "access denied: not for ***"

    @pytest.mark.parametrize("case", OF_ONE_OBJECT)
    def test_the_first_photographs_do_not_stop_a_run(self, case: str) -> None:
        with serving(bucket_with(OF_ONE_OBJECT[case][0])) as web:
            check(web)

    def test_when_all_of_the_first_are_denied_the_run_is_refused(self) -> None:
        said = f"User: u is not authorized to perform: kms:Decrypt on resource: {KEY} because no identity-based policy"
        denied = error("AccessDenied", 403, f"{said} allows the kms:Decrypt action")
        with serving(bucket_with(denied)) as web, pytest.raises(StoreError) as refused:
            check(web)
        assert refused.value.advice == f"Grant these credentials kms:Decrypt on {KEY}, or use others"


def bucket_with(answer: Answer) -> Callable[[Request], Answer]:
    """A bucket whose objects all give this answer."""
    listing = "".join(LISTED.format(name) for name in "abc")

    def answers(request: Request) -> Answer:
        if "list-type" in request.parameters:
            return Answer(f"<ListBucketResult><Name>orchard</Name>{listing}</ListBucketResult>")
        return answer if request.path.startswith("/orchard/in") else Answer()

    return answers


def check(web: Web) -> None:
    config = RunConfig(input="s3://orchard/in", output="o", endpoint_url=web.url, store_location="eu")
    check_access(Stores(), {"input": config.input}, config)


class TestReasons:
    def test_the_reason_that_head_does_not_give_is_asked_by_get(self) -> None:
        expired = error("ExpiredToken", 400)
        with serving(lambda _: expired) as web, pytest.raises(StoreError, match="the session token has expired"):
            storage(web).exists(PHOTOGRAPH)

    def test_an_object_that_is_not_there_is_not_asked_for_twice(self) -> None:
        with serving(lambda request: Answer("<ListBucketResult/>", 404 if request.method == "HEAD" else 200)) as web:
            assert not storage(web).exists(PHOTOGRAPH)
        assert [request.method for request in web.asked] == ["HEAD", "GET"]

    def test_a_missing_key_of_the_store_is_no_lost_race(self) -> None:
        gone = error("kms:KeyNotFound", 404, "key with given key ID does not exist")
        with (
            serving(lambda _: gone) as web,
            pytest.raises(StoreError, match="cannot use the encryption key") as refused,
        ):
            storage(web).publish_once(PHOTOGRAPH, b"x")
        assert not isinstance(refused.value, AlreadyPublishedError | NothingToReadError)

    def test_an_object_that_cannot_be_deleted_has_the_stores_reason(self) -> None:
        said = "Access Denied because object protected by object lock."
        failed = f"<Error><Key>in/a.jpg</Key><Code>AccessDenied</Code><Message>{said}</Message></Error>"

        def answer(request: Request) -> Answer:
            return Answer(
                f"<DeleteResult>{failed}</DeleteResult>" if request.method == "POST" else "<ListBucketResult/>"
            )

        with serving(answer) as web, pytest.raises(StoreError) as refused:
            storage(web).delete(PHOTOGRAPH)
        assert refused.value.line == (
            f"{PHOTOGRAPH}: access denied (DeleteObjects): {said} Check that these credentials have s3:DeleteObject, "
            "and that no policy denies it."
        )
