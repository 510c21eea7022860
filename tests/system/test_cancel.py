"""A client that stops waiting stops the work: the downstream server is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from tests.system.gateway import Gateway, only
from tests.system.parts import Journal, witness
from tests.system.wire import begin, called, execute, http, modern, text

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("cancel")
    async with Gateway(folder, {"peer": witness(_journal(folder).flag)}, "--scale", "edge=2") as gateway:
        yield gateway


@pytest.fixture
def journal(gateway: Gateway) -> Journal:
    return _journal(gateway.folder)


def _journal(folder: Path) -> Journal:
    return Journal(folder / "journal")


async def test_a_modern_client_that_hangs_up_cancels_its_call(gateway: Gateway, journal: Journal) -> None:
    before = len(journal.entries("cancelled"))
    arguments = {"name": "peer__wait", "arguments": {"seconds": 30, "tag": "modern"}}
    body, headers = modern("tools/call", {"name": "execute", "arguments": arguments})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_post, gateway.url, body, headers)
        await journal.saw("waiting", "modern")
        tasks.cancel_scope.cancel()
    await journal.saw("cancelled", times=before + 1, within=3)
    assert text(await execute(gateway.url, "peer__echo")) == "{}"


async def _post(url: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    async with http(60) as client:
        await client.post(url, json=body, headers=headers)


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_the_python_client_cancels_what_it_abandons(
    gateway: Gateway, journal: Journal, mode: str
) -> None:
    before = len(journal.entries("cancelled"))
    with anyio.fail_after(20):
        async with Client(gateway.url, mode=mode) as client:
            async with anyio.create_task_group() as tasks:
                arguments = {"name": "peer__wait", "arguments": {"seconds": 30, "tag": mode}}
                tasks.start_soon(client.call_tool, "execute", arguments)
                await journal.saw("waiting", mode)
                tasks.cancel_scope.cancel()
            await journal.saw("cancelled", times=before + 1, within=3)


async def test_a_legacy_call_is_cancelled_through_a_replica_that_does_not_run_it(
    gateway: Gateway, journal: Journal
) -> None:
    before = len(journal.entries("cancelled"))
    edges = gateway.services("edge")
    statuses: list[int] = []
    async with http(60) as client, http() as other, anyio.create_task_group() as tasks:
        with only(edges[0], edges):
            headers = await begin(client, gateway.url)
            message = called(7, "peer__wait", {"seconds": 30, "tag": "legacy"})
            tasks.start_soon(_statuses, client, gateway.url, message, headers, statuses)
            await journal.saw("waiting", "legacy")
        with only(edges[1], edges):
            cancel = {"requestId": 7, "reason": "changed my mind"}
            notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel}
            assert (await other.post(gateway.url, json=notice, headers=headers)).status_code == 202
        await journal.saw("cancelled", times=before + 1, within=3)
    assert statuses == [202]


async def _statuses(
    client: httpx.AsyncClient,
    url: str,
    message: dict[str, Any],
    headers: dict[str, str],
    statuses: list[int],
) -> None:
    statuses.append((await client.post(url, json=message, headers=headers)).status_code)


async def test_a_foreign_session_cannot_cancel_a_call(gateway: Gateway, journal: Journal) -> None:
    async with http(60) as client, http() as stranger, anyio.create_task_group() as tasks:
        headers = await begin(client, gateway.url)
        others = await begin(stranger, gateway.url)
        message = called(77, "peer__wait", {"seconds": 2, "tag": "mine"})
        statuses: list[int] = []
        tasks.start_soon(_statuses, client, gateway.url, message, headers, statuses)
        await journal.saw("waiting", "mine")
        notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}
        assert (await stranger.post(gateway.url, json=notice, headers=others)).status_code == 202
        await journal.saw("waited", "mine")
    assert statuses == [200]
