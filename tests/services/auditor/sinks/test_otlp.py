"""Log records over gRPC and HTTP: to real collectors, and to ones that fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import grpc
import pytest
import trustme

from libs.common.config.collectors import OtlpSink
from libs.common.errors import ConfigError
from services.auditor.sinks import Rejected, SinkDown
from services.auditor.sinks.otlp import Otlp
from tests.collector import attributes, collecting
from tests.rotel import Rotel
from tests.services.auditor.formats.corpus import encoded
from tests.services.auditor.sinks.events import batch, delivery
from tests.services.auditor.sinks.exporting import Collector, over_grpc, over_http

pytestmark = pytest.mark.anyio

WAYS = ("http", "grpc")


@asynccontextmanager
async def exporting(url: str, protocol: str, **more: Any) -> AsyncIterator[Otlp]:
    table = {"type": "otlp", "endpoint": url, "protocol": protocol, **more}
    sink = Otlp(OtlpSink.model_validate(table))
    try:
        yield sink
    finally:
        await sink.close()


def receiving(way: str) -> AbstractAsyncContextManager[Collector]:
    return over_http() if way == "http" else over_grpc()


async def test_a_real_collector_gets_whole_events_over_http() -> None:
    async with collecting() as collector, exporting(collector.url, "http") as sink:
        events = [delivery(number, encoded(f"user {number}")) for number in range(40)]
        assert list(await sink.deliver(events)) == list(range(40))
        await collector.until(lambda: len(collector.logs) == 40)
        assert [each.body.string_value.encode() for each in collector.logs] == [each.data for each in events]
        assert attributes(collector.logs[7].attributes)["user.id"] == "user 7"
        assert collector.logs[7].trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_real_collector_gets_events_over_grpc(tmp_path: Path) -> None:
    rotel = Rotel(tmp_path)
    await anyio.to_thread.run_sync(rotel.start)
    try:
        async with exporting(f"http://127.0.0.1:{rotel.port}", "grpc", service_name="shop") as sink:
            assert len(await sink.deliver([delivery(1, encoded("ann"))])) == 1
        await rotel.said("shop", "nexus.audit", "01JZZZZZZZZZZZZZZZZZZZZZZZ", "mcp.servers.files.allow")
    finally:
        rotel.stop()


@pytest.mark.parametrize("way", WAYS)
async def test_headers_go_with_each_request(way: str) -> None:
    async with (
        receiving(way) as collector,
        exporting(collector.url, way, headers={"Api-Key": "a canary"}) as sink,
    ):
        assert len(await sink.deliver(batch(1, 3))) == 3
        assert collector.headers["api-key"] == "a canary"
        assert collector.uids == ["u1", "u2", "u3"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_part_that_was_rejected_is_found_and_the_rest_taken(way: str) -> None:
    async with receiving(way) as collector, exporting(collector.url, way) as sink:
        bad = {"u7", "u30", "u31"}
        collector.judge = lambda uids: (len(uids), "too odd") if bad & set(uids) else (0, "")
        with pytest.raises(Rejected) as caught:
            await sink.deliver([*batch(1, 50), delivery(51, b"no event")])
        assert {f"u{index + 1}" for index in caught.value.poison} == bad | {"u51"}
        assert caught.value.poison[6] == "too odd"
        assert sorted(caught.value.accepted) == sorted(set(range(51)) - set(caught.value.poison))
        assert set(collector.uids) == {f"u{number}" for number in range(1, 51)} - bad


async def test_a_part_that_was_taken_comes_again_with_the_same_ids_at_most() -> None:
    async with over_http() as collector, exporting(collector.url, "http") as sink:
        collector.judge = lambda uids: (1, "one of them") if len(uids) > 4 else (0, "")
        assert sorted(await sink.deliver(batch(1, 16))) == list(range(16))
        assert set(collector.uids) == {f"u{number}" for number in range(1, 17)}
        assert len(collector.uids) > 16


@pytest.mark.parametrize("way", WAYS)
async def test_a_warning_without_rejections_is_no_reason_to_send_again(way: str) -> None:
    async with receiving(way) as collector, exporting(collector.url, way) as sink:
        collector.judge = lambda uids: (0, "use the newer endpoint")
        assert len(await sink.deliver(batch(1, 5))) == 5
        assert collector.requests == 1


@pytest.mark.parametrize(
    ("way", "trouble", "wait", "said"),
    [
        ("http", 429, 7, "HTTP 429"),
        ("http", 503, 7, "HTTP 503"),
        ("http", 502, None, "HTTP 502"),
        ("http", 307, None, "HTTP 307"),
        ("http", 401, 30, "HTTP 401"),
        ("http", 404, 30, "HTTP 404"),
        ("http", "page", 30, "not as a collector answers"),
        ("http", "stall", None, r"no answer within 0\.2 s"),
        ("http", "reset", None, "no answer: ServerDisconnectedError"),
        ("grpc", grpc.StatusCode.UNAVAILABLE.value[0], None, "UNAVAILABLE: said so"),
        ("grpc", grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], None, "RESOURCE_EXHAUSTED"),
        ("grpc", grpc.StatusCode.UNAUTHENTICATED.value[0], 30, "UNAUTHENTICATED"),
        ("grpc", grpc.StatusCode.UNIMPLEMENTED.value[0], 30, "UNIMPLEMENTED"),
        ("grpc", "stall", None, "DEADLINE_EXCEEDED"),
    ],
)
async def test_a_collector_that_fails_gets_the_batch_again(
    way: str, trouble: str | int, wait: float | None, said: str
) -> None:
    async with receiving(way) as collector, exporting(collector.url, way, timeout="200ms") as sink:
        collector.trouble = lambda number: trouble if number == 1 else None
        with pytest.raises(SinkDown, match=said) as caught:
            await sink.deliver(batch(1, 3))
        assert caught.value.retry_after == wait
        assert len(await sink.deliver(batch(1, 3))) == 3
        assert collector.uids == ["u1", "u2", "u3"]


@pytest.mark.parametrize(("way", "trouble"), [("http", 400), ("http", 413), ("grpc", 3)])
async def test_a_request_that_is_refused_is_sent_in_halves(way: str, trouble: int) -> None:
    async with receiving(way) as collector, exporting(collector.url, way) as sink:
        collector.trouble = lambda number: trouble if number in (1, 2, 3) else None
        with pytest.raises(Rejected) as caught:
            await sink.deliver(batch(1, 4))
        assert caught.value.poison.keys() == {0}
        assert sorted(caught.value.accepted) == [1, 2, 3]


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_taken_before_a_collector_failed_counts(way: str) -> None:
    async with receiving(way) as collector, exporting(collector.url, way) as sink:
        answers: dict[int, int] = {1: 400, 3: 503} if way == "http" else {1: 3, 3: 14}
        collector.trouble = answers.get
        assert sorted(await sink.deliver(batch(1, 4))) == [0, 1]


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_there_is_reported(way: str) -> None:
    async with receiving(way) as collector:
        url = collector.url
    async with exporting(url, way) as sink:
        with pytest.raises(SinkDown):
            await sink.deliver(batch(1, 1))


async def test_grpc_over_tls_trusts_the_authority_that_was_given(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    async with over_grpc(grpc.ssl_server_credentials([pair])) as collector:
        tls = {"ca_cert_path": str(tmp_path / "ca.pem")}
        async with exporting(collector.url, "grpc", tls=tls) as sink:
            assert len(await sink.deliver(batch(1, 2))) == 2
        async with exporting(collector.url, "grpc") as sink:
            with pytest.raises(SinkDown, match="UNAVAILABLE"):
                await sink.deliver(batch(3, 3))
        assert collector.uids == ["u1", "u2"]


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"verify_certs": False}, "not possible with gRPC"),
        ({"ca_cert_path": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be read"),
    ],
)
def test_tls_that_cannot_be_is_said_at_the_start(tls: dict[str, Any], said: str) -> None:
    table = {"type": "otlp", "endpoint": "https://otel.example", "tls": tls}
    with pytest.raises(ConfigError, match=said):
        Otlp(OtlpSink.model_validate(table))
