"""What sessions and streams may cost an edge, and that it gives back what they took."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest

from benchmarks.gateway.streams import Stream, closed, initialized, listening, standing
from benchmarks.gateway.traffic import Traffic, calling
from tests.services.edge.conftest import Edge

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"
STREAMS = 200
STREAM_MAX = 48 * 1024
"""Bytes of the heap for an open stream, both ends of it: the client is in this process too."""
SESSIONS = 1000
SESSION_MAX = 64
"""Bytes of the heap for a session that is idle; what is left of a thousand requests is in there too."""

Open = Callable[[], Awaitable[list[Stream]]]


@pytest.fixture(params=["standing", "listening"])
async def opened(edge: Edge, request: pytest.FixtureRequest) -> Open:
    """Opens many streams of one kind; always of the same sessions, which can only have one at a time."""
    url = edge.url + PATH
    if request.param == "listening":
        return lambda: listening(url, STREAMS)
    sessions = await initialized(calling(url, "legacy", "echo"), STREAMS)
    return lambda: standing(url, sessions)


async def come_and_gone(edge: Edge, opened: Open) -> None:
    """Open all, close all, and wait until the edge has taken note."""
    before = len(asyncio.all_tasks())
    streams = await opened()
    assert len(asyncio.all_tasks()) >= before + STREAMS
    await closed(streams)
    with anyio.fail_after(20):
        while edge.gateway.running or len(asyncio.all_tasks()) > before:
            await anyio.sleep(0.01)


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is freed inside but what nothing refers to any more."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Tells by how many bytes the heap has grown."""
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


async def test_closed_streams_leave_no_task_no_entry_and_no_cycle(edge: Edge, opened: Open) -> None:
    await come_and_gone(edge, opened)
    with uncollected():
        await come_and_gone(edge, opened)
        cycles = gc.collect()
    assert cycles < STREAMS
    assert len(edge.flights) == 0


async def test_an_open_stream_costs_little_memory(edge: Edge, opened: Open) -> None:
    await come_and_gone(edge, opened)
    with traced() as grown:
        streams = await opened()
        each = grown() / STREAMS
        await closed(streams)
    assert each < STREAM_MAX


async def test_an_idle_session_costs_no_memory(edge: Edge) -> None:
    traffic = calling(edge.url + PATH, "legacy", "echo")
    with traced() as grown:
        # The client remembers its last ids for a while: those of the first round make way for the second's.
        different, first = await begun(traffic), grown()
        different += await begun(traffic)
        each = (grown() - first) / SESSIONS
    assert different == 2 * SESSIONS
    assert each < SESSION_MAX


async def begun(traffic: Traffic) -> int:
    """How many different sessions were begun."""
    different = len(set(await initialized(traffic, SESSIONS)))
    gc.collect()
    return different
