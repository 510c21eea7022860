"""Tables of telemetry, for a collector that a test runs."""

from __future__ import annotations

from typing import Any

from libs.common.config.telemetry import Telemetry

SOON = {"scheduled_delay": 0.02}


def table(url: str, protocol: str = "http", otlp: dict[str, Any] | None = None, **keys: Any) -> Telemetry:
    """Everything goes to `url`, soon."""
    general = {"enabled": True, "endpoint": url, "protocol": protocol, "timeout": 5, "batch_export": SOON}
    tracing = {"sampling": 1, **keys.pop("tracing", {})}
    return Telemetry.model_validate(
        {"exporters": {"otlp": {**general, **(otlp or {})}}, "tracing": tracing, **keys}
    )
