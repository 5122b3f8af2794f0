"""What a user can get wrong ends quickly, also by the third attempt, in one line that is there afterwards."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import INPUT, MEASURED, OUTPUT

pytestmark = pytest.mark.required_in_ci

WRONG = {
    "a-bucket-that-is-not-there": ({"input": "s3://no-such-bucket/fruit", "output": OUTPUT}, 3, "no-such-bucket"),
    "weights-that-are-not-there": ({"input": INPUT, "output": OUTPUT, "weights": "/opt/none.h5"}, 7, "/opt/none.h5"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_permanent_failure_ends_soon_with_its_line_and_exit_code(
    wrong: str, photographs: Path, release: Any, tmp_path: Path
) -> None:
    settings, code, named = WRONG[wrong]
    one = release(f"e2e-{wrong[:24].rstrip('-')}")
    one.install(tmp_path, {"run": settings})
    seconds = {}

    def final(state: str) -> bool:
        for pod in one.pods("driver"):
            for container in pod["status"].get("containerStatuses", []):
                if ended := container["state"].get("terminated"):
                    times = (datetime.fromisoformat(ended[key]) for key in ("startedAt", "finishedAt"))
                    began, finished = times
                    seconds[pod["metadata"]["uid"]] = (finished - began).total_seconds()
                    assert ended["exitCode"] == code
                    assert named in ended["message"]
        return state == "FAILED"

    one.until(final, timeout=300)
    assert one.status["executionAttempts"] == 3
    assert len(seconds) >= 2, "attempts were too quick to be seen"
    MEASURED.append(f"{wrong}: {list(seconds.values())} s of container an attempt, {one.seconds:.0f} s to FAILED")
    assert max(seconds.values()) < 15
    last = one.events()[-1]
    assert (last["event"], last["exit_code"]) == ("failed", code)
    assert named in last["message"]
    assert f"ExitCode: {code}" in one.message
    assert not one.pods("executor")
