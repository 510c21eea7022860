"""Issuers that are down, slow or hostile, over real HTTP: A4."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from aiohttp import web

from services.edge.auth import keys as module
from services.edge.auth.keys import KeySet, fetch_keys
from tests.services.edge.auth.doors import guarded, listed
from tests.services.edge.auth.issuer import Issuer

pytestmark = pytest.mark.anyio


class Provider:
    """A key set over HTTP that can be made to misbehave."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.mode = "good"
        self.hits = 0
        self.elsewhere = 0
        self.release = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits += 1
        match self.mode:
            case "huge":
                return web.Response(body=b'{"keys": [' + b" " * 10_000_000 + b"]}")
            case "redirect":
                raise web.HTTPFound("/elsewhere")
            case "error":
                return web.Response(status=503)
            case "slow":
                await self.release.wait()
        return web.Response(body=json.dumps({"keys": [self.issuer.jwk]}))

    async def trap(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response(body=json.dumps({"keys": [self.issuer.jwk]}))


@asynccontextmanager
async def providing(provider: Provider) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/jwks", provider.answer)
    app.router.add_get("/elsewhere", provider.trap)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/jwks"
    finally:
        provider.release.set()
        await runner.cleanup()


@pytest.mark.parametrize("mode", ["huge", "redirect", "error", "slow"])
async def test_a4_a_bad_answer_leaves_the_keys_as_they_were(
    issuer: Issuer, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FETCH_TIMEOUT", 0.5)
    provider = Provider(issuer)
    async with providing(provider) as url:
        keys = KeySet(url, None, fetch_keys)
        assert await keys.find("k1")
        provider.mode = mode
        with anyio.fail_after(10):
            await keys.refresh()
        assert await keys.find("k1")
        assert provider.hits >= 2
        assert provider.elsewhere == 0


async def test_a4_a_flood_of_unknown_keys_is_one_fetch(issuer: Issuer) -> None:
    async with guarded(issuer) as edge:
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 200
        before = issuer.fetched
        tokens = [issuer.token({"kid": f"random-{number}"}) for number in range(100)]
        with anyio.fail_after(30):
            answers = await asyncio.gather(*(listed(edge, f"Bearer {token}") for token in tokens))
        assert {each.status_code for each in answers} == {401}
        assert issuer.fetched - before <= 1


async def test_a4_known_keys_are_good_while_the_issuer_is_away(issuer: Issuer) -> None:
    async with guarded(issuer) as edge:
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 200
        issuer.down = True
        assert (await listed(edge, f"Bearer {issuer.token(jti='2')}")).status_code == 200


async def test_a4_a_rotated_key_is_taken_by_the_first_token_it_signed(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COOLDOWN", 0.0)
    async with guarded(issuer) as edge:
        old = issuer.token(jti="old")
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 200
        issuer.rotate("k2")
        assert (await listed(edge, f"Bearer {issuer.token()}")).status_code == 200
        assert (await listed(edge, f"Bearer {old}")).status_code == 401
