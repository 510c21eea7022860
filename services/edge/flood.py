"""Refusals in a flood: the first of each address are told one by one, the rest of a second as a number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

SINGLE = 10
"""Refusals of one address that are told one by one, in a second."""
SECOND = 1.0
SOURCES_MAX = 4096
"""Addresses that are counted apart in one second; further ones share a number."""


@dataclass(slots=True)
class _Counted(Generic[T]):
    told: int = 0
    held: int = 0
    last: T | None = None


class Flood(Generic[T]):
    """Tells `tell(thing, count)`: the count is 1 for a single one, else of how many like it this is the last.

    What is held back is told within a second; `close` tells the rest at once.
    """

    def __init__(self, tell: Callable[[T, int], None], single: int = SINGLE) -> None:
        self._tell = tell
        self._single = single
        self._sources: dict[Hashable, _Counted[T]] = {}
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, source: Hashable, thing: T) -> None:
        """Tell it now, or count it among others of this source."""
        if time.monotonic() >= self._until:
            self._turn()
        if source not in self._sources and len(self._sources) >= SOURCES_MAX:
            source = None
        counted = self._sources.setdefault(source, _Counted())
        if counted.told < self._single:
            counted.told += 1
            self._tell(thing, 1)
            return
        counted.held += 1
        counted.last = thing
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECOND, self._turn)

    def close(self) -> None:
        self._turn()

    def _turn(self) -> None:
        """Begin another second."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sources, self._sources = self._sources, {}
        self._until = time.monotonic() + SECOND
        for counted in sources.values():
            if counted.last is not None:
                self._tell(counted.last, counted.held)
