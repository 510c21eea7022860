"""A stream of audit events, and receivers that do as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nats
import pytest

from libs.common import subjects
from libs.common.bus import Bus
from services.auditor.stream import Limits, Streams
from tests.broker import Broker

AUDITED = "audit.v1.api_activity"


@pytest.fixture
async def auditor(broker: Broker) -> AsyncIterator[Bus]:
    bus = Bus(broker.url, "auditor")
    await bus.connect()
    yield bus
    await bus.close()


@pytest.fixture
async def streams(auditor: Bus) -> Streams:
    made = Streams(auditor, Limits(3600, 64 * 2**20))
    await made.make()
    return made


async def record(bus: Bus, *uids: str, data: bytes = b"", subject: str = AUDITED) -> None:
    """Events in the stream, each with its uid for a body unless one is given."""
    jetstream = bus.jetstream()
    for uid in uids:
        # Again where the broker has only just come back: the stream knows the uid.
        for tries in range(20):
            try:
                await jetstream.publish(
                    subject, data or uid.encode(), headers={"Nats-Msg-Id": uid}, timeout=1
                )
                break
            except (nats.errors.Error, nats.js.errors.Error):
                assert tries < 19


async def dead(bus: Bus) -> list[tuple[str, bytes, dict[str, str]]]:
    """What was given up: subject, event, headers."""
    jetstream = bus.jetstream()
    info = await jetstream.stream_info(subjects.DEAD_STREAM)
    found = [
        await jetstream.get_msg(subjects.DEAD_STREAM, number + 1) for number in range(info.state.last_seq)
    ]
    return [(each.subject or "", each.data or b"", each.headers or {}) for each in found]
