"""What was done to runs, what was promised, what happened, and the seconds it took: a table for people, and a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    """Of one thing that was done to a run.

    Attributes
    ----------
    done : str
        What it was.
    promised : str
        How the run ends then, by the documentation.
    happened : list of str
        What was seen, in this order.
    seconds : dict of str to float
        What they were taken for, such as "to the end", which is from the release's installation.
    kept : bool
        Whether all of the promise was seen.
    """

    done: str
    promised: str
    happened: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: bool = False

    def saw(self, *what: str, **seconds: float) -> None:
        """Keep what was seen, and seconds by name, in which ``_`` stands for a space."""
        self.happened += what
        self.seconds |= {name.replace("_", " "): round(taken, 1) for name, taken in seconds.items()}


class Outcomes:
    """Those of a session."""

    def __init__(self) -> None:
        self._all: list[Outcome] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    @contextmanager
    def promise(self, done: str, promised: str) -> Iterator[Outcome]:
        """Keep what the body saw, also where it raises: then the promise was not kept."""
        self._all.append(outcome := Outcome(done, promised))
        try:
            yield outcome
        except BaseException as error:
            said = str(error).partition("\n")[0]
            outcome.saw(f"NOT AS PROMISED: {type(error).__name__}: {said}")
            raise
        outcome.kept = True

    def table(self) -> list[str]:
        """Lines of Markdown."""
        rows = [("done", "promised", "happened", "seconds"), ("---",) * 4]
        for one in self._all:
            seconds = ", ".join(f"{taken:g} {name}" for name, taken in one.seconds.items())
            rows.append((one.done, one.promised, "; ".join(one.happened), seconds))
        return ["| {} |".format(" | ".join(cell.replace("|", "/") for cell in row)) for row in rows]

    def write(self, file: Path, **about: Any) -> None:
        """As JSON, beside what else is said about the session."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(about | {"outcomes": [asdict(one) for one in self._all]}, indent=1) + "\n")


OUTCOMES = Outcomes()
