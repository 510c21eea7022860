"""Syslog over TCP and TLS: what arrives of a batch, and what a receiver that fails gets again."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.common.config.collectors import SyslogSink
from services.auditor.sinks import Delivery, Rejected, SinkDown
from services.auditor.sinks.syslog import Syslog
from tests.services.auditor.formats.corpus import texts
from tests.services.auditor.formats.parsers import read_cef
from tests.services.auditor.sinks.certificates import issued
from tests.services.auditor.sinks.collecting import Collector, collecting
from tests.services.auditor.sinks.events import batch, delivery

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def logging(url: str, **more: Any) -> AsyncIterator[Syslog]:
    sink = Syslog(SyslogSink.model_validate({"type": "syslog", "url": url, **more}))
    try:
        yield sink
    finally:
        await sink.close()


def at(collector: Collector, scheme: str = "tcp") -> str:
    return f"{scheme}://127.0.0.1:{collector.port}"


async def persist(sink: Syslog, events: Sequence[Delivery], tries: int = 200) -> None:
    """Deliver as the consumer does: what was not taken comes again."""
    left = list(events)
    while left:
        tries -= 1
        assert tries, "the batch was never taken"
        try:
            taken = set(await sink.deliver(left))
        except SinkDown:
            await asyncio.sleep(0)
            continue
        left = [each for index, each in enumerate(left) if index not in taken]


def big(first: int, last: int, size: int = 4096) -> list[Delivery]:
    """Events of some size, so that buffers fill."""
    return [
        delivery(number, json.dumps({"metadata": {"uid": f"u{number}"}, "x": "y" * size}).encode())
        for number in range(first, last + 1)
    ]


def uids(events: Sequence[Delivery]) -> list[str]:
    return [each.uid for each in events]


async def taken_by(sink: Syslog, events: Sequence[Delivery]) -> list[int]:
    """What is taken of a batch; nothing where the receiver stands still."""
    try:
        return list(await sink.deliver(events))
    except SinkDown:
        return []


async def test_a_batch_arrives_whole_and_in_order() -> None:
    async with collecting() as collector, logging(at(collector)) as sink:
        assert list(await sink.deliver(batch(1, 500))) == list(range(500))
        await collector.until(lambda: len(collector.messages) == 500)
        assert collector.uids == uids(batch(1, 500))
        assert json.loads(collector.messages[0].text) == json.loads(batch(1, 1)[0].data)
        assert (collector.messages[0].facility, collector.messages[0].app) == (13, "nexus")


async def test_the_header_is_what_was_configured() -> None:
    more = {
        "facility": "local4",
        "app_name": "gw",
        "hostname": "edge.example",
        "structured_data_id": "me@99999",
    }
    async with collecting() as collector, logging(at(collector), **more) as sink:
        await sink.deliver(batch(1, 1))
        await collector.until(lambda: bool(collector.messages))
        read = collector.messages[0]
        assert (read.facility, read.app, read.host, read.element) == (20, "gw", "edge.example", "me@99999")


async def test_hostile_texts_survive_the_way_as_cef() -> None:
    async with collecting() as collector, logging(at(collector), format="cef") as sink:
        corpus = [text for text in texts() if len(text) < 500 and text]
        events = [
            delivery(
                number, json.dumps({"metadata": {"uid": f"u{number}"}, "policy": {"uid": text}}).encode()
            )
            for number, text in enumerate(corpus)
        ]
        await persist(sink, events)
        await collector.until(lambda: len(collector.messages) == len(events))
        for each in collector.messages:
            assert set(read_cef(each.text).extension) == {"outcome", "externalId", "cs2", "cs2Label"}


@pytest.mark.parametrize("mutual", [False, True])
async def test_tls_checks_both_sides_certificates(mutual: bool, tmp_path: Path) -> None:
    certificates = issued(tmp_path, mutual=mutual)
    tls = certificates.known if mutual else certificates.trusted
    async with collecting(certificates.server) as collector, logging(at(collector, "tls"), tls=tls) as sink:
        assert len(await sink.deliver(batch(1, 20))) == 20
        await collector.until(lambda: len(collector.messages) == 20)
        assert bool(collector.certificate) == mutual


async def test_a_receiver_with_a_foreign_certificate_gets_nothing(tmp_path: Path) -> None:
    certificates = issued(tmp_path)
    async with collecting(certificates.server) as collector, logging(at(collector, "tls")) as sink:
        with pytest.raises(SinkDown, match=r"certificate of 127\.0\.0\.1 is not accepted"):
            await sink.deliver(batch(1, 1))
        assert collector.messages == []


async def test_a_receiver_that_never_answers_in_tls_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with logging(f"tls://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2) as sink:
            with pytest.raises(SinkDown, match=r"did not accept a connection within 0\.2 s"):
                await sink.deliver(batch(1, 1))


async def test_nobody_listening_is_reported_and_nothing_is_lost() -> None:
    async with collecting() as collector, logging(at(collector)) as sink:
        await collector.stop()
        with pytest.raises(SinkDown, match="cannot be connected to"):
            await sink.deliver(batch(1, 3))
        await collector.start()
        assert len(await sink.deliver(batch(1, 3))) == 3
        await collector.until(lambda: collector.uids == uids(batch(1, 3)))


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_receiver_that_hangs_up_mid_batch_gets_all_of_it_again(
    how: str, secure: bool, tmp_path: Path
) -> None:
    certificates = issued(tmp_path)
    scheme, tls = ("tls", certificates.trusted) if secure else ("tcp", {})
    async with (
        collecting(certificates.server if secure else None) as collector,
        logging(at(collector, scheme), tls=tls, timeout=5) as sink,
    ):
        collector.hang_up = lambda: how if collector.connections < 4 and len(collector.uids) % 7 == 3 else ""
        for first in range(1, 301, 50):
            await persist(sink, big(first, first + 49))
        wanted = set(uids(big(1, 300)))
        await collector.until(lambda: set(collector.uids) == wanted)
        assert collector.connections == 4


async def test_what_a_receiver_had_not_read_when_it_died_is_written_again() -> None:
    async with collecting() as collector, logging(at(collector)) as sink:
        collector.reading.clear()
        assert len(await sink.deliver(batch(1, 3))) == 3, "the kernel has taken so little"
        await collector.stop()
        await collector.start()
        collector.reading.set()
        assert collector.messages == []
        await persist(sink, batch(4, 4))
        await collector.until(lambda: collector.uids == uids(batch(1, 4)))


async def test_the_end_of_the_sink_also_brings_back_what_a_dead_receiver_had_not_read() -> None:
    async with collecting() as collector, logging(at(collector)) as sink:
        collector.reading.clear()
        await sink.deliver(batch(1, 3))
        await collector.stop()
        await collector.start()
        collector.reading.set()
        await sink.close()
        await collector.until(lambda: collector.uids == uids(batch(1, 3)))


async def test_what_is_written_again_is_bounded() -> None:
    async with collecting() as collector, logging(at(collector), replay_size=2000) as sink:
        await sink.deliver(batch(1, 50))
        await collector.until(lambda: len(collector.messages) == 50)
        await collector.stop()
        collector.messages.clear()
        await collector.start()
        await persist(sink, batch(51, 51))
        await collector.until(lambda: collector.uids[-1:] == ["u51"])
        assert 2 < len(collector.messages) < 40
        assert collector.uids == uids(batch(52 - len(collector.messages), 51))


async def test_a_receiver_that_stops_reading_makes_no_event_come_twice() -> None:
    async with collecting() as collector, logging(at(collector), timeout=0.1) as sink:
        collector.reading.clear()
        events = big(1, 500, 20_000)
        left = list(events)
        while taken := await taken_by(sink, left):
            assert taken == list(range(len(taken))), "what arrived is the beginning"
            left = left[len(taken) :]
        collector.reading.set()
        await persist(sink, left)
        await collector.until(lambda: len(collector.messages) >= 500)
        assert collector.uids == uids(events)
        assert collector.connections == 1


async def test_an_event_that_no_message_can_carry_is_rejected_alone() -> None:
    async with collecting() as collector, logging(at(collector), max_message_size=4000) as sink:
        events = [*batch(1, 2), delivery(3, b"not an event"), *big(4, 4), *batch(5, 5)]
        with pytest.raises(Rejected) as caught:
            await sink.deliver(events)
        assert sorted(caught.value.accepted) == [0, 1, 4]
        assert caught.value.poison.keys() == {2, 3}
        assert "max_message_size" in caught.value.poison[3]
        await collector.until(lambda: collector.uids == ["u1", "u2", "u5"])


async def test_whatever_a_receiver_says_is_ignored() -> None:
    ended = asyncio.Event()

    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(b"220 hello\r\n" * 1000)
        writer.transport.abort()
        await asyncio.sleep(0)
        ended.set()

    async with await asyncio.start_server(chatter, "127.0.0.1", 0) as server:
        async with logging(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}") as sink:
            for first in range(1, 101, 10):
                assert len(await sink.deliver(batch(first, first + 9))) == 10
        await asyncio.wait_for(ended.wait(), 10)


def test_versions_of_tls_that_are_broken_are_not_spoken(tmp_path: Path) -> None:
    table = {"type": "syslog", "url": "tls://siem.example.com", "tls": issued(tmp_path).trusted}
    sink = Syslog(SyslogSink.model_validate(table))
    assert sink._tls is not None
    assert sink._tls.minimum_version >= ssl.TLSVersion.TLSv1_2
