"""Who hears a log line that names no call."""

from __future__ import annotations

from msgspec import Raw

from libs.common.identity import ANONYMOUS, Principal
from services.connector.logs import Logs

LINE = Raw(b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}')
ALICE, BOB = Principal("alice"), Principal("bob")


def test_the_only_call_in_flight_hears_it() -> None:
    logs, heard = Logs(), list[Raw]()
    talk = logs.begin(ANONYMOUS, heard.append)
    logs.post(LINE)
    logs.end(talk)
    logs.post(LINE)
    assert heard == [LINE]


def test_nobody_hears_it_while_two_calls_run() -> None:
    logs, heard = Logs(), list[Raw]()
    logs.begin(ALICE, heard.append)
    second = logs.begin(ALICE, heard.append)
    logs.post(LINE)
    assert heard == []
    logs.end(second)
    logs.post(LINE)
    assert heard == [LINE]


def test_nobody_hears_it_once_two_principals_have_used_the_session() -> None:
    logs, heard = Logs(), list[Raw]()
    logs.end(logs.begin(ALICE, heard.append))
    for principal in (BOB, BOB, ALICE):
        talk = logs.begin(principal, heard.append)
        logs.post(LINE)
        logs.end(talk)
    assert heard == []


def test_a_call_whose_client_wants_no_logs_hears_none_and_hides_none_from_others() -> None:
    logs, heard = Logs(), list[Raw]()
    quiet = logs.begin(ALICE, None)
    logs.post(LINE)
    logs.begin(ALICE, heard.append)
    logs.post(LINE)
    assert heard == []
    logs.end(quiet)
    logs.post(LINE)
    assert heard == [LINE]
