"""Log lines as OTLP has them: the same words as on stderr, with the same secrets hidden."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from libs.common import log as logs
from libs.common.telemetry import current

_SEVERITIES = (
    (logging.CRITICAL, "FATAL", SeverityNumber.FATAL),
    (logging.ERROR, "ERROR", SeverityNumber.ERROR),
    (logging.WARNING, "WARN", SeverityNumber.WARN),
    (logging.INFO, "INFO", SeverityNumber.INFO),
    (logging.DEBUG, "DEBUG", SeverityNumber.DEBUG),
)
_ELSEWHERE = ("event", "level", "timestamp", *("trace_id", "span_id"))
"""What has a place of its own."""
_NOWHERE: Context = Context()


class Records(logging.Handler):
    """Hands log lines over to be sent."""

    def __init__(self, add: Callable[[ReadableLogRecord], None], resource: Resource, scope: str) -> None:
        super().__init__()
        self._add = add
        self._resource = resource
        self._scope = InstrumentationScope(scope)

    def emit(self, record: logging.LogRecord) -> None:
        # A line that cannot be sent must not break what says it; stderr has it all the same.
        with suppress(Exception):
            self._add(ReadableLogRecord(_record(record), self._resource, self._scope))


def _record(record: logging.LogRecord) -> LogRecord:
    fields = logs.fields(record)
    _, text, number = next((each for each in _SEVERITIES if record.levelno >= each[0]), _SEVERITIES[-1])
    attributes = {key: value for key, value in fields.items() if key not in _ELSEWHERE and value is not None}
    attributes["code.function.name"] = f"{record.module}.{record.funcName}"
    attributes["code.line.number"] = record.lineno
    return LogRecord(
        timestamp=int(record.created * 1e9),
        context=_context(),
        severity_text=text,
        severity_number=number,
        body=fields["event"],
        attributes=_renamed(attributes),
    )


def _renamed(attributes: dict[str, Any]) -> dict[str, Any]:
    """The trace of an exception under the name of the semantic conventions."""
    if "exception" in attributes:
        attributes["exception.stacktrace"] = attributes.pop("exception")
    return attributes


def _context() -> Context:
    own = current.TRACE.get()
    if not own:
        return trace.set_span_in_context(trace.INVALID_SPAN, _NOWHERE)
    flags = TraceFlags(int(own[53:55], 16))
    place = SpanContext(int(own[3:35], 16), int(own[36:52], 16), is_remote=False, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(place), _NOWHERE)
