"""What the audit is told of a server's life, by a real keeper of a real child."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common import log, rpc
from libs.common.bus import Bus
from libs.common.errors import NexusError
from services.connector.lifecycle import failed
from tests.broker import Broker
from tests.services.connector.parts import child
from tests.services.connector.world import Watcher, connecting, use, watching
from tests.written import nexus, written

pytestmark = pytest.mark.anyio


@pytest.fixture
async def watcher(broker: Broker) -> AsyncIterator[Watcher]:
    async with watching(broker) as watcher:
        yield watcher


async def test_a_crash_is_told_between_two_starts(
    broker: Broker, bus: Bus, watcher: Watcher, tmp_path: Path
) -> None:
    async with (
        written(tmp_path / "spool") as book,
        rpc.Client(bus) as client,
        connecting(broker, trail=book.trail) as connector,
    ):
        connector.keep(child())
        await watcher.until(watcher.is_ready)
        with pytest.raises(NexusError):
            await use(client, "crash")
        await watcher.until(lambda: watcher.is_ready(restarts=1))
        events = book.events("server.started", "server.failed")
    assert [(each["message"], nexus(each)["facts"]["restarts"]) for each in events] == [
        ("the server is there", 0),
        ("the server went away by itself", 1),
        ("the server is there again", 1),
    ]
    assert {(each["class_uid"], each["app"]["name"]) for each in events} == {(6002, "child")}
    assert nexus(events[1])["facts"]["reason"] == "exited with code 3"
    assert nexus(events[0])["facts"]["kind"] == "stdio"


def test_a_known_secret_in_a_reason_is_blanked() -> None:
    log.hide("canary-in-a-reason")
    event = failed("s", "w", "cannot reach https://u:canary-in-a-reason@h", 1, 0.25, lived=False)
    assert event.facts is not None
    assert event.facts["reason"] == "cannot reach https://u:<secret>@h"
    assert event.facts["retry_in_ms"] == 250
