"""Sessions for tokens of callers, with a real server: whose is whose, what opens none, what ends one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import jwt
import pytest
from pydantic import SecretStr

from libs.common.codec import decode, raw
from libs.common.config import Config, DownstreamCache, Forward, HttpServer, TokenExchange
from libs.common.delegated import SEALED_MAX, fingerprint, seal_token
from libs.common.errors import NexusError, NotSent, Overloaded, Refused
from libs.common.identity import Principal
from libs.common.messages.calls import Call, ListServer
from libs.common.seal import Keyring
from services.connector.delegation import Delegation
from services.connector.main import connector
from tests.services.connector.http.authority import World, world
from tests.services.connector.http.peer import Asked, Peer, Reply, legacy, modern, serving

pytestmark = pytest.mark.anyio

KEYS = Keyring([bytes(32)], SEALED_MAX)
SIGNED = "k" * 32


async def whose(asked: Asked, reply: Reply) -> None:
    """List one tool, named after the caller."""
    who = jwt.decode(asked.headers["authorization"][7:], SIGNED, ["HS256"], options={"verify_aud": False})[
        "sub"
    ]
    await reply.result(asked, {"tools": [{"name": who, "inputSchema": {"type": "object"}}]})


def token(who: str, *audience: str, **claims: Any) -> str:
    return jwt.encode({"sub": who, "aud": list(audience), **claims}, SIGNED, "HS256")


def asking(secret: str, who: str = "ann", *, server: str = "peer", until: float = 60) -> ListServer:
    principal = Principal(who, "https://login.example", credential=fingerprint(secret))
    sealed = seal_token(KEYS, secret, principal, server, time.time() + until)
    return ListServer("peer", time.time() + 10, principal, sealed)


@asynccontextmanager
async def forwarding(peer: Peer, *, skip: bool = False, **cache: Any) -> AsyncIterator[Delegation]:
    auth = Forward(type="forward", insecure_skip_audience=skip)
    server = HttpServer(name="peer", url=peer.url, auth=auth, start_timeout=5.0)
    made = Delegation(server, auth, KEYS, connector(Config()), DownstreamCache(**cache))
    try:
        yield made
    finally:
        await made.close()


async def listed(delegation: Delegation, call: ListServer) -> list[str]:
    with anyio.fail_after(10):
        return [tool["name"] for tool in decode(await delegation.list(call))["tools"]]


async def test_each_token_has_a_session_and_a_list_of_its_own() -> None:
    async with serving(modern(whose)) as peer, forwarding(peer) as delegation:
        ann, ben = token("ann", peer.url), token("ben", peer.url)
        assert await listed(delegation, asking(ann)) == ["ann"]
        assert await listed(delegation, asking(ben, "ben")) == ["ben"]
        assert await listed(delegation, asking(ann)) == ["ann"]
        assert len(delegation) == 2
        assert len(peer.messages("server/discover")) == 2


async def test_the_same_token_of_another_principal_is_another_session() -> None:
    async with serving(modern(whose)) as peer, forwarding(peer) as delegation:
        secret = token("ann", peer.url)
        first = await delegation.take(asking(secret))
        assert await delegation.take(asking(secret)) is first
        assert await delegation.take(asking(secret, "ben")) is not first


@pytest.mark.parametrize("origin", [False, True])
async def test_a_token_for_the_url_or_the_origin_is_forwarded(origin: bool) -> None:
    async with serving(modern(whose)) as peer, forwarding(peer) as delegation:
        audience = peer.url.removesuffix("/mcp") if origin else peer.url
        assert await listed(delegation, asking(token("ann", "https://nexus.example", audience))) == ["ann"]


@pytest.mark.parametrize("secret", [token("ann", "https://nexus.example"), token("ann"), "opaque", "a.b.c"])
async def test_a_token_that_is_not_meant_for_the_server_never_leaves(secret: str) -> None:
    async with serving(modern(whose)) as peer, forwarding(peer) as delegation:
        with pytest.raises(Refused, match="not meant for") as refused:
            await delegation.take(asking(secret))
        assert refused.value.failure().executed == "no"
        assert secret not in refused.value.message
        assert peer.asked == []


async def test_the_audience_is_left_alone_where_that_is_wanted() -> None:
    async with serving(modern(whose)) as peer, forwarding(peer, skip=True) as delegation:
        assert await listed(delegation, asking(token("ann"))) == ["ann"]


async def test_a_sealed_token_of_another_server_or_time_or_caller_is_refused() -> None:
    async with serving(modern(whose)) as peer, forwarding(peer) as delegation:
        secret = token("ann", peer.url)
        good = asking(secret)
        other = Principal("ben", good.principal.issuer, credential=good.principal.credential)
        for call in (
            asking(secret, server="other"),
            asking(secret, until=-1),
            ListServer("peer", good.deadline, other, good.token),
            ListServer("peer", good.deadline, good.principal),
            Call("peer", "tools/list", good.deadline, principal=good.principal, token=secret),
        ):
            with pytest.raises(Refused, match="needs a valid token"):
                await delegation.take(call)
        assert peer.asked == []


async def test_the_session_that_was_used_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.connector.private.SETTLE", -1.0)
    async with serving(modern(whose)) as peer, forwarding(peer, max_size=2) as delegation:
        for who in ("ann", "ben", "cat"):
            await listed(delegation, asking(token(who, peer.url), who))
        assert len(delegation) == 2
        assert await listed(delegation, asking(token("ann", peer.url))) == ["ann"]


async def test_sessions_that_take_long_to_end_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.connector.private.SETTLE", -1.0)
    ending = anyio.Event()
    ended = legacy(whose)

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "DELETE":
            await ending.wait()
        await ended(asked, reply)

    async with serving(script) as peer, forwarding(peer, max_size=1) as delegation:
        for who in ("ann", "ben"):
            await listed(delegation, asking(token(who, peer.url), who))
        with pytest.raises(Overloaded) as full:
            await listed(delegation, asking(token("cat", peer.url), "cat"))
        assert full.value.failure().executed == "no"
        ending.set()
        assert await listed(delegation, asking(token("ben", peer.url), "ben")) == ["ben"]


async def test_a_session_that_is_about_to_end_is_left_to_it_when_all_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.connector.private.SETTLE", -1.0)
    said, ending, told = anyio.Event(), anyio.Event(), []
    ended = legacy(whose)

    async def script(asked: Asked, reply: Reply) -> None:
        if asked.verb == "DELETE":
            said.set()
            await ending.wait()
            told.append(asked.headers["authorization"])
        await ended(asked, reply)

    async with serving(script) as peer, forwarding(peer, max_size=1) as delegation:
        secrets = [token(who, peer.url) for who in ("ann", "ben")]
        for who, secret in zip(("ann", "ben"), secrets, strict=True):
            await listed(delegation, asking(secret, who))
        with anyio.fail_after(10):
            await said.wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(delegation.close)
                await anyio.sleep(0)
                ending.set()
        assert sorted(told) == sorted(f"Bearer {secret}" for secret in secrets)


async def test_a_list_that_could_not_be_had_again_is_not_taken_for_a_fresh_one() -> None:
    down = False

    async def call(asked: Asked, reply: Reply) -> None:
        await (reply.json({}, status=500) if down else whose(asked, reply))

    async with serving(modern(call)) as peer, forwarding(peer) as delegation:
        ask = asking(token("ann", peer.url))
        (await delegation.take(ask)).stale = True
        down = True
        for _ in range(2):
            with pytest.raises(NexusError):
                await delegation.list(ask)
        down = False
        assert await listed(delegation, ask) == ["ann"]


async def test_a_session_that_nobody_uses_is_closed() -> None:
    async with serving(modern(whose)) as peer, forwarding(peer, idle_timeout="50ms") as delegation:
        await listed(delegation, asking(token("ann", peer.url)))
        with anyio.fail_after(5):
            while len(delegation):
                await anyio.sleep(0.01)


async def test_a_server_that_cannot_list_is_no_session_and_is_tried_again() -> None:
    down = True

    async def fail(asked: Asked, reply: Reply) -> None:
        await (reply.json({}, status=500) if down else whose(asked, reply))

    async with serving(modern(fail)) as peer, forwarding(peer) as delegation:
        call = asking(token("ann", peer.url))
        with pytest.raises(NotSent):
            await delegation.take(call)
        assert len(delegation) == 0
        down = False
        assert await listed(delegation, call) == ["ann"]


async def test_what_a_server_says_has_changed_is_listed_again() -> None:
    names = ["one"]
    told = anyio.Event()

    async def call(asked: Asked, reply: Reply) -> None:
        await reply.result(asked, {"tools": [{"name": each, "inputSchema": {}} for each in names]})

    async def get(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await told.wait()
        await reply.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        await reply.gone.wait()

    async with serving(legacy(call, get=get)) as peer, forwarding(peer) as delegation:
        ask = asking(token("ann", peer.url))
        assert await listed(delegation, ask) == ["one"]
        names.append("two")
        assert await listed(delegation, ask) == ["one"]
        told.set()
        with anyio.fail_after(5):
            while await listed(delegation, ask) != ["one", "two"]:
                await anyio.sleep(0.01)


async def nothing(asked: Asked, reply: Reply) -> None:
    await reply.result(asked, {"tools": []})


@asynccontextmanager
async def exchanging(made: World) -> AsyncIterator[Delegation]:
    auth = TokenExchange(
        type="token-exchange",
        client_id="nexus",
        client_secret=SecretStr("s"),
        token_url=f"{made.name}/token",
        audience="payroll",
    )
    server = HttpServer(name="peer", url=made.server.url, auth=auth, start_timeout=5.0)
    delegation = Delegation(server, auth, KEYS, connector(Config()), DownstreamCache())
    try:
        yield delegation
    finally:
        await delegation.close()


async def test_a_token_is_exchanged_once_for_all_who_wait_and_never_sent_itself() -> None:
    async with world(call=nothing) as made, exchanging(made) as delegation:
        secret = token("ann")
        lives = []

        async def take() -> None:
            lives.append(await delegation.take(asking(secret)))

        made.accepted |= {"token-1"}
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(take)
        assert len({id(live) for live in lives}) == 1
        (form,) = made.forms
        assert form["subject_token"] == secret
        assert (form["audience"], form["resource"]) == ("payroll", made.server.url)
        assert secret not in str([asked.headers for asked in made.server.asked])


async def test_tokens_of_two_callers_are_exchanged_for_two() -> None:
    async with world(accepted={"token-1", "token-2"}, call=nothing) as made, exchanging(made) as delegation:
        await delegation.take(asking(token("ann")))
        await delegation.take(asking(token("ben"), "ben"))
        assert [form["subject_token"] for form in made.forms] == [token("ann"), token("ben")]
        spoken = {asked.headers["authorization"] for asked in made.server.asked if asked.verb == "POST"}
        assert spoken == {"Bearer token-1", "Bearer token-2"}


async def test_a_caller_whose_token_is_not_exchanged_is_refused_without_a_storm() -> None:
    async with world(answer=lambda form: {"error": "invalid_grant"}) as made, exchanging(made) as delegation:
        for _ in range(3):
            with pytest.raises(NexusError, match="invalid_grant") as refused:
                await delegation.take(asking(token("ann")))
            assert refused.value.failure().executed == "no"
        assert len(made.forms) == 1
        assert made.server.asked == []


async def test_a_call_runs_on_the_session_of_its_token() -> None:
    async with serving(modern(whose)) as peer, forwarding(peer) as delegation:
        wish = asking(token("ann", peer.url))
        call = Call("peer", "tools/call", wish.deadline, raw({}), principal=wish.principal, token=wish.token)
        assert delegation.find(call) is None
        live = await delegation.take(call)
        assert delegation.find(call) is live
