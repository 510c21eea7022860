"""U12: a reader of syslog finds every message whole, with each value in its own place."""

from __future__ import annotations

import json
import random
import re

import pytest

from services.auditor.formats.cef import cef_line
from services.auditor.formats.rfc5424 import FACILITIES, Header, framed, printable, syslog_message, timestamp
from services.auditor.formats.view import Unreadable, View
from tests.services.auditor.formats.corpus import SEED, encoded, event, texts
from tests.services.auditor.formats.parsers import Frames, read_cef, read_syslog

TEXTS = texts()
HEADER = Header(FACILITIES["audit"], "edge-1", "nexus", "nexus@32473", "42")
REPLACED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")


def message(text: str) -> bytes:
    data = encoded(text)
    return syslog_message(HEADER, View(data), data.decode())


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_u12_a_hostile_text_stays_within_its_parameter_and_its_json(text: str) -> None:
    read = read_syslog(message(text))
    assert read.parameters.get("user", "") == REPLACED.sub("\ufffd", text[:1024])
    assert set(read.parameters) <= {"uid", "event", "call", "tenant", "user", "chain", "seq"}
    assert json.loads(read.text) == event(text)


def test_messages_are_found_whole_in_any_pieces() -> None:
    chance = random.Random(SEED)
    sent = [message(text) for text in chance.sample(TEXTS, 120)]
    stream, frames, found = b"".join(map(framed, sent)), Frames(), []
    while stream:
        size = chance.choice((1, 7, 1460, 16_384, 100_000))
        found += frames.feed(stream[:size])
        stream = stream[size:]
    assert found == sent
    assert frames.rest == b""


def test_cef_travels_in_a_message_unchanged() -> None:
    view = View(encoded('a|b=c\\]"'))
    read = read_syslog(syslog_message(HEADER, view, cef_line(view)))
    assert read_cef(read.text).extension["suid"] == 'a|b=c\\]"'


def test_the_header_says_when_where_and_what() -> None:
    read = read_syslog(message("alice"))
    assert read[:8] == (
        13, 4, "2026-02-13T16:26:40.123Z", "edge-1", "nexus", "42", "mcp.tool.call.completed", "nexus@32473",
    )  # fmt: skip
    assert read.parameters == {
        "uid": "01JZZZZZZZZZZZZZZZZZZZZZZZ",
        "event": "mcp.tool.call.completed",
        "call": "c-1",
        "tenant": "alice",
        "user": "alice",
        "chain": "chain-1",
        "seq": "7",
    }


@pytest.mark.parametrize(
    ("severity", "syslog"), [(0, 5), (1, 6), (2, 5), (3, 4), (4, 3), (5, 2), (6, 1), (99, 5)]
)
def test_a_severity_has_its_place_in_the_priority(severity: int, syslog: int) -> None:
    data = encoded(severity_id=severity)
    assert read_syslog(syslog_message(HEADER, View(data), "x")).severity == syslog


@pytest.mark.parametrize("moment", [None, -(10**18), 10**18, 2**62])
def test_a_time_that_no_date_can_hold_is_nil(moment: int | None) -> None:
    assert timestamp(moment) == "-"


@pytest.mark.parametrize(
    ("text", "shown"), [("", "-"), ("a b\nc", "a_b_c"), ("é" * 3, "___"), ("x" * 99, "x" * 32)]
)
def test_a_header_field_is_printable_and_short(text: str, shown: str) -> None:
    assert printable(text, 32) == shown


@pytest.mark.parametrize("data", [b"", b"[]", b"nope", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_event_is_said_to_be_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        View(data)
