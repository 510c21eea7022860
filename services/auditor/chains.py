"""How far each chain has come, and what is missing of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from services.auditor.seen import GAP, Seen

SETTLE = 60.0
"""Seconds in which events that were overtaken may still come."""
FORGET = 7 * 86_400.0
"""Seconds after which a chain that has not moved is forgotten."""
CHAINS_MAX = 5_000
MISSING_MAX = 100
"""Gaps of one chain that are watched at a time; they grow together beyond that."""
_UID, _HASH = 26, 64
"""Characters of a chain's id and of a hash: what has more is no event of ours."""
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Missing(Struct):
    """Numbers that have not come: the first, the last, and since when that is known."""

    first: int
    last: int
    since: float
    told: bool = False


class Head(Struct):
    """The last event of a chain, when it came, and what is missing before it."""

    seq: int
    hash: str
    at: float
    missing: list[Missing] = []
    signed: int = 0
    """The last number that a checkpoint has vouched for."""


class Gap(Struct, frozen=True):
    """What is wrong with a chain: numbers that are not there, or one whose predecessor is another one."""

    chain: str
    first: int
    last: int
    broken: bool = False


class Chains:
    """Learns from events in the order of the stream, and may learn the same twice."""

    def __init__(self, heads: Mapping[str, Head] | None = None, since: float = 0.0) -> None:
        self.heads: dict[str, Head] = dict(heads or {})
        self.since = since
        """Chains that began later than this have to be there from their first event."""
        self._broken: list[Gap] = []

    def learn(self, seen: Seen, stored: float) -> None:
        """Take note of one event, which the stream has stored at `stored`."""
        place = seen.place
        if not 0 < len(place.uid) <= _UID or len(place.hash) > _HASH or place.seq < 1:
            return
        head = self.heads.get(place.uid)
        if head is None:
            head = self._begin(place.uid, place.seq, stored)
        if place.seq <= head.seq:
            _fill(head, place.seq)
        else:
            self._grow(head, seen, stored)
        if seen.code == GAP:
            _forgive(head, *seen.lost())

    def gaps(self, now: float) -> Iterator[Gap]:
        """What is missing for longer than it may take to come; each is told once."""
        broken, self._broken = self._broken, []
        yield from broken
        for uid, head in self.heads.items():
            for each in head.missing:
                if not each.told and each.since + SETTLE <= now:
                    each.told = True
                    yield Gap(uid, each.first, each.last)

    def moved(self) -> dict[str, Head]:
        """The chains that have come further than the last checkpoint."""
        return {uid: head for uid, head in self.heads.items() if head.seq > head.signed}

    def vouch(self, chains: Iterable[str]) -> None:
        """A checkpoint has the heads of these chains."""
        for uid in chains:
            self.heads[uid].signed = self.heads[uid].seq

    def prune(self, now: float) -> None:
        """Forget chains that will hardly move again, and the oldest if there are too many."""
        by_age = sorted(self.heads, key=lambda uid: self.heads[uid].at)
        surplus = len(by_age) - CHAINS_MAX
        for number, uid in enumerate(by_age):
            if number < surplus or self.heads[uid].at + FORGET <= now:
                del self.heads[uid]

    def _begin(self, uid: str, seq: int, stored: float) -> Head:
        known = 0 if _born(uid) > self.since > 0 else seq - 1
        head = self.heads[uid] = Head(known, "", stored)
        return head

    def _grow(self, head: Head, seen: Seen, stored: float) -> None:
        place = seen.place
        if place.seq > head.seq + 1:
            _miss(head, Missing(head.seq + 1, place.seq - 1, stored))
        elif head.hash and place.prev != head.hash:
            self._broken.append(Gap(place.uid, place.seq, place.seq, broken=True))
        head.seq, head.hash, head.at = place.seq, place.hash, stored


def _miss(head: Head, missing: Missing) -> None:
    if len(head.missing) >= MISSING_MAX:
        head.missing[-1].last = missing.last
    else:
        head.missing = [*head.missing, missing]


def _fill(head: Head, seq: int) -> None:
    """What was missing has come."""
    left: list[Missing] = []
    for each in head.missing:
        if not each.first <= seq <= each.last:
            left.append(each)
            continue
        if each.first < seq:
            left.append(Missing(each.first, seq - 1, each.since, each.told))
        if seq < each.last:
            left.append(Missing(seq + 1, each.last, each.since, each.told))
    head.missing = left


def _forgive(head: Head, first: int, last: int) -> None:
    """The process itself has said that these were lost: nobody has to say it again."""
    for each in head.missing:
        if first <= each.first and each.last <= last:
            each.told = True


def _born(uid: str) -> float:
    """When a chain began, as its id says (ULID): seconds since the epoch."""
    milliseconds = 0
    for digit in uid[:10]:
        milliseconds = milliseconds * 32 + max(0, _DIGITS.find(digit))
    return milliseconds / 1000
