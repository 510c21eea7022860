"""A login by the SDK's client, as an application would do it; the person and the browser are played here.

`python -m tests.system.login URL TOOL [JSON]` logs in and runs one tool of the gateway at URL.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp_types import TextContent
from pydantic import AnyUrl

CALLBACK = "http://127.0.0.1:33418/callback"
"""Nobody listens there: the browser stops when it is sent to it."""
REDIRECTS_MAX = 10


class Wallet:
    """What the client has been given so far: tokens, oldest first, and itself as the issuer knows it."""

    def __init__(self) -> None:
        self.tokens: list[OAuthToken] = []
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens[-1] if self.tokens else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens.append(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """Goes where it is sent, with cookies, until that is back at the client; notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self._cookies = httpx.Cookies()
        self._back = ""

    async def open(self, url: str) -> None:
        self.asked.append(_query(url))
        async with httpx.AsyncClient(trust_env=False, timeout=30, cookies=self._cookies) as client:
            for _ in range(REDIRECTS_MAX):
                answer = await client.get(url)
                assert answer.is_redirect, f"{answer.status_code} at {url}: {answer.text}"
                url = str(httpx.URL(url).join(answer.headers["location"]))
                if url.startswith(CALLBACK):
                    self._cookies, self._back = client.cookies, url
                    return
        raise AssertionError(f"redirected more than {REDIRECTS_MAX} times, at last to {url}")

    async def back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult.model_validate(_query(self._back))


@asynccontextmanager
async def logged_in(
    url: str, wallet: Wallet, browser: Browser, *, mode: str = "auto"
) -> AsyncIterator[Client]:
    """A client of the MCP server at `url`, which logs in as soon as that wants it."""
    wanted = OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none")
    auth = OAuthClientProvider(url, wanted, wallet, browser.open, browser.back)
    async with (
        httpx2.AsyncClient(auth=auth, trust_env=False, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def claims(token: str) -> dict[str, Any]:
    """What a token says; nothing is verified."""
    middle = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))


async def main(url: str, tool: str, arguments: str = "{}") -> None:
    """Print what was asked for and given on the way, then the result."""
    wallet, browser = Wallet(), Browser()
    async with logged_in(url, wallet, browser) as client:
        result = await client.call_tool("execute", {"name": tool, "arguments": json.loads(arguments)})
    for asked, given in zip(browser.asked, wallet.tokens, strict=True):
        said = claims(given.access_token)
        print(f"asked for the scopes {asked['scope']} at {asked['resource']}")
        print(f"got a token for {said['sub']} with {said['scope']}, good at {said['aud']}")
    print(*(each.text for each in result.content if isinstance(each, TextContent)), sep="\n")


def _query(url: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
