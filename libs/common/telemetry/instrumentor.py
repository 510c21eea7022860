"""Instruments the services of this process, as OpenTelemetry's other instrumentations do their libraries."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from libs.common.config.telemetry import Tracing as Table
from libs.common.telemetry.tracing import Ids, Tracing

SCOPE = "nexus"
SEMANTICS = "https://opentelemetry.io/schemas/1.40.0"


class Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """One for the process. While it is on, `tracing` makes the spans of every service that runs in it."""

    tracing: Tracing | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        return ()

    def _instrument(self, **given: Any) -> None:
        """`tracer_provider`, which uses `ids`; and `table`, which says what is recorded."""
        provider: TracerProvider = given["tracer_provider"]
        ids: Ids = given["ids"]
        table: Table = given["table"]
        tracer = provider.get_tracer(SCOPE, version("nexus-gateway"), schema_url=SEMANTICS)
        self.tracing = Tracing(tracer, ids, table)

    def _uninstrument(self, **given: Any) -> None:
        self.tracing = None
