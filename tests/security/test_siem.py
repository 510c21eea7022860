"""Receivers of audit events: those that stall, fail or spy cost no event, no memory, no secret of others."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import nats
import psutil
import pytest
from aiohttp import web
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.cli.broker import find_binary
from libs.cli.natsconf import local_text, reader_text, variable
from libs.common import subjects
from libs.common.audit.readers import make_reader
from libs.common.bus import Bus
from libs.common.config import Config
from libs.common.grants import ROLES
from libs.common.identity import tenant_token
from libs.common.service import Context, Options
from services.auditor import consumer
from services.auditor.main import build
from services.auditor.stream import Limits, Streams
from tests.broker import Broker, free_port, wait_port
from tests.libs.common.test_grants import User

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
Answer = Callable[[web.Request, list[str]], Awaitable[web.StreamResponse]]


class Receiver:
    """Counts what it took, by id and content; answers as it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.taken: Counter[bytes] = Counter()
        self.answer: Answer = self.take
        self.asked = 0

    async def take(self, request: web.Request, lines: list[str]) -> web.StreamResponse:
        self.taken.update(line.encode() for line in lines)
        return web.Response()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return await self.answer(request, (await request.text()).splitlines())


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/in", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def line(number: int, size: int = 0) -> bytes:
    return json.dumps({"metadata": {"uid": f"u{number}"}, "pad": "x" * size}).encode()


async def publish(bus: Bus, first: int, last: int, size: int = 0) -> None:
    """Events in the stream, faster than any gateway makes them."""
    for start in range(first, last, 500):
        commands = []
        for number in range(start, min(start + 500, last)):
            headers = b"NATS/1.0\r\nNats-Msg-Id: u%d\r\n\r\n" % number
            data = line(number, size)
            commands.append(
                b"HPUB audit.v1.api_activity %d %d\r\n%b%b\r\n"
                % (len(headers), len(headers) + len(data), headers, data)
            )
        await bus.send(b"".join(commands))
        await bus.settled()


@pytest.fixture
async def auditor(broker: Broker) -> AsyncIterator[Bus]:
    bus = Bus(broker.url, "auditor")
    await bus.connect()
    yield bus
    await bus.close()


TOML = """
[audit]
max_size = "1GiB"
spool = "{folder}/spool"
[audit.sinks.siem]
type = "webhook"
url = "{url}"
timeout = "1s"
[mcp.servers.none]
cmd = ["x"]
"""


@asynccontextmanager
async def process(broker: Broker, folder: Path, url: str) -> AsyncIterator[psutil.Process]:
    """An auditor of its own, as compose starts it."""
    (folder / "nexus.toml").write_text(TOML.format(folder=folder, url=url))
    known = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    started = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "libs.cli.main",
            "auditor",
            "-c",
            str(folder / "nexus.toml"),
            "--nats",
            broker.url,
        ],
        cwd=ROOT,
        env=known,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        await anyio.to_thread.run_sync(started.wait, 20)


async def test_u4_a_receiver_that_stalls_costs_no_memory_and_gets_everything_later(
    broker: Broker, auditor: Bus, tmp_path: Path
) -> None:
    """Forty megabytes of events wait for one that takes connections and never answers."""
    released = asyncio.Event()

    async def stall(request: web.Request, lines: list[str]) -> web.StreamResponse:
        if not released.is_set():
            await released.wait()
            return web.Response(status=503)
        return await receiver.take(request, lines)

    events, warm, size = 40_000, 2_000, 1_000
    async with receiving() as receiver, process(broker, tmp_path, receiver.url) as auditing:
        await until(lambda: has_stream(auditor))
        await publish(auditor, 0, warm, size)
        await until(lambda: delivered(receiver, warm))
        before = auditing.memory_info().rss
        receiver.answer = stall
        asked = receiver.asked
        await publish(auditor, warm, events, size)
        await until(lambda: stalls(receiver, asked + 2))
        grown = auditing.memory_info().rss - before
        assert grown < 12 * 2**20, f"{grown / 2**20:.1f} MiB for {events * size / 2**20:.0f} MiB that wait"
        released.set()
        await until(lambda: delivered(receiver, events), 60)
        assert auditing.memory_info().rss - before < 16 * 2**20
    assert {line(number, size) for number in range(events)} <= set(receiver.taken)


async def until(holds: Callable[[], Awaitable[bool]], timeout: float = 30) -> None:
    with anyio.fail_after(timeout):
        while not await holds():
            await anyio.sleep(0.05)


async def has_stream(bus: Bus) -> bool:
    try:
        return bool(await bus.jetstream().consumer_info(subjects.AUDIT_STREAM, "sink-siem"))
    except nats.js.errors.NotFoundError:
        return False


async def delivered(receiver: Receiver, wanted: int) -> bool:
    return len(receiver.taken) >= wanted


async def stalls(receiver: Receiver, wanted: int) -> bool:
    return receiver.asked >= wanted


@pytest.mark.parametrize("seed", range(3))
async def test_u5_a_receiver_that_fails_in_every_way_loses_nothing_and_invents_nothing(
    broker: Broker, auditor: Bus, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "BACKOFF_FIRST", 0.01)
    monkeypatch.setattr(consumer, "BACKOFF_MAX", 0.05)
    chance, events = random.Random(seed), 5_000

    async def fail(request: web.Request, lines: list[str]) -> web.StreamResponse:
        match chance.choice(("fine", "500", "half", "reset", "late", "large", "busy")):
            case "500":
                return web.Response(status=500)
            case "half":
                await receiver.take(request, lines[: len(lines) // 2])
                return web.Response(status=500)
            case "reset":
                return await aborted(request)
            case "late":
                await receiver.take(request, lines)
                return await aborted(request)
            case "large" if len(lines) > 50:
                return web.Response(status=413)
            case "busy":
                return web.Response(status=503, headers={"Retry-After": "0"})
            case _:
                return await receiver.take(request, lines)

    async with receiving() as receiver:
        receiver.answer = fail
        sinks = {"siem": {"type": "webhook", "url": receiver.url, "timeout": "2s"}}
        config = Config.model_validate({"audit": {"sinks": sinks}})
        context = Context("auditor", "auditor-1", config, auditor, Options(Path("nexus.toml")), broker.url)
        async with build(context):
            await publish(auditor, 0, events)
            await until(lambda: delivered(receiver, events))
            receiver.answer = receiver.take
            await until(lambda: acknowledged(auditor))
    assert set(receiver.taken) == {line(number) for number in range(events)}
    assert max(receiver.taken.values()) > 1, "nothing was delivered twice: it was too easy"


async def aborted(request: web.Request) -> web.StreamResponse:
    """Break the connection instead of an answer."""
    assert request.transport
    request.transport.abort()
    return web.Response()


async def acknowledged(bus: Bus) -> bool:
    info = await bus.jetstream().consumer_info(subjects.AUDIT_STREAM, "sink-siem")
    return not info.num_pending and not info.num_ack_pending


READER = "acme-siem"
OURS, OTHERS = tenant_token("acme"), tenant_token("other")


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a broker with every role's user, and with a reader for one tenant beside them."""
    port = free_port()
    conf = local_text(port, tmp_path / "js", dict.fromkeys((*ROLES, "siem"), "secret"))
    text = re.sub(r"  \]\n\}\s*\Z", lambda end: reader_text(READER, OURS) + end[0], conf)
    (tmp_path / "nats.conf").write_text(text)
    running = subprocess.Popen(
        [find_binary(), "-c", str(tmp_path / "nats.conf")],
        env={**os.environ, variable(READER): "secret"},
        stderr=subprocess.DEVNULL,
    )
    await anyio.to_thread.run_sync(wait_port, port)
    yield port
    running.terminate()
    await anyio.to_thread.run_sync(running.wait, 10)


@asynccontextmanager
async def filled(port: int) -> AsyncIterator[Bus]:
    """The auditor's bus, with events of two tenants and of none in the stream."""
    bus = Bus(f"nats://auditor:secret@127.0.0.1:{port}", "auditor")
    await bus.connect()
    await Streams(bus, Limits(3600, 2**24)).make()
    for reader, token in ((READER, OURS), ("siem", "")):
        await make_reader(bus, reader, token)
    for suffix in (f".{OURS}", f".{OTHERS}", ""):
        await bus.jetstream().publish(f"audit.v1.api_activity{suffix}", suffix.encode() or b"nobody")
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def spying(port: int, name: str) -> AsyncIterator[User]:
    user = User(name, Client())
    url = f"nats://{name}:secret@127.0.0.1:{port}"
    await user.nats.connect(url, inbox_prefix=f"_INBOX_{name}", error_cb=user.on_error)
    try:
        yield user
    finally:
        await user.nats.close()


async def pulled(user: User, consumer_name: str) -> list[bytes]:
    """What a reader's own consumer gives it."""
    sub = await user.nats.jetstream().pull_subscribe_bind(
        consumer=consumer_name, stream=subjects.AUDIT_STREAM
    )
    try:
        messages = await sub.fetch(10, timeout=0.5)
    except nats.errors.TimeoutError:
        return []
    for message in messages:
        await message.ack()
    return [message.data for message in messages]


async def test_u11_a_reader_of_one_tenant_gets_its_events_and_no_others(tenants: int) -> None:
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    async with filled(tenants) as bus, spying(tenants, READER) as reader:
        await reader.nats.subscribe(f"audit.v1.*.{OURS}", cb=hear)
        # An answer to what was asked later: by then the subscription was judged.
        assert await pulled(reader, READER) == [f".{OURS}".encode()]
        assert reader.refused == []
        for suffix in (f".{OTHERS}", "", f".{OURS}"):
            await bus.publish(f"audit.v1.authentication{suffix}", b"{}")
        await bus.settled()
        await until(lambda: is_in(f"audit.v1.authentication.{OURS}", heard))
    assert [each for each in heard if each.startswith("audit")] == [f"audit.v1.authentication.{OURS}"]


async def refused(user: User, wanted: int) -> bool:
    return len(user.refused) == wanted


async def is_in(subject: str, heard: list[str]) -> bool:
    return subject in heard


LISTENS = ("audit.v1.>", f"audit.v1.*.{OTHERS}", "audit.v1.api_activity", "audit.v1.*", "_INBOX_siem.>", ">")
SAYS = (
    "audit.v1.api_activity",
    f"audit.v1.api_activity.{OURS}",
    "$JS.API.CONSUMER.MSG.NEXT.AUDIT.siem",
    "$JS.API.CONSUMER.CREATE.AUDIT.mine",
    f"$JS.API.CONSUMER.CREATE.AUDIT.{READER}.audit.v1.>",
    f"$JS.API.CONSUMER.DELETE.AUDIT.{READER}",
    "$JS.API.STREAM.MSG.GET.AUDIT",
    "$JS.API.DIRECT.GET.AUDIT",
    "$JS.API.STREAM.PURGE.AUDIT",
    "$JS.API.STREAM.DELETE.AUDIT",
    "$JS.ACK.AUDIT.siem.1.1.1.1.1",
    "$KV.nexus-audit.ledger",
    "nexus.v1.request",
)


async def test_u11_whatever_else_a_reader_of_one_tenant_tries_is_refused(tenants: int) -> None:
    async with filled(tenants), spying(tenants, READER) as reader:
        for subject in LISTENS:
            await reader.nats.subscribe(subject)
        for subject in SAYS:
            await reader.nats.publish(subject, b"{}", reply=f"_INBOX_{READER}.x")
        await until(lambda: refused(reader, len(LISTENS) + len(SAYS)))


async def test_u11_the_reader_of_all_reads_all_and_changes_nothing(tenants: int) -> None:
    async with filled(tenants), spying(tenants, "siem") as reader:
        await reader.nats.subscribe("audit.v1.>")
        assert len(await pulled(reader, "siem")) == 3
        assert reader.refused == []
        for subject in (*SAYS[:2], *SAYS[3:10], *SAYS[11:]):
            await reader.nats.publish(subject, b"{}")
        await until(lambda: refused(reader, len(SAYS) - 2))
