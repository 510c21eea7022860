"""No server fills the first page alone where others have something as good.

Ranks are stuffed by registering one tool many times over. Of the first ten places a server so has three; the
fourth is its own too if no tool of another server scores nearly as much, the fifth if none scores 0.8 of it,
and so on down to half.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Sequence
from typing import TypeVar

PAGE = 10
SHARE = 3
COMPARABLE = 0.9
"""Measured: 0.8 for the fourth place costs 0.3 points of nDCG on real suites, this a tenth of one."""

STEP, LEAST = 0.1, 0.5

DEPTH = 64
"""How many of the best are looked at for tools of other servers."""

T = TypeVar("T")


def spread(ranked: Sequence[tuple[float, T]], groups: Sequence[Hashable | None]) -> list[tuple[float, T]]:
    """`ranked`, best first, with at most 3 of the first 10 of one group; those of group None are free.

    Only the first 64 can move up, so that the first places do not depend on how long `ranked` is.
    """
    waiting = deque(zip(ranked[:DEPTH], groups, strict=False))
    held: deque[tuple[tuple[float, T], Hashable]] = deque()
    taken: Counter[Hashable | None] = Counter()
    page: list[tuple[float, T]] = []
    while waiting and len(page) < PAGE:
        item, group = waiting[0]
        if held and item[0] < _needed(taken[held[0][1]]) * held[0][0][0]:
            item, group = held.popleft()
        else:
            waiting.popleft()
            if group is not None and taken[group] >= SHARE:
                held.append((item, group))
                continue
        taken[group] += 1
        page.append(item)
    left = [item for item, _ in [*held, *waiting]]
    return page + sorted(left, key=lambda item: -item[0]) + list(ranked[DEPTH:])


def _needed(places: int) -> float:
    """The share of its score that displaces a tool whose server has so many places already."""
    return max(LEAST, COMPARABLE - STEP * (places - SHARE))
