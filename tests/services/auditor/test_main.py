"""A whole auditor on a real bus: what it makes, whom it feeds, and what it forgets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import nats
import pytest
import structlog

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.config import Config
from libs.common.service import Context, Options
from services.auditor import stream
from services.auditor.main import build
from services.auditor.stream import Limits, Streams
from tests.broker import Broker
from tests.services.auditor.conftest import record
from tests.services.auditor.sinks import collecting as syslog
from tests.services.auditor.sinks.certificates import issued
from tests.services.auditor.sinks.collector import TOKEN, indexing
from tests.services.auditor.sinks.events import batch
from tests.services.auditor.sinks.exporting import over_grpc, over_http

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def auditing(bus: Bus, broker: Broker, worker: str = "auditor-1", **audit: Any) -> AsyncIterator[None]:
    config = Config.model_validate({"audit": audit})
    context = Context("auditor", worker, config, bus, Options(config=Path("nexus.toml")), broker.url)
    async with build(context):
        yield


async def lines(path: Path, wanted: int) -> list[str]:
    with anyio.fail_after(10):
        while not path.exists() or len(found := path.read_text().splitlines()) < wanted:
            await anyio.sleep(0.02)
    return found


async def names(bus: Bus) -> set[str]:
    return {each.name for each in await bus.jetstream().consumers_info(subjects.AUDIT_STREAM)}


async def test_it_makes_the_streams_as_configured_and_changes_them_later(
    auditor: Bus, broker: Broker
) -> None:
    async with auditing(auditor, broker, max_age="1h", max_size="10MiB"):
        pass
    await record(auditor, "kept")
    async with auditing(auditor, broker, max_age="2h", max_size="20MiB"):
        info = await auditor.jetstream().stream_info(subjects.AUDIT_STREAM)
        assert (info.config.max_age, info.config.max_bytes) == (7200, 20 * 2**20)
        assert info.config.discard == "new"
        assert info.state.messages == 1
        dead = await auditor.jetstream().stream_info(subjects.DEAD_STREAM)
        assert dead.config.subjects == ["audit.dead.v1.*"]


async def test_a_full_stream_refuses_and_keeps_what_it_has(auditor: Bus, broker: Broker) -> None:
    async with auditing(auditor, broker, max_size="64KiB"):
        await record(auditor, "first", data=b"x" * 40_000)
        with pytest.raises(nats.js.errors.APIError, match="maximum bytes"):
            await auditor.jetstream().publish("audit.v1.api_activity", b"x" * 40_000)
        info = await auditor.jetstream().stream_info(subjects.AUDIT_STREAM)
        assert info.state.messages == 1


async def test_a_nearly_full_stream_is_an_alarm_in_the_log(auditor: Bus) -> None:
    streams = Streams(auditor, Limits(3600, 64 * 1024))
    await streams.make()
    await record(auditor, "first", data=b"x" * 60_000)
    filled = await streams.filled()
    assert stream.FULL < filled.share < 1
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(stream.watch(streams))
        with anyio.fail_after(5):
            while not logs:
                await anyio.sleep(0.01)
        task.cancel()
    assert (logs[0]["log_level"], logs[0]["events"]) == ("error", 1)


async def test_each_sink_gets_every_event_of_its_classes(
    auditor: Bus, broker: Broker, tmp_path: Path
) -> None:
    sinks = {
        "all": {"type": "file", "path": tmp_path / "all"},
        "auth": {"type": "file", "path": tmp_path / "auth", "classes": ["authentication"]},
    }
    async with auditing(auditor, broker, sinks=sinks):
        await record(auditor, "a", "b")
        await record(auditor, "c", subject="audit.v1.authentication")
        await record(auditor, "d", subject="audit.v1.authentication.aaaaaaaaaaaaaaaa")
        assert await lines(tmp_path / "all", 4) == ["a", "b", "c", "d"]
        assert await lines(tmp_path / "auth", 2) == ["c", "d"]
        assert {"sink-all", "sink-auth", "siem"} <= await names(auditor)
    del sinks["auth"]
    await record(auditor, "e")
    async with auditing(auditor, broker, sinks=sinks):
        assert await lines(tmp_path / "all", 5) == ["a", "b", "c", "d", "e"]
        assert "sink-auth" not in await names(auditor)


async def test_what_came_last_is_still_delivered_when_it_stops(
    auditor: Bus, broker: Broker, tmp_path: Path
) -> None:
    sinks = {"all": {"type": "file", "path": tmp_path / "all"}}
    async with auditing(auditor, broker, sinks=sinks):
        for number in range(300):
            await auditor.publish("audit.v1.api_activity", json.dumps(number).encode())
        await auditor.settled()
    assert (tmp_path / "all").read_text().split() == [str(number) for number in range(300)]


async def test_a_broker_that_forgot_everything_gets_it_all_again(
    auditor: Bus, broker: Broker, tmp_path: Path
) -> None:
    sinks = {"all": {"type": "file", "path": tmp_path / "all"}}
    async with auditing(auditor, broker, sinks=sinks):
        await record(auditor, "a")
        await lines(tmp_path / "all", 1)
        await auditor.jetstream().delete_stream(subjects.AUDIT_STREAM)
        with anyio.fail_after(15):
            while True:
                try:
                    await auditor.jetstream().stream_info(subjects.AUDIT_STREAM)
                    break
                except nats.js.errors.NotFoundError:
                    await anyio.sleep(0.05)
        await record(auditor, "b")
        assert await lines(tmp_path / "all", 2) == ["a", "b"]


async def test_without_an_audit_it_makes_nothing(auditor: Bus, broker: Broker) -> None:
    async with auditing(auditor, broker, enabled=False):
        with pytest.raises(nats.js.errors.NotFoundError):
            await auditor.jetstream().stream_info(subjects.AUDIT_STREAM)


async def test_a_sink_that_cannot_be_made_keeps_nothing_from_the_others(
    auditor: Bus, broker: Broker, tmp_path: Path
) -> None:
    path = tmp_path / "audit.ndjson"
    broken = {"type": "syslog", "url": "tls://127.0.0.1:1", "tls": {"ca_cert_path": "/nowhere/ca.pem"}}
    sinks = {"broken": broken, "file": {"type": "file", "path": str(path)}}
    async with auditing(auditor, broker, sinks=sinks):
        await record(auditor, "first", "second")
        assert await lines(path, 2) == ["first", "second"]


async def test_splunk_syslog_and_telemetry_collectors_are_fed_side_by_side(
    auditor: Bus, broker: Broker, tmp_path: Path
) -> None:
    certificates = issued(tmp_path)
    async with (
        indexing() as splunk,
        syslog.collecting(certificates.server) as logged,
        over_grpc() as called,
        over_http() as posted,
    ):
        sinks = {
            "splunk": {"type": "splunk", "url": splunk.url, "token": TOKEN},
            "syslog": {
                "type": "syslog",
                "url": f"tls://127.0.0.1:{logged.port}",
                "tls": certificates.trusted,
            },
            "grpc": {"type": "otlp", "endpoint": called.url},
            "http": {"type": "otlp", "endpoint": posted.url, "protocol": "http"},
        }
        wanted = [f"u{number}" for number in range(1, 21)]
        async with auditing(auditor, broker, sinks=sinks):
            for each in batch(1, 20):
                await record(auditor, each.uid, data=each.data)
            with anyio.fail_after(20):
                for receiver in (splunk, logged, called, posted):
                    while sorted(receiver.uids) != sorted(wanted):
                        await anyio.sleep(0.02)
