from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from services.auditor.formats.logrecord import VALUE_MAX, export_request, log_record
from services.auditor.formats.view import View
from tests.services.auditor.formats.corpus import encoded, texts

TEXTS = texts()


def sent(data: bytes) -> LogRecord:
    """The record as a receiver decodes it."""
    request = export_request([log_record(View(data), data)], {"service.name": "nexus"})
    read = ExportLogsServiceRequest.FromString(request.SerializeToString())
    record: LogRecord = read.resource_logs[0].scope_logs[0].log_records[0]
    return record


def values(record: LogRecord) -> dict[str, str | int]:
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in record.attributes
    }


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_arrives_whole_in_the_body_and_bounded_in_attributes(text: str) -> None:
    data = encoded(text)
    record = sent(data)
    assert record.body.string_value.encode() == data
    assert values(record).get("user.id", "") == text[:VALUE_MAX]
    assert len(record.attributes) <= 20


def test_an_event_is_told_in_the_words_of_the_conventions() -> None:
    record = sent(encoded("alice"))
    assert record.event_name == "mcp.tool.call.completed"
    assert record.time_unix_nano == 1_771_000_000_123_000_000
    assert (record.severity_number, record.severity_text) == (13, "Medium")
    assert record.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert record.span_id.hex() == "00f067aa0ba902b7"
    assert values(record) == {
        "log.record.uid": "01JZZZZZZZZZZZZZZZZZZZZZZZ",
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "alice",
        "nexus.server": "files",
        "nexus.rule": "mcp.servers.files.allow",
        "nexus.call.id": "c-1",
        "nexus.tenant": "alice",
        "nexus.executed": "no",
        "nexus.chain.uid": "chain-1",
        "nexus.client": "alice",
        "nexus.action": "denied",
        "nexus.status": "failure",
        "error.type": "denied",
        "user.id": "alice",
        "client.address": "192.0.2.7",
        "user_agent.original": "alice",
        "http.response.status_code": 200,
        "nexus.duration_ms": 12,
        "nexus.chain.sequence": 7,
        "ocsf.class_uid": 6003,
    }


@pytest.mark.parametrize("uid", ["", "x" * 32, "0" * 32, "ab", "é" * 32, "٣" * 32])
def test_an_id_that_is_none_is_left_empty(uid: str) -> None:
    record = sent(encoded(trace={"uid": uid, "span": {"uid": uid[:16]}}))
    assert (record.trace_id, record.span_id) == (b"", b"")


@pytest.mark.parametrize("number", [-1, 2**63, 2**64, 10**19])
def test_numbers_that_the_protocol_cannot_hold_are_left_out(number: int) -> None:
    record = sent(encoded(time=number, duration=number if number > 0 else -(2**63) - 1))
    assert record.time_unix_nano == 0
    assert "nexus.duration_ms" not in values(record)


def test_bytes_that_are_not_utf8_do_not_break_a_batch() -> None:
    assert sent(b"{}").body.string_value == "{}"
    request = export_request([log_record(View(b"{}"), b'{"a":"\xff"}')], {})
    assert request.SerializeToString()
