"""What a process says when an edge is scraped; the question has no content."""

from __future__ import annotations

from msgspec import Struct

from libs.common.meters.cells import Series


class MetricsTold(Struct, frozen=True, omit_defaults=True):
    """Every family of one process, by its OTLP name, as it is now."""

    process: str
    """Its own id: services that share a process share its families."""
    service: str
    worker: str
    families: dict[str, tuple[Series, ...]] = {}
