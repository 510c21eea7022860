"""Telemetry of this process: set up by the first service that runs in it, sent off by the last one."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from importlib.metadata import version

import structlog
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from libs.common.config import Otlp, Telemetry
from libs.common.config.telemetry import BatchExport, Collect, Signal
from libs.common.telemetry.handle import Farewell, Handle
from libs.common.telemetry.instrumentor import SCOPE, Instrumentor
from libs.common.telemetry.readings import Readings, Snapshot, shaped
from libs.common.telemetry.records import Records
from libs.common.telemetry.sending import Reasons, Sending, deadline, listen
from libs.common.telemetry.tracing import Ids

NAME = "nexus"
Stop = Callable[[float], None]
"""Ends one signal until a moment of the monotonic clock."""

log = structlog.get_logger("telemetry")


class Ended(SpanProcessor):
    """Hands spans over to be sent, once they have ended."""

    def __init__(self, add: Callable[[ReadableSpan], None]) -> None:
        self._add = add

    def on_end(self, span: ReadableSpan) -> None:
        self._add(span)


class Process:
    """The signals of this process, each with its own way out; one that cannot be set up is told of, once."""

    def __init__(self, table: Telemetry, worker: str) -> None:
        self._table = table
        self._reasons: Reasons = listen()
        self._resource = resource(table, worker)
        self._stops: list[Stop] = []
        self._readings: Readings | None = None
        self.instrumentor = Instrumentor()
        self._try("logs", self._logs)
        self._try("tracing", self._tracing)
        self._try("metrics", self._metrics)
        # What was loaded here never goes, and the collector would look at all of it again and again.
        gc.collect()
        gc.freeze()

    def settle(self) -> None:
        """Read the meters a last time, on their loop; `close` follows."""
        if self._readings is not None:
            self._readings.stop()

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        until = deadline()
        threads = [threading.Thread(target=stop, args=(until,), daemon=True) for stop in self._stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _try(self, signal: Signal, start: Callable[[Otlp], None]) -> None:
        otlp = self._table.otlp(signal)
        if otlp is None:
            return
        try:
            start(otlp)
        except Exception as error:  # noqa: BLE001 - files, certificates, libraries: calls matter more
            log.warning(
                "telemetry cannot be set up; the gateway goes on without", signal=signal, reason=str(error)
            )

    def _tracing(self, otlp: Otlp) -> None:
        sending: Sending[ReadableSpan] = Sending("tracing", otlp, self._reasons)
        ids = Ids()
        provider = TracerProvider(
            ALWAYS_ON,
            self._resource,
            id_generator=ids,
            span_limits=_limits(self._table.tracing.collect),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(Ended(sending.add))
        self.instrumentor.instrument(
            tracer_provider=provider, ids=ids, table=self._table.tracing, skip_dep_check=True
        )
        self._stops += [lambda _: self.instrumentor.uninstrument(), sending.close]

    def _logs(self, otlp: Otlp) -> None:
        sending: Sending[ReadableLogRecord] = Sending("logs", otlp, self._reasons)
        records = Records(sending.add, self._resource, SCOPE)
        logging.getLogger().addHandler(records)

        def stop(until: float) -> None:
            logging.getLogger().removeHandler(records)
            sending.close(until)

        self._stops.append(stop)

    def _metrics(self, otlp: Otlp) -> None:
        now = BatchExport(max_queue_size=1, max_export_batch_size=1)
        shape = shaped(self._resource, SCOPE)
        sending = Sending[Snapshot](
            "metrics", otlp.model_copy(update={"batch_export": now}), self._reasons, shape
        )
        self._readings = Readings(sending.add, otlp.batch_export.scheduled_delay)
        self._stops.append(sending.close)


def resource(table: Telemetry, worker: str) -> Resource:
    """Who sends: the configuration has the last word."""
    return Resource.create(
        {
            "service.name": table.service_name or NAME,
            "service.version": version("nexus-gateway"),
            "service.instance.id": worker,
            **table.resource_attributes,
        }
    )


def _limits(collect: Collect) -> SpanLimits:
    return SpanLimits(
        max_events=collect.max_events_per_span,
        max_span_attributes=collect.max_attributes_per_span,
        max_links=collect.max_links_per_span,
        max_event_attributes=collect.max_attributes_per_event,
        max_link_attributes=collect.max_attributes_per_link,
    )


class _Here:
    """Whether this process has telemetry, and for how many services."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._members = 0

    def join(self, table: Telemetry, worker: str) -> Handle:
        if self._process is None:
            self._process = Process(table, worker)
        self._members += 1
        return Handle(self._process.instrumentor.tracing, self.leave)

    def leave(self) -> Farewell | None:
        self._members -= 1
        if self._members or self._process is None:
            return None
        process, self._process = self._process, None
        process.settle()
        return process.close


_here = _Here()
join = _here.join
