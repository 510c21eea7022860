"""Counting without a shared storage: each router lets its share of every limit through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.router.limits.limit import Level, Reading, portion
from services.router.limits.memory import Memory


class Fleet(Protocol):
    """How many routers there are, and which of them this one is."""

    @property
    def place(self) -> tuple[int, int]:
        """(number of live routers, this one's rank among them from 0)."""
        ...


class Share:
    """`Storage` in this process, never down."""

    def __init__(self, memory: Memory, fleet: Fleet) -> None:
        self._memory = memory
        self._fleet = fleet

    @property
    def waits(self) -> bool:
        return False

    async def take(self, levels: Sequence[Level]) -> list[Reading]:
        parts, rank = self._fleet.place
        if parts > 1:
            levels = [Level(level.scope, level.key, portion(level.limit, parts, rank)) for level in levels]
        return self._memory.count(levels)
