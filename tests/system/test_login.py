"""A login against a real authorization server, from the 401 to the call, and what happens to its keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent

from tests.broker import free_port
from tests.system.gateway import Gateway
from tests.system.login import CALLBACK, Browser, Wallet, claims, logged_in
from tests.system.parts import NPM, witness
from tests.system.provider import Provider
from tests.system.wire import answered, ask, http, text

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.system,
    pytest.mark.skipif(
        not (NPM / "oidc-provider").exists(), reason="the provider is missing: python tests/real/install.py"
    ),
]

ROTATED_WITHIN = 2.0
"""Seconds until a token with a new key is accepted."""


@dataclass
class World:
    """A gateway, and the provider its tokens come from."""

    gateway: Gateway
    issuer: Provider

    @property
    def url(self) -> str:
        return self.gateway.url


@asynccontextmanager
async def protected(folder: Path) -> AsyncIterator[World]:
    """A server whose tool `pid` needs the scope `notes`, behind a gateway that wants `mcp` for everything."""
    rules = {"pid": {"required_scopes": ["notes"]}}
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    issuer = Provider(folder, origin, "mcp", "notes")
    servers = {"demo": witness(tools=rules), "other": witness()}
    try:
        await issuer.start()
        token = await issuer.token(origin, "mcp")
        async with Gateway(
            folder, servers, settings=issuer.settings(origin), port=port, token=token
        ) as gateway:
            yield World(gateway, issuer)
    finally:
        issuer.stop()


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with protected(tmp_path_factory.mktemp("login")) as world:
        yield world


def _scopes(said: Mapping[str, Any]) -> set[str]:
    """The scopes of a request or a token; that it may be renewed is a matter of the client and its issuer."""
    return set(said["scope"].split()) - {"offline_access"}


def _said(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def _called(client: httpx.AsyncClient, url: str, tool: str, token: str) -> httpx.Response:
    client.headers["authorization"] = f"Bearer {token}"
    return await ask(client, url, "tools/call", {"name": tool, "arguments": {"value": "here"}})


async def _echo(client: Client, tool: str) -> str:
    return _said(await client.call_tool("execute", {"name": tool, "arguments": {"value": "here"}}))


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_that_knows_only_the_address_logs_in_and_calls(world: World, mode: str) -> None:
    wallet, browser = Wallet(), Browser()
    with anyio.fail_after(60):
        async with logged_in(world.url, wallet, browser, mode=mode) as client:
            assert "here" in await _echo(client, "demo__echo")
    (asked,) = browser.asked
    assert (asked["resource"], asked["redirect_uri"]) == (world.url, CALLBACK)
    assert _scopes(asked) == {"mcp"}
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")
    said = claims(wallet.tokens[0].access_token)
    assert (said["iss"], said["aud"], said["sub"]) == (world.issuer.url, world.url, "alice")


async def test_a_login_for_one_server_is_good_for_that_server_alone(world: World) -> None:
    wallet, browser = Wallet(), Browser()
    single = f"{world.url}/demo"
    with anyio.fail_after(60):
        async with logged_in(single, wallet, browser) as client:
            assert "here" in _said(await client.call_tool("echo", {"value": "here"}))
    token = wallet.tokens[0].access_token
    assert claims(token)["aud"] == single
    async with http() as client:
        assert (await _called(client, single, "echo", token)).status_code == 200
        assert (await _called(client, f"{world.url}/other", "echo", token)).status_code == 401
        assert (await _called(client, world.url, "search", token)).status_code == 401


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_client_gets_the_scope_that_a_tool_needs_and_calls_it(world: World, mode: str) -> None:
    wallet, browser = Wallet(), Browser()
    with anyio.fail_after(60):
        async with logged_in(world.url, wallet, browser, mode=mode) as client:
            assert "here" in await _echo(client, "demo__echo")
            assert int(await _echo(client, "demo__pid")) > 0
    asked = [_scopes(each) for each in browser.asked]
    given = [_scopes(claims(each.access_token)) for each in wallet.tokens]
    assert asked == given == [{"mcp"}, {"mcp", "notes"}]


async def test_a_machine_finds_its_way_from_the_401_to_the_call(world: World) -> None:
    async with http() as client:
        refused = await ask(client, world.url, "tools/list", {})
        assert refused.status_code == 401
        challenge = refused.headers["www-authenticate"]
        document = (await client.get(challenge.split('resource_metadata="')[1].split('"')[0])).json()
        assert document["resource"] == world.url
        (issuer,) = document["authorization_servers"]
        found = (await client.get(f"{issuer}/.well-known/oauth-authorization-server")).json()
        assert found["token_endpoint"] == f"{world.issuer.url}/token"
        token = await world.issuer.token(document["resource"], "mcp")
        answer = await _called(client, f"{world.url}/demo", "echo", token)
        assert "here" in text(answered(answer))


async def test_a_tool_that_needs_another_scope_says_which_before_it_runs(world: World) -> None:
    token = await world.issuer.token(world.url, "mcp")
    async with http() as client:
        answer = await _called(client, f"{world.url}/demo", "pid", token)
        assert answer.status_code == 403
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert 'scope="mcp notes"' in challenge
        assert "/.well-known/oauth-protected-resource/mcp/demo" in challenge
        more = await world.issuer.token(world.url, "mcp", "notes")
        assert int(text(answered(await _called(client, f"{world.url}/demo", "pid", more)))) > 0


async def test_new_keys_are_taken_at_once_and_known_ones_kept_without_the_issuer(tmp_path: Path) -> None:
    async with protected(tmp_path) as world, http() as client:
        demo = f"{world.url}/demo"
        old = [await world.issuer.token(world.url, "mcp") for _ in range(2)]
        assert (await _called(client, demo, "echo", old[0])).status_code == 200
        await world.issuer.rotate()
        new = [await world.issuer.token(world.url, "mcp") for _ in range(2)]
        answer = await _called(client, demo, "echo", new[0])
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < ROTATED_WITHIN
        world.issuer.stop()
        # Neither was seen before, so neither is remembered: their signatures are verified now.
        assert (await _called(client, demo, "echo", new[1])).status_code == 200
        assert (await _called(client, demo, "echo", old[1])).status_code == 200
