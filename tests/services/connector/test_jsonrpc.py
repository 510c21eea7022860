"""The multiplexer alone, its two ends held by the test."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common import codec
from libs.common.errors import (
    DeadlineExceeded,
    DownstreamError,
    DownstreamLost,
    NexusError,
    NotSent,
    ResultInvalid,
    ResultTooLarge,
)
from services.connector import jsonrpc
from services.connector.bulletin import Bulletin
from services.connector.jsonrpc import Multiplexer
from services.connector.questions import Question

pytestmark = pytest.mark.anyio


class Wire:
    """The far end: what was sent, and a way to answer."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.notices: list[tuple[str, bytes]] = []
        self.mux = Multiplexer(
            lambda message: self.sent.append(json.loads(message)),
            lambda method, message: self.notices.append((method, bytes(message))),
        )

    def call(self, method: str = "tools/call", seconds: float = 20, **options: Any) -> asyncio.Task[Raw]:
        params = options.pop("params", {})
        return asyncio.ensure_future(self.mux.call(method, params, time.time() + seconds, **options))

    async def called(self, number: int = 1) -> None:
        with anyio.fail_after(5):
            while len(self.sent) < number:
                await asyncio.sleep(0)


@pytest.fixture
async def wire() -> Wire:
    return Wire()


async def outcome(wire: Wire, answer: bytes) -> Raw:
    call = wire.call()
    await wire.called()
    wire.mux.feed(answer)
    return await call


async def test_a_result_keeps_every_byte(wire: Wire) -> None:
    result = b'{"b" : 1.50, "a":[ ], "big": 123456789012345678901234567890, "\\u00e9": "\xc3\xa9"}'
    assert bytes(await outcome(wire, b'{"jsonrpc":"2.0","result":' + result + b',"id":1}')) == result


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b'{"jsonrpc":"2.0","id":1}', "neither"),
        (b'{"jsonrpc":"2.0","id":1,"result":null}', "not an object"),
        (b'{"jsonrpc":"2.0","id":1,"result":[]}', "not an object"),
        (b'{"jsonrpc":"2.0","id":1,"error":"broken"}', "an error that is not JSON-RPC"),
        (b'{"jsonrpc":"2.0","id":1,"result":{"text":"\xff"}}', "not UTF-8"),
        (b'{"jsonrpc":"2.0","id":1,"result":{"text":NaN}}', "not valid JSON"),
        (b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 10_000, "not valid JSON"),
    ],
)
async def test_an_answer_that_is_not_json_rpc_fails_its_call(
    wire: Wire, answer: bytes, complaint: str
) -> None:
    with pytest.raises(ResultInvalid, match=complaint):
        await outcome(wire, answer)


async def test_a_null_error_beside_a_result_is_no_error(wire: Wire) -> None:
    assert bytes(await outcome(wire, b'{"id":1,"error":null,"result":{}}')) == b"{}"


async def test_the_error_of_a_server_keeps_code_and_data(wire: Wire) -> None:
    with pytest.raises(DownstreamError, match="no") as caught:
        await outcome(wire, b'{"id":1,"error":{"code":-32002,"message":"no","data":{ "a":1 }}}')
    assert (caught.value.downstream_code, bytes(caught.value.raw)) == (-32002, b'{ "a":1 }')


async def test_a_batch_is_taken_apart(wire: Wire) -> None:
    first, second = wire.call(), wire.call()
    await wire.called(2)
    wire.mux.feed(b' [{"id":2,"result":{"n":2}},{"method":"notifications/x"},{"id":1,"result":{"n":1}}]')
    assert [bytes(await first), bytes(await second)] == [b'{"n":1}', b'{"n":2}']
    assert wire.notices == [("notifications/x", b'{"method":"notifications/x"}')]


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"[]", b"{}", b"[" * 10_000, b"\xff", b'{"id":true,"result":{}}']
)
async def test_garbage_is_counted_and_survived(wire: Wire, line: bytes) -> None:
    wire.mux.feed(line)
    assert (wire.mux.garbage, wire.mux.streak) == (1, 1)
    assert bytes(await outcome(wire, b'{"id":1,"result":{}}')) == b"{}"
    assert (wire.mux.garbage, wire.mux.streak) == (1, 0)


async def test_foreign_and_second_answers_are_counted_and_ignored(wire: Wire) -> None:
    call = wire.call()
    await wire.called()
    for answer in (b'{"id":7,"result":{}}', b'{"id":"1","result":{}}', b'{"id":null,"error":{"code":1}}'):
        wire.mux.feed(answer)
    wire.mux.feed(b'{"id":1,"result":{"first":1}}')
    wire.mux.feed(b'{"id":1,"result":{"second":1}}')
    assert bytes(await call) == b'{"first":1}'
    assert wire.mux.foreign == 4


async def test_the_progress_token_is_minted_and_the_client_s_own_is_not_sent(wire: Wire) -> None:
    meta = {"_meta": codec.raw({"progressToken": "mine", "traceparent": "00-1"})}
    seen: list[bytes] = []
    asked = wire.call(params=meta, on_event=lambda message: seen.append(bytes(message)))
    silent = wire.call(params=meta)
    await wire.called(2)
    assert wire.sent[0]["params"]["_meta"] == {"progressToken": 1, "traceparent": "00-1"}
    assert wire.sent[1]["params"]["_meta"] == {"traceparent": "00-1"}
    for token in (b"1", b"2", b'"mine"', b"null"):
        wire.mux.feed(b'{"method":"notifications/progress","params":{"progressToken":' + token + b"}}")
    wire.mux.fail("over")
    await asyncio.gather(asked, silent, return_exceptions=True)
    assert seen == [b'{"method":"notifications/progress","params":{"progressToken":1}}']
    assert wire.notices == []


async def test_a_caller_that_leaves_makes_the_server_stop(wire: Wire) -> None:
    call = wire.call()
    await wire.called()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert wire.sent[1]["method"] == "notifications/cancelled"
    assert wire.sent[1]["params"]["requestId"] == wire.sent[0]["id"]
    assert wire.mux.in_flight == 0


async def test_the_handshake_is_never_cancelled(wire: Wire) -> None:
    with pytest.raises(DeadlineExceeded):
        await wire.call("initialize", seconds=0.01)
    assert [message["method"] for message in wire.sent] == ["initialize"]


async def test_a_call_whose_time_is_over_is_proven_not_executed(wire: Wire) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await wire.call(seconds=-1)
    assert caught.value.executed == "no"
    assert wire.sent == []


async def test_the_end_of_the_session_loses_what_runs_and_refuses_what_comes(wire: Wire) -> None:
    call = wire.call()
    await wire.called()
    wire.mux.fail("the server left")
    with pytest.raises(DownstreamLost, match="the server left") as lost:
        await call
    with pytest.raises(NotSent, match="the server left") as refused:
        await wire.call()
    assert (lost.value.executed, refused.value.executed) == ("unknown", "no")


async def test_calls_in_flight_are_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrpc, "PENDING_MAX", 1)
    first = wire.call()
    await wire.called()
    with pytest.raises(NexusError, match="in flight") as caught:
        await wire.call()
    assert caught.value.executed == "no"
    wire.mux.feed(b'{"id":1,"result":{}}')
    await first


async def test_a_server_s_questions_are_refused_and_its_ping_answered(wire: Wire) -> None:
    wire.mux.feed(b'{"jsonrpc":"2.0","id":"a","method":"ping"}')
    wire.mux.feed(b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}')
    assert wire.sent[0] == {"jsonrpc": "2.0", "id": "a", "result": {}}
    assert (wire.sent[1]["id"], wire.sent[1]["error"]["code"]) == (5, -32601)


def ignored(_: Raw) -> None:
    """For a call that is a client's: it could be told of progress."""


async def test_a_question_belongs_to_the_only_call_under_way(wire: Wire) -> None:
    asked: list[Question] = []
    first = wire.call(on_question=asked.append, on_event=ignored)
    await wire.called()
    wire.mux.feed(b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}')
    asked[0].answer(Raw(b'{"roots":[]}'))
    assert wire.sent[1] == {"jsonrpc": "2.0", "id": 5, "result": {"roots": []}}
    second = wire.call(on_event=ignored)
    await wire.called(3)
    wire.mux.feed(b'{"jsonrpc":"2.0","id":6,"method":"roots/list"}')
    wire.mux.feed(b'{"id":1,"result":{}}')
    wire.mux.feed(b'{"jsonrpc":"2.0","id":7,"method":"roots/list"}')
    await first
    wire.mux.feed(b'{"jsonrpc":"2.0","id":8,"method":"roots/list"}')
    assert [message["error"]["code"] for message in wire.sent[3:]] == [-32601] * 3
    wire.mux.feed(b'{"id":2,"result":{}}')
    await second
    assert len(asked) == 1


async def test_a_listing_meanwhile_casts_no_doubt_on_whose_question_it_is(wire: Wire) -> None:
    asked: list[Question] = []
    with pytest.raises(DeadlineExceeded):
        await wire.call("tools/list", seconds=0.01)
    calls = [wire.call("tools/list"), wire.call(on_question=asked.append)]
    await wire.called(4)
    wire.mux.feed(b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}')
    assert len(asked) == 1
    wire.mux.feed(b'{"id":3,"result":{}}')
    await calls[1]
    wire.mux.feed(b'{"jsonrpc":"2.0","id":6,"method":"roots/list"}')
    assert (wire.sent[-1]["id"], wire.sent[-1]["error"]["code"]) == (6, -32601)
    wire.mux.feed(b'{"id":2,"result":{}}')
    await calls[0]


@pytest.mark.parametrize(("owner", "certain"), [("mine", True), ("another", False), ("", False)])
async def test_a_question_of_a_cancelled_call_reaches_the_same_caller_or_nobody(
    wire: Wire, owner: str, certain: bool
) -> None:
    asked: list[Question] = []
    with pytest.raises(DeadlineExceeded):
        await wire.call(seconds=0.01, owner="mine")
    call = wire.call(on_question=asked.append, owner=owner)
    await wire.called(3)
    wire.mux.feed(b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}')
    assert len(asked) == certain
    wire.mux.feed(b'{"id":2,"result":{}}')
    await call


@pytest.mark.parametrize("late", [False, True])
async def test_after_a_cancel_nobody_is_asked_until_the_server_is_done_with_it(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    if not late:
        monkeypatch.setattr(jsonrpc, "DOUBT", 0.0)
    asked: list[Question] = []
    with pytest.raises(DeadlineExceeded):
        await wire.call(seconds=0.01)
    call = wire.call(on_question=asked.append, on_event=ignored)
    await wire.called(3)
    question = b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}'
    if late:
        wire.mux.feed(question)
        assert wire.sent[-1]["error"]["code"] == -32601
        wire.mux.feed(b'{"id":1,"error":{"code":0,"message":"cancelled"}}')
    wire.mux.feed(question)
    assert len(asked) == 1
    wire.mux.feed(b'{"id":2,"result":{}}')
    await call


async def test_an_answer_that_is_discarded_fails_its_call_alone(wire: Wire) -> None:
    first, second = wire.call(), wire.call()
    await wire.called(2)
    wire.mux.discard(b'{"result":{"text":"xxx', b'xxx"},"id":1,"jsonrpc":"2.0"}\n', 100)
    with pytest.raises(ResultTooLarge) as caught:
        await first
    assert caught.value.executed == "yes"
    wire.mux.feed(b'{"id":2,"result":{}}')
    assert bytes(await second) == b"{}"


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{', b"}}"),
        (b'{"method":"notifications/x","params":{', b'},"id":1}'),
        (b'{"result":{"text":"', b'\\",\\"id\\":1}"}}'),
        (b'{"result":{"x":{"a":0', b',"id":1}}}'),
        (b'{"text":"{\\"id\\":1,\\"result\\":', b'"}'),
        (b"", b""),
    ],
)
async def test_a_discarded_message_that_is_no_answer_of_a_call_fails_none(
    wire: Wire, head: bytes, tail: bytes
) -> None:
    call = wire.call()
    await wire.called()
    wire.mux.discard(head, tail, 100)
    wire.mux.feed(b'{"id":1,"result":{}}')
    assert bytes(await call) == b"{}"


async def test_a_send_that_fails_later_fails_its_call() -> None:
    async def send() -> None:
        raise NotSent("connection refused")

    mux = Multiplexer(lambda message: send(), lambda method, message: None)
    with pytest.raises(NotSent, match="connection refused"):
        await mux.call("tools/call", {}, time.time() + 5)


async def test_a_send_that_hangs_is_stopped_with_its_call() -> None:
    stopped = asyncio.Event()

    async def send() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    mux = Multiplexer(lambda message: send(), lambda method, message: None)
    with pytest.raises(DeadlineExceeded):
        await mux.call("initialize", {}, time.time() + 0.01)
    with anyio.fail_after(5):
        await stopped.wait()


@pytest.mark.parametrize("method", ["notifications/progress", "notifications/resources/updated", "x"])
async def test_no_depth_of_a_notification_gets_beyond_feeding(method: str) -> None:
    """A little less deep than what is refused at once, it is found too deep by who looks closer."""
    board = Bulletin()
    mux = Multiplexer(lambda message: None, board.post)
    for depth in range(700, 1050):
        deep = "[" * depth + "]" * depth
        tag = '"_meta":{"io.modelcontextprotocol/subscriptionId":1},' if method == "x" else ""
        mux.feed(f'{{"jsonrpc":"2.0","method":"{method}","params":{{{tag}"a":{deep}}}}}'.encode())
    assert mux.garbage


async def test_a_server_that_asks_and_does_not_listen_is_not_answered_without_end() -> None:
    taking = asyncio.Event()
    sent: list[bytes] = []

    async def send(message: bytes) -> None:
        sent.append(message)
        await taking.wait()

    mux = Multiplexer(send, lambda method, message: None)
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    for _ in range(jsonrpc.REPLIES_MAX + 50):
        mux.feed(ping)
    await asyncio.sleep(0)
    assert len(sent) == jsonrpc.REPLIES_MAX
    taking.set()
    with anyio.fail_after(5):
        while len(sent) == jsonrpc.REPLIES_MAX:
            mux.feed(ping)
            await asyncio.sleep(0)
    mux.fail("over")
