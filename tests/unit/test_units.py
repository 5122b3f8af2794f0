import pytest

from verger.units import bytes_text, estimated_seconds_text, eur_column, eur_text, seconds_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.7, "1.0 kB"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_300_000_000, "1.3 GB"),
        (5e12, "5.0 TB"),
        (5e15, "5,000.0 TB"),
    ],
)
def test_bytes_are_in_the_largest_unit_that_they_reach(size: float, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "under 0.1 s"),
        (4.25, "4.2 s"),
        (52, "52 s"),
        (125, "2 min 05 s"),
        (5999, "99 min 59 s"),
        (7260, "2 h 01 min"),
    ],
)
def test_measured_durations(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (89, "89 s"), (750, "12 min"), (90 * 60, "1.5 h")])
def test_estimated_durations_have_few_digits(seconds: float, text: str) -> None:
    assert estimated_seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "unknown"), (0, "EUR 0.00"), (0.0123, "EUR 0.012"), (1, "EUR 1.00"), (1234.5, "EUR 1,234.50")],
)
def test_eur_in_a_sentence(amount: float | None, text: str) -> None:
    assert eur_text(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "unknown"), (0.0028, "0.0028"), (9.87654, "9.8765"), (1234.5, "1,234.50")]
)
def test_eur_in_a_column_has_four_decimals_below_ten(amount: float | None, text: str) -> None:
    assert eur_column(amount) == text
