"""Regions in which data may be: a closed list, two that ask for a legal basis, and for nodes those declared."""

from __future__ import annotations

import re
from collections.abc import Iterable

from verger.config import ResidencySettings
from verger.errors import ResidencyError

# AWS's regions in the EU, and the European Sovereign Cloud's. Not every name that begins with eu- is one.
EU = frozenset({"eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2", "eusc-de-east-1"})

# In Europe and not in the EU -> the city, and the option that gives the legal basis for it.
OPT_INS = {"eu-west-2": ("London", "--allow-london"), "eu-central-2": ("Zurich", "--allow-zurich")}

_COMPASS = "(north|south|central)?(east|west)?"
_ABROAD = re.compile(rf"(us|us-gov|(us|eu)-iso[a-z]?|ca|mx|sa|af|me|il|ap|cn)-(?!-){_COMPASS}-[0-9]+")
_ON_AWS = re.compile(rf"(?<![a-z])[a-z]{{2,4}}(-[a-z]+)?-(?!-){_COMPASS}-[0-9]+")


def basis(region: str, settings: ResidencySettings) -> str | None:
    """The legal basis that was given for a region outside the EU, if one was."""
    return {"eu-west-2": settings.allow_london, "eu-central-2": settings.allow_zurich}.get(region)


def allowed(region: str, settings: ResidencySettings) -> bool:
    """Whether data may be in an AWS region."""
    return region in EU or basis(region, settings) is not None


def abroad(region: str, settings: ResidencySettings) -> bool:
    """Whether what any store calls its region is an AWS region in which data may not be.

    Other stores' names are free: one that is not AWS's says nothing.
    """
    region = region.lower()
    return (region in OPT_INS or _ABROAD.fullmatch(region) is not None) and not allowed(region, settings)


def named(host: str) -> list[str]:
    """The AWS regions that one of AWS's host names names."""
    return [found[0] for found in _ON_AWS.finditer(host.lower())]


def declared(settings: ResidencySettings) -> dict[str, dict[str, str]]:
    """The regions of other clouds on whose nodes pods may stand: region, country and legal basis, by region.

    Raises
    ------
    ResidencyError
        One has the name of a region of AWS's that is outside the EU.
    """
    found = {}
    for entry in settings.node_region:
        region, country, text = entry.split(":", 2)
        if abroad(region, settings):
            raise ResidencyError(
                f"--node-region {region} is AWS's name of a region outside the EU",
                "Declare there only what another cloud calls its regions in the EU",
            )
        if not allowed(region, settings):
            found[region] = {"region": region, "country": country, "basis": text}
    return found


def allowed_for_nodes(region: str, settings: ResidencySettings) -> bool:
    """Whether a pod may run on a node there: in AWS's regions for data, and in those declared of other clouds."""
    return allowed(region, settings) or region in declared(settings)


def opt_ins(used: Iterable[str], settings: ResidencySettings, of_nodes: Iterable[str] = ()) -> list[dict[str, str]]:
    """What the manifest keeps of the regions that were used by opt-in: each with its legal basis.

    Parameters
    ----------
    used : iterable of str
        Regions of any kind.
    settings : ResidencySettings
    of_nodes : iterable of str
        Regions in which nodes stood; what another cloud's store calls its region is no such.
    """
    nodes = set(of_nodes)
    kept = {region: entry for region, entry in declared(settings).items() if region in nodes}
    for region in nodes.union(used):
        if (text := basis(region, settings)) is not None:
            kept[region] = {"region": region, "basis": text}
    return [kept[region] for region in sorted(kept)]


def refusal(subject: str, region: str) -> ResidencyError:
    """The line that says that ``subject`` is in a region in which data may not be."""
    if region in OPT_INS:
        city, option = OPT_INS[region]
        return ResidencyError(
            f"{subject} in {region} ({city}), which is not in the EU",
            f"Use one in the EU, or give {option} the legal basis on which data may be there",
        )
    return ResidencyError(f"{subject} in {region}, which is not in the EU", f"Use one of {', '.join(sorted(EU))}")


def node_refusal(subject: str, region: str, settings: ResidencySettings) -> ResidencyError:
    """The same of a node, whose region another cloud may have named."""
    if abroad(region, settings):
        return refusal(subject, region)
    return ResidencyError(
        f"{subject} in {region}, which is not known to be in the EU",
        f"Use one of {', '.join(sorted(EU))}; where it is another cloud's in the EU, give --node-region "
        f"{region}:COUNTRY:BASIS",
    )
