"""Many clients that listen to one server over a real bus: what they share, and what they live through."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import raw
from libs.common.config import StdioServer
from libs.common.errors import NexusError
from libs.common.messages.calls import Call
from tests.broker import Broker
from tests.services.connector.parts import CHILDREN, child
from tests.services.connector.world import Connector, Watcher, connecting, lister, tool, use, watching

pytestmark = pytest.mark.anyio

TOOLS = "notifications/tools/list_changed"
RESOURCES = "notifications/resources/list_changed"
UPDATED = "notifications/resources/updated"


@pytest.fixture
async def connector(broker: Broker) -> AsyncIterator[Connector]:
    async with connecting(broker) as connector:
        yield connector


@pytest.fixture
async def watcher(broker: Broker) -> AsyncIterator[Watcher]:
    async with watching(broker) as watcher:
        yield watcher


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


def teller() -> StdioServer:
    cmd = (sys.executable, str(CHILDREN / "teller.py"))
    return child().model_copy(update={"cmd": cmd, "era": "modern"})


class Client:
    """One stream over the bus, and what it heard after the acknowledgement."""

    def __init__(self, client: rpc.Client, **wanted: Any) -> None:
        self.heard: list[Any] = []
        self.news = asyncio.Event()
        params = raw({"notifications": wanted})
        message = Call("child", "subscriptions/listen", time.time() + 60, params)
        self.task = asyncio.ensure_future(
            client.request(subjects.call("child"), message, deadline=message.deadline, on_event=self._hear)
        )

    def _hear(self, event: Raw) -> None:
        self.heard.append(json.loads(bytes(event)))
        self.news.set()

    @property
    def told(self) -> list[str]:
        return [each["params"].get("uri", each["method"]) for each in self.heard[1:]]

    async def until(self, true: Callable[[], Any]) -> None:
        with anyio.fail_after(20):
            while not true():
                self.news.clear()
                await self.news.wait()

    async def began(self) -> None:
        await self.until(lambda: self.heard)
        assert self.heard[0]["method"] == "notifications/subscriptions/acknowledged"

    async def hears(self, *told: str) -> None:
        await self.until(lambda: self.told == [*told])

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def streams(client: rpc.Client) -> Any:
    return json.loads(await use(client, "streams"))


async def test_twenty_clients_are_one_stream_to_a_modern_server(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(teller())
    await watcher.until(watcher.is_ready)
    listeners = [Client(client, toolsListChanged=True, resourceSubscriptions=["x:1"]) for _ in range(20)]
    for each in listeners:
        await each.began()
    with anyio.fail_after(10):
        while len((now := await streams(client))["open"]) > 1:
            await anyio.sleep(0.05)
    assert now["open"] == [{"toolsListChanged": True, "resourceSubscriptions": ["x:1"]}]
    assert now["opened"] <= 3
    await use(client, "tell", {"method": UPDATED, "params": {"uri": "x:1"}})
    for each in listeners:
        await each.hears("x:1")
        await each.stop()
    with anyio.fail_after(10):
        while (await streams(client))["open"] != [{"toolsListChanged": True}]:
            await anyio.sleep(0.05)


async def test_listeners_to_a_modern_server_live_through_its_crash(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(teller())
    await watcher.until(watcher.is_ready)
    listeners = [Client(client, toolsListChanged=True, resourceSubscriptions=["x:1"]) for _ in range(3)]
    for each in listeners:
        await each.began()
    with pytest.raises(NexusError):
        await use(client, "crash")
    for each in listeners:
        await each.hears(TOOLS, "x:1")
    await watcher.until(lambda: watcher.is_ready(restarts=1))
    await use(client, "tell", {"method": UPDATED, "params": {"uri": "x:1", "again": True}})
    for each in listeners:
        await each.hears(TOOLS, "x:1", "x:1")
        assert each.heard[-1]["params"]["again"] is True
        assert not each.task.done()
        await each.stop()


async def test_listeners_to_a_server_with_sessions_live_through_its_crash(
    connector: Connector, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    connector.keep(lister(tmp_path / "tools", tool("crash"), tool("announce")))
    await watcher.until(watcher.is_ready)
    listener = Client(client, toolsListChanged=True)
    await listener.began()
    with pytest.raises(NexusError):
        await use(client, "crash")
    await listener.hears(TOOLS)
    await watcher.until(lambda: watcher.is_ready(restarts=1))
    assert await use(client, "announce") == "announced"
    await listener.hears(TOOLS, TOOLS)
    await listener.stop()


async def test_a_list_that_changed_without_a_word_is_told_of_when_it_is_found_out(
    broker: Broker, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    lists = tmp_path / "tools"
    async with connecting(broker, relist=0.1) as connector:
        connector.keep(lister(lists, tool("one")))
        await watcher.until(watcher.is_ready)
        tools, resources = Client(client, toolsListChanged=True), Client(client, resourcesListChanged=True)
        await tools.began()
        await resources.began()
        lists.write_text(tool("two"))
        await tools.hears(TOOLS)
        assert resources.told == []
        await tools.stop()
        await resources.stop()


async def test_a_connector_that_gives_a_server_up_ends_the_streams_well(
    broker: Broker, watcher: Watcher, client: rpc.Client
) -> None:
    async with connecting(broker) as connector:
        connector.keep(teller())
        await watcher.until(watcher.is_ready)
        listener = Client(client, toolsListChanged=True)
        await listener.began()
        connector.keepers[0].cancel()
        with anyio.fail_after(10):
            assert bytes(await listener.task) == b"{}"
