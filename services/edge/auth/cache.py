"""What was verified a moment ago, so that a caller pays for a signature once a minute."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import Generic, TypeVar

MAX_AGE = 60.0
SIZE = 10_000

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
        if known is None:
            return None
        if known[0] <= time.time():
            del self._known[key]
            return None
        return known[1]

    def put(self, secret: str, value: T, expires: float) -> None:
        """Remember `value` until `expires` (seconds since the epoch) or for a minute, whichever is sooner."""
        now = time.time()
        if expires <= now:
            return
        if len(self._known) >= self._size:
            self._known.popitem(last=False)
        self._known[_digest(secret)] = (min(expires, now + MAX_AGE), value)

    def clear(self) -> None:
        self._known.clear()


def _digest(secret: str) -> bytes:
    """Not the secret itself: a dump of the process should not give it away so easily."""
    return hashlib.blake2b(secret.encode(), digest_size=16).digest()
