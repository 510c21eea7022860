"""What one role's credentials are worth to who has stolen them: F2. The whole table is in `test_grants`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from libs.cli import broker
from libs.common.grants import ROLES
from tests.libs.common.test_grants import connected

pytestmark = pytest.mark.anyio


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[broker.Broker]:
    started = await broker.start(tmp_path / "nats")
    yield started
    await started.stop()


@pytest.mark.parametrize("thief", [role for role in ROLES if role != "edge"])
async def test_f2_answers_for_an_edge_reach_no_other_role(guarded: broker.Broker, thief: str) -> None:
    heard: list[str] = []

    async def listen(message: Msg) -> None:
        heard.append(message.subject)

    async with connected(guarded, thief) as spy, connected(guarded, "edge") as edge:
        for subject in (
            "_INBOX_edge.>",
            "_INBOX_edge.*.*",
            "_INBOX_edge.replica.call",
            ">",
            "*",
            "nexus.v1.>",
        ):
            await spy.nats.subscribe(subject, cb=listen)
        await spy.barrier()
        await edge.nats.publish("_INBOX_edge.replica.call", b"a secret")
        await edge.barrier()
        await spy.barrier()
        assert len(spy.refused) == 6
    assert [subject for subject in heard if "echo" not in subject] == []


@pytest.mark.parametrize("forger", [role for role in ROLES if role != "router"])
async def test_f2_only_a_router_can_send_calls_to_connectors(guarded: broker.Broker, forger: str) -> None:
    heard: list[bytes] = []

    async def listen(message: Msg) -> None:
        heard.append(message.data)

    async with connected(guarded, "connector") as connector, connected(guarded, forger) as user:
        await connector.nats.subscribe("nexus.v1.call.github", cb=listen)
        await connector.barrier()
        await user.nats.publish("nexus.v1.call.github", b"forged")
        await user.barrier()
        await connector.barrier()
        assert any("nexus.v1.call.github" in text for text in user.refused)
    assert heard == []
