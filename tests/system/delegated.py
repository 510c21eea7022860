"""A gateway whose servers get tokens of callers: its issuer, and servers that note what they are sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import jwt

from tests.broker import free_port
from tests.services.connector.http.peer import Asked, Peer, Reply, modern, serving
from tests.services.edge.auth.issuer import Issuer
from tests.system.gateway import Gateway
from tests.system.parts import witness
from tests.system.wire import answered, ask


def bearer(asked: Asked) -> str:
    return asked.headers.get("authorization", "").removeprefix("Bearer ")


def subject(token: str) -> str:
    """Whose a token is; an exchanged one says so itself."""
    if token.startswith("for-"):
        return token.removeprefix("for-")
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


async def speak(asked: Asked, reply: Reply) -> None:
    """List and run what the caller's token says: one tool for all, one for this caller alone."""
    method, who = asked.message["method"], subject(bearer(asked))
    if method == "tools/list":
        schema = {"type": "object"}
        tools = [
            {"name": name, "description": f"marker of {who}", "inputSchema": schema} for name in _names(who)
        ]
        await reply.result(asked, {"tools": tools, "ttlMs": 0, "cacheScope": "private"})
    elif method == "tools/call":
        name = asked.message["params"]["name"]
        await reply.result(asked, {"content": [{"type": "text", "text": f"{name} by {who}"}]})
    else:
        await reply.result(asked, {})


def _names(who: str) -> list[str]:
    return ["whoami", f"only-{who}"]


@dataclass
class World:
    """The gateway and all it talks to; `down` makes the first server refuse everybody."""

    issuer: Issuer
    forms: list[dict[str, str]] = field(default_factory=list)
    down: bool = False
    plain: Peer = field(init=False)
    exchanging: Peer = field(init=False)
    keys: Peer = field(init=False)
    gateway: Gateway = field(init=False)

    def token(self, who: str, **claims: Any) -> str:
        aud = [self.gateway.url, self.plain.url]
        return self.issuer.token(sub=who, **{"aud": aud, **claims})

    async def serve(self, asked: Asked, reply: Reply) -> None:
        if self.down:
            await reply.json({}, status=503)
        else:
            await modern(speak)(asked, reply)

    async def issue(self, asked: Asked, reply: Reply) -> None:
        if asked.verb == "GET":
            await reply.json({"keys": [self.issuer.jwk]})
            return
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        who = subject(form["subject_token"])
        await reply.json({"access_token": f"for-{who}", "expires_in": 3600})

    async def ask(
        self, who: str | None, method: str, params: dict[str, Any], path: str = ""
    ) -> httpx.Response:
        """The response to one request with the token `who`, None for none."""
        headers = {} if who is None else {"authorization": f"Bearer {who}"}
        async with httpx.AsyncClient(trust_env=False, timeout=30, headers=headers) as client:
            return await ask(client, self.gateway.url + path, method, params)

    async def said(self, token: str, method: str, params: dict[str, Any], path: str = "") -> Any:
        """The result of one request."""
        answer = answered(await self.ask(token, method, params, path))
        assert "result" in answer, answer
        return answer["result"]

    async def tools(self, token: str, path: str = "") -> list[str]:
        return [tool["name"] for tool in (await self.said(token, "tools/list", {}, path))["tools"]]

    async def execute(self, token: str, name: str) -> Any:
        return await self.said(
            token, "tools/call", {"name": "execute", "arguments": {"name": name, "arguments": {}}}
        )

    async def search(self, token: str, query: str) -> Any:
        result = await self.said(
            token, "tools/call", {"name": "search", "arguments": {"query": query, "limit": 50}}
        )
        return result["structuredContent"]["results"]


@contextlib.asynccontextmanager
async def world(folder: Path, *flags: str, settings: str = "", **keys: Any) -> AsyncIterator[World]:
    """`plain` gets tokens as they are, `exchanging` exchanged ones, `quick` is a child as any other."""
    made = World(Issuer())
    async with (
        serving(made.serve) as made.plain,
        serving(modern(speak)) as made.exchanging,
        serving(made.issue) as made.keys,
    ):
        health = f"127.0.0.1:{free_port()}"
        exchange = {
            "type": "token-exchange",
            "client_id": "nexus",
            "client_secret": "s3cret",
            "token_url": f"http://127.0.0.1:{made.keys.port}/token",
        }
        servers = {
            "plain": {"url": made.plain.url, "auth": {"type": "forward"}, **keys},
            "exchanging": {"url": made.exchanging.url, "auth": exchange},
            "quick": witness(),
        }
        gateway = made.gateway = Gateway(folder, servers, "--log", "debug", *flags, health=health)
        gateway.config.write_text(_oauth(made, health) + settings + gateway.config.read_text())
        async with gateway:
            yield made


def _oauth(made: World, health: str) -> str:
    return f"""
[server.health]
listen = {json.dumps(health)}
[server.oauth]
url = "http://127.0.0.1:{made.keys.port}/keys"
[server.oauth.protected_resource]
resource = "http://{made.gateway.address}"
authorization_servers = [{json.dumps(made.issuer.name)}]
"""
