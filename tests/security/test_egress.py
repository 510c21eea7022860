"""Where the gateway connects to of its own: nowhere but to what was configured, checked and verified."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from cryptography import x509

from libs.common.errors import Refused, ServerUnavailable
from libs.common.outbound import FetchFailed, fetch
from libs.common.outbound.addresses import is_public
from services.connector.http import HttpSession
from tests.services.connector.http.conftest import Heard, call, opened, server, text_of
from tests.services.connector.http.peer import Asked, Peer, Reply, echo, modern, serving
from tests.services.connector.http.test_sse import Bus, open_at, sse
from tests.services.connector.http.test_tls import Authority, secured

pytestmark = pytest.mark.anyio

SPELLINGS = ["127.1", "0177.0.0.1", "0x7f.1", "2130706433", "LOCALHOST", "ⓛocalhost", "127。0。0。1"]
SPELLINGS += ["①②⑦.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]
SPECIAL = ["64:ff9b::a9fe:a9fe", "2002:7f00:1::", "192.88.99.1", "224.0.0.1", "169.254.169.254", "fd00::1"]
TOKEN = "Bearer hidden-token"


@asynccontextmanager
async def spying() -> AsyncIterator[Peer]:
    """A server nobody may reach."""
    async with serving(modern(echo)) as spy:
        yield spy
        assert (spy.connections, spy.asked) == (0, [])


@pytest.mark.parametrize("host", SPELLINGS)
async def test_d1_no_spelling_of_this_machine_gets_a_connection(host: str) -> None:
    async with spying() as spy:
        with anyio.fail_after(5), pytest.raises(FetchFailed):
            await fetch(f"https://{host}:{spy.port}/keys")


@pytest.mark.parametrize("address", SPECIAL)
def test_d1_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


async def test_d1_a_name_that_changes_its_address_is_asked_for_once() -> None:
    """Public at the first look, this machine at the second: there is no second look."""
    looks = 0

    async def find(host: str, port: int) -> list[str]:
        nonlocal looks
        looks += 1
        return ["192.0.2.1" if looks == 1 else "127.0.0.1"]

    async with spying() as spy:
        url = f"https://rebinding.example:{spy.port}/keys"
        with anyio.fail_after(5), pytest.raises(FetchFailed):
            await fetch(url, near={"rebinding.example"}, find=find, timeout=0.5)
    assert looks == 1


async def test_d2_a_redirect_carries_no_credential_to_another_origin() -> None:
    async with spying() as spy:

        async def move(asked: Asked, reply: Reply) -> None:
            await reply.json({}, status=307, location=spy.url)

        async with serving(modern(move)) as peer, opened(peer.url, {"authorization": TOKEN}) as session:
            with pytest.raises(Refused, match="final URL") as caught:
                await call(session)
    assert caught.value.executed == "no"


async def test_d2_a_redirect_within_the_origin_is_not_followed_either() -> None:
    async def move(asked: Asked, reply: Reply) -> None:
        await reply.json({}, status=308, location="/moved/mcp")

    async with serving(modern(move)) as peer, opened(peer.url, {"authorization": TOKEN}) as session:
        with pytest.raises(Refused, match="final URL"):
            await call(session)
        assert not [asked for asked in peer.asked if asked.path.startswith("/moved")]


async def test_d3_an_endpoint_at_another_origin_gets_nothing() -> None:
    async with spying() as spy:
        bus = Bus()
        bus.endpoint = f"http://127.0.0.1:{spy.port}/messages"
        async with serving(sse(bus, echo)) as peer:
            with pytest.raises(ServerUnavailable, match="another origin"):
                await open_at(peer.url)


LOCAL = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")


@pytest.mark.parametrize(
    ("name", "alone", "days"), [(LOCAL, True, 1), (ELSEWHERE, False, 1), (LOCAL, False, -1)]
)
async def test_d5_a_certificate_that_cannot_be_verified_ends_the_connection(
    tmp_path: Path, name: x509.GeneralName, alone: bool, days: int
) -> None:
    """Self-signed, for another host, expired; each although its authority is trusted, where it has one."""
    authority = Authority(tmp_path)
    issued = authority.issue("s", name, alone=alone, days=days)
    async with secured(issued) as peer:
        tls = {"root_ca_cert_path": str(authority.own.cert)}
        session = HttpSession(server(peer.url, tls=tls), {"authorization": TOKEN}, Heard())
        with pytest.raises(ServerUnavailable, match="certificate") as caught:
            await session.open()
        assert "hidden-token" not in caught.value.message
        assert str(issued.key) not in caught.value.message
        assert peer.asked == []


async def test_d5_verification_is_on_unless_switched_off_by_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with secured(authority.issue("s", ELSEWHERE, alone=True)) as peer:
        with pytest.raises(ServerUnavailable, match="certificate"):
            await HttpSession(server(peer.url), {}, Heard()).open()
        session = HttpSession(server(peer.url, tls={"verify_certs": False}), {}, Heard())
        await session.open()
        assert text_of(await call(session, "x")) == "x"
        await session.close()
