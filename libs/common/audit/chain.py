"""The chain of one process's life: each event names the one before it, so that nothing goes unseen. Pure."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from libs.common.audit.events import Event
from libs.common.audit.ocsf import Stamp, render

NOTHING = "0" * 64
"""What the first event of a chain without a predecessor names."""
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_COUNTER = 40


class Head(Struct, frozen=True):
    """The last event of a chain: what a successor's first event names."""

    chain: str = ""
    seq: int = 0
    hash: str = NOTHING


class Ulids:
    """Identifiers that sort by time (ULID), unique by 80 random bits, of which the last 40 count on."""

    def __init__(self) -> None:
        self._head = _encoded(int.from_bytes(os.urandom(5), "big"), 4)
        self._count = int.from_bytes(os.urandom(5), "big")
        self._at = -1
        self._time = ""

    def mint(self, now: int) -> str:
        """The next one; `now` in milliseconds since the epoch."""
        if now != self._at:
            self._at, self._time = now, _encoded(now, 5)
        count = self._count = (self._count + 1) % (1 << _COUNTER)
        pairs = _PAIRS
        low = pairs[count & 1023]
        high = pairs[count >> 30] + pairs[count >> 20 & 1023] + pairs[count >> 10 & 1023]
        return f"{self._time}{self._head}{high}{low}"


def _encoded(number: int, pairs: int) -> str:
    """Crockford's base 32, `pairs` times two digits."""
    return "".join(_PAIRS[number >> 10 * shift & 1023] for shift in reversed(range(pairs)))


class Sealed(NamedTuple):
    """An event as it is kept for ever: its canonical JSON and what it is sent under."""

    uid: str
    seq: int
    line: bytes


class Chain:
    """Numbers and links events from 1, their times never going back."""

    def __init__(
        self,
        provider: str,
        before: Head | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ulids = Ulids()
        self._clock = clock
        self._provider = provider
        self._now = int(clock() * 1000)
        self.uid = self._ulids.mint(self._now)
        self.before = before or Head()
        self.seq = 0
        self.hash = self.before.hash

    @property
    def head(self) -> Head:
        return Head(self.uid, self.seq, self.hash)

    def seal(self, event: Event) -> Sealed:
        """`event` with its id, its time and its place in the chain, which it has from now on."""
        self._now = now = max(self._now, int(self._clock() * 1000))
        uid, seq = self._ulids.mint(now), self.seq + 1
        head, tail = render(event, Stamp(uid, now, self.uid, seq, self.hash, self._provider))
        self.seq, self.hash = seq, hashlib.sha256(head + tail).hexdigest()
        return Sealed(uid, seq, b'%b"hash":"%b",%b' % (head, self.hash.encode(), tail))
