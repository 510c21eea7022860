from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest

from libs.common.errors import DownstreamError, Refused, ServerUnavailable
from services.connector.http import HttpSession
from tests.services.connector.http.conftest import Heard, call, opened, server, text_of
from tests.services.connector.http.peer import Asked, Reply, Script, echo, legacy, modern, serving

pytestmark = pytest.mark.anyio


def forgetful(answer: Script, *, status: int = 404) -> Script:
    """A legacy server that forgets its first session once a call comes."""
    known: list[str] = []

    async def script(asked: Asked, reply: Reply) -> None:
        method = asked.message.get("method")
        if method == "initialize":
            known.append(f"s-{len(known) + 1}")
            await legacy(answer, session=known[-1])(asked, reply)
        elif method == "tools/call" and asked.headers["mcp-session-id"] != "s-2":
            error = {"code": -32000, "message": "Bad Request: No valid session ID provided"}
            await reply.json({"jsonrpc": "2.0", "id": None, "error": error}, status=status)
        else:
            await legacy(answer)(asked, reply)

    return script


@pytest.mark.parametrize("status", [404, 400])
async def test_a_forgotten_session_is_begun_again_once_for_all_calls(status: int) -> None:
    async with serving(forgetful(echo, status=status)) as peer, opened(peer.url) as session:
        texts = [str(number) for number in range(20)]
        results = await asyncio.gather(*(call(session, text) for text in texts))
        assert [text_of(result) for result in results] == texts
        assert len(peer.messages("initialize")) == 2
        assert len(peer.messages("notifications/initialized")) == 2
        assert not session.lost.done()


async def test_a_session_that_is_forgotten_again_at_once_fails_the_call() -> None:
    async def forget(asked: Asked, reply: Reply) -> None:
        await reply.body(b"", "text/plain", status=404)

    async with serving(legacy(forget)) as peer, opened(peer.url) as session:
        with pytest.raises(Refused, match="does not know the session") as caught:
            await call(session)
        assert caught.value.executed == "no"
        assert len(peer.messages("tools/call")) == 2


async def test_a_session_that_cannot_be_begun_again_is_lost() -> None:
    opening = True

    async def script(asked: Asked, reply: Reply) -> None:
        if opening:
            await legacy(echo)(asked, reply)
        else:
            await reply.body(b"", "text/plain", status=404)

    async with serving(script) as peer, opened(peer.url) as session:
        opening = False
        with pytest.raises(ServerUnavailable, match="no new one could be begun") as caught:
            await call(session)
        assert caught.value.executed == "no"
        assert "no new one" in await session.lost


async def test_a_renewal_whose_caller_goes_away_is_taken_over_by_the_next_call() -> None:
    stuck = asyncio.Event()
    inner = forgetful(echo)

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.message.get("method") == "initialize" and len(peer.messages("initialize")) == 2:
            stuck.set()
            await reply.gone.wait()
        else:
            await inner(asked, reply)

    async with serving(script) as peer, opened(peer.url) as session:
        first = asyncio.ensure_future(call(session, "first"))
        with anyio.fail_after(5):
            await stuck.wait()
            first.cancel()
            await asyncio.wait([first])
            assert text_of(await call(session, "second")) == "second"
        assert not session.lost.done()


async def test_a_404_without_a_session_is_no_forgotten_session() -> None:
    async def refuse(asked: Asked, reply: Reply) -> None:
        await reply.body(b"", "text/plain", status=404)

    async with serving(legacy(refuse, session="")) as peer, opened(peer.url) as session:
        with pytest.raises(Refused, match="HTTP 404"):
            await call(session)
        assert len(peer.messages("initialize")) == 1


async def test_an_error_of_a_tool_that_speaks_of_sessions_is_passed_on() -> None:
    async def fail(asked: Asked, reply: Reply) -> None:
        error = {"code": -32602, "message": "no such session"}
        await reply.json({"jsonrpc": "2.0", "id": asked.message["id"], "error": error})

    async with serving(legacy(fail)) as peer, opened(peer.url) as session:
        with pytest.raises(DownstreamError, match="no such session"):
            await call(session)


async def test_a_session_is_deleted_when_it_is_closed() -> None:
    async with serving(legacy(echo)) as peer:
        async with opened(peer.url):
            pass
        last = peer.asked[-1]
    assert (last.verb, last.headers["mcp-session-id"]) == ("DELETE", "s-1")


async def test_closing_is_bounded_when_the_server_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.connector.http.ASIDE", 0.2)

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "DELETE":
            await reply.gone.wait()
        else:
            await legacy(echo)(asked, reply)

    async with serving(script) as peer:
        session = HttpSession(server(peer.url), {}, Heard())
        await session.open()
        with anyio.fail_after(3):
            await session.close()
            await session.close()


async def test_notices_come_over_the_stream_of_a_legacy_server() -> None:
    changed = asyncio.Event()

    async def listen(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await reply.gone.wait()

    class Told(Heard):
        def __call__(self, method: str, message: object) -> None:
            assert method == "notifications/tools/list_changed"
            changed.set()

    async with serving(legacy(echo, get=listen)) as peer, opened(peer.url, heard=Told()) as session:
        with anyio.fail_after(5):
            await changed.wait()
        assert text_of(await call(session, "x")) == "x"


async def test_the_stream_is_opened_again_and_its_failures_hurt_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.connector.listener.FIRST", 0.01)
    streams = 0
    third = asyncio.Event()

    async def listen(asked: Asked, reply: Reply) -> None:
        nonlocal streams
        streams += 1
        if streams == 3:
            third.set()
        if streams == 1:
            reply.drop()
            return
        await reply.events()
        if streams == 2:
            await reply.event("no JSON at all")
            await reply.end()
            return
        await reply.gone.wait()

    async with serving(legacy(echo, get=listen)) as peer, opened(peer.url) as session:
        with anyio.fail_after(5):
            await third.wait()
        assert text_of(await call(session, "x")) == "x"
        assert not session.lost.done()


async def test_a_server_without_a_stream_is_asked_for_it_once() -> None:
    async with serving(legacy(echo)) as peer, opened(peer.url) as session:
        await peer.until(lambda: any(asked.verb == "GET" for asked in peer.asked))
        for _ in range(5):
            await call(session)
        assert sum(asked.verb == "GET" for asked in peer.asked) == 1


async def test_a_call_whose_stream_is_closed_early_is_resumed() -> None:
    numbers: list[int] = []

    async def begin(asked: Asked, reply: Reply) -> None:
        numbers.append(asked.message["id"])
        await reply.events()
        await reply.chunk(b"retry: 10\nid: e-1\ndata:\n\n")
        await reply.end()

    async def resume(asked: Asked, reply: Reply) -> None:
        if "last-event-id" not in asked.headers:
            await reply.json({}, status=405)
            return
        assert asked.headers["last-event-id"] == "e-1"
        await reply.events()
        await reply.event({"jsonrpc": "2.0", "id": numbers[-1], "result": {"content": []}})
        await reply.end()

    async with serving(legacy(begin, get=resume)) as peer, opened(peer.url) as session:
        assert await call(session) == {"content": []}


async def test_a_cancelled_call_closes_the_stream_of_a_modern_server() -> None:
    running, stopped = asyncio.Event(), asyncio.Event()

    async def wait(asked: Asked, reply: Reply) -> None:
        running.set()
        await reply.gone.wait()
        stopped.set()

    async with serving(modern(wait)) as peer, opened(peer.url) as session:
        calling = asyncio.ensure_future(call(session))
        with anyio.fail_after(5):
            await running.wait()
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling
            await stopped.wait()
        assert peer.messages("notifications/cancelled") == []


@pytest.mark.parametrize("late", [True, False])
async def test_a_legacy_server_is_told_that_nobody_waits(*, late: bool) -> None:
    async def wait(asked: Asked, reply: Reply) -> None:
        await reply.gone.wait()

    async with serving(legacy(wait)) as peer, opened(peer.url) as session:
        calling = asyncio.ensure_future(call(session, within=0.2 if late else 5))
        await peer.until(lambda: bool(peer.messages("tools/call")))
        if not late:
            calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await peer.until(lambda: bool(peer.messages("notifications/cancelled")))
        told = peer.messages("notifications/cancelled")[0]["params"]
        assert told["requestId"] == peer.messages("tools/call")[0]["id"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_the_era_can_be_fixed(era: str) -> None:
    script = modern(echo) if era == "modern" else legacy(echo)
    async with serving(script) as peer, opened(peer.url, era=era) as session:
        assert text_of(await call(session, "x")) == "x"
        other = "initialize" if era == "modern" else "server/discover"
        assert peer.messages(other) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"Bad Request"),
        (404, b""),
        (405, b""),
        (406, b""),
        (500, b"oops"),
        (400, b'{"error":"no session"}'),
        (200, b"<html>"),
    ],
)
async def test_whatever_an_old_server_says_to_discovery_it_is_initialized(status: int, body: bytes) -> None:
    async def script(asked: Asked, reply: Reply) -> None:
        if asked.message.get("method") == "server/discover":
            await reply.body(body, "application/json", status=status)
        else:
            await legacy(echo)(asked, reply)

    async with serving(script) as peer, opened(peer.url) as session:
        assert text_of(await call(session, "x")) == "x"
