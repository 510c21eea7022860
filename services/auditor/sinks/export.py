"""How log records reach a collector of OpenTelemetry, whichever way."""

from __future__ import annotations

from typing import Protocol

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsPartialSuccess

OPERATOR_WAIT = 30.0
"""Seconds until a mistake in the configuration of either side is tried again."""


class Refused(Exception):
    """The collector would never take this request: for something in it, or for its size."""


class Transport(Protocol):
    """A way to one collector."""

    async def export(self, request: bytes) -> ExportLogsPartialSuccess:
        """What was said of the records in an encoded `ExportLogsServiceRequest`.

        Raises `Refused`, or `SinkDown` where the request may be sent again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
