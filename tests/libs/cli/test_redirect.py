"""The page a browser comes back to, and visitors that were not sent by anybody."""

from __future__ import annotations

import asyncio

import anyio
import httpx
import pytest

from libs.cli import redirect
from libs.cli.redirect import Redirect

pytestmark = pytest.mark.anyio


async def visit(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return await client.get(url)


async def test_what_the_browser_brings_along_is_given_once() -> None:
    async with Redirect() as page:
        answer = await visit(f"{page.url}?code=c&state=s&iss=https%3A%2F%2Fas.example")
        assert answer.status_code == 200
        assert "logged in" in answer.text
        await visit(f"{page.url}?code=forged&state=s")
        found = await page.parameters(5)
    assert found == {"code": "c", "state": "s", "iss": "https://as.example"}


async def test_a_refusal_is_given_too_and_a_parameter_that_comes_twice_is_not() -> None:
    async with Redirect() as page:
        assert "did not succeed" in (await visit(f"{page.url}?error=access_denied&code=a&code=b")).text
        assert await page.parameters(5) == {"error": "access_denied"}


async def test_other_paths_and_what_is_no_request_end_nothing() -> None:
    async with Redirect() as page:
        assert (await visit(page.url.replace("/callback", "/favicon.ico"))).status_code == 404
        reader, writer = await asyncio.open_connection("127.0.0.1", int(page.url.split(":")[2].split("/")[0]))
        writer.write(b"\xff\xff\r\n")
        with anyio.fail_after(5):
            assert await reader.read() == b""
        writer.close()
        await visit(f"{page.url}?code=c")
        assert await page.parameters(5) == {"code": "c"}


async def test_a_browser_that_never_comes_is_waited_for_in_bounds() -> None:
    async with Redirect() as page:
        with pytest.raises(TimeoutError):
            await page.parameters(0.01)


async def test_a_visitor_that_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redirect, "READ_WITHIN", 0.05)
    async with Redirect() as page:
        port = int(page.url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with anyio.fail_after(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with Redirect() as first:
        with pytest.raises(OSError, match="address already in use"):
            async with Redirect(int(first.url.split(":")[2].split("/")[0])):
                pass
