"""A router on a real bus: what it forwards, answers, and survives."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decoder, encode, raw
from libs.common.config import Config, Mcp, StdioServer
from libs.common.errors import CallFailed, NexusError
from libs.common.kv import Bucket
from libs.common.messages.calls import Call, CallServer, ExecuteTool, Request, SearchTools
from libs.common.messages.catalog import Held, Listing, Worker
from libs.common.service import Context, Options
from services.router.main import build
from tests.broker import Broker

pytestmark = pytest.mark.anyio

CONFIG = Config(mcp=Mcp(servers={name: StdioServer(name=name, cmd=("x",)) for name in ("git", "time")}))


@asynccontextmanager
async def routing(broker: Broker) -> AsyncIterator[Bus]:
    """A router; its connection."""
    bus = Bus(broker.url, "router")
    await bus.connect()
    try:
        async with build(Context("router", "r1", CONFIG, bus, Options(config=None), broker.url)):  # type: ignore[arg-type]
            yield bus
    finally:
        await bus.close()


async def handle(call: Call, job: rpc.Job) -> Raw:
    """A connector in miniature: it tells what it was sent."""
    return raw({"tool": call.tool, "method": call.method, "params": call.params})


@pytest.fixture
async def fleet(other: Bus) -> AsyncIterator[rpc.Server[Call]]:
    """A worker that holds `git`, and a catalog that lists its tools."""
    listing = Listing("git", "1", (raw({"name": "log"}),))
    await Bucket(other, subjects.CATALOG, owner=True).put("git", encode(listing))
    record = Worker("w1", {"git": Held("ready", time.time())})
    await Bucket(other, subjects.SERVERS, owner=True).put("w1", encode(record))
    server: rpc.Server[Call] = rpc.Server(other, "w1", decoder(Call), handle)
    await server.start()
    await server.listen(subjects.call("git"), "connector")
    yield server
    await server.drain(0)


@pytest.fixture
async def router(broker: Broker, fleet: rpc.Server[Call]) -> AsyncIterator[Bus]:
    async with routing(broker) as bus:
        yield bus


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


async def ask(client: rpc.Client, request: Request) -> object:
    with anyio.fail_after(10):
        return json.loads(bytes(await client.request(subjects.REQUEST, request, deadline=request.deadline)))


def soon() -> float:
    return time.time() + 5


async def test_a_call_is_forwarded_and_answered_past_the_router(router: Bus, client: rpc.Client) -> None:
    answer = await ask(client, ExecuteTool("git__log", soon(), raw({"arguments": {"x": 1}})))
    assert answer == {"tool": "log", "method": "tools/call", "params": {"arguments": {"x": 1}}}


async def test_a_refusal_reaches_the_asker_with_its_reason(router: Bus, client: rpc.Client) -> None:
    with pytest.raises(CallFailed, match='no connector holds server "time"') as caught:
        await ask(client, CallServer("time", "ping", soon()))
    failure = caught.value.failure()
    assert (failure.executed, failure.retry) == ("no", True)


async def test_a_call_that_nobody_took_is_a_proven_no(
    router: Bus, client: rpc.Client, fleet: rpc.Server[Call]
) -> None:
    await fleet.ignore(subjects.call("git"))
    started = time.monotonic()
    with pytest.raises(NexusError, match="nobody was there") as caught:
        await ask(client, ExecuteTool("git__log", soon()))
    assert (caught.value.executed, caught.value.failure().retry) == ("no", True)
    assert time.monotonic() - started < 1


async def test_a_search_without_an_indexer_is_a_proven_no(router: Bus, client: rpc.Client) -> None:
    with pytest.raises(NexusError, match="nobody was there") as caught:
        await ask(client, SearchTools(soon(), "commits"))
    assert caught.value.executed == "no"


async def test_a_request_that_grows_over_the_bound_of_the_bus_is_refused(
    router: Bus, client: rpc.Client
) -> None:
    def request(size: int) -> ExecuteTool:
        return ExecuteTool("git__log", 9e9, Raw(b'{"x":"' + b"y" * size + b'"}'))

    room = router.max_payload - len(encode(request(0)))
    for size in (room, room + 1):
        with pytest.raises(NexusError, match="larger than the gateway carries") as caught:
            await ask(client, request(size))
        assert caught.value.executed == "no"


def junk() -> list[bytes]:
    """A thousand messages: noise, and requests with bytes exchanged."""
    chance = random.Random(7)
    good = encode(ExecuteTool("git__log", 9e9, raw({"arguments": {"x": "ä"}})))
    messages = [chance.randbytes(chance.randrange(200)) for _ in range(500)]
    for _ in range(480):
        message = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            message[chance.randrange(len(message))] = chance.randrange(256)
        messages.append(bytes(message))
    return messages + [b"[" * 100_000, b'{"t":"call","params":' + b"[" * 100_000] * 10


async def test_a_thousand_messages_of_junk_leave_the_router_alive(
    router: Bus, client: rpc.Client, bus: Bus
) -> None:
    messages = junk()
    with capture_logs() as logs:
        for number, message in enumerate(messages):
            await bus.publish(subjects.REQUEST, message, f"{bus.inbox}.junk" if number % 2 else "")
        assert await ask(client, ExecuteTool("git__log", soon()))
    assert len(messages) == 1000
    assert {log["event"] for log in logs} <= {"unreadable request", "answer lost", "unreadable message"}
    assert router.connected


async def test_every_unreadable_request_is_answered(router: Bus, bus: Bus) -> None:
    answers: list[bytes] = []
    bus.answers["junk"] = answers.append
    unreadable = [b"", b"{", b"\xff" * 10, b"[" * 100_000, b'{"t":"other"}', b'{"t":"call","server":"git"}']
    with capture_logs():
        for message in unreadable:
            await bus.publish(subjects.REQUEST, message, f"{bus.inbox}.junk")
        with anyio.fail_after(5):
            while len(answers) < len(unreadable):
                await anyio.sleep(0.01)
    assert {json.loads(answer)["error"]["message"] for answer in answers} == {
        "this router cannot read the request"
    }


async def test_a_new_router_knows_the_fleet_before_it_takes_requests(
    broker: Broker, fleet: rpc.Server[Call], client: rpc.Client
) -> None:
    for _ in range(3):
        async with routing(broker):
            assert await ask(client, ExecuteTool("git__log", soon()))
        with pytest.raises(NexusError, match="nobody was there"):
            await ask(client, ExecuteTool("git__log", soon()))


async def test_a_call_for_one_worker_reaches_it_or_is_a_proven_no(router: Bus, client: rpc.Client) -> None:
    answer = await ask(client, CallServer("git", "tools/call", soon(), raw({"x": 1}), worker="w1"))
    assert answer == {"tool": "", "method": "tools/call", "params": {"x": 1}}
    with pytest.raises(CallFailed, match="nobody was there") as caught:
        await ask(client, CallServer("git", "tools/call", soon(), worker="w9"))
    assert caught.value.executed == "no"
