"""What a cache of the standard library says of itself, as metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from libs.common.meters import families


def show(name: str, info: Callable[[], Any]) -> None:
    """Set what `info`, the `cache_info` of an `lru_cache`, says of the cache `name`."""
    said = info()
    families.CACHED.cell(name, "hit").set(said.hits)
    families.CACHED.cell(name, "miss").set(said.misses)
    families.EVICTED.cell(name).set(said.misses - said.currsize)
    families.ENTRIES.cell(name).set(said.currsize)
