"""No server fills the first page alone where others have something as good.

Ranks are stuffed by registering one tool many times over. Of the first ten places a server so has three, as
long as the best tool of another scores most of what the one it pushes back does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Sequence
from typing import TypeVar

PAGE = 10
SHARE = 3
COMPARABLE = 0.9
"""Less pushes back tools that were meant: 0.8 costs 0.3 points of nDCG on real suites, 0.9 a tenth of one."""

DEPTH = 64
"""How many of the best are looked at for tools of other servers."""

T = TypeVar("T")


def spread(ranked: Sequence[tuple[float, T]], groups: Sequence[Hashable | None]) -> list[tuple[float, T]]:
    """`ranked`, best first, with at most 3 of the first 10 of one group; those of group None are free.

    Only the first 64 can move up, so that the first places do not depend on how long `ranked` is.
    """
    waiting = deque(zip(ranked[:DEPTH], groups, strict=False))
    held: deque[tuple[float, T]] = deque()
    taken: Counter[Hashable | None] = Counter()
    page: list[tuple[float, T]] = []
    while waiting and len(page) < PAGE:
        item, group = waiting[0]
        if held and item[0] < COMPARABLE * held[0][0]:
            page.append(held.popleft())
            continue
        waiting.popleft()
        if group is not None and taken[group] >= SHARE:
            held.append(item)
        else:
            taken[group] += 1
            page.append(item)
    left = [*held, *(item for item, _ in waiting)]
    return page + sorted(left, key=lambda item: -item[0]) + list(ranked[DEPTH:])
