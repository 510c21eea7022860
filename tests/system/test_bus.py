"""A bus of one's own (`--nats`): absent at the start, lost while running, and back again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.broker import Broker
from tests.system.gateway import Gateway
from tests.system.parts import witness
from tests.system.wire import execute, http, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Broker]:
    """A broker that has not been started."""
    folder = tmp_path / "bus"
    folder.mkdir()
    broker = Broker(folder)
    yield broker
    broker.stop()


def _gateway(tmp_path: Path, bus: Broker) -> Gateway:
    folder = tmp_path / "gateway"
    folder.mkdir()
    return Gateway(folder, {"peer": witness()}, "--nats", bus.url)


async def test_a_gateway_without_its_bus_says_that_it_waits_and_serves_once_it_is_there(
    tmp_path: Path, bus: Broker
) -> None:
    gateway = _gateway(tmp_path, bus)
    gateway.start()
    try:
        await gateway.said("waiting for the bus", 20)
        assert "Traceback" not in gateway.log()
        bus.start()
        await gateway.ready("peer")
        assert text(await execute(gateway.url, "peer__echo")) == "{}"
    finally:
        await gateway.stop()


async def test_a_gateway_that_waits_for_its_bus_can_be_stopped(tmp_path: Path, bus: Broker) -> None:
    gateway = _gateway(tmp_path, bus)
    gateway.start()
    await gateway.said("waiting for the bus", 20)
    started = time.monotonic()
    await gateway.stop()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_lost_bus_fails_calls_at_once_and_a_new_one_is_used(
    tmp_path: Path, bus: Broker, kill: bool
) -> None:
    bus.start()
    async with _gateway(tmp_path, bus) as gateway:
        await _finds(gateway, "echo")
        bus.stop(kill=kill)
        with anyio.fail_after(5):
            while await _ready(gateway) != 503:
                await anyio.sleep(0.02)
        started = time.monotonic()
        answer = await execute(gateway.url, "peer__echo")
        assert time.monotonic() - started < 1
        assert verdict(answer) == "no"
        assert "message bus" in answer["error"]["message"]
        bus.start()
        await gateway.ready("peer", within=20)
        assert text(await execute(gateway.url, "peer__echo")) == "{}"
        await _finds(gateway, "echo")


async def test_a_gateway_that_has_lost_its_bus_can_be_stopped(tmp_path: Path, bus: Broker) -> None:
    bus.start()
    async with _gateway(tmp_path, bus) as gateway:
        bus.stop(kill=True)
        await gateway.said("bus disconnected")


async def _ready(gateway: Gateway) -> int:
    async with http() as client:
        return (await client.get(f"http://{gateway.address}/ready")).status_code


async def _finds(gateway: Gateway, word: str) -> None:
    """Search answers from the catalog, which came back with the bus."""
    with anyio.fail_after(10):
        while True:
            answer = await execute(gateway.url, f"peer__{word}x")
            if f"peer__{word}" in str(answer.get("result")):
                return
            await anyio.sleep(0.05)
