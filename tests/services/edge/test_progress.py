"""What a client hears of its call: its own progress, the log lines it asked for, nothing that is not its."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from msgspec import Raw

from libs.common.codec import raw
from services.edge.envelope import LEVELS
from services.edge.progress import STANDING, Relay
from services.edge.streams import Answer
from tests.services.edge.conftest import Edge

pytestmark = pytest.mark.anyio


class Heard(list[Any]):
    """What was emitted, decoded."""

    def __call__(self, message: bytes) -> None:
        self.append(json.loads(message))


def step(progress: str, more: str = "", token: str = '"minted"') -> Raw:
    return Raw(
        f'{{"jsonrpc":"2.0","method":"notifications/progress",'
        f'"params":{{"progressToken":{token},"progress":{progress}{more}}}}}'.encode()
    )


def notice(method: str, **params: Any) -> Raw:
    return raw({"jsonrpc": "2.0", "method": method, "params": params})


def line(level: Any) -> Raw:
    return notice("notifications/message", level=level, data="x")


@pytest.mark.parametrize("token", ["mine", "", 0, 7, 2**53 + 1, 10**30, "1"])
async def test_progress_comes_back_under_the_very_token_of_the_client(token: str | int) -> None:
    heard = Heard()
    Relay(heard, token)(step("1"))
    found = heard[0]["params"]["progressToken"]
    assert (found, type(found)) == (token, type(token))


async def test_only_progress_that_has_grown_is_passed_on() -> None:
    heard = Heard()
    relay = Relay(heard, 1)
    for each in ("-1", "0", "0", "0.5", "0.25", "9007199254740992", "9007199254740993", "1", "1e20", "1e19"):
        relay(step(each))
    passed = [each["params"]["progress"] for each in heard]
    assert passed == [-1, 0, 0.5, 9007199254740992, 9007199254740993, 1e20]


@pytest.mark.parametrize(
    ("progress", "more"),
    [
        ("NaN", ""),
        ("Infinity", ""),
        ("1e999", ""),
        ("null", ""),
        ("true", ""),
        ('"5"', ""),
        ("[5]", ""),
        ("5", ',"total":"6"'),
        ("5", ',"message":6'),
    ],
)
async def test_ill_typed_progress_is_dropped_and_the_next_one_passes(progress: str, more: str) -> None:
    heard = Heard()
    relay = Relay(heard, 1)
    relay(step(progress, more))
    assert heard == []
    relay(step("1", ',"total":null,"message":"go","x-odd":1.50'))
    assert heard[0]["params"] == {
        "progressToken": 1,
        "progress": 1,
        "total": None,
        "message": "go",
        "x-odd": 1.5,
    }


async def test_progress_after_the_answer_is_dropped() -> None:
    sent: list[Any] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))

    answer = Answer(send)
    relay = Relay(answer.event, 1)
    relay(step("1"))
    await answer.finish(b'{"result":{}}')
    relay(step("2"))
    await answer.close()
    assert b"".join(sent).count(b"notifications/progress") == 1
    assert sent[-1] == b""


@pytest.mark.parametrize("wanted", LEVELS)
async def test_log_lines_are_passed_on_from_the_level_the_request_named(wanted: str) -> None:
    heard = Heard()
    relay = Relay(heard, None, level=wanted)
    for level in (*LEVELS, "loud", None, 3):
        relay(line(level))
    assert [each["params"]["level"] for each in heard] == list(LEVELS[LEVELS.index(wanted) :])


async def test_a_request_without_a_level_hears_no_log_lines() -> None:
    heard = Heard()
    Relay(heard, 1)(line("emergency"))
    assert heard == []


@pytest.mark.parametrize("method", sorted(STANDING))
async def test_what_belongs_to_no_call_reaches_only_clients_with_a_session(method: str) -> None:
    modern, legacy = Heard(), Heard()
    Relay(modern, 1, modern=True)(notice(method))
    Relay(legacy, 1)(notice(method))
    assert (len(modern), len(legacy)) == (0, 1)


async def test_what_nobody_knows_is_passed_on_to_whoever_called() -> None:
    heard = Heard()
    Relay(heard, 1, modern=True)(notice("notifications/com.example/odd", x=1))
    assert heard[0]["params"] == {"x": 1}


async def test_a_level_that_is_none_is_refused(edge: Edge) -> None:
    meta = {"io.modelcontextprotocol/logLevel": "loud"}
    answer = await edge.modern("tools/call", "/mcp/demo", meta, name="echo")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    assert edge.gateway.seen == []


async def test_an_event_whose_method_is_no_text_is_dropped() -> None:
    told: list[bytes] = []
    Relay(told.append, None, modern=True)(Raw(b'{"jsonrpc":"2.0","method":["x"],"params":{}}'))
    assert told == []
