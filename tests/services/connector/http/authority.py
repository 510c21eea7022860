"""A server that wants tokens, and an authorization server that gives them, both as real HTTP servers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from tests.services.connector.http.peer import Asked, Peer, Reply, Script, echo, modern, serving

Answer = Callable[[dict[str, str]], dict[str, Any]]


@dataclass
class World:
    """Both servers; tests change what they accept and give."""

    accepted: set[str] = field(default_factory=lambda: {"token-1"})
    forms: list[dict[str, str]] = field(default_factory=list)
    challenge: str = ""
    answer: Answer | None = None
    """What the token endpoint says to a form; None gives `token-1`, `token-2`, …"""
    life: float = 3600
    call: Script = echo
    """What the server does for those it accepts."""
    server: Peer = field(init=False)
    issuer: Peer = field(init=False)

    @property
    def name(self) -> str:
        """The issuer."""
        return f"http://127.0.0.1:{self.issuer.port}"

    @property
    def metadata(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/about"

    async def serve(self, asked: Asked, reply: Reply) -> None:
        if asked.path == "/about":
            await reply.json({"resource": self.server.url, "authorization_servers": [self.name]})
        elif asked.headers.get("authorization", "").removeprefix("Bearer ") in self.accepted:
            await modern(self.call)(asked, reply)
        else:
            said = self.challenge or f'Bearer resource_metadata="{self.metadata}"'
            await reply.json({}, status=401, www_authenticate=said)

    async def issue(self, asked: Asked, reply: Reply) -> None:
        if asked.verb == "GET":
            await reply.json({"issuer": self.name, "token_endpoint": f"{self.name}/token"})
            return
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        if self.answer is not None:
            said = self.answer(form)
            await reply.json(said, status=400 if "error" in said else 200)
            return
        await reply.json({"access_token": f"token-{len(self.forms)}", "expires_in": self.life})


@contextlib.asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    """Both servers on free ports of the loopback."""
    made = World(**settings)
    async with serving(made.serve) as made.server, serving(made.issue) as made.issuer:
        yield made
