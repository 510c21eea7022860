"""What was verified a moment ago, so that a caller pays for a signature once a minute."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Generic, TypeVar

from libs.common.meters import families

MAX_AGE = 60.0
SIZE = 10_000
CACHE = "credentials"
"""What the cache is called in metrics."""

_HITS, _MISSES = (families.CACHED.cell(CACHE, result) for result in ("hit", "miss"))

T = TypeVar("T")


class Verified(Generic[T]):
    """Positive answers only, for 60 s at most and never past their own end; the oldest makes room."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._known: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, secret: str) -> T | None:
        key = _digest(secret)
        known = self._known.get(key)
        if known is not None and known[0] > time.time():
            _HITS.add()
            return known[1]
        _MISSES.add()
        self._known.pop(key, None)
        return None

    def put(self, secret: str, value: T, expires: float) -> None:
        """Remember `value` until `expires` (seconds since the epoch) or for a minute, whichever is sooner."""
        now = time.time()
        if expires <= now:
            return
        if len(self._known) >= self._size:
            self._known.popitem(last=False)
            families.EVICTED.cell(CACHE).add()
        families.ENTRIES.cell(CACHE).set(len(self._known) + 1)
        self._known[_digest(secret)] = (min(expires, now + MAX_AGE), value)

    def clear(self) -> None:
        self._known.clear()


def _digest(secret: str) -> bytes:
    """Not the secret itself: a dump of the process should not give it away so easily."""
    return hashlib.blake2b(secret.encode(), digest_size=16).digest()
