"""A gateway and clients that listen: the stream they share outlives the server, and tasks stay theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.system.gateway import PYTHON, ROOT, Gateway
from tests.system.wire import Message, answered, ask, begin, http, modern, text

pytestmark = [pytest.mark.anyio, pytest.mark.system]

TELLER = ROOT / "tests" / "services" / "connector" / "children" / "teller.py"
TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
EXTENSION = "io.modelcontextprotocol/tasks"
DECLARED: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("listening")
    servers = {"teller": {"cmd": [PYTHON, "-S", "-E", str(TELLER)], "era": "modern"}}
    async with Gateway(folder, servers, "--scale", "edge=2") as gateway:
        yield gateway


async def use(gateway: Gateway, tool: str, arguments: Message | None = None) -> Message:
    params = {"name": tool, "arguments": arguments or {}, "_meta": DECLARED}
    async with http() as client:
        return answered(await ask(client, f"{gateway.url}/teller", "tools/call", params))


async def tell(gateway: Gateway, method: str, **params: Any) -> None:
    assert text(await use(gateway, "tell", {"method": method, "params": params})) == "told"


@asynccontextmanager
async def listening(gateway: Gateway, **wanted: Any) -> AsyncIterator[AsyncIterator[Message]]:
    """The events of one modern stream."""
    body, headers = modern("subscriptions/listen", {"notifications": wanted, "_meta": DECLARED})
    async with (
        http(60) as client,
        client.stream("POST", f"{gateway.url}/teller", json=body, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield events(answer.aiter_lines())


async def events(lines: AsyncIterator[str]) -> AsyncIterator[Message]:
    async for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


async def test_twenty_clients_of_both_eras_listen_on_while_the_server_starts_again(gateway: Gateway) -> None:
    with anyio.fail_after(60):
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(
                    listening(gateway, toolsListChanged=True, resourceSubscriptions=["x:1"])
                )
                for _ in range(18)
            ]
            for stream in streams:
                assert (await anext(stream))["method"] == "notifications/subscriptions/acknowledged"
            client = await stack.enter_async_context(http(60))
            for _ in range(2):
                headers = {**await begin(client, f"{gateway.url}/teller"), "Accept": "text/event-stream"}
                answer = await stack.enter_async_context(
                    client.stream("GET", f"{gateway.url}/teller", headers=headers)
                )
                streams.append(events(answer.aiter_lines()))
            while len(shared := json.loads(text(await use(gateway, "streams")))["open"]) > 1:
                await anyio.sleep(0.05)
            assert shared == [{"toolsListChanged": True, "resourceSubscriptions": ["x:1"]}]
            assert "error" in await use(gateway, "crash")
            for stream in streams:
                assert (await anext(stream))["method"] == TOOLS
            for stream in streams[:18]:
                assert (await anext(stream))["params"]["uri"] == "x:1"
            await gateway.ready("teller")
            await tell(gateway, UPDATED, uri="x:1", again=True)
            for stream in streams[:18]:
                assert (await anext(stream))["params"]["again"] is True


async def test_a_client_hears_of_its_task_by_its_own_id_and_nobody_else_does(gateway: Gateway) -> None:
    with anyio.fail_after(30):
        task = (await use(gateway, "job"))["result"]
        assert task["resultType"] == "task"
        assert task["taskId"] != "job-1"
        async with (
            listening(gateway, taskIds=[task["taskId"]]) as mine,
            listening(gateway, taskIds=["job-1"], toolsListChanged=True) as other,
        ):
            assert (await anext(mine))["params"]["notifications"] == {"taskIds": [task["taskId"]]}
            assert (await anext(other))["params"]["notifications"] == {"toolsListChanged": True}
            await tell(gateway, "notifications/tasks", taskId="job-1", status="completed")
            await tell(gateway, TOOLS)
            news = await anext(mine)
            assert (news["method"], news["params"]["taskId"]) == ("notifications/tasks", task["taskId"])
            assert (await anext(other))["method"] == TOOLS
