"""Requests to addresses others named: what is refused before a byte leaves, and what is survived."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509

from libs.common.outbound import FetchFailed, Reply, fetch, host_of
from tests.services.connector.http.peer import Asked, serving
from tests.services.connector.http.peer import Reply as Way
from tests.services.connector.http.test_tls import Authority

pytestmark = pytest.mark.anyio

NEAR = frozenset({"127.0.0.1", "localhost"})


async def hello(asked: Asked, reply: Way) -> None:
    await reply.json({"path": asked.path, "body": asked.body.decode(), "sent": asked.headers})


async def refused(url: str, words: str, **more: Any) -> None:
    with anyio.fail_after(5), pytest.raises(FetchFailed, match=words) as told:
        await fetch(url, **more)
    assert "secret" not in str(told.value)


async def test_an_answer_comes_back_whatever_its_status() -> None:
    async def script(asked: Asked, reply: Way) -> None:
        await reply.json({"error": "no"}, status=400, x_more="y")

    async with serving(script) as peer:
        reply = await fetch(peer.url, near=NEAR)
    assert reply == Reply(400, reply.headers, b'{"error": "no"}')
    assert reply.headers["x-more"] == "y"


async def test_a_form_and_headers_are_sent_and_no_packed_answer_is_asked_for() -> None:
    async with serving(hello) as peer:
        reply = await fetch(peer.url, method="POST", data={"a": "1 2"}, headers={"x-a": "b"}, near=NEAR)
    said = json.loads(reply.body)
    assert said["body"] == "a=1+2"
    assert said["sent"]["x-a"] == "b"
    assert said["sent"]["accept-encoding"] == "identity"


SPELLINGS = ["127.0.0.1", "127.1", "0177.0.0.1", "0x7f.1", "2130706433", "LOCALHOST", "ⓛocalhost"]
SPELLINGS += ["127。0。0。1", "①②⑦.0.0.1", "[::1]", "[::ffff:127.0.0.1]"]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_this_machine_is_asked(host: str) -> None:
    async with serving(hello) as peer:
        for scheme in ("https", "http"):
            with pytest.raises(FetchFailed):
                await fetch(f"{scheme}://{host}:{peer.port}/secret")
        assert peer.connections == 0


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "10.0.0.1", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]"]
)
async def test_a_private_address_is_refused_unless_its_host_is_configured(address: str) -> None:
    await refused(f"https://{address}/secret", "not public")


async def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    async def find(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "192.168.1.1"]

    await refused("https://mixed.example/", "not public", find=find)


async def test_a_name_is_looked_up_once_and_the_checked_address_is_used() -> None:
    asked = []

    async def find(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with serving(hello) as peer:
        url = f"http://as.example:{peer.port}/x"
        reply = await fetch(url, near={"as.example"}, find=find)
    assert asked == ["as.example"]
    assert json.loads(reply.body)["sent"]["host"].startswith("as.example")


async def test_plain_http_is_for_the_loopback_only() -> None:
    await refused("http://10.0.0.1/secret", "http://", near={"10.0.0.1"})


@pytest.mark.parametrize(
    "url", ["ftp://x/", "file:///etc/passwd", "https:///x", "http://[", "gopher://x", ""]
)
async def test_what_is_no_https_url_is_refused(url: str) -> None:
    with pytest.raises(FetchFailed):
        await fetch(url)


async def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    await refused("https://user:secret@example.com/", "holds a user or a password")


async def test_a_redirect_is_not_followed() -> None:
    async def script(asked: Asked, reply: Way) -> None:
        await reply.json({}, status=302, location=f"http://127.0.0.1:{peer.port}/elsewhere")

    async with serving(script) as peer:
        assert (await fetch(peer.url, near=NEAR)).status == 302
        assert [asked.path for asked in peer.asked] == ["/mcp"]


async def test_an_endless_answer_is_cut_off() -> None:
    async def script(asked: Asked, reply: Way) -> None:
        await reply.events()
        while not reply.gone.is_set():
            await reply.chunk(b"x" * 4096)

    async with serving(script) as peer:
        await refused(peer.url, "more than 65536 bytes", near=NEAR)


async def test_an_answer_of_exactly_the_limit_is_taken() -> None:
    async def script(asked: Asked, reply: Way) -> None:
        await reply.body(b"x" * 100)

    async with serving(script) as peer:
        assert len((await fetch(peer.url, near=NEAR, limit=100)).body) == 100
        await refused(peer.url, "more than 99 bytes", near=NEAR, limit=99)


async def test_a_silent_host_is_given_up_in_time() -> None:
    async def script(asked: Asked, reply: Way) -> None:
        await reply.gone.wait()

    async with serving(script) as peer:
        await refused(peer.url, "did not answer within 0.1 s", near=NEAR, timeout=0.1)


async def test_a_lookup_that_hangs_is_given_up_in_time() -> None:
    async def find(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    await refused("https://example.com/", "did not answer", find=find, timeout=0.1)


async def test_a_dead_host_and_an_unknown_one_are_told_apart() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    async with serving(hello) as peer:
        url = peer.url
    await refused(url, "could not be connected to", near=NEAR)
    await refused("https://nowhere.example/", "cannot be found", find=nowhere)


async def test_a_certificate_is_verified_against_the_name_that_was_asked_for(tmp_path: Path) -> None:
    async def find(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    authority = Authority(tmp_path)
    issued = authority.issue("as", x509.DNSName("as.example"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.cert, issued.key)
    trusting = ssl.create_default_context(cafile=authority.own.cert)
    async with serving(hello, context) as peer:
        url = f"https://as.example:{peer.port}/"
        near = {"as.example", "other.example"}
        assert (await fetch(url, near=near, find=find, tls=trusting)).status == 200
        await refused(url, "certificate", near=near, find=find)
        other = url.replace("as.example", "other.example")
        await refused(other, "certificate", near=near, find=find, tls=trusting)


def test_the_host_of_a_url_is_told_in_one_spelling() -> None:
    assert host_of("HTTPS://As.Example:8443/x") == "as.example"
    assert host_of("http://[::1]:80/") == "::1"
    assert host_of("http://[") == ""
