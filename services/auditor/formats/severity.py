"""OCSF severities in the scales of syslog, CEF and OpenTelemetry."""

from __future__ import annotations

from typing import NamedTuple


class Severity(NamedTuple):
    """One severity: syslog 0 (emergency) to 7, CEF 0 to 10 (highest), OpenTelemetry 1 to 24 (fatal)."""

    syslog: int
    cef: int
    telemetry: int
    name: str


UNKNOWN = Severity(5, 0, 0, "Unknown")

_SCALE = {
    1: Severity(6, 2, 9, "Informational"),
    2: Severity(5, 3, 12, "Low"),
    3: Severity(4, 5, 13, "Medium"),
    4: Severity(3, 8, 17, "High"),
    5: Severity(2, 9, 19, "Critical"),
    6: Severity(1, 10, 21, "Fatal"),
}


def severity_of(identifier: int | None) -> Severity:
    """The severity with this OCSF `severity_id`; 0, 99 and anything unknown are `UNKNOWN`."""
    return _SCALE.get(identifier or 0, UNKNOWN)
