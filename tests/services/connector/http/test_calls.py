from __future__ import annotations

import asyncio
import contextlib
import functools
import time

import anyio
import msgspec
import pytest

from libs.common import codec
from libs.common.errors import (
    DownstreamError,
    DownstreamLost,
    NexusError,
    NotSent,
    Overloaded,
    Refused,
    ResultInvalid,
)
from libs.common.messages.calls import Client
from services.connector.questions import Question
from tests.services.connector.http.conftest import ERAS, Heard, call, opened, text_of
from tests.services.connector.http.peer import VERSION, Asked, Reply, echo, legacy, modern, serving

pytestmark = pytest.mark.anyio


async def test_a_call_is_answered_in_json(era: str) -> None:
    async with serving(ERAS[era](echo)) as peer, opened(peer.url) as session:
        assert text_of(await call(session, "one")) == "one"


async def test_a_call_is_answered_by_an_event(era: str) -> None:
    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {"content": []}})
        await reply.end()

    async with serving(ERAS[era](stream)) as peer, opened(peer.url) as session:
        for _ in range(5):
            assert await call(session) == {"content": []}
        assert peer.connections <= 3


async def test_a_result_arrives_byte_for_byte() -> None:
    odd = '{ "z" : 1.0, "unknown":[1e2,"\\u00e9é"],  "a":{} }'

    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.body(f'{{"result":{odd},"jsonrpc":"2.0","id":{asked.message["id"]}}}'.encode())

    async with serving(modern(answer)) as peer, opened(peer.url) as session:
        assert bytes(await session.call("x", {}, deadline=time.time() + 5, client=Client())) == odd.encode()


async def test_a_hundred_calls_in_flight_get_their_own_answers(era: str) -> None:
    waiting = 0
    together = asyncio.Event()

    async def answer(asked: Asked, reply: Reply) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 100:
            together.set()
        await together.wait()
        await echo(asked, reply)

    async with serving(ERAS[era](answer)) as peer, opened(peer.url) as session:
        texts = [str(number) for number in range(100)]
        results = await asyncio.gather(*(call(session, text) for text in texts))
    assert [text_of(result) for result in results] == texts


async def test_modern_requests_carry_their_headers_and_meta() -> None:
    async with serving(modern(echo)) as peer, opened(peer.url, {"x-team": "a"}) as session:
        session.learn(
            {"echo": codec.raw({"properties": {"text": {"type": "string", "x-mcp-header": "Text"}}})}
        )
        await call(session, "grün")
    discover, asked = peer.asked
    assert discover.headers["mcp-method"] == "server/discover"
    sent = {
        name: value
        for name, value in asked.headers.items()
        if name not in ("host", "content-length", "user-agent")
    }
    assert sent == {
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "mcp-method": "tools/call",
        "mcp-name": "echo",
        "mcp-param-text": "=?base64?Z3LDvG4=?=",
        "mcp-protocol-version": "2026-07-28",
        "x-team": "a",
    }
    assert asked.headers["user-agent"].startswith("nexus/")
    meta = asked.message["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {}


async def test_a_trace_is_repeated_in_the_headers_of_its_request_alone(era: str) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    meta = codec.raw({"traceparent": parent, "tracestate": "a=1", "baggage": "b=2"})
    odd = codec.raw({"traceparent": "x\r\ny: z"})
    async with serving(ERAS[era](echo)) as peer, opened(peer.url) as session:
        for each in ({"_meta": meta}, {"_meta": odd}, {}):
            params = {"name": codec.raw("echo"), "arguments": codec.raw({"text": "x"}), **each}
            await session.call("tools/call", params, deadline=time.time() + 5, client=Client())
    traced, *others = [asked for asked in peer.asked if asked.message.get("method") == "tools/call"]
    assert (traced.headers["traceparent"], traced.headers["tracestate"]) == (parent, "a=1")
    assert traced.message["params"]["_meta"]["baggage"] == "b=2"
    assert "baggage" not in traced.headers
    assert not any("traceparent" in other.headers for other in others)


async def test_legacy_requests_carry_session_and_version() -> None:
    async with serving(legacy(echo)) as peer, opened(peer.url) as session:
        await call(session)
    first = next(asked for asked in peer.asked if asked.message.get("method") == "initialize")
    assert "mcp-session-id" not in first.headers
    assert "mcp-protocol-version" not in first.headers
    for method in ("notifications/initialized", "tools/call"):
        asked = next(asked for asked in peer.asked if asked.message.get("method") == method)
        assert asked.headers["mcp-session-id"] == "s-1"
        assert asked.headers["mcp-protocol-version"] == VERSION
    assert "_meta" not in peer.messages("tools/call")[0]["params"]


async def test_protocol_headers_beat_configured_ones() -> None:
    configured = {"content-type": "text/plain", "mcp-protocol-version": "1", "accept": "x/y"}
    async with serving(modern(echo)) as peer, opened(peer.url, configured) as session:
        await call(session)
    assert peer.asked[-1].headers["content-type"] == "application/json"
    assert peer.asked[-1].headers["mcp-protocol-version"] == "2026-07-28"


async def test_progress_arrives_in_order_and_only_at_its_call(era: str) -> None:
    async def stream(asked: Asked, reply: Reply) -> None:
        token = asked.message["params"].get("_meta", {}).get("progressToken")
        await reply.events()
        for step in range(4):
            params = {"progressToken": token, "progress": step}
            await reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        foreign = {"progressToken": 10**6, "progress": 9}
        await reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": foreign})
        for method in ("notifications/message", "notifications/tools/list_changed"):
            await reply.event({"jsonrpc": "2.0", "method": method, "params": {"data": "log"}})
        await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})
        await reply.end()

    heard = Heard()
    async with serving(ERAS[era](stream)) as peer, opened(peer.url, heard=heard) as session:
        first: list[int] = []
        second: list[int] = []
        logged: list[str] = []

        def into(steps: list[int], message: msgspec.Raw) -> None:
            told = msgspec.json.decode(message)
            if "progress" in told["params"]:
                steps.append(told["params"]["progress"])
            elif told["method"] == "notifications/message":
                logged.append(told["params"]["data"])

        await asyncio.gather(
            call(session, on_event=lambda message: into(first, message)),
            call(session, on_event=lambda message: into(second, message)),
            call(session),
        )
    assert first == second == [0, 1, 2, 3]
    assert logged == ["log", "log"]
    news = ["notifications/tools/list_changed"] * 3
    assert [method for method, _ in heard] == (news if era == "legacy" else [])


async def test_questions_of_a_legacy_server_are_answered_by_post() -> None:
    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        await reply.event({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
        await peer.until(lambda: len(answers()) == 2)
        await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})
        await reply.end()

    def answers() -> dict[str, dict[str, object]]:
        sent = [asked.message for asked in peer.asked if asked.body and "method" not in asked.message]
        return {message["id"]: message for message in sent}

    async with serving(legacy(stream)) as peer, opened(peer.url) as session:
        await call(session)
        told = answers()
    assert told["p"]["result"] == {}
    assert codec.decode(codec.encode(told["q"]["error"]))["code"] == -32601


async def test_a_question_on_the_stream_of_a_call_is_for_that_call() -> None:
    both = asyncio.Barrier(2)

    async def stream(asked: Asked, reply: Reply) -> None:
        number = asked.message["id"]
        await reply.events()
        await both.wait()
        await reply.event({"jsonrpc": "2.0", "id": f"q{number}", "method": "roots/list"})
        await peer.until(lambda: f"q{number}" in answers())
        await reply.event({"jsonrpc": "2.0", "id": number, "result": answers()[f"q{number}"]["result"]})
        await reply.end()

    def answers() -> dict[str, dict[str, object]]:
        sent = [asked.message for asked in peer.asked if asked.body and "method" not in asked.message]
        return {message["id"]: message for message in sent}

    async with serving(legacy(stream)) as peer, opened(peer.url) as session:
        ask = functools.partial(
            session.call, "tools/call", {}, deadline=time.time() + 5, client=Client(), progress=False
        )
        results = await asyncio.gather(
            ask(on_question=lambda question: question.answer(codec.raw({"for": "one"}))),
            ask(on_question=lambda question: question.answer(codec.raw({"for": "two"}))),
        )
        offered = peer.messages("initialize")[0]["params"]["capabilities"]
    assert [codec.decode(result) for result in results] == [{"for": "one"}, {"for": "two"}]
    assert offered == {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}


async def asked_outside(
    calls: int, owner: str = "", earlier: Client | None = None
) -> tuple[list[str], list[dict[str, object]]]:
    """What hears a question on the session's own stream while `calls` run, and how it is answered.

    `earlier` is who has just called before them.
    """
    standing: asyncio.Queue[Reply] = asyncio.Queue()
    working = asyncio.Semaphore(0)
    over = asyncio.Event()

    async def get(asked: Asked, reply: Reply) -> None:
        await reply.events()
        standing.put_nowait(reply)
        await over.wait()
        await reply.end()

    async def work(asked: Asked, reply: Reply) -> None:
        if asked.message["params"]:
            working.release()
            await over.wait()
        await reply.result(asked, {})

    def replies() -> list[dict[str, object]]:
        return [asked.message for asked in peer.asked if asked.body and "method" not in asked.message]

    heard: list[str] = []

    def hear(question: Question) -> None:
        heard.append(question.method)
        question.answer(codec.raw({"roots": []}))

    async with serving(legacy(work, get=get)) as peer, opened(peer.url) as session:
        ask = functools.partial(session.call, "tools/call", deadline=time.time() + 5, on_question=hear)
        stream = await standing.get()
        if earlier is not None:
            await ask({}, client=earlier)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(calls):
                tasks.create_task(ask({"name": codec.raw("ask")}, client=Client(session=owner)))
                await working.acquire()
            await stream.event({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
            await peer.until(lambda: bool(replies()))
            over.set()
    return heard, replies()


async def test_a_question_on_the_stream_of_the_session_is_for_the_only_call_under_way() -> None:
    heard, (reply,) = await asked_outside(calls=1)
    assert heard == ["roots/list"]
    assert reply["result"] == {"roots": []}


@pytest.mark.parametrize("calls", [0, 2])
async def test_a_question_on_the_stream_of_the_session_is_refused_if_its_call_is_not_certain(
    calls: int,
) -> None:
    heard, (reply,) = await asked_outside(calls)
    assert heard == []
    assert codec.decode(codec.encode(reply["error"]))["code"] == -32601


@pytest.mark.parametrize(("earlier", "certain"), [("mine", True), ("another", False), ("", False)])
async def test_a_question_that_an_answered_call_may_have_left_behind_reaches_no_other_caller(
    earlier: str, certain: bool
) -> None:
    heard, _ = await asked_outside(1, "mine", Client(session=earlier))
    assert heard == ["roots/list"] * certain


async def test_an_error_of_the_server_passes_as_it_came(era: str) -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        status = int(asked.message["params"]["arguments"]["text"])
        error = {"code": -32602, "message": "no such tool", "data": {"a": [1]}}
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": error}, status=status)

    async with serving(ERAS[era](fail)) as peer, opened(peer.url) as session:
        for status in ("200", "400", "500", "503"):
            with pytest.raises(DownstreamError, match="no such tool") as caught:
                await call(session, status)
            assert caught.value.downstream_code == -32602
            assert bytes(caught.value.raw) == b'{"a": [1]}'


async def test_a_modern_404_with_an_error_is_the_servers_own() -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        error = {"code": -32601, "message": "unknown method"}
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": error}, status=404)

    async with serving(modern(fail)) as peer, opened(peer.url) as session:
        with pytest.raises(DownstreamError, match="unknown method"):
            await call(session)


@pytest.mark.parametrize(
    ("status", "kind", "executed"),
    [
        (401, Refused, "no"),
        (403, Refused, "no"),
        (404, Refused, "no"),
        (405, Refused, "no"),
        (406, Refused, "no"),
        (415, Refused, "no"),
        (429, Overloaded, "no"),
        (307, Refused, "no"),
        (308, Refused, "no"),
        (302, DownstreamLost, "unknown"),
        (400, DownstreamLost, "unknown"),
        (500, DownstreamLost, "unknown"),
        (502, DownstreamLost, "unknown"),
        (202, ResultInvalid, "yes"),
    ],
)
async def test_a_status_without_json_rpc_has_the_verdict_it_proves(
    status: int, kind: type[NexusError], executed: str
) -> None:
    async def refuse(asked: Asked, reply: Reply) -> None:
        await reply.body(b"<html>secret page</html>", "text/html", status=status)

    async with serving(modern(refuse)) as peer, opened(peer.url) as session:
        with pytest.raises(kind, match=f"HTTP {status}") as caught:
            await call(session)
    assert caught.value.executed == executed
    assert "secret page" not in caught.value.message
    assert "127.0.0.1" not in caught.value.message


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html", b"<html>hello</html>", "text/html"),
        ("", b"{}", "no content type"),
        ("application/json", b"", "nothing"),
        ("application/json", b"<html>", "not JSON-RPC"),
        ("application/json", b"[" * 100_000, "not JSON-RPC"),
        ("application/json", b'{"jsonrpc":"2.0","id":999,"result":{}}', "another request"),
        ("application/json", b'{"jsonrpc":"2.0","id":"%d","result":{}}', "another request"),
        ("application/json", b'{"jsonrpc":"2.0","id":%d,"result":{"a":"\xff"}}', "UTF-8"),
        ("application/json", b'{"jsonrpc":"2.0","id":%d,"result":[]}', "not an object"),
        ("application/json", b'{"jsonrpc":"2.0","id":%d}', "neither a result nor an error"),
        ("application/json", b'{"jsonrpc":"2.0","id":%d,"error":"x"}', "not JSON-RPC"),
    ],
)
async def test_an_answer_that_cannot_be_passed_on_fails_its_call_only(
    kind: str, body: bytes, said: str
) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        if asked.message["params"]["arguments"]["text"] == "good":
            await echo(asked, reply)
        else:
            await reply.body(body % asked.message["id"] if b"%d" in body else body, kind)

    async with serving(modern(answer)) as peer, opened(peer.url) as session:
        good = asyncio.ensure_future(call(session, "good"))
        with pytest.raises(ResultInvalid, match=said) as caught:
            await call(session, "bad")
        assert caught.value.executed == "yes"
        assert text_of(await good) == "good"
        assert not session.lost.done()


async def test_a_stream_of_nonsense_fails_its_call(era: str) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event("this is no JSON")
        await reply.end()

    async with serving(ERAS[era](answer)) as peer, opened(peer.url) as session:
        with pytest.raises(ResultInvalid):
            await call(session)


async def test_a_server_that_is_gone_has_proven_that_nothing_was_sent() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with serving(modern(echo, connection="close")) as peer:
            session = await stack.enter_async_context(opened(peer.url))
        with pytest.raises(NotSent, match="refused the connection") as caught:
            await call(session)
    assert caught.value.executed == "no"
    assert "127.0.0.1" not in caught.value.message
    assert any("127.0.0.1" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"]
)
async def test_a_connection_dropped_in_a_call_loses_that_call_only(begun: bytes) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        if asked.message["params"]["arguments"]["text"] == "good":
            await peer.until(lambda: len(peer.messages("tools/call")) == 2)
            await echo(asked, reply)
        else:
            await peer.until(lambda: len(peer.messages("tools/call")) == 2)
            await reply.raw(begun)
            reply.drop()

    async with serving(modern(answer)) as peer, opened(peer.url) as session:
        good = asyncio.ensure_future(call(session, "good"))
        with pytest.raises(DownstreamLost, match="closed the connection") as caught:
            await call(session, "bad")
        assert caught.value.executed == "unknown"
        assert text_of(await good) == "good"


async def test_a_stream_that_ends_without_an_answer_loses_its_call(era: str) -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.end()

    async with serving(ERAS[era](answer)) as peer, opened(peer.url) as session:
        with pytest.raises(DownstreamLost, match="ended the stream"):
            await call(session)


async def test_a_peer_that_does_not_speak_http_is_named_so() -> None:
    async def answer(asked: Asked, reply: Reply) -> None:
        await reply.raw(b"220 mail ready\r\n\r\n")
        reply.drop()

    async with serving(modern(answer)) as peer, opened(peer.url) as session:
        with pytest.raises(DownstreamLost, match="did not answer in HTTP"):
            await call(session)


async def test_redirects_are_not_followed_and_leak_nothing() -> None:
    async with serving(modern(echo)) as spy:

        async def move(asked: Asked, reply: Reply) -> None:
            await reply.json({}, status=307, location=f"{spy.url}?token=hidden")

        async with serving(modern(move)) as peer, opened(peer.url, {"authorization": "Bearer t"}) as session:
            with pytest.raises(Refused, match="final URL") as caught:
                await call(session)
        assert str(spy.port) not in caught.value.message
        assert caught.value.__notes__ == [f"redirects to http://127.0.0.1:{spy.port}"]
        assert spy.asked == []


async def test_secrets_stay_out_of_errors() -> None:
    async def refuse(asked: Asked, reply: Reply) -> None:
        await reply.body(b"", status=401)

    async with serving(modern(refuse)) as peer:
        url = peer.url + "?key=hidden-in-url"
        async with opened(url, {"authorization": "Bearer hidden-token"}) as session:
            with pytest.raises(Refused) as caught:
                await call(session)
    assert peer.asked[-1].path == "/mcp?key=hidden-in-url"
    assert b"hidden" not in codec.encode(caught.value.failure())
    assert "hidden" not in str(caught.value)


async def test_what_is_logged_of_a_failure_holds_no_key_of_the_url() -> None:
    async def vanish(asked: Asked, reply: Reply) -> None:
        reply.drop()

    async with serving(modern(vanish)) as peer, opened(peer.url + "?key=hidden-in-url") as session:
        with pytest.raises(DownstreamLost) as caught:
            await call(session)
        with pytest.raises(DownstreamLost) as large:
            await call(session, "x" * 20_000_000)
    notes = [*caught.value.__notes__, *large.value.__notes__]
    assert len(notes) == 2
    assert not any("hidden" in note for note in notes)


async def test_events_of_another_type_are_no_messages(era: str) -> None:
    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event("still here", "ping")
        await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})
        await reply.end()

    async with serving(ERAS[era](stream)) as peer, opened(peer.url) as session:
        assert await call(session) == {}


async def test_notifications_reach_a_legacy_server_and_200_is_fine() -> None:
    async with serving(legacy(echo)) as peer, opened(peer.url) as session:
        with anyio.fail_after(5):
            await session.notify("notifications/roots/list_changed", {})
        assert peer.messages("notifications/roots/list_changed")
