"""The life of a service: configure, connect, serve, drain, leave."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import BaseModel, SecretStr

from libs.common import log as logs
from libs.common import telemetry
from libs.common.audit.events import Event
from libs.common.audit.gauges import watched
from libs.common.audit.trail import NO_TRAIL, Trail, trail_of
from libs.common.bus import Bus, addresses
from libs.common.config import Config, load
from libs.common.config.interpolate import Secrets
from libs.common.meters.process import measured
from libs.common.meters.telling import telling
from libs.common.snapshot import Snapshot

log = structlog.get_logger("service")

WORKER_VARIABLE = "NEXUS_WORKER"
SOCKETS_VARIABLE = "NEXUS_SOCKETS"
"""File descriptors of listening sockets that a supervisor hands down, comma-separated."""
SUPERVISOR_VARIABLE = "NEXUS_SUPERVISOR"
"""The supervisor's process id: whoever it started ends when it is gone."""


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
    trail: Trail = NO_TRAIL
    """Where this process records what it does."""
    telemetry: telemetry.Handle = telemetry.OFF


GC_ALLOCATIONS = 10_000
"""Objects allocated and not freed before the garbage collector looks at the young ones (default: 700)."""
ALIVE_VARIABLE = "NEXUS_ALIVE_FILE"
"""A file touched every second while the service lives and has its bus."""
ALIVE_EVERY = 1.0
ALIVE_WITHIN = 5.0
FILES = 65_536
"""Open files a process asks for: more make programs slow that close all they might have inherited."""
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4

SECRETS: dict[str, Secrets] = {"connector": ("mcp",), "auditor": ("audit",)}
"""Who talks to the outside, and by which tables: only it has the variables that these need."""

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
    config = load(options.config, secrets=SECRETS.get(role, False))
    hide_secrets(config)
    url = options.nats or config.nats.url.get_secret_value()
    hide_password(url)
    worker = worker_id(role)
    bus = Bus(url, role, replicas=config.nats.replicas)
    told = telemetry.begin(config.telemetry, worker)
    try:
        if await _unless(stop, bus.connect()):
            trail = trail_of(config, options.config, bus, worker)
            async with measured(), telling(bus, role, worker):
                context = Context(role, worker, config, bus, options, url, trail, told)
                await _live(context, build, stop)
    finally:
        await bus.close()
        log.info("stopped")
        await told.close()


async def _live(context: Context, build: Build, stop: asyncio.Event) -> None:
    """Start, serve and drain; a service that is told to stop before it is ready stops starting."""
    ready = asyncio.Event()
    tasks = [
        asyncio.ensure_future(each)
        for each in (_until_stopped(context, build, ready, stop), stop.wait(), _pulse(context.bus))
    ]
    life, stopped, _ = tasks
    try:
        await asyncio.wait({life, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            life.cancel()
        await asyncio.wait({life})
        if not life.cancelled():
            life.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _until_stopped(context: Context, build: Build, ready: asyncio.Event, stop: asyncio.Event) -> None:
    async with _recorded(context), build(context):
        ready.set()
        log.info("ready", worker=context.worker)
        await stop.wait()
        log.info("draining")


@asynccontextmanager
async def _recorded(context: Context) -> AsyncIterator[None]:
    """The trail is open longer than the service, and says when that began and ended."""
    async with context.trail as trail:
        before = {"chain": trail.before.chain, "seq": trail.before.seq}
        trail.record(Event(code="service.started", facts={**_life(context), "before": before}))
        try:
            with watched(trail, context.config.audit.spool_max_size):
                yield
        finally:
            trail.record(Event(code="service.stopped", facts=_life(context)))


def _life(context: Context) -> dict[str, object]:
    return {"role": context.role, "worker": context.worker, "pid": os.getpid()}


def hide_secrets(value: object) -> None:
    """Keep every secret of a configuration out of the logs."""
    match value:
        case SecretStr():
            logs.hide(value.get_secret_value())
        case BaseModel():
            for name in type(value).model_fields:
                hide_secrets(getattr(value, name))
        case dict():
            for each in value.values():
                hide_secrets(each)
        case list() | tuple():
            for each in value:
                hide_secrets(each)
        case _:
            pass


def hide_password(url: str) -> None:
    """Keep the password in a URL out of the logs, also where it is quoted without the rest."""
    for each in addresses(url):
        logs.hide(each)
        with suppress(ValueError):
            password = urlsplit(each).password or ""
            logs.hide(password)
            logs.hide(unquote(password))


async def _pulse(bus: Bus) -> None:
    path = os.environ.get(ALIVE_VARIABLE)
    while path:
        if bus.connected:
            try:
                Path(path).touch()  # noqa: ASYNC240 - one inode on a local tmpfs
            except OSError as error:
                log.warning("the file that says we live cannot be touched", path=path, error=error.strerror)
        await asyncio.sleep(ALIVE_EVERY)


def is_alive() -> bool:
    """Whether the service that shares our `NEXUS_ALIVE_FILE` has touched it within 5 s."""
    path = Path(os.environ.get(ALIVE_VARIABLE, ""))
    return path.is_file() and time.time() - path.stat().st_mtime < ALIVE_WITHIN


async def _unless(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Do `work` unless `stop` comes first; whether it was done. Raises what `work` raises."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    both: set[asyncio.Future[Any]] = {task, stopped}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in both:
            each.cancel()
        await asyncio.wait(both)
    if task.cancelled():
        return False
    task.result()
    return True


def run(role: str, build: Build, options: Options) -> None:
    """The whole life of a service process, signals included."""
    logs.configure(options.log, options.style, os.environ.get(WORKER_VARIABLE, role))
    harden()
    allow_files()
    follow_supervisor()
    spare_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_until_signal(role, build, options))


async def _until_signal(role: str, build: Build, options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    if not options.sockets:
        options = replace(options, sockets=inherited())
    await serve(role, build, options, stop)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it exists: the hot path's budget is measured on it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def inherited() -> tuple[socket.socket, ...]:
    """The listening sockets a supervisor handed down."""
    numbers = os.environ.get(SOCKETS_VARIABLE, "")
    return tuple(socket.socket(fileno=int(number)) for number in numbers.split(",") if number)


def follow_supervisor() -> None:
    """Be told to stop (SIGTERM) when the supervisor dies, however it dies (prctl(2), Linux)."""
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        raise SystemExit("the supervisor is gone")


def harden() -> None:
    """Keep this process's memory and environment from its children of the same user (prctl(2), Linux)."""
    _prctl(PR_SET_DUMPABLE, 0)


def allow_files() -> None:
    """Let this process have as many connections open as the system grants: often 1,024 unless it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spare_collector() -> None:
    """Keep the garbage collector off what lasts, and let it come less often: 9 % of the CPU of a busy edge.

    Calls leave hardly a cycle behind, and modules and models, which it would visit each time, never go.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 10, 10)


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


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
