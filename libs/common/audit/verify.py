"""Checks events against their chains and checkpoints, and names what is wrong to the event. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from libs.common.audit.chain import NOTHING, Head
from libs.common.audit.checkpoint import Checkpoint
from libs.common.audit.numbers import SIZE, Hashes, Span, divided
from libs.common.audit.reading import Read, digest, read

Wrong = Literal["unreadable", "altered", "removed", "forged", "lost", "reordered", "doubled"]
T = TypeVar("T", bound=Struct)

_LEAP = 10_000_000
"""A number so far behind the last one is no number of the chain."""
_BROKEN: frozenset[Wrong] = frozenset(("unreadable", "altered", "removed", "forged"))


class Finding(Struct, frozen=True):
    """One thing that is not as it was written; `seq` to `last` of a chain."""

    wrong: Wrong
    chain: str = ""
    seq: int = 0
    last: int = 0
    uid: str = ""
    line: int = 0
    why: str = ""

    @property
    def broken(self) -> bool:
        """Whether somebody has changed the trail.

        What is delivered at least once may come twice or out of order, and what was lost says so itself.
        """
        return self.wrong in _BROKEN

    def __str__(self) -> str:
        place = f"{self.seq}" if self.last in (0, self.seq) else f"{self.seq} to {self.last}"
        where = f"chain {self.chain} event {place}" if self.chain else f"line {self.line}"
        return f"{self.wrong}: {where}{f' ({self.uid})' if self.uid else ''}: {self.why}"


class _Chain(Hashes):
    """What was seen of one chain."""

    def __init__(self, uid: str, first: int) -> None:
        super().__init__(first)
        self.uid = uid
        self.uids: tuple[int, str] = (0, "")
        """The event seen last."""
        self.links: dict[int, str] = {}
        """What the event after a hole says that the hash of the last one in it was."""
        self.gaps: list[tuple[int, Span]] = []
        """What the chain itself says was lost before it could be written, and the number that says so."""


class Verifier:
    """Takes lines one by one, in any order; `close` says what only the end can tell.

    With `whole` the lines are all there ever were: a chain then begins with its first event. `keys` are
    public keys that checkpoints may be signed with; without any, a checkpoint is believed by its own.
    """

    def __init__(self, keys: Collection[bytes] = (), *, whole: bool = True) -> None:
        self._keys = keys
        self._whole = whole
        self._chains: dict[str, _Chain] = {}
        self._named: dict[str, dict[int, str]] = {}
        """What checkpoints and successors say of chains."""
        self._vouched: dict[str, int] = {}
        """The last number of each chain that a checkpoint names."""
        self._line = 0
        self.events = 0

    def take(self, line: bytes) -> Iterator[Finding]:
        """What is wrong with the next line."""
        self._line += 1
        if not line.strip():
            return
        event = read(line)
        if event is None:
            yield Finding("unreadable", line=self._line, why="the line is no event")
            return
        self.events += 1
        if digest(line, event.chain.hash) != event.chain.hash:
            yield self._found("altered", event, "its content does not have the hash it names")
        if len(_cut(event.chain.hash)) == SIZE:
            yield from self._placed(event)
            yield from self._told(event)

    def close(self) -> Iterator[Finding]:
        """What is missing, or is not what checkpoints and successors name."""
        for uid, named in self._named.items():
            yield from self._compared(uid, named)
        for chain in self._chains.values():
            yield from self._holes(chain)

    def _placed(self, event: Read) -> Iterator[Finding]:
        place = event.chain
        chain = self._chains.get(place.uid)
        if chain is None:
            chain = self._chains[place.uid] = _Chain(place.uid, 1 if self._whole else place.seq)
        if not chain.base <= place.seq < chain.end + _LEAP:
            return
        before = chain.get(place.seq)
        if before is not None:
            same = before == _cut(place.hash)
            why = "the same event once more" if same else "another event with this number was there before"
            yield self._found("doubled" if same else "altered", event, why)
            return
        if place.seq < chain.end:
            yield self._found("reordered", event, "later ones of its chain came before it")
        chain.put(place.seq, _cut(place.hash))
        yield from self._linked(chain, event)
        chain.uids = place.seq, event.metadata.uid

    def _linked(self, chain: _Chain, event: Read) -> Iterator[Finding]:
        """Whether the event before is the one it names, and it the one that the event after names."""
        place = event.chain
        before = chain.get(place.seq - 1)
        if before is not None and before != _cut(place.prev):
            uid = chain.uids[1] if chain.uids[0] == place.seq - 1 else ""
            yield Finding(
                "altered", chain.uid, place.seq - 1, uid=uid, why="it is not what the next one names"
            )
        elif before is None:
            chain.links[place.seq - 1] = place.prev
        after = chain.links.pop(place.seq, None)
        if after is not None and after != place.hash:
            yield self._found("altered", event, "it is not what the next one names")

    def _told(self, event: Read) -> Iterator[Finding]:
        facts = event.unmapped.nexus.facts
        match event.metadata.event_code:
            case "audit.checkpoint":
                checkpoint = _converted(facts, Checkpoint)
                keys = self._keys or ([_hex(checkpoint.key)] if checkpoint else [])
                if checkpoint is None or not checkpoint.holds(keys):
                    yield self._found("forged", event, "no trusted key has signed the checkpoint")
                else:
                    for head in checkpoint.chains:
                        self._named.setdefault(head.chain, {})[head.seq] = head.hash
                        self._vouched[head.chain] = max(head.seq, self._vouched.get(head.chain, 0))
            case "audit.gap":
                gap = _converted(facts, _Gap)
                chain = self._chains.get(event.chain.uid)
                if gap is not None and chain is not None and gap.first <= gap.last < event.chain.seq:
                    chain.gaps.append((event.chain.seq, (gap.first, gap.last)))
            case "service.started":
                told = _converted(facts, _Successor)
                if told is not None and told.before.chain and event.chain.prev != NOTHING:
                    self._named.setdefault(told.before.chain, {})[told.before.seq] = event.chain.prev
            case _:
                pass

    def _compared(self, uid: str, named: dict[int, str]) -> Iterator[Finding]:
        chain = self._chains.get(uid)
        last = max(named)
        if chain is None or chain.end <= last:
            first = chain.end if chain is not None else 1
            if chain is not None or self._whole:
                yield Finding(
                    "removed", uid, first, last, why="a checkpoint or a successor names the last one"
                )
        if chain is None:
            return
        for seq, value in sorted(named.items()):
            known = chain.get(seq)
            if known is not None and known != _cut(value):
                yield Finding("altered", uid, seq, why="a checkpoint or a successor names another one")

    def _holes(self, chain: _Chain) -> Iterator[Finding]:
        """What is missing. Only a checkpoint proves that the chain's own word for it was not put in later."""
        vouched = self._vouched.get(chain.uid, 0)
        proven = [span for seq, span in chain.gaps if seq <= vouched]
        said = [span for seq, span in chain.gaps if seq > vouched]
        for hole in chain.holes():
            for part, lost in divided(hole, proven):
                if lost:
                    yield Finding(
                        "lost", chain.uid, *part, why="could not be written down, as the chain says"
                    )
                else:
                    yield from self._removed(chain.uid, part, said)

    def _removed(self, uid: str, hole: Span, said: list[Span]) -> Iterator[Finding]:
        for part, claimed in divided(hole, said):
            why = "later ones of its chain are there"
            if claimed:
                why = "an event that no checkpoint vouches for says that they were lost"
            yield Finding("removed", uid, *part, why=why)

    def _found(self, wrong: Wrong, event: Read, why: str) -> Finding:
        place = event.chain
        return Finding(wrong, place.uid, place.seq, 0, event.metadata.uid, self._line, why)


def verify(lines: Iterable[bytes], keys: Collection[bytes] = (), *, whole: bool = True) -> Iterator[Finding]:
    """Everything wrong with lines of NDJSON; see `Verifier`."""
    verifier = Verifier(keys, whole=whole)
    for line in lines:
        yield from verifier.take(line)
    yield from verifier.close()


class _Gap(Struct):
    first: int
    last: int


class _Successor(Struct):
    before: Head = Head()


def _converted(facts: object, kind: type[T]) -> T | None:
    try:
        return msgspec.convert(facts, kind)
    except msgspec.ValidationError:
        return None


def _cut(value: str) -> bytes:
    return _hex(value)[:SIZE]


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
