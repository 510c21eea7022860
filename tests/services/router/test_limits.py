"""A router with limits, on a real bus and a real storage."""

from __future__ import annotations

import asyncio
import itertools
import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import raw
from libs.common.config import Config
from libs.common.errors import CallFailed, NexusError
from libs.common.identity import Principal
from libs.common.messages.calls import CallServer, ExecuteTool, NotifyServer, Request, SearchTools
from libs.common.service import Context, Options
from services.router.main import build
from tests.broker import Broker
from tests.services.router.test_main import fleet, soon
from tests.valkey import Valkey

__all__ = ["fleet"]

pytestmark = pytest.mark.anyio

SERVERS = "".join(f'[mcp.servers.{name}]\nname = "{name}"\ncmd = ["x"]\n' for name in ("git", "time"))
TOOL = SERVERS + '[mcp.servers.git.rate_limits]\ntools.log = { limit = 2, interval = "600s" }\n'
USER = SERVERS + '[server.rate_limits]\nenabled = true\nper_user = { limit = 3, interval = "600s" }\n'
ANN, BOB = (Principal(name, "i", tier="authenticated") for name in ("ann", "bob"))


@asynccontextmanager
async def routing(broker: Broker, text: str, worker: str = "r1") -> AsyncIterator[Bus]:
    bus = Bus(broker.url, "router")
    await bus.connect()
    config = Config.model_validate(tomllib.loads(text))
    try:
        async with build(Context("router", worker, config, bus, Options(config=Path()), broker.url)):
            yield bus
    finally:
        await bus.close()


@pytest.fixture
async def client(bus: Bus, fleet: rpc.Server[Any]) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


async def ask(client: rpc.Client, request: Request) -> Raw:
    with anyio.fail_after(10):
        return await client.request(subjects.REQUEST, request, deadline=request.deadline)


async def scope(client: rpc.Client, request: Request) -> str:
    """The scope of the limit that refuses; empty if the request goes its way, wherever that leads."""
    try:
        await ask(client, request)
    except CallFailed as error:
        failure = error.failure()
        if failure.code == -31007:
            assert failure.executed == "no"
            return str(json.loads(bytes(failure.data))["scope"])
    return ""


def call(tool: str = "log", who: Principal = ANN, **more: Any) -> CallServer:
    return CallServer("git", "tools/call", soon(), raw({"name": tool}), who, tool=tool, **more)


async def test_calls_by_either_way_count_to_the_same_tool(broker: Broker, client: rpc.Client) -> None:
    async with routing(broker, TOOL):
        said = [
            await scope(client, request)
            for request in (call(), ExecuteTool("git__log", soon()), call(), ExecuteTool("git__log", soon()))
        ]
        assert said == ["", "", "tool", "tool"]
        assert await scope(client, call("show")) == ""


async def test_everything_a_user_asks_for_counts_to_the_user(broker: Broker, client: rpc.Client) -> None:
    requests: list[Request] = [
        SearchTools(soon(), "x", principal=ANN),
        ExecuteTool("git__nothing", soon(), principal=ANN),
        NotifyServer("git", "notifications/x", soon(), principal=ANN),
    ]
    async with routing(broker, USER):
        assert [await scope(client, each) for each in requests] == ["", "", ""]
        for each in (*requests, call(), CallServer("git", "ping", soon(), principal=ANN)):
            assert await scope(client, each) == "user"
        assert await scope(client, call(who=BOB)) == ""


async def test_what_the_gateway_repeats_or_goes_on_with_is_not_counted(
    broker: Broker, client: rpc.Client
) -> None:
    async with routing(broker, TOOL):
        for _ in range(5):
            assert await scope(client, call(again=True)) == ""
            assert await scope(client, call(worker="w1")) == ""
        assert [await scope(client, call()) for _ in range(3)] == ["", "", "tool"]


async def test_l11_only_the_tool_that_is_called_can_be_counted(broker: Broker, client: rpc.Client) -> None:
    """A name that nobody has counts to no tool, and a server that is not there to no server."""
    text = TOOL + '[mcp.servers.git.rate_limits.tools."lo g"]\nlimit = 1\ninterval = "600s"\n'
    async with routing(broker, text):
        for _ in range(4):
            assert await scope(client, ExecuteTool("git__lo_g", soon())) == ""
            assert await scope(client, CallServer("nobody", "tools/call", soon(), tool="log")) == ""
        assert [await scope(client, call()) for _ in range(3)] == ["", "", "tool"]


async def test_a_limit_on_a_tool_that_is_not_listed_is_logged(broker: Broker, client: rpc.Client) -> None:
    with capture_logs() as logs:
        async with routing(broker, TOOL.replace("tools.log", "tools.lgo")):
            await scope(client, call())
    said = [log for log in logs if log["event"] == "limits are on tools that the server does not list"]
    assert [(log["server"], log["tools"]) for log in said] == [("git", ["lgo"])]


def shared(url: str, policy: str = "local-share") -> str:
    storage = f'[server.rate_limits.storage]\ntype = "redis"\nurl = "{url}"\n'
    head = f'[server.rate_limits]\nenabled = true\non_storage_error = "{policy}"\n'
    return TOOL + head + storage


async def test_two_routers_count_in_one_storage(broker: Broker, client: rpc.Client, valkey: Valkey) -> None:
    async with routing(broker, shared(valkey.url), "r1"), routing(broker, shared(valkey.url), "r2"):
        said = [await scope(client, call()) for _ in range(20)]
    assert said == ["", "", *["tool"] * 18]


async def test_in_memory_routers_have_their_parts_of_each_limit(broker: Broker, client: rpc.Client) -> None:
    async with routing(broker, USER, "r1"), routing(broker, USER, "r2"):
        with anyio.fail_after(10):
            for number in itertools.count():
                user = Principal(f"u{number}", "i", tier="authenticated")
                said = [await scope(client, call(who=user)) for _ in range(16)]
                if said.count("") == 3:
                    break


async def test_a_storage_that_hangs_holds_up_no_other_request(
    broker: Broker, client: rpc.Client, valkey: Valkey
) -> None:
    text = shared(valkey.url).replace('type = "redis"', 'type = "redis"\ncall_timeout = "2s"')
    async with routing(broker, text):
        assert await scope(client, call()) == ""
        valkey.pause()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(scope, client, call())
                await anyio.wait_all_tasks_blocked()
                with anyio.fail_after(1):
                    assert await scope(client, call("show")) == ""
        valkey.resume()


@pytest.mark.parametrize(("policy", "passed"), [("local-share", 2), ("allow", 6)])
async def test_a_router_starts_without_its_storage(
    broker: Broker, client: rpc.Client, valkey: Valkey, policy: str, passed: int
) -> None:
    valkey.stop()
    async with routing(broker, shared(valkey.url, policy)):
        assert [await scope(client, call()) for _ in range(6)].count("") == passed


async def test_a_router_that_must_deny_says_so_without_an_address(
    broker: Broker, client: rpc.Client, valkey: Valkey
) -> None:
    valkey.stop()
    async with routing(broker, shared(valkey.url, "deny")):
        with pytest.raises(NexusError, match="cannot be checked") as caught:
            await ask(client, call())
        assert await ask(client, call("show"))
    failure = caught.value.failure()
    assert (failure.executed, failure.http, str(valkey.port) in failure.message) == ("no", 503, False)


async def test_a_router_that_leaves_answers_what_waits_for_its_storage(
    broker: Broker, bus: Bus, client: rpc.Client, valkey: Valkey
) -> None:
    limits = 'enabled = true\nglobal = { limit = 9, interval = "1s" }'
    text = shared(valkey.url).replace("enabled = true", limits)
    answers: list[Raw] = []
    arrived = asyncio.Semaphore(0)

    async def spy(msg: Msg) -> None:
        arrived.release()

    async def one() -> None:
        answers.append(await ask(client, call("show", BOB)))

    await bus.subscribe(subjects.REQUEST, spy)
    async with anyio.create_task_group() as group:
        router = routing(broker, text)
        await router.__aenter__()
        valkey.pause()
        for _ in range(5):
            group.start_soon(one)
        for _ in range(5):
            await arrived.acquire()
        await router.__aexit__(None, None, None)
    assert len(answers) == 5
    valkey.resume()
