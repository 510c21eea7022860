"""What the index costs: CPU time on one thread, and memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from statistics import quantiles
from time import process_time

import psutil

from benchmarks.search.corpus import Catalogue
from services.indexer.index import Index, hybrid

QUERIES = 200
ROUNDS = 20
LIMIT = 10


def cost(tools: int, empty: Callable[[], Index] = hybrid) -> dict[str, float]:
    """Build seconds, milliseconds of queries, of adding and removing 20 tools, and MB of memory."""
    catalogue = Catalogue(tools)
    gc.collect()
    before = _resident()
    index = empty()
    seconds = _spent(partial(_fill, index, catalogue)) / 1000
    memory = _resident() - before
    clean = [catalogue.query() for _ in range(QUERIES)]
    typo = [catalogue.misspelt(query) for query in clean]
    return {
        "tools": len(index),
        "build_s": seconds,
        **_percentiles("clean", _queries(index, clean)),
        **_percentiles("typo", _queries(index, typo)),
        **_changes(index, catalogue),
        "nearest_ms": _median(_queries(index, clean, lambda text: index.nearest(text[:40]))),
        "rss_mb": memory,
    }


def _fill(index: Index, catalogue: Catalogue) -> None:
    for tools in catalogue.servers:
        index.replace(tools[0].server, tools)


def _queries(index: Index, queries: Sequence[str], ask: Callable[[str], object] | None = None) -> list[float]:
    search = ask or partial(index.search, limit=LIMIT)
    return [_spent(partial(search, text)) for text in queries]


def _changes(index: Index, catalogue: Catalogue) -> dict[str, float]:
    """A server comes and goes; every time with new tools."""
    fresh = [catalogue.server("newcomer") for _ in range(ROUNDS)]
    added, removed = [], []
    for tools in fresh:
        added.append(_spent(partial(index.replace, "newcomer", tools)))
        removed.append(_spent(partial(index.remove, "newcomer")))
    return {"add_20_ms": _median(added), "remove_20_ms": _median(removed)}


def _spent(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return (process_time() - start) * 1000


def _percentiles(name: str, spent: list[float]) -> dict[str, float]:
    cuts = quantiles(spent, n=20)
    return {f"{name}_p50_ms": cuts[9], f"{name}_p95_ms": cuts[18]}


def _median(spent: list[float]) -> float:
    return quantiles(spent, n=2)[0]


def _resident() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6
