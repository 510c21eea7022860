"""What is remembered of the events of one chain, and which numbers are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SIZE = 16
"""Bytes of each hash that are remembered."""
PAGE = 1024
"""Numbers that are remembered together; a page is only there once one of its numbers is."""
_NOTHING = bytes(SIZE)

Span = tuple[int, int]
"""Numbers from a first one to a last one."""


class Hashes:
    """The beginning of a hash for each number: 16 bytes for one among others, a page for one that is alone.

    So a number far off, which anybody may write, costs no more than that.
    """

    def __init__(self, base: int) -> None:
        self.base = base
        self.end = base
        """The number after the largest one seen."""
        self._pages: dict[int, bytearray] = {}

    def get(self, number: int) -> bytes | None:
        """None for a number that was not seen."""
        page = self._pages.get(number // PAGE)
        at = number % PAGE * SIZE
        found = bytes(page[at : at + SIZE]) if page is not None else _NOTHING
        return found if found != _NOTHING else None

    def put(self, number: int, value: bytes) -> None:
        page = self._pages.get(number // PAGE)
        if page is None:
            page = self._pages[number // PAGE] = bytearray(PAGE * SIZE)
        at = number % PAGE * SIZE
        page[at : at + SIZE] = value
        self.end = max(self.end, number + 1)

    def holes(self) -> Iterator[Span]:
        """What is missing between the base and the largest number."""
        expected = self.base
        for number in self._seen():
            if number > expected:
                yield expected, number - 1
            expected = number + 1

    def _seen(self) -> Iterator[int]:
        for key in sorted(self._pages):
            page = self._pages[key]
            for at in range(0, len(page), SIZE):
                if page[at : at + SIZE] != _NOTHING:
                    yield key * PAGE + at // SIZE


def divided(hole: Span, declared: Iterable[Span]) -> Iterator[tuple[Span, bool]]:
    """The parts of a hole, in order, each with whether it was declared."""
    at, end = hole
    for first, last in sorted(declared):
        if last < at or first > end:
            continue
        if first > at:
            yield (at, first - 1), False
        yield (max(first, at), min(last, end)), True
        at = min(last, end) + 1
    if at <= end:
        yield (at, end), False
