"""What operators were granted: sealed, bound to its server, and changed by one at a time."""

from __future__ import annotations

import time

import pytest

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.kv import Bucket
from libs.common.oauth.tokens import Client, Token
from libs.common.oauth.vault import Grant, Vault
from libs.common.service import snapshots

pytestmark = pytest.mark.anyio
KEYS = (b"k" * 32,)
URL = "https://mcp.example/mcp"
GRANT = Grant(Client("me", "s3cret"), Token("access", refresh="again"), "https://as.example/token")


async def written(vault: Vault, grant: Grant = GRANT) -> None:
    await vault.write("peer", URL, grant)
    while vault.read("peer", URL) != grant:
        await vault.change(5)


async def test_a_grant_is_read_back_and_its_value_shows_nothing(bus: Bus) -> None:
    vault = Vault(bus, KEYS)
    async with snapshots(vault.snapshot):
        assert vault.read("peer", URL) is None
        await written(vault)
        kv = await Bucket(bus, subjects.CREDENTIALS, owner=True).open()
        stored = (await kv.get("peer")).value or b""
        assert not any(word in stored for word in (b"access", b"again", b"s3cret"))


async def test_a_grant_is_unknown_at_another_url_and_with_another_key(bus: Bus) -> None:
    vault, stranger = Vault(bus, KEYS), Vault(bus, (b"x" * 32,))
    async with snapshots(vault.snapshot, stranger.snapshot):
        await written(vault)
        assert vault.read("peer", "https://evil.example/mcp") is None
        while "peer" not in stranger.snapshot.values:
            await stranger.change(5)
        assert stranger.read("peer", URL) is None


async def test_of_two_that_change_a_grant_at_once_one_is_told_that_it_was_late(bus: Bus, other: Bus) -> None:
    one, two = Vault(bus, KEYS), Vault(other, KEYS)
    async with snapshots(one.snapshot, two.snapshot):
        await written(one)
        while two.read("peer", URL) is None:
            await two.change(5)
        busy = time.time() + 5
        revision = two.snapshot.revisions["peer"]
        assert await one.replace("peer", URL, busy_until=busy)
        two.snapshot.revisions["peer"] = revision
        assert not await two.replace("peer", URL, busy_until=busy)


async def test_a_long_token_fits(bus: Bus) -> None:
    vault = Vault(bus, KEYS)
    async with snapshots(vault.snapshot):
        await written(vault, Grant(Client("me"), Token("t" * 60_000), "https://as.example/token"))
