"""U12: whatever a stranger writes, a reader of CEF finds it in its own field and nowhere else."""

from __future__ import annotations

import re

import pytest

from services.auditor.formats.cef import cef_line, extension_value, header_value
from services.auditor.formats.view import View
from tests.services.auditor.formats.corpus import encoded, texts
from tests.services.auditor.formats.parsers import read_cef

TEXTS = texts()
LONGEST = {"suid": 1023, "msg": 1023, "cs1": 4000, "cs5": 4000, "requestClientApplication": 1023}
KEYS = set(read_cef(cef_line(View(encoded()))).extension)


def kept(text: str, longest: int) -> str:
    """What may be left of a text: cut, line breaks made one kind, characters without an escape replaced."""
    cut = text[:longest]
    for mark in ("\r\n", "\x85", "\u2028", "\u2029"):
        cut = cut.replace(mark, "\n")
    return re.sub("[\0\x1b\x7f\ufffe]", "\ufffd", cut)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_u12_a_hostile_text_comes_back_as_it_was_and_adds_no_key(text: str) -> None:
    read = read_cef(cef_line(View(encoded(text))))
    assert read.header == [
        "0",
        "Nexus",
        "MCP Gateway",
        "0.1.0",
        "mcp.tool.call.completed",
        "Execute failure",
        "5",
    ]
    assert set(read.extension) <= KEYS
    for key, longest in LONGEST.items():
        assert read.extension.get(key, "") == kept(text, longest)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_u12_a_hostile_header_field_stays_one_field(text: str) -> None:
    line = f"CEF:0|Nexus|{header_value(text)}|1|2|3|4|msg={extension_value(text)}"
    read = read_cef(line)
    flat = kept(text, len(text)).replace("\n", " ").replace("\r", " ").replace("\t", " ")
    assert read.header[2] == flat
    assert read.extension == {"msg": kept(text, len(text))}


def test_an_event_is_told_in_the_words_of_the_format() -> None:
    read = read_cef(cef_line(View(encoded("alice"))))
    assert read.extension == {
        "rt": "1771000000123",
        "act": "denied",
        "outcome": "failure",
        "externalId": "01JZZZZZZZZZZZZZZZZZZZZZZZ",
        "reason": "denied",
        "suid": "alice",
        "sourceServiceName": "alice",
        "requestClientApplication": "alice",
        "request": "/mcp",
        "destinationServiceName": "files",
        "msg": "alice",
        "src": "192.0.2.7",
        "cs1": "alice",
        "cs1Label": "tool",
        "cs2": "mcp.servers.files.allow",
        "cs2Label": "rule",
        "cs3": "c-1",
        "cs3Label": "call",
        "cs4": "4bf92f3577b34da6a3ce929d0e0e4736",
        "cs4Label": "trace",
        "cs5": "alice",
        "cs5Label": "tenant",
        "cs6": "no",
        "cs6Label": "executed",
        "flexString1": "tools/call",
        "flexString1Label": "operation",
        "flexString2": "chain-1",
        "flexString2Label": "chain",
        "cn1": "200",
        "cn1Label": "httpStatus",
        "cn2": "12",
        "cn2Label": "durationMs",
        "cn3": "7",
        "cn3Label": "sequence",
    }


def test_an_ipv6_source_has_the_key_that_may_hold_it() -> None:
    read = read_cef(cef_line(View(encoded(src_endpoint={"ip": "2001:db8::1"}))))
    assert read.extension["c6a2"] == "2001:db8::1"
    assert "src" not in read.extension


@pytest.mark.parametrize(
    ("severity", "cef"), [(0, 0), (1, 2), (2, 3), (3, 5), (4, 8), (5, 9), (6, 10), (99, 0)]
)
def test_severities_keep_their_order(severity: int, cef: int) -> None:
    assert read_cef(cef_line(View(encoded(severity_id=severity)))).header[6] == str(cef)


def test_an_event_of_next_to_nothing_is_still_a_line() -> None:
    read = read_cef(cef_line(View(b"{}")))
    assert read.extension == {"outcome": "unknown"}


def test_values_of_the_wrong_kind_are_left_out() -> None:
    data = encoded(time="now", duration=True, resources="x", actor=[], http_response=7)
    assert not {"rt", "cn2", "cs1", "suid", "cn1"} & set(read_cef(cef_line(View(data))).extension)
