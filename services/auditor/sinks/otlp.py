"""Events as log records of OpenTelemetry, to a collector over gRPC or HTTP."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from libs.common.config.collectors import OtlpSink
from services.auditor.formats.logrecord import export_request, log_record
from services.auditor.formats.view import Unreadable, View
from services.auditor.sinks.export import Refused, Transport
from services.auditor.sinks.sink import Delivery, Rejected, SinkDown

log = structlog.get_logger("otlp")

OFFER_WITHIN = 40.0
"""Seconds for sending a batch, piece by piece; the last piece may take its own timeout beyond that."""


@dataclass(slots=True)
class Progress:
    """What became of one batch so far."""

    accepted: list[int] = field(default_factory=list)
    poison: dict[int, str] = field(default_factory=dict)


class Otlp:
    """A request that is refused, in whole or in part, is sent in halves, down to the events that are refused.

    The protocol names only how many records were rejected, so those beside them are sent again.
    """

    def __init__(self, table: OtlpSink) -> None:
        self._transport = _transport(table)
        self._resource = {"service.name": table.service_name}
        self._told = ""

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """What the collector took. Raises `SinkDown` if nothing was, `Rejected` for events refused alone."""
        progress = Progress()
        records = _records(batch, progress)
        try:
            await self._offer(records, progress)
        except SinkDown:
            if not progress.accepted and not progress.poison:
                raise
        if progress.poison:
            raise Rejected(progress.poison, progress.accepted)
        return progress.accepted

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    async def _offer(self, records: Mapping[int, LogRecord], progress: Progress) -> None:
        until = time.monotonic() + OFFER_WITHIN
        parts = [sorted(records)] if records else []
        while parts and time.monotonic() < until:
            part = parts.pop()
            refused = await self._refused([records[index] for index in part])
            if refused is None:
                progress.accepted += part
            elif len(part) == 1:
                progress.poison[part[0]] = refused
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]

    async def _refused(self, records: list[LogRecord]) -> str | None:
        """Why some of the records were not taken, None if all were."""
        request = export_request(records, self._resource).SerializeToString()
        try:
            partial = await self._transport.export(request)
        except Refused as error:
            return str(error)
        if partial.rejected_log_records > 0:
            return partial.error_message[:200] or "rejected"
        if partial.error_message and partial.error_message != self._told:
            self._told = partial.error_message
            log.warning("the collector took events and warns", said=partial.error_message[:200])
        return None


def _records(batch: Sequence[Delivery], progress: Progress) -> dict[int, LogRecord]:
    records = {}
    for index, each in enumerate(batch):
        try:
            records[index] = log_record(View(each.data), each.data)
        except Unreadable as error:
            progress.poison[index] = str(error)
    return records


def _transport(table: OtlpSink) -> Transport:
    # Only whoever uses a client should pay for its import.
    if table.protocol == "http":
        from services.auditor.sinks.overhttp import OverHttp

        return OverHttp(table)
    from services.auditor.sinks.overgrpc import OverGrpc

    return OverGrpc(table)
