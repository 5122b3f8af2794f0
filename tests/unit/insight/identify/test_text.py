"""What identify tells a person."""

from __future__ import annotations

from tests.unit.insight.identify.found import NONE_OF_THESE, identification
from verger.errors import Reason, Rejection
from verger.insight.identify import text
from verger.insight.identify.identification import Identification


def spoken(found: Identification) -> str:
    return "\n".join(line.plain for line in text.lines(found, None))


class TestLines:
    def test_a_photograph_beyond_the_threshold_is_none_of_these(self) -> None:
        said = spoken(identification())
        assert "none of these: 0.500 from what is known, beyond the threshold of 0.400 (weak evidence)" in said
        assert "75.0%  Apple" in said and "0.750  (no label)  /in/2.jpg" in said

    def test_a_photograph_within_the_threshold_has_its_distance(self) -> None:
        strong = NONE_OF_THESE | {"weak": False}
        said = spoken(identification(distance=0.1, none_of_these=strong))
        assert "  0.100 from what is known, within the threshold of 0.400\n" in said
        random = spoken(identification(distance=0.1, none_of_these=strong | {"split": "random"}))
        assert "threshold of 0.400 (optimistic evidence)\n" in random
        assert "none of these" not in said

    def test_a_threshold_that_was_not_evaluated_is_said_to_be(self) -> None:
        unmeasured = NONE_OF_THESE | {
            "weak": None,
            "auroc": None,
            "says": "not measured: of 2 classes none can be left out",
        }
        assert "(evidence not measured)" in spoken(identification(none_of_these=unmeasured))

    def test_brackets_in_names_are_no_markup(self) -> None:
        said = spoken(identification(classes=[("[red]Apple[/red]", 1.0)]))
        assert "[red]Apple[/red]" in said

    def test_control_characters_in_names_are_replaced(self) -> None:
        steering = "\x1b[31m \x9b2J \r \n \u202e \u2028 \u2067"
        found = identification(classes=[(f"a{steering}", 1.0)], nearest=[(f"/in/p{steering}.jpg", f"l{steering}", 0.5)])
        bad = Identification(f"/x{steering}.jpg", "run-1", error=Rejection(Reason.TRUNCATED, f"in {steering}"))
        for line in [*text.lines(found, None), *text.lines(bad, None)]:
            assert not set("\x1b\x9b\r\n\u202e\u2028\u2067") & set(line.plain)
