"""What a user can get wrong ends quickly, also by the third attempt, in one line that is there afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import INPUT, OUTPUT
from tests.e2e.faults import Watched, install, until_ended
from tests.e2e.outcomes import OUTCOMES

pytestmark = pytest.mark.required_in_ci

WRONG = {
    "there is no such bucket": ({"input": "s3://no-such-bucket/fruit"}, 3, "no-such-bucket"),
    "weights are missing": ({"input": INPUT, "weights": "/opt/none.h5"}, 7, "/opt/none.h5"),
}
SOON_S = 15
"""Within these seconds each attempt has ended: a few are promised, and a machine may be slow."""


@pytest.mark.parametrize("wrong", WRONG)
def test_a_permanent_failure_ends_soon_with_its_line_and_exit_code(
    wrong: str, photographs: Path, release: Any, tmp_path: Path
) -> None:
    settings, code, named = WRONG[wrong]
    one = release(f"e2e-{wrong.replace(' ', '-')}")
    seen = install(tmp_path, Watched(one), {"run": {"output": OUTPUT} | settings})
    until_ended(seen, 300)
    with OUTCOMES.promise(wrong, f"{code}, in each of 3 attempts within {SOON_S} s") as outcome:
        seen.tell(outcome)
        assert len(seen.attempts) >= 2, "attempts were too quick to be seen"
        longest = max(attempt.seconds for attempt in seen.attempts.values())
        outcome.saw(longest_attempt=longest)
        assert one.state == "FAILED"
        assert one.status["executionAttempts"] == 3
        for attempt in seen.attempts.values():
            assert attempt.code == code
            assert named in attempt.message
        assert longest < SOON_S
        last = one.events()[-1]
        assert (last["event"], last["exit_code"]) == ("failed", code)
        assert named in last["message"]
        assert f"ExitCode: {code}" in one.message
        assert not seen.executors
