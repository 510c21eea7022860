"""The life of a service: configure, connect, serve, drain, leave."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from libs.common import log as logs
from libs.common.bus import Bus
from libs.common.config import Config, load
from libs.common.kv import Snapshot

log = structlog.get_logger("service")

WORKER_VARIABLE = "NEXUS_WORKER"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the environment say, for any service."""

    config: Path
    nats: str | None = None
    listen: str | None = None
    log: logs.Level = "info"
    style: logs.Style = "text"
    sockets: tuple[socket.socket, ...] = field(default=())
    """Listening sockets inherited from a supervisor."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a service is built from."""

    role: str
    worker: str
    config: Config
    bus: Bus
    options: Options
    nats_url: str


Build = Callable[[Context], AbstractAsyncContextManager[None]]
"""Starts a service on entering, drains it on leaving."""


def worker_id(role: str) -> str:
    """This process's name on the bus.

    `NEXUS_WORKER` gives a name that outlives a restart, where something guarantees that only one process has
    it; a lease is then taken over at once. Otherwise the name is random.
    """
    return os.environ.get(WORKER_VARIABLE) or f"{role}-{secrets.token_hex(4)}"


async def serve(role: str, build: Build, options: Options, stop: asyncio.Event) -> None:
    """Run one service until `stop` is set; returns after it has drained."""
    config = load(options.config, secrets=role == "connector")
    url = options.nats or config.nats.url.get_secret_value()
    bus = Bus(url, role)
    if not await _unless(stop, bus.connect()):
        return
    context = Context(role, worker_id(role), config, bus, options, url)
    try:
        async with build(context):
            log.info("ready", worker=context.worker)
            await stop.wait()
            log.info("draining")
    finally:
        await bus.close()
    log.info("stopped")


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do `work` unless `stop` comes first; whether it was done."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        for each in (task, stopped):
            each.cancel()
            with suppress(asyncio.CancelledError):
                await each


def run(role: str, build: Build, options: Options) -> None:
    """The whole life of a service process, signals included."""
    logs.configure(options.log, options.style, role)
    harden()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_until_signal(role, build, options))


async def _until_signal(role: str, build: Build, options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    await serve(role, build, options, stop)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it exists: the hot path's budget is measured on it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def harden() -> None:
    """Keep this process's memory and environment from its children of the same user (prctl(2), Linux)."""
    pr_set_dumpable = 4
    with suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(pr_set_dumpable, 0, 0, 0, 0)


@asynccontextmanager
async def snapshots(*watched: Snapshot[Any], timeout: float = 60.0) -> AsyncIterator[None]:
    """Keep `watched` current; entered once each has its first full view, or after `timeout` seconds."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each.run()) for each in watched]
        try:
            async with asyncio.timeout(timeout):
                for each in watched:
                    await each.ready.wait()
        except TimeoutError:
            log.warning("shared state is not there yet; serving what is known")
        try:
            yield
        finally:
            for task in running:
                task.cancel()
