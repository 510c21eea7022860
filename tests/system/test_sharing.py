"""Callers with sessions of their own on a fleet: each keeps its process, until its connector dies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx
import psutil
import pytest

from tests.system.gateway import Gateway
from tests.system.parts import witness
from tests.system.wire import answered, begin, called, http, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

CLIENTS = 6
BACK_WITHIN = 15.0
"""Seconds in which a caller has a session again: the record of a dead worker lasts for four."""

Headers = dict[str, str]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    servers = {"peer": witness(sharing="per-session")}
    folder = tmp_path_factory.mktemp("sharing")
    async with Gateway(folder, servers, "--scale", "connector=2,edge=2") as gateway:
        await gateway.until(lambda page: len(page["servers"]["peer"]["workers"]) == 2)
        yield gateway


async def pid(client: httpx.AsyncClient, url: str, headers: Headers) -> int:
    """The process this client talks to; asked again while the call is refused."""
    with anyio.fail_after(BACK_WITHIN):
        while True:
            answer = answered(await client.post(url, json=called(1, "peer__pid"), headers=headers))
            if "result" in answer:
                return int(text(answer))
            assert verdict(answer) == "no", answer


async def test_every_client_keeps_its_process_until_its_connector_dies(gateway: Gateway) -> None:
    async with http() as client:
        headers = [await begin(client, gateway.url) for _ in range(CLIENTS)]
        pids = [await pid(client, gateway.url, each) for each in headers]
        assert len(set(pids)) == CLIENTS
        for _ in range(3):
            assert [await pid(client, gateway.url, each) for each in headers] == pids
        victim = psutil.Process(pids[0]).parent()
        assert victim is not None
        lost = {child.pid for child in victim.children()}
        await gateway.killed(victim)
        after = [await pid(client, gateway.url, each) for each in headers]
    for before, now in zip(pids, after, strict=True):
        assert (before != now) == (before in lost)
