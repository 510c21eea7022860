"""Header rules on the wire: in order, for each request by itself, over both transports."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common import codec
from libs.common.errors import DeadlineExceeded
from libs.common.messages.calls import Client
from services.connector import detect
from services.connector.session import Session
from tests.services.connector.http.conftest import ERAS, Heard, server
from tests.services.connector.http.peer import Asked, Peer, Reply, Script, echo, legacy, serving
from tests.services.connector.http.test_sse import Bus, sse

pytestmark = pytest.mark.anyio

TENANT = {"rule": "forward", "name": "X-Tenant", "rename": "X-Customer", "default": "nobody"}


async def connected(peer: Peer, *rules: dict[str, str], common: Any = (), **keys: Any) -> Session:
    first = server(peer.url, headers=list(common)).headers
    session, _ = await detect.connect(server(peer.url, headers=list(rules), **keys), Heard(), rules=first)
    return session


async def call(session: Session, text: str = "x", within: float = 5, **sent: str) -> Raw:
    params = {"name": codec.raw("echo"), "arguments": codec.raw({"text": text})}
    headers = {name.replace("_", "-"): value for name, value in sent.items()}
    return await session.call(
        "tools/call", params, deadline=time.time() + within, client=Client(), sent=headers
    )


def called(peer: Peer) -> list[Asked]:
    return [each for each in peer.asked if each.body and each.message.get("method") == "tools/call"]


async def test_rules_of_all_servers_come_first_and_those_of_the_server_follow(era: str) -> None:
    common = [
        {"rule": "insert", "name": "X-Gateway", "value": "nexus"},
        {"rule": "insert", "name": "X-Old", "value": "1"},
        {"rule": "forward", "name": "X-Team"},
    ]
    own = [
        {"rule": "remove", "name": "x-gateway"},
        {"rule": "remove", "name": "User-Agent"},
        {"rule": "rename", "name": "X-Old", "to": "X-New"},
        TENANT,
    ]
    async with serving(ERAS[era](echo)) as peer:
        session = await connected(peer, *own, common=common)
        await call(session, x_tenant="acme", x_team="red", x_stray="1")
        await session.close()
    headers = called(peer)[0].headers
    assert {name: headers[name] for name in headers if name.startswith("x-")} == {
        "x-new": "1",
        "x-team": "red",
        "x-customer": "acme",
    }
    assert "user-agent" not in headers


async def test_the_headers_of_one_call_are_on_no_other_request(era: str) -> None:
    async with serving(ERAS[era](echo)) as peer:
        session = await connected(peer, TENANT)
        await call(session, x_tenant="acme")
        await call(session)
        await session.close()
    assert [each.headers["x-customer"] for each in called(peer)] == ["acme", "nobody"]
    assert {each.headers["x-customer"] for each in peer.asked if each not in called(peer)} == {"nobody"}


def together(number: int) -> Script:
    """Answers calls when so many are in flight."""
    waiting, full = 0, asyncio.Event()

    async def script(asked: Asked, reply: Reply) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == number:
            full.set()
        await full.wait()
        await echo(asked, reply)

    return script


async def test_two_callers_at_once_never_mix(era: str) -> None:
    async with serving(ERAS[era](together(8))) as peer:
        session = await connected(peer, TENANT)
        names = [f"tenant-{number}" for number in range(8)]
        with anyio.fail_after(5):
            await asyncio.gather(*(call(session, name, x_tenant=name) for name in names))
        await session.close()
    seen = {each.message["params"]["arguments"]["text"]: each.headers["x-customer"] for each in called(peer)}
    assert seen == {name: name for name in names}


async def test_nothing_is_sent_on_without_a_rule(era: str) -> None:
    async with serving(ERAS[era](echo)) as peer:
        session = await connected(peer)
        await call(session, x_tenant="acme")
        await session.close()
    assert not any("acme" in json.dumps(each.headers) for each in peer.asked)


async def test_a_notification_and_a_cancellation_carry_the_headers_of_their_client() -> None:
    async def silent(asked: Asked, reply: Reply) -> None:
        await reply.gone.wait()

    async with serving(legacy(silent)) as peer:
        session = await connected(peer, TENANT)
        await session.notify("notifications/roots/list_changed", {}, {"x-tenant": "acme"})
        with pytest.raises(DeadlineExceeded):
            await call(session, within=0.2, x_tenant="blue")
        await peer.until(lambda: bool(peer.messages("notifications/cancelled")))
        await session.close()
    sent = {each.message["method"]: each.headers["x-customer"] for each in peer.asked if each.body}
    assert sent["notifications/roots/list_changed"] == "acme"
    assert sent["notifications/cancelled"] == "blue"


async def test_an_answer_to_a_question_carries_the_headers_of_the_call_it_is_for() -> None:
    async def asking(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
        await peer.until(lambda: any(answers(each) for each in peer.asked))
        await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {}})
        await reply.end()

    def answers(asked: Asked) -> bool:
        return bool(asked.body) and asked.message.get("id") == "q"

    async with serving(legacy(asking)) as peer:
        session = await connected(peer, TENANT)
        await call(session, x_tenant="acme")
        await session.close()
    assert [each.headers["x-customer"] for each in peer.asked if answers(each)] == ["acme"]


async def test_over_sse_each_post_carries_the_headers_of_its_own_call() -> None:
    async with serving(sse(Bus(), echo)) as peer:
        session = await connected(peer, TENANT, protocol="sse")
        names = [f"tenant-{number}" for number in range(8)]
        await asyncio.gather(*(call(session, name, x_tenant=name) for name in names))
        await session.notify("notifications/roots/list_changed", {}, {"x-tenant": "acme"})
        await session.close()
    seen = {each.message["params"]["arguments"]["text"]: each.headers["x-customer"] for each in called(peer)}
    assert seen == {name: name for name in names}
    assert peer.asked[0].headers["x-customer"] == "nobody"
    assert peer.asked[-1].headers["x-customer"] == "acme"
