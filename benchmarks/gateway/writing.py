"""What both events of a call cost by themselves: written down, shipped, and stored by a broker."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import uvloop

from libs.cli.broker import find_binary
from libs.common.audit.events import Event, Outcome
from libs.common.audit.trail import Trail
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable
from libs.common.identity import Principal

TOGETHER = 16
"""Calls whose events are written in one turn of the loop."""
ARGUMENTS = b'{"zone":"Europe/Berlin","count":3}'
RESULT = b'{"content":[{"type":"text","text":"%b"}]}' % (b"x" * 200)
WHO = Principal("alice", "https://id.example", ("ops", "dev"), client="app-1", address="192.0.2.7")
STREAM = {
    "name": "AUDIT",
    "subjects": ["audit.v1.>"],
    "storage": "file",
    "allow_batched": True,
    "discard": "new",
    "duplicate_window": 300 * 10**9,
}


class Written(msgspec.Struct):
    """Both events of a call: CPU µs of writing them, of shipping what is left then, of the broker."""

    mode: str
    writing: float
    shipping: float
    broker: float
    p50: float
    """Milliseconds until both are as durable as the mode promises."""


def writing(calls: int) -> list[Written]:
    """Events alone, fast and strict, with a broker of their own."""
    with _broker() as (process, url):
        return [uvloop.run(_written(mode, url, process, calls)) for mode in ("fast", "strict")]


async def _written(mode: str, url: str, process: psutil.Process, calls: int) -> Written:
    bus = Bus(url, "edge")
    await bus.connect()
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        await bus.ask("$JS.API.STREAM.CREATE.AUDIT", msgspec.json.encode(STREAM), 5)
        trail = Trail(bus, Path(folder), bytes(32), worker="edge-1", strict=mode == "strict")
        times: list[float] = []
        busy, started = _busy(process), time.process_time()
        async with trail:
            for _ in range(calls // TOGETHER):
                times += await asyncio.gather(*(_call(trail) for _ in range(TOGETHER)))
            written = time.process_time() - started
        shipped = time.process_time() - started - written
        broker = _busy(process) - busy
    await bus.close()
    each = 1e6 / (calls // TOGETHER * TOGETHER)
    return Written(mode, written * each, shipped * each, broker * each, statistics.median(times))


async def _call(trail: Trail) -> float:
    began = time.perf_counter()
    prints = trail.fingerprints
    call = Event(
        code="mcp.tool.call.requested",
        principal=WHO,
        app="Inspector",
        user_agent="Inspector/1.0",
        path="/mcp",
        operation="tools/call",
        server="time",
        tool="now",
        definition="9f86d081884c7d65" * 4,
        decision="allowed",
        rule="no rule",
        call="6d1f0c0de4a94f1c8f3c5d1a2b3c4d5e",
        args=prints.payload(ARGUMENTS),
        deadline=1e9,
    )
    await trail.durable(trail.record(call))
    outcome, result = Outcome("ok", 0, "ok", "yes"), prints.payload(RESULT)
    ended = msgspec.structs.replace(
        call, code="mcp.tool.call.completed", args=None, result=result, outcome=outcome, status=200
    )
    await trail.durable(trail.record(ended))
    await asyncio.sleep(0)
    return (time.perf_counter() - began) * 1e3


@contextmanager
def _broker() -> Iterator[tuple[psutil.Process, str]]:
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        command = [
            find_binary(),
            "-a",
            "127.0.0.1",
            "-p",
            "-1",
            "-js",
            "-sd",
            folder,
            "--ports_file_dir",
            folder,
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield psutil.Process(process.pid), _url(Path(folder), process)
        finally:
            process.terminate()
            process.wait(10)


def _url(folder: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for each in folder.glob("*.ports"):
            if text := each.read_text():
                return str(msgspec.json.decode(text)["nats"][0])
        time.sleep(0.02)
    raise BusUnavailable("the broker did not say where it listens within 10 s")


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
