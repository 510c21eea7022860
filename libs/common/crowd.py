"""How many are inside at the same time, and no more than that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from libs.common.errors import RateLimited
from libs.common.meters import families

PAUSE = 1000
"""Milliseconds after which somebody who found it full may look again: nobody knows when one will leave."""


class Crowd:
    """Counts by key what runs in this process; a key without anybody inside takes no room."""

    def __init__(self, scope: str) -> None:
        """`scope` is what this limit is called, in metrics too."""
        self.scope = scope
        self._inside: Counter[str] = Counter()

    @contextmanager
    def inside(self, key: str, most: int, full: Callable[[], RateLimited]) -> Iterator[None]:
        """Be inside; raises what `full` makes where `most` are already."""
        if self._inside[key] >= most:
            families.DECISIONS.cell(self.scope, "refused").add()
            raise full()
        families.DECISIONS.cell(self.scope, "allowed").add()
        self._inside[key] += 1
        try:
            yield
        finally:
            self._inside[key] -= 1
            if not self._inside[key]:
                del self._inside[key]
