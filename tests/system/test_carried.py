"""Headers of clients, through the whole gateway to a server over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.services.connector.http.peer import Asked, Reply, modern, serving
from tests.system.gateway import Gateway
from tests.system.wire import answered, ask, http, text

pytestmark = [pytest.mark.anyio, pytest.mark.system]

RULES = """[mcp]
headers = [
  { rule = "insert", name = "X-Gateway", value = "nexus" },
  { rule = "forward", name = "X-Tenant", rename = "X-Customer", default = "nobody" },
  { rule = "remove", name = "X-Gateway" },
]
"""


async def _said(asked: Asked, reply: Reply) -> None:
    """Answer a call with the headers that could come from rules or clients."""
    if asked.message["method"] != "tools/call":
        tools = [{"name": "said", "inputSchema": {"type": "object"}}]
        await reply.result(asked, {"resultType": "complete", "tools": tools})
        return
    found = sorted(f"{name}={value}" for name, value in asked.headers.items() if name.startswith("x-"))
    content = [{"type": "text", "text": " ".join(found)}]
    await reply.result(asked, {"resultType": "complete", "content": content})


async def _call(gateway: Gateway, **headers: str) -> str:
    async with http(10) as client:
        client.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        params = {"name": "execute", "arguments": {"name": "far__said", "arguments": {}}}
        return text(answered(await ask(client, gateway.url, "tools/call", params)))


async def test_each_client_is_told_by_its_own_headers_and_by_no_others(tmp_path: Path) -> None:
    async with (
        serving(modern(_said)) as peer,
        Gateway(tmp_path, {"far": {"url": peer.url}}, settings=RULES) as gateway,
    ):
        names = [f"tenant-{number}" for number in range(6)]
        said = await asyncio.gather(*(_call(gateway, x_tenant=name, x_stray="1") for name in names))
        assert said == [f"x-customer={name}" for name in names]
        assert await _call(gateway) == "x-customer=nobody"
