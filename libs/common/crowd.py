"""How many are inside at the same time, and no more than that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from libs.common.errors import RateLimited

PAUSE = 1000
"""Milliseconds after which somebody who found it full may look again: nobody knows when one will leave."""


class Crowd:
    """Counts by key what runs in this process; a key without anybody inside takes no room."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()

    @contextmanager
    def inside(self, key: str, most: int, full: Callable[[], RateLimited]) -> Iterator[None]:
        """Be inside; raises what `full` makes where `most` are already."""
        if self._inside[key] >= most:
            raise full()
        self._inside[key] += 1
        try:
            yield
        finally:
            self._inside[key] -= 1
            if not self._inside[key]:
                del self._inside[key]
