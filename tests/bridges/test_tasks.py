"""Calls that go on after their answer: an extension of the modern era, and no other."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.bridges.clients import Caller, LegacyCaller, Outcome
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.system.wire import Message

pytestmark = pytest.mark.anyio

TASKS = "io.modelcontextprotocol/tasks"
TAKES: Message = {"extensions": {TASKS: {}}, "elicitation": {"form": {}}}


async def became(client: Caller, task: str, status: str) -> Outcome:
    """The task, once it is there."""
    with anyio.fail_after(10):
        while True:
            outcome = await client.ask("tasks/get", {"taskId": task})
            if outcome.result["status"] == status:
                return outcome
            await anyio.sleep(outcome.result["pollIntervalMs"] / 4000)


@proves("tasks", cells="MM-*")
async def test_a_task_is_asked_for_answered_and_done_on_any_replica(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, **TAKES)
    created = (await client.call("confirm_delete", filename="it")).result
    assert created["resultType"] == "task"
    task = created["taskId"]
    waiting = await became(client, task, "input_required")
    assert waiting.result["inputRequests"]["confirm"]["params"]["message"] == "Delete it?"
    answers: Any = {"confirm": {"action": "accept", "content": {"confirm": True}}}
    await client.ask("tasks/update", {"taskId": task, "inputResponses": answers})
    done = await became(client, task, "completed")
    assert done.result["result"]["content"][0]["text"] == "deleted: True"


@proves("tasks", cells="MM-*")
async def test_a_task_is_cancelled(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, **TAKES)
    task = (await client.call("slow_compute", seconds=60)).result["taskId"]
    await client.ask("tasks/cancel", {"taskId": task})
    await became(client, task, "cancelled")


@proves("tasks", cells="MM-*")
async def test_the_server_s_own_id_of_a_task_is_never_told(bridge: Bridge, cell: Cell) -> None:
    """What the client has is sealed: another id, even a true one, means nothing."""
    client = await bridge.client(cell, **TAKES)
    task = (await client.call("slow_compute", seconds=60)).result["taskId"]
    assert len(task) > 32
    made_up = await client.ask("tasks/get", {"taskId": task[:-4] + "AAAA"})
    assert made_up.error["code"] == -32602
    await client.ask("tasks/cancel", {"taskId": task})


@proves("tasks", cells="MM-*")
async def test_a_modern_client_that_takes_no_tasks_waits_for_the_result(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    result = (await client.call("slow_compute", seconds=0, label="now")).result
    assert result["content"][0]["text"] == "computed now"
    assert result["resultType"] == "complete"


@proves("tasks", cells="ML-*")
async def test_tasks_of_the_older_era_are_another_protocol_and_are_not_offered(
    bridge: Bridge, cell: Cell
) -> None:
    client = await bridge.client(cell, **TAKES)
    discovered = (await client.ask("server/discover")).result
    assert "extensions" not in discovered["capabilities"]
    result = (await client.call("slow_compute", seconds=0, label="now")).result
    assert result["content"][0]["text"] == "computed now"
    assert (await client.ask("tasks/get", {"taskId": "any"})).error["code"] == -32601


@proves("tasks", cells="L?-*")
async def test_a_client_with_a_session_is_offered_no_tasks_and_gets_none(bridge: Bridge, cell: Cell) -> None:
    client = LegacyCaller(bridge.http, bridge.url(cell), TAKES)
    offered = (await client.begin()).result["capabilities"]
    assert "tasks" not in offered
    assert "extensions" not in offered
    result = (await client.call("slow_compute", seconds=0, label="now")).result
    assert result["content"][0]["text"] == "computed now"
