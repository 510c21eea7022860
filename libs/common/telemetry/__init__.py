"""Traces, metrics and logs by OTLP. What sends them is loaded only where something is sent."""

from __future__ import annotations

from libs.common.config import Telemetry as Table
from libs.common.config.telemetry import Signal
from libs.common.telemetry.handle import OFF, Handle

__all__ = ["OFF", "Handle", "begin"]

_SIGNALS: tuple[Signal, ...] = ("tracing", "metrics", "logs")


def begin(table: Table, worker: str) -> Handle:
    """Send what the configuration wants sent, until the handle is closed. Never raises, never waits."""
    if not any(table.otlp(signal) for signal in _SIGNALS):
        return OFF
    # Not for gateways that send nothing: importing it takes 0.3 s of CPU and 35 MB.
    from libs.common.telemetry.process import join

    return join(table, worker)
