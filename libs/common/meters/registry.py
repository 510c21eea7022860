"""All families of this process, and what they say at this moment."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from msgspec import Struct

from libs.common.meters.cells import C, Family, Kind, Level, Series, Spread, Sum

log = structlog.get_logger("meters")

STARTED = time.time()
"""When this process began to count, seconds since the epoch."""
PROCESS = secrets.token_hex(6)
"""This process among all others: services that share it share its families."""

FAMILIES: dict[str, Family[Sum] | Family[Level] | Family[Spread]] = {}
"""By their OTLP names."""

_watchers: list[Callable[[], None]] = []


class Reading(Struct, frozen=True):
    """One family at one moment: all that an exporter needs."""

    name: str
    """As OTLP has it: `mcp.tool.call.duration`."""
    kind: Kind
    """A counter is a monotonic sum; sums and histograms are cumulative since `STARTED`."""
    unit: str
    """As UCUM has it: `s`, `By`, `1`, or empty."""
    about: str
    labels: tuple[str, ...]
    """Names of the attributes; one whose value is empty is not there."""
    bounds: tuple[float, ...]
    """Explicit upper bounds of a histogram's buckets."""
    series: tuple[Series, ...]


def counter(name: str, about: str, *labels: str, unit: str = "") -> Family[Sum]:
    """Declare what only grows."""
    return _declared(Family(Sum, "counter", name, about, labels, unit))


def tally(name: str, about: str, *labels: str, unit: str = "") -> Family[Level]:
    """Declare what only grows and is kept elsewhere: its cells are set."""
    return _declared(Family(Level, "counter", name, about, labels, unit))


def gauge(name: str, about: str, *labels: str, unit: str = "") -> Family[Level]:
    """Declare what is as it is now."""
    return _declared(Family(Level, "gauge", name, about, labels, unit))


def durations(name: str, about: str, *labels: str) -> Family[Spread]:
    """Declare a histogram of seconds."""
    return _declared(Family(Spread, "histogram", name, about, labels, "s"))


def _declared(family: Family[C]) -> Family[C]:
    FAMILIES[family.name] = family
    return family


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Have `look` set its cells before each reading, as long as this is entered."""
    _watchers.append(look)
    try:
        yield
    finally:
        _watchers.remove(look)


def collect() -> list[Reading]:
    """Every family that has something to say, as it is now."""
    for look in _watchers:
        try:
            look()
        except Exception:
            # One part that cannot be read must not hide all others.
            log.exception("a part of the metrics cannot be read")
    return [
        Reading(each.name, each.kind, each.unit, each.about, each.labels, each.bounds, tuple(each.read()))
        for each in FAMILIES.values()
        if len(each)
    ]
