"""storage/denials: the sentences with which AWS denies access, and what each advises."""

from __future__ import annotations

import pytest

from verger.storage import denials

pytestmark = pytest.mark.required_in_ci

USER = "User: arn:aws:sts::123456789012:assumed-role/verger/run is not authorized to perform:"
KEY = "arn:aws:kms:eu-west-3:123456789012:key/0a1b"
OBJECT = "arn:aws:s3:::lake/out/latest.json"

# The store's sentence, and the permission that the request needs by itself -> what is advised.
NAMED = {
    "key, by no policy of the role": (
        f"{USER} kms:Decrypt on resource: {KEY} because no identity-based policy allows the kms:Decrypt action",
        "s3:GetObject",
        f"Grant these credentials kms:Decrypt on {KEY}, or use others",
    ),
    "key of another account": (
        f"{USER} kms:GenerateDataKey on this resource because the resource does not exist in this Region, no "
        "resource-based policies allow access, or a resource-based policy explicitly denies access",
        "s3:PutObject",
        "Check kms:GenerateDataKey: in the policies of these credentials, and in those of the resource",
    ),
    "key, by no policy of the key": (
        f"{USER} kms:Decrypt on resource: {KEY} because no resource-based policy allows the kms:Decrypt action",
        "s3:GetObject",
        f"Allow kms:Decrypt on {KEY} in the resource-based policy",
    ),
    "the object's folder": (
        f'{USER} s3:ListBucket on resource: "arn:aws:s3:::lake" because no identity-based policy allows the '
        "s3:ListBucket action",
        "s3:GetObject",
        "Grant these credentials s3:ListBucket on arn:aws:s3:::lake, or use others",
    ),
    "explicit deny of a put": (
        f'{USER} s3:PutObject on resource: "{OBJECT}" with an explicit deny in a resource-based policy',
        "s3:PutObject",
        "Change that resource-based policy, or meet its condition, such as encryption (--sse, --sse-kms-key-id)",
    ),
    "explicit deny of a read": (
        f'{USER} s3:GetObject on resource: "{OBJECT}" with an explicit deny in an identity-based policy',
        "s3:GetObject",
        "Change that identity-based policy, or meet its condition",
    ),
    "service control policy, with its ARN": (
        f'{USER} s3:PutObject on resource: "{OBJECT}" with an explicit deny in a service control policy: '
        "arn:aws:organizations::123456789012:policy/o-1/service_control_policy/p-1",
        "s3:PutObject",
        "Change that service control policy, or meet its condition, such as encryption (--sse, --sse-kms-key-id)",
    ),
    "endpoint of a VPC": (
        f'{USER} s3:DeleteObject on resource: "{OBJECT}" because no VPC endpoint policy allows the s3:DeleteObject '
        "action",
        "s3:DeleteObject",
        f"Allow s3:DeleteObject on {OBJECT} in the VPC endpoint policy",
    ),
    "boundary": (
        f'{USER} s3:AbortMultipartUpload on resource: "{OBJECT}" because no permissions boundary allows the '
        "s3:AbortMultipartUpload action",
        "s3:AbortMultipartUpload",
        f"Allow s3:AbortMultipartUpload on {OBJECT} in the permissions boundary",
    ),
    "no reason": (
        f"{USER} s3:ListBucketMultipartUploads",
        "s3:ListBucketMultipartUploads",
        "Grant these credentials s3:ListBucketMultipartUploads, or use others",
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_the_action_that_the_store_names_is_advised(case: str) -> None:
    message, permission, advice = NAMED[case]
    assert denials.explain(message, permission) == denials.Denial(message, advice)


@pytest.mark.parametrize("message", ["", "Access Denied", "Access Denied.", "Forbidden"])
def test_where_the_store_names_nothing_no_cause_is_claimed(message: str) -> None:
    denial = denials.explain(message, "s3:DeleteObject")
    assert denial.words == ""
    assert denial.advice == (
        "The store does not say why: check that these credentials have s3:DeleteObject, and that no policy denies it"
    )


def test_a_write_may_lack_encryption() -> None:
    assert denials.explain("", "s3:PutObject").advice.endswith(
        "and that no policy asks for more, such as encryption (--sse, --sse-kms-key-id)"
    )


@pytest.mark.parametrize("permission", ["s3:ListBucket", "s3:GetObject"])
def test_a_reader_may_have_to_pay(permission: str) -> None:
    assert denials.explain("", permission).advice.endswith(
        f"have {permission}, and that neither a policy nor Requester Pays (--requester-pays) denies it"
    )


def test_words_that_name_no_action_are_shown() -> None:
    said = "Access Denied because object protected by object lock."
    denial = denials.explain(said, "s3:DeleteObject")
    assert denial.words == said
    assert denial.advice.startswith("Check that these credentials have s3:DeleteObject")


def test_long_and_broken_lines_are_shortened() -> None:
    assert len(denials.explain("x\n" * 2000, "").words) == 500
    assert "\n" not in denials.explain("a\nb", "").words
