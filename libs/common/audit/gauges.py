"""What the audit trails of this process are like at this moment, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from libs.common.audit.trail import Trail
from libs.common.meters import families, watching

_trails: list[tuple[Trail, int]] = []
"""Those that are open, each with the bytes its spool may have: services may share a process."""


@contextmanager
def watched(trail: Trail, limit: int) -> Iterator[None]:
    """Tell of `trail`, as long as this is entered."""
    each = (trail, limit)
    _trails.append(each)
    try:
        with watching(look):
            yield
    finally:
        _trails.remove(each)


def look() -> None:
    """Set what all trails together say, of the lag the worst."""
    said = [(trail.stats, limit) for trail, limit in _trails if trail.enabled]
    if not said:
        return
    families.AUDITED.cell().set(sum(stats.recorded for stats, _ in said))
    families.PUBLISHED.cell().set(sum(stats.published for stats, _ in said))
    families.UNRECORDED.cell().set(sum(stats.lost for stats, _ in said))
    families.AUDIT_LAG.cell().set(max(stats.lag for stats, _ in said))
    families.SPOOL.cell().set(sum(stats.backlog for stats, _ in said))
    families.SPOOL_LIMIT.cell().set(sum(limit for _, limit in said))
