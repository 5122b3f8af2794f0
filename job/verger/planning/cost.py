"""What computing costs, in EUR, with the assumptions said."""

from __future__ import annotations

from typing import Any


def cost(core_seconds: float, photographs: int, eur_per_vcpu_hour: float) -> dict[str, Any]:
    """Price the cores of a run for as long as it lasts.

    Parameters
    ----------
    core_seconds : float
        Wall seconds times cores, idle ones included: rented cores are paid for either way.
    photographs : int
        Photographs that this paid for.
    eur_per_vcpu_hour : float
        Price of a core and hour.

    Returns
    -------
    dict
        ``eur``; ``eur_per_1000`` photographs, None where there were none; ``assumptions``, a list of sentences.
    """
    eur = core_seconds / 3600 * eur_per_vcpu_hour
    return {
        "eur": round(eur, 6),
        "eur_per_1000": round(1000 * eur / photographs, 6) if photographs else None,
        "assumptions": [
            f"a core costs EUR {eur_per_vcpu_hour:g} an hour, an assumption: set yours with --eur-per-vcpu-hour",
            "all cores are paid for from start to end; storage, requests and traffic are not included",
        ],
    }
