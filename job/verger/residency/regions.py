"""Regions in which data may be: those of the EU, two with a legal basis, and for nodes those that are declared."""

from __future__ import annotations

import re
from collections.abc import Iterable

from verger.config import ResidencySettings
from verger.errors import ResidencyError

# AWS's regions in the EU, and the European Sovereign Cloud's. Not every name that begins with eu- is one.
EU = frozenset({"eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2", "eusc-de-east-1"})

# A region in Europe but not in the EU -> its city, and the option that gives the legal basis for it.
OPT_INS = {"eu-west-2": ("London", "--allow-london"), "eu-central-2": ("Zurich", "--allow-zurich")}

_DIRECTION = "(north|south|central)?(east|west)?"
_OUTSIDE_EU = re.compile(rf"(us|us-gov|(us|eu)-iso[a-z]?|ca|mx|sa|af|me|il|ap|cn)-(?!-){_DIRECTION}-[0-9]+")
_AWS_REGION = re.compile(rf"(?<![a-z])[a-z]{{2,4}}(-[a-z]+)?-(?!-){_DIRECTION}-[0-9]+")


def legal_basis(region: str, settings: ResidencySettings) -> str | None:
    """The legal basis that was given for an AWS region outside the EU.

    Parameters
    ----------
    region : str
        AWS's name of it, such as ``eu-west-2``.
    settings : ResidencySettings
        ``allow_london`` and ``allow_zurich`` are the legal bases of one region each.

    Returns
    -------
    str or None
        None where there is none.
    """
    return {"eu-west-2": settings.allow_london, "eu-central-2": settings.allow_zurich}.get(region)


def allowed(region: str, settings: ResidencySettings) -> bool:
    """Whether data may be in an AWS region.

    Parameters
    ----------
    region : str
        AWS's name of it, such as ``eu-west-2``.
    settings : ResidencySettings
        ``allow_london`` and ``allow_zurich`` allow one region outside the EU each.
    """
    return region in EU or legal_basis(region, settings) is not None


def is_forbidden_aws_region(region: str, settings: ResidencySettings) -> bool:
    """Whether a name is that of an AWS region in which data may not be.

    Other stores choose the names of their regions freely: a name that is not AWS's says nothing.

    Parameters
    ----------
    region : str
        As any store reports it.
    settings : ResidencySettings
        A region with a legal basis in ``allow_london`` or ``allow_zurich`` is not forbidden.
    """
    region = region.lower()
    return (region in OPT_INS or _OUTSIDE_EU.fullmatch(region) is not None) and not allowed(region, settings)


def regions_in_host(host: str) -> list[str]:
    """The regions in the name of one of AWS's hosts.

    Parameters
    ----------
    host : str
        The host's name in an endpoint URL.

    Returns
    -------
    list of str
        In lower case, in the order of the name; empty where it has none.

    Examples
    --------
    >>> regions_in_host("s3.eu-west-3.amazonaws.com")
    ['eu-west-3']
    """
    return [found[0] for found in _AWS_REGION.finditer(host.lower())]


def declared_node_regions(settings: ResidencySettings) -> dict[str, dict[str, str]]:
    """The regions of other clouds on whose nodes pods may run.

    Parameters
    ----------
    settings : ResidencySettings
        The entries of ``node_region``; regions that AWS's rules allow anyway are left out.

    Returns
    -------
    dict of str to dict
        ``{region, country, basis}`` by region.

    Raises
    ------
    ResidencyError
        One has the name of an AWS region outside the EU.
    """
    found = {}
    for entry in settings.node_region:
        region, country, basis = entry.split(":", 2)
        if is_forbidden_aws_region(region, settings):
            raise ResidencyError(
                f"--node-region {region} is the name of an AWS region outside the EU",
                "Declare only regions of other clouds that are in the EU",
            )
        if not allowed(region, settings):
            found[region] = {"region": region, "country": country, "basis": basis}
    return found


def allowed_for_nodes(region: str, settings: ResidencySettings) -> bool:
    """Whether a pod may run on a node in a region: an AWS region that is allowed, or a declared one of another cloud.

    Parameters
    ----------
    region : str
        As the label of the pod or its node has it.
    settings : ResidencySettings
        ``allow_london``, ``allow_zurich`` and ``node_region`` allow regions besides AWS's in the EU.

    Raises
    ------
    ResidencyError
        As `declared_node_regions`.
    """
    return allowed(region, settings) or region in declared_node_regions(settings)


def opt_ins(used: Iterable[str], settings: ResidencySettings, node_regions: Iterable[str] = ()) -> list[dict[str, str]]:
    """The opt-ins of a run, for its manifest.

    Parameters
    ----------
    used : iterable of str
        Regions of buckets and their replicas.
    settings : ResidencySettings
        ``allow_london``, ``allow_zurich`` and ``node_region`` have the legal bases.
    node_regions : iterable of str
        Regions of nodes. Only these are compared with the declared regions of other clouds.

    Returns
    -------
    list of dict
        ``{region, basis}``, with ``country`` for another cloud's; sorted by region.

    Raises
    ------
    ResidencyError
        As `declared_node_regions`.
    """
    nodes = set(node_regions)
    found = {region: entry for region, entry in declared_node_regions(settings).items() if region in nodes}
    for region in nodes.union(used):
        if (basis := legal_basis(region, settings)) is not None:
            found[region] = {"region": region, "basis": basis}
    return [found[region] for region in sorted(found)]


def refusal(subject: str, region: str) -> ResidencyError:
    """The error for something that is in an AWS region in which data may not be.

    Parameters
    ----------
    subject : str
        What is there, with its verb: "s3://lake is".
    region : str
        AWS's name of it; for London and Zurich the advice names the option that allows it.

    Returns
    -------
    ResidencyError
        For the caller to raise.
    """
    if region in OPT_INS:
        city, option = OPT_INS[region]
        return ResidencyError(
            f"{subject} in {region} ({city}), which is not in the EU",
            f"Use a region in the EU, or give the legal basis for this one with {option}",
        )
    return ResidencyError(f"{subject} in {region}, which is not in the EU", f"Use one of {', '.join(sorted(EU))}")


def node_refusal(subject: str, region: str, settings: ResidencySettings) -> ResidencyError:
    """The error for a node in a region that is not allowed.

    Parameters
    ----------
    subject : str
        What is there, with its verb: "the driver's node is".
    region : str
        As its cloud calls it, which need not be AWS.
    settings : ResidencySettings
        Tells a forbidden AWS region from a region of another cloud, which may be declared.

    Returns
    -------
    ResidencyError
        For the caller to raise.
    """
    if is_forbidden_aws_region(region, settings):
        return refusal(subject, region)
    return ResidencyError(
        f"{subject} in {region}, which is not known to be in the EU",
        f"Use one of {', '.join(sorted(EU))}; if it is a region of another cloud in the EU, give --node-region "
        f"{region}:COUNTRY:BASIS",
    )
