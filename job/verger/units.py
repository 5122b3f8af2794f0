"""EUR, seconds and bytes as text for people: the one place that formats them."""

from __future__ import annotations


def bytes_text(size: float) -> str:
    """A number of bytes, in the largest decimal unit that it reaches.

    Parameters
    ----------
    size : float
        Bytes, not negative.

    Returns
    -------
    str
        One decimal from the kilobyte on. A kB is 1,000 bytes, as in SI, not 1,024.

    Examples
    --------
    >>> bytes_text(512), bytes_text(85_000), bytes_text(2_147_483_648)
    ('512 B', '85.0 kB', '2.1 GB')
    """
    if round(size) < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if round(size, 1) < 1000 or unit == "TB":
            break
    return f"{size:,.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """A measured duration.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        Tenths of a second below 10 s, seconds below 100 minutes, minutes from there on.

    Examples
    --------
    >>> seconds_text(4.25), seconds_text(125), seconds_text(7260)
    ('4.2 s', '2 min 05 s', '2 h 01 min')
    """
    if seconds < 0.1:
        return "under 0.1 s"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def estimated_seconds_text(seconds: float) -> str:
    """An estimated duration, with no more digits than an estimate deserves.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        Whole seconds below 90 s, whole minutes below 90 minutes, hours with one decimal from there on.

    Examples
    --------
    >>> estimated_seconds_text(8.4), estimated_seconds_text(750), estimated_seconds_text(7260)
    ('8 s', '12 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def eur_text(amount: float | None) -> str:
    """An amount of money in a sentence, with as many digits as it takes to be more than nothing.

    Parameters
    ----------
    amount : float or None
        EUR; None where it is unknown.

    Returns
    -------
    str
        Two decimals from EUR 1 on, two significant digits below.

    Examples
    --------
    >>> eur_text(1234.5), eur_text(0.0123), eur_text(None)
    ('EUR 1,234.50', 'EUR 0.012', 'unknown')
    """
    if amount is None:
        return "unknown"
    return f"EUR {amount:,.2f}" if amount >= 1 or amount == 0 else f"EUR {amount:.2g}"


def eur_column(amount: float | None) -> str:
    """An amount of money in a column headed EUR, where the decimal points of small amounts are aligned.

    Parameters
    ----------
    amount : float or None
        EUR; None where it is unknown.

    Returns
    -------
    str
        Two decimals from EUR 10 on, four below.

    Examples
    --------
    >>> eur_column(12.345), eur_column(0.0028), eur_column(None)
    ('12.35', '0.0028', 'unknown')
    """
    if amount is None:
        return "unknown"
    return f"{amount:,.2f}" if amount >= 10 else f"{amount:.4f}"
