"""How S3 is reached: keys, endpoint, region and certificates; for boto3, and the same for S3A."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions as boto_errors

from verger.errors import StoreError, UsageError
from verger.storage import keys
from verger.storage.buckets import Bucket, is_aws
from verger.storage.refusals import no_credentials, translate_errors

if TYPE_CHECKING:
    from verger.config import StoreSettings

# The region of the first request about a bucket, where none is configured: an endpoint in the EU.
DEFAULT_REGION = "eu-central-1"

# boto3's name for where it found the keys -> the class that finds the same keys in the JVM.
_PROVIDERS = {
    "env": "EnvironmentVariableCredentialsProvider",
    "assume-role-with-web-identity": "WebIdentityTokenFileCredentialsProvider",
    "shared-credentials-file": "ProfileCredentialsProvider",
    "config-file": "ProfileCredentialsProvider",
    "assume-role": "ProfileCredentialsProvider",
    "custom-process": "ProfileCredentialsProvider",
    "container-role": "ContainerCredentialsProvider",
    "iam-role": "InstanceProfileCredentialsProvider",
}


def resolve(name: str, settings: StoreSettings | None = None) -> Bucket:
    """How a bucket is reached: as the settings say, else as AWS's own variables and files say.

    Parameters
    ----------
    name : str
        Name of the bucket.
    settings : StoreSettings, optional
        AWS's variables and files fill in what these leave out.

    Returns
    -------
    Bucket
        With the region that is configured, if one is; the store is not asked for it.

    Raises
    ------
    UsageError
        A profile, region or file that these name does not exist.
    StoreError
        The credentials are incomplete, damaged, or cannot be fetched.
    """
    with translate_errors(f"s3://{name}"):
        session = keys.session()
        region = (settings and settings.region) or os.environ.get("AWS_REGION") or session.region_name
        given = settings.endpoint_url if settings else None
        endpoint = _endpoint(session, region, given)
        is_custom = given or not re.fullmatch(r"https://s3[.-]([a-z0-9-]+\.)?amazonaws\.(com|eu|com\.cn)", endpoint)
        ca_bundle = (settings and settings.ca_bundle) or session._session.get_config_variable("ca_bundle")
        path_style = settings.path_style if settings else None
    if not endpoint.startswith("https:"):
        ca_bundle = None
    elif ca_bundle:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_bundle)
        except OSError as error:
            raise UsageError(f"no certificates at {ca_bundle}", "Check --ca-bundle and AWS_CA_BUNDLE") from error
    return Bucket(
        name=name,
        region=region,
        endpoint_url=endpoint if is_custom else None,
        path_style=not is_aws(endpoint) if path_style is None else path_style,
        ca_bundle=ca_bundle or None,
        sse=settings.sse if settings else None,
        sse_kms_key_id=settings.sse_kms_key_id if settings else None,
        requester_pays=settings.requester_pays if settings else False,
    )


def _endpoint(session: boto3.Session, region: str | None, given: str | None) -> str:
    """The endpoint of a client that boto3 makes: boto3 knows all the places where one may be configured."""
    try:
        probe = session.client("s3", region_name=region or DEFAULT_REGION, endpoint_url=given or None)
        endpoint: str = probe.meta.endpoint_url.rstrip("/")
    except ValueError as error:  # it is no URL at all
        if isinstance(error, boto_errors.BotoCoreError):
            raise
        endpoint = ""
    if not re.fullmatch(r"https?://[^/@?#\s]+", endpoint):  # not repeated, for it may hold a password
        raise UsageError(
            "the endpoint that AWS's variables or files give is not of the form http://HOST:PORT or https://HOST",
            "Correct AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile's endpoint_url",
        )
    return endpoint


def java_provider() -> str:
    """The Java class with which S3A finds the keys that boto3 finds.

    Returns
    -------
    str
        Its full name.

    Raises
    ------
    StoreError
        There are no keys, they are damaged, or the JVM cannot find keys of this kind.
    """
    with translate_errors("S3"):
        found = keys.session().get_credentials()
    if found is None:
        raise no_credentials("S3", "none were found")
    if found.method not in _PROVIDERS:
        raise StoreError(
            f"credentials by {found.method} can be used by Python, but not by Java, which writes the event log to S3",
            "Export them (aws configure export-credentials --format env), or leave --event-log out",
        )
    by_profile = found.method == "assume-role-with-web-identity" and "AWS_ROLE_ARN" not in os.environ
    provider = "ProfileCredentialsProvider" if by_profile else _PROVIDERS[found.method]
    return f"software.amazon.awssdk.auth.credentials.{provider}"
