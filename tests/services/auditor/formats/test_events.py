"""Events as the gateway writes them, each kind with everything it may carry, in every format."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from libs.common.audit.chain import Chain
from libs.common.audit.events import Code
from services.auditor.formats.cef import cef_line
from services.auditor.formats.hec import Labels, envelope
from services.auditor.formats.logrecord import log_record
from services.auditor.formats.rfc5424 import Header, syslog_message
from services.auditor.formats.view import View
from tests.libs.common.audit.samples import full
from tests.services.auditor.formats.parsers import read_cef, read_syslog

CODES: tuple[Code, ...] = get_args(Code)


@pytest.mark.parametrize("code", CODES)
def test_each_kind_of_event_has_its_code_id_and_place_in_every_format(code: Code) -> None:
    sealed = Chain("edge-1").seal(full(code))
    view = View(sealed.line)
    cef = read_cef(cef_line(view))
    assert cef.header[4] == code
    assert cef.extension["externalId"] == sealed.uid
    assert cef.extension["cn3"] == "1"
    syslog = read_syslog(syslog_message(Header(13, "h", "nexus", "nexus@32473"), view, sealed.line.decode()))
    assert (syslog.name, syslog.parameters["uid"], syslog.parameters["seq"]) == (code, sealed.uid, "1")
    assert syslog.text.encode() == sealed.line
    assert sealed.line in envelope(Labels(), view, sealed.line)
    record = log_record(view, sealed.line)
    assert record.event_name == code
    assert record.body.string_value.encode() == sealed.line
    assert record.time_unix_nano == json.loads(sealed.line)["time"] * 10**6


def test_a_finished_call_is_told_in_full() -> None:
    cef = read_cef(cef_line(View(Chain("edge-1").seal(full("mcp.tool.call.completed")).line))).extension
    told = {
        key: cef[key] for key in ("suid", "src", "destinationServiceName", "cs1", "cs4", "act", "outcome")
    }
    assert told == {
        "suid": "alice",
        "src": "192.0.2.7",
        "destinationServiceName": "time",
        "cs1": "now",
        "cs4": "4bf92f3577b34da6a3ce929d0e0e4736",
        "act": "allowed",
        "outcome": cef["outcome"],
    }
    assert cef["outcome"] in ("success", "failure")


def test_who_was_refused_and_which_server_failed_have_their_fields_too() -> None:
    refused = read_cef(cef_line(View(Chain("edge-1").seal(full("auth.refused")).line))).extension
    assert (refused["suid"], refused["outcome"]) == ("alice", "failure")
    failed = read_cef(cef_line(View(Chain("connector-1").seal(full("server.failed")).line))).extension
    assert failed["destinationServiceName"] == "time"
