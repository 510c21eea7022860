"""Tokens of the gateway's own: found, cached, replaced, and never asked for in a storm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.config import ClientCredentials, HttpServer
from libs.common.errors import NexusError, Refused
from libs.common.oauth.challenge import Challenge
from services.connector import bearer, detect
from services.connector.bearer import Machine
from services.connector.session import Session
from tests.services.connector.http.authority import World, world
from tests.services.connector.http.conftest import Heard, call, server, text_of

pytestmark = pytest.mark.anyio


def configured(place: World, **more: Any) -> HttpServer:
    auth = {"type": "client-credentials", "client_id": "me", "client_secret": "s3cret", **more}
    return server(place.server.url, auth=auth)


def machine(config: HttpServer) -> Machine:
    assert isinstance(config.auth, ClientCredentials)
    return Machine(config, config.auth)


@contextlib.asynccontextmanager
async def connected(config: HttpServer) -> AsyncIterator[Session]:
    session, _ = await detect.connect(config, Heard(), bearer=machine(config))
    try:
        yield session
    finally:
        await session.close()


async def test_who_gives_tokens_is_found_by_the_challenge_of_the_server() -> None:
    async with world() as place, connected(configured(place)) as session:
        assert text_of(await call(session)) == "hello"
    form = place.forms[0]
    assert (form["grant_type"], form["resource"]) == ("client_credentials", place.server.url)
    assert len(place.forms) == 1
    assert [one.path for one in place.server.asked[:2]] == ["/mcp", "/about"]


async def test_a_configured_token_url_is_asked_before_the_server_is() -> None:
    async with world() as place:
        config = configured(
            place, token_url=f"{place.name}/token", scopes=["a", "b"], resource="https://r.example"
        )
        async with connected(config) as session:
            await call(session)
        assert place.forms[0]["scope"] == "a b"
        assert place.forms[0]["resource"] == "https://r.example"
        assert all("authorization" in one.headers for one in place.server.asked)


async def test_a_configured_issuer_is_asked_whatever_the_server_says() -> None:
    async with world() as place:
        async with connected(configured(place, issuer=place.name)) as session:
            await call(session)
        assert "/about" not in [one.path for one in place.server.asked]


async def test_many_calls_at_once_ask_for_one_token() -> None:
    async with world() as place, connected(configured(place, issuer=place.name)) as session:
        answers = await asyncio.gather(*(call(session, f"{n}") for n in range(20)))
        assert [text_of(each) for each in answers] == [f"{n}" for n in range(20)]
        assert len(place.forms) == 1


async def test_a_token_that_is_refused_is_replaced_and_the_call_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bearer, "COOLDOWN", 0.0)
    async with world() as place, connected(configured(place)) as session:
        place.accepted = {"token-2"}
        assert text_of(await call(session)) == "hello"
        assert len(place.forms) == 2


async def test_a_token_is_replaced_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bearer, "COOLDOWN", 0.0)
    async with world(accepted={f"token-{n}" for n in range(1, 9)}, life=1e-6) as place:
        async with connected(configured(place, issuer=place.name)) as session:
            await call(session)
        used = [one.headers["authorization"] for one in place.server.asked]
        assert used[0] != used[-1]


async def test_a_server_that_refuses_every_token_causes_no_storm_at_the_issuer() -> None:
    async with world() as place:
        async with connected(configured(place, issuer=place.name)) as session:
            place.accepted = set()
            for _ in range(5):
                with pytest.raises(NexusError, match="refuses the credentials") as told:
                    await call(session)
                assert told.value.executed == "no"
        assert len(place.forms) == 1


async def test_a_refusal_of_the_issuer_is_told_with_its_code_and_remembered_for_a_while() -> None:
    async with world(answer=lambda form: {"error": "invalid_client"}) as place:
        giver = machine(configured(place, issuer=place.name))
        for _ in range(3):
            with pytest.raises(Refused, match="refused: invalid_client") as told:
                await giver.token()
            assert "s3cret" not in told.value.message
        assert len(place.forms) == 1


async def test_a_server_that_names_a_private_address_does_not_get_it_asked() -> None:
    async with world() as place:
        place.answer = lambda form: {"error": "no"}
        config = configured(place, issuer="https://10.255.255.1")
        assert bearer.near(config.url, "https://10.255.255.1") == {"127.0.0.1", "10.255.255.1"}

        async def lying(asked: Any, reply: Any) -> None:
            if asked.path == "/about":
                told = {"resource": place.server.url, "authorization_servers": ["https://169.254.169.254"]}
                await reply.json(told)
            else:
                said = f'Bearer resource_metadata="{place.metadata}"'
                await reply.json({}, status=401, www_authenticate=said)

        place.server.script = lying
        with pytest.raises(NexusError, match="not public"):
            async with connected(configured(place)):
                pass
        assert place.forms == []


async def test_what_is_forbidden_is_not_asked_for_again() -> None:
    async with world() as place:
        giver = machine(configured(place, issuer=place.name))
        used = await giver.token()
        assert not await giver.refused(used, Challenge(403, "insufficient_scope", "more"))
        assert len(place.forms) == 1


async def test_a_configured_authorization_header_beats_the_token() -> None:
    rule = {"rule": "insert", "name": "Authorization", "value": "Bearer token-1"}
    async with world() as place:
        config = configured(place).model_copy(update={"headers": server("http://x", headers=[rule]).headers})
        async with connected(config) as session:
            await call(session)
        assert place.forms == []
