"""What a security team reads afterwards, whoever was killed meanwhile: nothing is missing or made up."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.system.gateway import Gateway, eventually, nexus
from tests.system.parts import Journal, witness
from tests.system.wire import execute

pytestmark = [pytest.mark.anyio, pytest.mark.system]

SETTINGS = """
[audit]
checkpoint_interval = "1s"
[audit.sinks.file]
type = "file"
path = "{path}"
"""
REQUESTED, COMPLETED = "mcp.tool.call.requested", "mcp.tool.call.completed"
ENDED_WITHIN = 40.0
"""Seconds: the deadline, the grace, and what an auditor waits after its start."""


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("audited")
    settings = SETTINGS.format(path=folder / "audit.ndjson")
    servers = {"peer": witness(Journal(folder / "journal").flag, timeout="4s")}
    async with Gateway(folder, servers, settings=settings) as gateway:
        yield gateway


def events(gateway: Gateway) -> list[dict[str, Any]]:
    """What the sink has by now, each event once."""
    path = gateway.folder / "audit.ndjson"
    lines = path.read_text().splitlines() if path.exists() else []
    found = {each["metadata"]["uid"]: each for each in map(json.loads, lines)}
    return list(found.values())


def calls(gateway: Gateway, code: str) -> dict[str, dict[str, Any]]:
    """The events of a code, by their call."""
    return {
        each["metadata"]["correlation_uid"]: each
        for each in events(gateway)
        if each["metadata"]["event_code"] == code
    }


def executed(event: dict[str, Any]) -> str:
    said: str = event["unmapped"]["nexus"]["outcome"]["executed"]
    return said


def waiting(gateway: Gateway) -> str | None:
    """The call of the tool that waits."""
    tools = {call: each["resources"][0]["name"] for call, each in calls(gateway, REQUESTED).items()}
    return next((call for call, tool in tools.items() if tool.endswith("wait")), None)


def executions(gateway: Gateway) -> Counter[str]:
    """How many calls ended in which way."""
    return Counter(map(executed, calls(gateway, COMPLETED).values()))


def ended(gateway: Gateway) -> bool:
    return set(calls(gateway, REQUESTED)) == set(calls(gateway, COMPLETED))


async def test_u10_a_call_whose_edge_was_killed_is_ended_as_unknown(gateway: Gateway) -> None:
    journal = Journal(gateway.folder / "journal")
    (edge,) = gateway.services("edge")
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            with suppress(OSError, httpx.HTTPError):
                await execute(gateway.url, "peer__wait", {"seconds": 60, "tag": "orphan"})

        tasks.start_soon(call)
        await journal.saw("waiting", "orphan")
        await gateway.killed(edge)
    await eventually(lambda: waiting(gateway) is not None, 10, "the call was never recorded")
    call_id = waiting(gateway) or ""
    assert call_id not in calls(gateway, COMPLETED)
    await eventually(lambda: call_id in calls(gateway, COMPLETED), ENDED_WITHIN, "the call has no end")
    end, begin = calls(gateway, COMPLETED)[call_id], calls(gateway, REQUESTED)[call_id]
    assert executed(end) == "unknown"
    assert end["metadata"]["log_provider"] == "auditor-1"
    for name in ("actor", "api", "resources"):
        assert end[name] == begin[name]
    await gateway.ready("peer")


async def test_u2_every_answer_has_its_events_whoever_was_killed(gateway: Gateway) -> None:
    await gateway.ready("peer")
    answered = 0
    chance = random.Random(7)

    async def client() -> None:
        nonlocal answered
        for number in range(25):
            try:
                answer = await execute(gateway.url, "peer__echo", {"n": number})
            except (OSError, httpx.HTTPError):
                await anyio.sleep(0.1)
                continue
            answered += "result" in answer

    async def strike() -> None:
        for role in ("edge", "connector", "router", "auditor"):
            await anyio.sleep(chance.uniform(0.1, 0.4))
            for service in gateway.services(role):
                await gateway.killed(service)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(client)
            tasks.start_soon(strike)
    assert answered
    await gateway.ready("peer")
    await eventually(
        lambda: (
            ended(gateway)
            and list(map(executed, calls(gateway, COMPLETED).values())).count("yes") >= answered
        ),
        ENDED_WITHIN,
        lambda: (
            f"{answered} answered; events: { {k: len(calls(gateway, k)) for k in (REQUESTED, COMPLETED)} }"
        ),
    )
    checked = await anyio.to_thread.run_sync(
        lambda: nexus(
            "audit", "verify", "--whole", str(gateway.folder / "audit.ndjson"), config=gateway.config
        )
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert any(each["metadata"]["event_code"] == "audit.checkpoint" for each in events(gateway))
    checked = await anyio.to_thread.run_sync(lambda: nexus("audit", "verify", config=gateway.config))
    assert checked.returncode == 0, checked.stdout + checked.stderr
