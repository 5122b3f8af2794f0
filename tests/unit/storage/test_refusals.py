"""storage/refusals: what boto3 raises, as an error of one line."""

from __future__ import annotations

import pytest
from botocore.exceptions import HTTPClientError

from verger.errors import StoreError
from verger.storage.refusals import explain

pytestmark = pytest.mark.required_in_ci


@pytest.mark.parametrize(
    "error",
    [
        RecursionError("maximum recursion depth exceeded"),
        HTTPClientError(error=RecursionError("maximum recursion depth exceeded while calling a Python object")),
    ],
    ids=["plain", "wrapped"],
)
def test_redirects_without_end_are_told_wherever_they_end(error: Exception) -> None:
    told = explain(error, "s3://orchard")
    assert isinstance(told, StoreError)
    assert told.line.startswith("s3://orchard: the endpoint only redirects requests. Check --endpoint-url")
