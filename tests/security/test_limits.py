"""Limits of a whole gateway, as its clients meet them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.gateway import Gateway, eventually
from tests.system.parts import witness
from tests.system.wire import ask, begin, called, http
from tests.valkey import Valkey

pytestmark = [pytest.mark.anyio, pytest.mark.system]

ECHO = {"name": "execute", "arguments": {"name": "peer__echo", "arguments": {}}}


def rate(limit: int, interval: str = "1h") -> dict[str, Any]:
    return {"limit": limit, "interval": interval}


async def test_l10_l11_limits_hold_on_every_way_in_and_are_told(tmp_path: Path) -> None:
    """The name in a header chooses no counter: one that differs from the body's is refused as such."""
    peer = witness(rate_limits={"tools": {"echo": rate(3)}})
    settings = '[server.rate_limits]\nenabled = true\nper_ip = { limit = 9, interval = "1h" }\n'
    async with Gateway(tmp_path, {"peer": peer}, settings=settings) as gateway, http() as client:
        echo = {"name": "echo", "arguments": {}}
        session = await begin(client, gateway.url)
        answers = [
            await ask(client, gateway.url, "tools/call", ECHO),
            await ask(client, f"{gateway.url}/peer", "tools/call", echo),
            await client.post(gateway.url, json=called(1, "peer__echo"), headers=session),
        ]
        assert all("result" in answer.json() for answer in answers)
        for url, params in ((gateway.url, ECHO), (f"{gateway.url}/peer", echo)):
            refused = await ask(client, url, "tools/call", params)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["data"]["scope"]) == (200, -31007, "tool")
            assert 0 < error["data"]["retry_after_ms"] <= 3_600_000
        for _ in range(6):
            searched = {"name": "search", "arguments": {"query": "echo"}}
            assert "result" in (await ask(client, gateway.url, "tools/call", searched)).json()
        refused = await ask(client, gateway.url, "tools/call", ECHO)
        assert refused.status_code == 429
        assert 3_500 < int(refused.headers["retry-after"]) <= 3_600
        assert refused.headers["ratelimit-policy"] == "9;w=3600"
        assert refused.json()["error"]["data"]["scope"] == "ip"


async def test_l6_whoever_waits_as_told_is_let_in(tmp_path: Path) -> None:
    peer = witness(rate_limits=rate(1, "2s"))
    async with Gateway(tmp_path, {"peer": peer}) as gateway, http() as client:
        assert "result" in (await ask(client, gateway.url, "tools/call", ECHO)).json()
        error = (await ask(client, gateway.url, "tools/call", ECHO)).json()["error"]
        await asyncio.sleep(error["data"]["retry_after_ms"] / 1000)
        assert "result" in (await ask(client, gateway.url, "tools/call", ECHO)).json()


async def test_l7_a_storage_killed_under_load_fails_no_call(tmp_path: Path, valkey: Valkey) -> None:
    settings = (
        '[server.rate_limits]\nenabled = true\nglobal = { limit = 100000, interval = "1h" }\n'
        f'storage = {{ type = "redis", url = "{valkey.url}" }}\n'
    )
    statuses: list[int] = []
    async with Gateway(tmp_path, {"peer": witness()}, "--scale", "router=2", settings=settings) as gateway:

        async def caller() -> None:
            async with http() as client:
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    answer = await ask(client, gateway.url, "tools/call", ECHO)
                    statuses.append(answer.status_code if "result" in answer.json() else 0)

        callers = [asyncio.create_task(caller()) for _ in range(4)]
        await eventually(lambda: len(statuses) > 20, 10)
        valkey.stop()
        await gateway.said("the storage of rate limits is down")
        valkey.start()
        await gateway.said("the storage of rate limits is back")
        await asyncio.gather(*callers)
    assert set(statuses) == {200}
