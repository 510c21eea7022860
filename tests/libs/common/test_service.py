"""The life of a service: with a bus and without, told to stop, or left alone by its supervisor."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from libs.common import log, service, subjects
from libs.common.audit.reading import read
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.config import load
from libs.common.errors import BusUnavailable
from libs.common.kv import Bucket
from libs.common.service import Context, Options
from libs.common.snapshot import Snapshot
from tests.broker import Broker

pytestmark = pytest.mark.anyio

CONFIG = '[mcp.servers.time]\ncmd = ["time"]\n'


@pytest.fixture
def options(tmp_path: Path, broker: Broker) -> Options:
    path = tmp_path / "nexus.toml"
    path.write_text(CONFIG)
    return Options(config=path, nats=broker.url)


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test hides is forgotten after it."""
    monkeypatch.setattr(log, "_secrets", set())


class Part:
    """A service that tells of its life."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.left = asyncio.Event()
        self.context: Context | None = None

    @asynccontextmanager
    async def build(self, context: Context) -> AsyncIterator[None]:
        self.context = context
        self.entered.set()
        try:
            yield
        finally:
            self.left.set()


async def fail(why: str) -> None:
    raise BusUnavailable(why)


async def stopped(running: asyncio.Task[None], stop: asyncio.Event, seconds: float = 3) -> None:
    stop.set()
    with anyio.fail_after(seconds):
        await running


async def test_a_service_runs_until_told_to_stop_then_drains_and_closes_its_bus(options: Options) -> None:
    part, stop = Part(), asyncio.Event()
    running = asyncio.create_task(service.serve("router", part.build, options, stop))
    with anyio.fail_after(5):
        await part.entered.wait()
    assert part.context is not None
    assert (part.context.role, part.context.bus.connected) == ("router", True)
    assert list(part.context.config.mcp.servers) == ["time"]
    assert not part.left.is_set()
    await stopped(running, stop)
    assert part.left.is_set()
    assert part.context.bus.nats.is_closed


async def test_a_service_records_its_start_and_its_end(options: Options, tmp_path: Path) -> None:
    part, stop = Part(), asyncio.Event()
    running = asyncio.create_task(service.serve("router", part.build, options, stop))
    with anyio.fail_after(5):
        await part.entered.wait()
    await stopped(running, stop)
    written = next((tmp_path / ".nexus" / "audit" / "router").glob("*/*.log")).read_bytes().splitlines()
    events = [read(line.split(b" ", 2)[2]) for line in written]
    assert [each.metadata.event_code for each in events if each] == ["service.started", "service.stopped"]


async def test_a_service_whose_audit_is_off_writes_nothing(options: Options, tmp_path: Path) -> None:
    options.config.write_text(f"{CONFIG}[audit]\nenabled = false\n")
    part, stop = Part(), asyncio.Event()
    running = asyncio.create_task(service.serve("router", part.build, options, stop))
    with anyio.fail_after(5):
        await part.entered.wait()
    await stopped(running, stop)
    assert not (tmp_path / ".nexus").exists()


async def test_a_service_waits_for_a_bus_that_comes_later(options: Options, broker: Broker) -> None:
    broker.stop()
    part, stop = Part(), asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(service.serve("router", part.build, options, stop))
        with anyio.fail_after(5):
            while not logs:
                await anyio.sleep(0.01)
        assert logs[0]["event"] == "waiting for the bus"
        broker.start()
        with anyio.fail_after(10):
            await part.entered.wait()
        await stopped(running, stop)


async def test_a_service_that_waits_for_the_bus_stops_when_told(options: Options, broker: Broker) -> None:
    broker.stop()
    part, stop = Part(), asyncio.Event()
    before = asyncio.all_tasks()
    with capture_logs() as logs:
        running = asyncio.create_task(service.serve("router", part.build, options, stop))
        with anyio.fail_after(5):
            while not logs:
                await anyio.sleep(0.01)
        await stopped(running, stop)
    assert not part.entered.is_set()
    assert asyncio.all_tasks() == before


async def test_a_service_stops_while_its_bus_is_away(options: Options, broker: Broker) -> None:
    part, stop = Part(), asyncio.Event()
    with capture_logs():
        running = asyncio.create_task(service.serve("router", part.build, options, stop))
        await part.entered.wait()
        broker.stop(kill=True)
        assert part.context is not None
        with anyio.fail_after(5):
            while part.context.bus.connected:
                await anyio.sleep(0.01)
        await stopped(running, stop)
    assert part.left.is_set()


async def test_a_service_that_is_still_starting_stops_when_told(options: Options) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def build(context: Context) -> AsyncIterator[None]:
        entered.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            left.set()

    stop = asyncio.Event()
    running = asyncio.create_task(service.serve("router", build, options, stop))
    with anyio.fail_after(5):
        await entered.wait()
    await stopped(running, stop)
    assert left.is_set()


async def test_a_service_that_cannot_be_built_leaves_no_connection(options: Options) -> None:
    seen: list[Bus] = []
    before = asyncio.all_tasks()

    @asynccontextmanager
    async def build(context: Context) -> AsyncIterator[None]:
        seen.append(context.bus)
        await fail("no bucket")
        yield

    with pytest.raises(BusUnavailable, match="no bucket"):
        await service.serve("router", build, options, asyncio.Event())
    assert seen[0].nats.is_closed
    assert asyncio.all_tasks() == before


async def test_a_lost_connection_attempt_is_an_error_not_a_stop(options: Options) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(BusUnavailable, match="no answer"):
        await service._unless(asyncio.Event(), fail("no answer"))
    assert asyncio.all_tasks() == before


SECRETS = """\
[nats]
url = "nats://router:pass%2Fw0rd@127.0.0.1:4222"

[seal]
keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]

[[mcp.headers]]
rule = "insert"
name = "X-Key"
value = "of-every-server"

[mcp.servers.time]
cmd = ["time"]
env = { KEY = "of-the-child" }

[mcp.servers.web]
url = "https://example.com/mcp"
auth.token = "of-the-gateway"
"""


async def test_every_secret_of_a_configuration_is_hidden(hidden: None, tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(SECRETS)
    service.hide_secrets(load(path))
    for secret in ("A" * 43 + "=", "of-every-server", "of-the-child", "of-the-gateway"):
        assert log.clean(f"<{secret}>") == "<<secret>>"


@pytest.mark.parametrize("text", ["nats://router:pass%2Fw0rd@host:4222", "pass%2Fw0rd", "pass/w0rd"])
async def test_the_password_of_the_bus_is_hidden_in_every_spelling(hidden: None, text: str) -> None:
    service.hide_password("nats://router:pass%2Fw0rd@host:4222")
    assert log.clean(f"<{text}>") == "<<secret>>"


async def test_a_bus_without_a_password_hides_nothing_but_its_url(hidden: None) -> None:
    service.hide_password("nats://[bad")
    service.hide_password("nats://host:4222")
    assert log.clean("router at host") == "router at host"


async def test_a_service_with_its_bus_shows_that_it_is_alive(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alive"
    monkeypatch.setenv(service.ALIVE_VARIABLE, str(path))
    assert not service.is_alive()
    part, stop = Part(), asyncio.Event()
    running = asyncio.create_task(service.serve("router", part.build, options, stop))
    await part.entered.wait()
    with anyio.fail_after(5):
        while not service.is_alive():
            await anyio.sleep(0.01)
    await stopped(running, stop)
    long_ago = time.time() - service.ALIVE_WITHIN - 1
    os.utime(path, (long_ago, long_ago))
    assert not service.is_alive()


async def test_a_service_without_its_bus_is_not_alive(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(service.ALIVE_VARIABLE, str(tmp_path / "alive"))
    monkeypatch.setattr(service, "ALIVE_EVERY", 0.01)
    with anyio.move_on_after(0.1):
        await service._pulse(Bus(broker.url, "router"))
    assert not service.is_alive()


async def test_a_place_that_cannot_be_touched_is_told_and_survived(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(service.ALIVE_VARIABLE, str(tmp_path / "missing" / "alive"))
    monkeypatch.setattr(service, "ALIVE_EVERY", 0.01)
    with capture_logs() as logs:
        pulse = asyncio.create_task(service._pulse(bus))
        with anyio.fail_after(5):
            while len(logs) < 2:
                await anyio.sleep(0.01)
        pulse.cancel()
        await asyncio.wait({pulse})
    assert logs[0]["error"] == "No such file or directory"


async def test_nobody_is_alive_where_no_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(service.ALIVE_VARIABLE, raising=False)
    assert not service.is_alive()


async def test_a_worker_is_named_by_its_environment_or_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(service.WORKER_VARIABLE, raising=False)
    first, second = service.worker_id("edge"), service.worker_id("edge")
    assert first != second
    assert subjects.worker(first).startswith("nexus.v1.worker.edge-")
    monkeypatch.setenv(service.WORKER_VARIABLE, "edge-7")
    assert service.worker_id("edge") == "edge-7"


async def test_a_service_may_open_as_many_files_as_the_system_grants() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft // 2, hard))
    try:
        service.allow_files()
        granted = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert granted == (min(service.FILES, hard) if hard >= 0 else service.FILES, hard)


async def test_sockets_are_handed_down_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(service.SOCKETS_VARIABLE, "")
    assert service.inherited() == ()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = os.dup(listener.fileno())
        monkeypatch.setenv(service.SOCKETS_VARIABLE, str(number))
        (got,) = service.inherited()
        with got:
            assert got.getsockname() == listener.getsockname()


async def test_state_that_is_late_is_served_without(bus: Bus) -> None:
    nobodys: Snapshot[str] = Snapshot(Bucket(bus, subjects.CATALOG, owner=False), decoder(str))
    with capture_logs() as logs, anyio.fail_after(5):
        async with service.snapshots(nobodys, timeout=0.1):
            assert not nobodys.ready.is_set()
    assert "shared state is not there yet" in logs[-1]["event"]


FOLLOWER = """\
import os, signal, subprocess, sys, time
from libs.common import service

if sys.argv[1] == "child":
    service.follow_supervisor()
    print(os.getpid(), flush=True)
    time.sleep(60)
else:
    env = {**os.environ, service.SUPERVISOR_VARIABLE: sys.argv[1].replace("me", str(os.getpid()))}
    done = subprocess.run([sys.executable, "-c", sys.argv[2], "child"], env=env)
    sys.exit(done.returncode)
"""


@pytest.fixture
def follower() -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", FOLLOWER, "me", FOLLOWER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_a_service_ends_when_its_supervisor_is_killed(follower: subprocess.Popen[str]) -> None:
    assert follower.stdout is not None
    pid = int(follower.stdout.readline())
    descriptor = os.pidfd_open(pid)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, over.set)
    follower.kill()
    with anyio.fail_after(5):
        await over.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


async def test_a_service_whose_supervisor_was_gone_before_it_began_does_not_begin() -> None:
    argv = [sys.executable, "-c", FOLLOWER, "1", FOLLOWER]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "the supervisor is gone"


PROGRAM = """\
import ctypes, sys
from contextlib import asynccontextmanager
from pathlib import Path
from libs.common import service

@asynccontextmanager
async def build(context):
    print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
    yield

service.run("router", build, service.Options(Path(sys.argv[1]), nats=sys.argv[2], style="json"))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process_which_then_ends_well(options: Options, number: int) -> None:
    argv = [sys.executable, "-c", PROGRAM, str(options.config), str(options.nats)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "dumpable 0\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    told = [event for event in ("ready", "draining", "stopped") if f'"event": "{event}"' in said]
    assert told == ["ready", "draining", "stopped"]
