"""What a run waits for before it has its first photograph, and whenever executors are missing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Wait:
    """How much of one thing that the run needs is there.

    Attributes
    ----------
    what : {"executors", "network"}
        The executors themselves, or the network that their workers load.
    ready : int
        How many executors are here, or how many workers have loaded the network.
    total : int
        Of how many.
    message : str
        The same for people, with the reason where it is known.
    """

    what: Literal["executors", "network"]
    ready: int
    total: int
    message: str


class Waits:
    """The latest `Wait` of each kind. May be used from any thread."""

    def __init__(self) -> None:
        self._latest: dict[str, Wait] = {}
        self._over: set[str] = set()
        self._lock = threading.Lock()

    def set(self, wait: Wait) -> bool:
        """Replace what was said before of the same thing.

        Parameters
        ----------
        wait : Wait
            How much is there now.

        Returns
        -------
        bool
            Whether it says anything new. The network cannot become unloaded: fewer workers are nothing new. Nor is what
            comes after `end`.
        """
        with self._lock:
            before = self._latest.get(wait.what)
            if (
                wait.what in self._over
                or wait == before
                or (before and wait.what == "network" and wait.ready < before.ready)
            ):
                return False
            self._latest[wait.what] = wait
            return True

    def end(self, what: Literal["executors", "network"]) -> None:
        """Wait for a thing no more.

        Parameters
        ----------
        what : {"executors", "network"}
            The thing.
        """
        with self._lock:
            self._over.add(what)
            self._latest.pop(what, None)

    @property
    def text(self) -> str:
        """What is not complete yet, as one line; empty where nothing is waited for."""
        with self._lock:
            return "; ".join(wait.message for _, wait in sorted(self._latest.items()) if wait.ready < wait.total)
