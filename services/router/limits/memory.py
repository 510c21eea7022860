"""Counters in this process: bounded in number, the least recently used forgotten first."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

from services.router.limits.counters import Counter, counter
from services.router.limits.limit import Level, Limit, Reading

CAPACITY = 65_536
"""Counters of one scope. Scopes have their own, so that many addresses cannot push out a user's."""
SWEPT = 2
"""Old counters looked at for each new one: enough to never keep more than are in use."""

_Shelf = OrderedDict[str, tuple[Counter, Limit]]


def microseconds() -> int:
    """A clock that never goes back."""
    return time.monotonic_ns() // 1000


class Memory:
    """`Storage` of one process, without waiting."""

    def __init__(self, clock: Callable[[], int] = microseconds, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._shelves: dict[str, _Shelf] = defaultdict(OrderedDict)
        self._grown: list[_Shelf] = []

    @property
    def waits(self) -> bool:
        return False

    async def take(self, levels: Sequence[Level]) -> list[Reading]:
        return self.count(levels)

    def count(self, levels: Sequence[Level]) -> list[Reading]:
        """`take` at once: atomic, because nothing else runs meanwhile."""
        now = self._clock()
        counters = [self._counter(level) for level in levels]
        waits = [each.wait(level.limit, now) for each, level in zip(counters, levels, strict=True)]
        if not any(waits):
            for each, level in zip(counters, levels, strict=True):
                each.add(level.limit, now)
        while self._grown:
            self._sweep(self._grown.pop(), now)
        return [
            each.reading(level.limit, now, wait)
            for each, level, wait in zip(counters, levels, waits, strict=True)
        ]

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    def _counter(self, level: Level) -> Counter:
        shelf = self._shelves[level.scope]
        found = shelf.get(level.key)
        if found is not None:
            shelf.move_to_end(level.key)
            return found[0]
        made = counter(level.limit)
        shelf[level.key] = made, level.limit
        self._grown.append(shelf)
        return made

    def _sweep(self, shelf: _Shelf, now: int) -> None:
        for _ in range(min(SWEPT, len(shelf))):
            key, (oldest, limit) = next(iter(shelf.items()))
            if oldest.expires(limit) > now and len(shelf) <= self._capacity:
                return
            del shelf[key]
