"""Fixtures every test may use: the event loop and a real bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.common.bus import Bus
from tests.broker import Broker


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
async def bus(broker: Broker) -> AsyncIterator[Bus]:
    bus = Bus(broker.url, "edge")
    await bus.connect()
    yield bus
    await bus.close()


@pytest.fixture
async def other(broker: Broker) -> AsyncIterator[Bus]:
    """A second connection, as a worker has."""
    bus = Bus(broker.url, "connector")
    await bus.connect()
    yield bus
    await bus.close()
