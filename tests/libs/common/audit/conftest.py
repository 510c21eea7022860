"""A stream of audit events, and trails that write to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from libs.common import subjects
from libs.common.audit.events import Event
from libs.common.audit.trail import Trail
from libs.common.bus import Bus
from tests.broker import Broker

KEY = b"k" * 32
Open = Callable[..., Trail]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def opened(bus: Bus, root: Path) -> Open:
    """Makes trails of one edge."""

    def make(*, to: Path = root, strict: bool = False, most: int = 2**28, worker: str = "edge-1") -> Trail:
        return Trail(bus, to, KEY, worker=worker, strict=strict, most=most)

    return make


@pytest.fixture
async def stream(broker: Broker) -> AsyncIterator[Stream]:
    bus = Bus(broker.url, "auditor")
    await bus.connect()
    stream = Stream(bus)
    await stream.make()
    yield stream
    await bus.close()


@dataclass
class Batched(StreamConfig):
    """A stream that takes events in batches."""

    allow_batched: bool = True


class Stream:
    """`AUDIT` as its owner makes it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def make(self, *, batched: bool = True, **limits: Any) -> None:
        await self.bus.jetstream().add_stream(_config(batched, limits))

    async def change(self, **limits: Any) -> None:
        await self.bus.jetstream().update_stream(_config(True, limits))

    async def drop(self) -> None:
        await self.bus.jetstream().delete_stream(subjects.AUDIT_STREAM)

    async def count(self) -> int:
        return (await self.bus.jetstream().stream_info(subjects.AUDIT_STREAM)).state.messages

    async def lines(self, wanted: int, timeout: float = 10.0) -> list[bytes]:
        """Everything in the stream, as soon as it is as many."""
        async with asyncio.timeout(timeout):
            while (count := await self.count()) < wanted:
                await asyncio.sleep(0.02)
        jetstream = self.bus.jetstream()
        each = [await jetstream.get_msg(subjects.AUDIT_STREAM, seq) for seq in range(1, count + 1)]
        return [message.data or b"" for message in each]


def _config(batched: bool, limits: dict[str, Any]) -> StreamConfig:
    return (Batched if batched else StreamConfig)(
        name=subjects.AUDIT_STREAM,
        subjects=[subjects.AUDIT],
        duplicate_window=300,
        discard=DiscardPolicy.NEW,
        **limits,
    )


def request(number: int = 0) -> Event:
    return Event(code="mcp.request", operation=f"tools/{number}")
