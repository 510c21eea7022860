"""What a limit is and what can be said of one: values, the same for every storage. Times in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

SECOND = 1_000_000
FINE = 2_000
"""Up to this limit the log keeps the microsecond of every call."""
GRAINS = 100
"""Above it, calls of the same hundredth of the window are one entry, which leaves when the last would."""
SMOOTH_SHARE = 10
"""A smooth limit lets a tenth of it through at once."""


class Limit(Struct, frozen=True):
    """At most `limit` calls in any `window`."""

    limit: int
    window: int
    step: int
    """Of a log: how finely time is kept. Of a smooth limit: what lies between two calls."""
    burst: int = 0
    """Calls that may come at once; 0 means all of them, counted by a log."""


class Level(Struct, frozen=True):
    """One limit that a call counts to; `key` tells its counter from all others."""

    scope: str
    key: str
    limit: Limit


class Reading(Struct, frozen=True):
    """What one counter says of a call: `wait` is 0 when it has room."""

    wait: int
    remaining: int
    reset: int
    """Until the whole limit is free again."""


class StorageDown(Exception):
    """The counters cannot be reached; the text says why, for the log."""


class Storage(Protocol):
    """Where counters are."""

    @property
    def waits(self) -> bool:
        """Whether `take` may have to wait for somebody else."""
        ...

    async def take(self, levels: Sequence[Level]) -> list[Reading]:
        """Count one call at every level if all have room, else at none; a reading for each level.

        Raises `StorageDown`.
        """
        ...


class Shared(Storage, Protocol):
    """Counters that others use too, and that may go away."""

    async def probe(self) -> None:
        """Raises `StorageDown` unless calls can be counted now."""
        ...


def limited(limit: int, window: int, *, smooth: bool = False) -> Limit:
    """A limit of `limit` calls in `window`, never exceeded in any interval of that length.

    Smooth: a tenth at once and the rest evenly spaced, by the generic cell rate algorithm (ITU-T I.371). Of
    the `burst` calls at the start and one more after each `step`, at most `limit` fall into a window.
    """
    if smooth:
        burst = max(1, limit // SMOOTH_SHARE)
        return Limit(limit, window, -(-window // (limit - burst + 1)), burst)
    return Limit(limit, window, 1 if limit <= FINE else max(1, window // GRAINS))


@lru_cache(maxsize=4096)
def portion(limit: Limit, parts: int, rank: int) -> Limit:
    """The share of one of `parts` equals; all shares together are the limit, but none is less than 1 call."""
    calls = limit.limit // parts + (rank < limit.limit % parts)
    return limited(max(1, calls), limit.window, smooth=bool(limit.burst))
