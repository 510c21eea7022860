"""An audit event as a LogRecord of the OpenTelemetry protocol."""

from __future__ import annotations

import string

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from services.auditor.formats.severity import severity_of
from services.auditor.formats.view import View

SCOPE = "nexus.audit"
VALUE_MAX = 1024
"""Characters of an attribute; the whole event is in the body anyway."""

_TEXTS = (
    ("log.record.uid", "metadata.uid"),
    ("mcp.method.name", "api.operation"),
    ("gen_ai.tool.name", "resources.0.name"),
    ("nexus.server", "api.service.name", "app.name"),
    ("nexus.rule", "policy.uid"),
    ("nexus.call.id", "metadata.correlation_uid"),
    ("nexus.tenant", "metadata.tenant_uid"),
    ("nexus.executed", "unmapped.nexus.outcome.executed"),
    ("nexus.chain.uid", "unmapped.nexus.chain.uid"),
    ("nexus.client", "actor.app_name", "actor.app_uid"),
    ("error.type", "status_code"),
    ("user.id", "actor.user.uid", "user.uid"),
    ("client.address", "src_endpoint.ip"),
    ("user_agent.original", "http_request.user_agent"),
)
_NUMBERS = (
    ("http.response.status_code", "http_response.code"),
    ("nexus.duration_ms", "duration"),
    ("nexus.chain.sequence", "metadata.sequence"),
    ("ocsf.class_uid", "class_uid"),
)
_HEX = frozenset(string.hexdigits)
_INT64 = range(-(2**63), 2**63)
_TIME_MAX = 2**64 // 10**6


def log_record(view: View, data: bytes) -> LogRecord:
    """The event with its exact JSON as body, its code as event name, and at most 20 attributes.

    Trace and span are set where the event has both in full: 32 and 16 hexadecimal digits.
    """
    severity = severity_of(view.number("severity_id"))
    time = view.number("time") or 0
    nanoseconds = time * 10**6 if 0 <= time < _TIME_MAX else 0
    return LogRecord(
        time_unix_nano=nanoseconds,
        observed_time_unix_nano=nanoseconds,
        severity_number=SeverityNumber.ValueType(severity.telemetry),
        severity_text=severity.name,
        body=AnyValue(string_value=_whole(data.decode(errors="replace"))),
        attributes=_attributes(view),
        trace_id=_identifier(view.text("trace.uid"), 32),
        span_id=_identifier(view.text("trace.span.uid"), 16),
        event_name=_whole(view.text("metadata.event_code")[:VALUE_MAX]),
    )


def export_request(records: list[LogRecord], resource: dict[str, str]) -> ExportLogsServiceRequest:
    """What the collector is asked to take: all records under one resource and one scope."""
    attributes = [_pair(name, AnyValue(string_value=value)) for name, value in resource.items()]
    scope = ScopeLogs(scope=InstrumentationScope(name=SCOPE), log_records=records)
    logs = ResourceLogs(resource=Resource(attributes=attributes), scope_logs=[scope])
    return ExportLogsServiceRequest(resource_logs=[logs])


def _attributes(view: View) -> list[KeyValue]:
    texts = [(name, view.text(*paths)) for name, *paths in _TEXTS]
    texts += [("nexus.action", view.action), ("nexus.status", view.status)]
    numbers = ((name, view.number(path)) for name, path in _NUMBERS)
    return [
        *(_pair(name, AnyValue(string_value=_whole(value[:VALUE_MAX]))) for name, value in texts if value),
        *(
            _pair(name, AnyValue(int_value=value))
            for name, value in numbers
            if value is not None and value in _INT64
        ),
    ]


def _pair(name: str, value: AnyValue) -> KeyValue:
    return KeyValue(key=name, value=value)


def _whole(text: str) -> str:
    """Text that UTF-8 can hold: a protobuf string may not carry lone surrogates."""
    return text.encode(errors="replace").decode()


def _identifier(text: str, digits: int) -> bytes:
    """The bytes of an id; empty, as the protocol wants it, for what is none."""
    valid = len(text) == digits and _HEX.issuperset(text) and text.strip("0")
    return bytes.fromhex(text) if valid else b""
