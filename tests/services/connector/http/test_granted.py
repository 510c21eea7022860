"""Tokens an operator was granted: replaced by one connector of the fleet, given up with a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.common.bus import Bus
from libs.common.config import HttpServer, OperatorLogin
from libs.common.errors import Refused
from libs.common.oauth.challenge import Challenge
from libs.common.oauth.tokens import Client, Token
from libs.common.oauth.vault import Grant, Vault
from libs.common.service import snapshots
from services.connector import detect
from services.connector.granted import Granted
from tests.services.connector.http.authority import World, world
from tests.services.connector.http.conftest import Heard, call, server, text_of

pytestmark = pytest.mark.anyio
KEYS = (b"k" * 32,)
PAST = 1.0


def configured(place: World) -> HttpServer:
    return server(place.server.url, auth={"type": "oauth"})


def granted(config: HttpServer, vault: Vault | None) -> Granted:
    assert isinstance(config.auth, OperatorLogin)
    return Granted(config, config.auth, vault)


def grant(place: World, **token: Any) -> Grant:
    made = Token(**{"access": "token-1", "refresh": "again-0", **token})
    return Grant(Client("me", method="none"), made, f"{place.name}/token", place.name, place.server.url)


def rotating(form: dict[str, str]) -> dict[str, Any]:
    """Refresh tokens that are good once: `again-0` gives `token-1` and `again-1`."""
    number = int(form["refresh_token"].rpartition("-")[2]) + 1
    return {"access_token": f"token-{number}", "refresh_token": f"again-{number}", "expires_in": 3600}


@contextlib.asynccontextmanager
async def opened(bus: Bus, config: HttpServer, stored: Grant | None = None) -> AsyncIterator[Vault]:
    vault = Vault(bus, KEYS)
    async with snapshots(vault.snapshot):
        if stored is not None:
            await vault.write(config.name, config.url, stored)
            while vault.read(config.name, config.url) != stored:
                await vault.change(5)
        yield vault


async def test_a_granted_token_is_used(bus: Bus) -> None:
    async with world() as place:
        config = configured(place)
        async with opened(bus, config, grant(place)) as vault:
            session, _ = await detect.connect(config, Heard(), bearer=granted(config, vault))
            assert text_of(await call(session)) == "hello"
            await session.close()
        assert place.forms == []


async def test_without_a_grant_nothing_is_sent_and_the_error_says_what_to_run(bus: Bus) -> None:
    async with world() as place:
        config = configured(place)
        async with opened(bus, config) as vault:
            with pytest.raises(Refused, match="nexus login peer"):
                await granted(config, vault).token()
        with pytest.raises(Refused, match=r"seal\.keys"):
            await granted(config, None).token()


async def test_of_a_fleet_one_connector_uses_a_refresh_token_and_all_use_what_it_gave(
    bus: Bus, other: Bus
) -> None:
    async with world(answer=rotating) as place:
        config = configured(place)
        stale = grant(place, access="old", renew_at=PAST)
        async with opened(bus, config, stale) as one, opened(other, config) as two:
            while two.read(config.name, config.url) is None:
                await two.change(5)
            givers = [granted(config, one), granted(config, two)]
            found = await asyncio.gather(*(giver.token() for giver in givers for _ in range(5)))
        assert set(found) == {"token-1"}
        assert [form["refresh_token"] for form in place.forms] == ["again-0"]


async def test_a_token_that_is_refused_is_replaced_once(bus: Bus) -> None:
    async with world(answer=rotating, accepted={"token-1"}) as place:
        config = configured(place)
        async with opened(bus, config, grant(place, access="revoked")) as vault:
            session, _ = await detect.connect(config, Heard(), bearer=granted(config, vault))
            assert text_of(await call(session)) == "hello"
            await session.close()
            kept = vault.read(config.name, config.url)
        assert kept is not None
        assert (kept.token.refresh, kept.busy_until, len(place.forms)) == ("again-1", 0.0, 1)


async def test_a_refresh_token_that_is_no_longer_good_calls_for_the_operator(bus: Bus) -> None:
    async with world(answer=lambda form: {"error": "invalid_grant"}) as place:
        config = configured(place)
        async with opened(bus, config, grant(place, access="old", renew_at=PAST)) as vault:
            with pytest.raises(Refused, match="nexus login peer"):
                await granted(config, vault).token()
            kept = vault.read(config.name, config.url)
            with pytest.raises(Refused, match="nexus login peer"):
                await granted(config, vault).token()
        assert kept is not None
        assert kept.challenge == Challenge(401)
        assert len(place.forms) == 1


async def test_a_token_that_may_too_little_is_noted_with_what_is_wanted(bus: Bus) -> None:
    more = Challenge(403, "insufficient_scope", "write")
    async with world() as place:
        config = configured(place)
        async with opened(bus, config, grant(place)) as vault:
            giver = granted(config, vault)
            with pytest.raises(Refused, match="may do more"):
                await giver.refused(await giver.token(), more)
            kept = vault.read(config.name, config.url)
            assert kept is not None
            assert kept.challenge == more
            assert not await giver.refused("token-1", Challenge(403))


async def test_what_a_dead_connector_began_is_taken_up_by_another(bus: Bus) -> None:
    async with world(answer=rotating) as place:
        config = configured(place)
        stale = grant(place, access="old", renew_at=PAST)
        begun = Grant(stale.client, stale.token, stale.endpoint, busy_until=time.time() + 0.3)
        async with opened(bus, config, begun) as vault:
            assert await granted(config, vault).token() == "token-1"
