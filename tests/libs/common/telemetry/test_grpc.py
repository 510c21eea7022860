"""OTLP over gRPC: to a real collector, and to a receiver with certificates of its own."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import grpc
import pytest
import trustme
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

from libs.common import telemetry
from libs.common.meters import families
from libs.common.telemetry.handle import Handle
from libs.common.trace import NONE
from tests.libs.common.telemetry.tables import table
from tests.rotel import Rotel

pytestmark = pytest.mark.anyio

NAME = "collector.internal"
LONG = 20.0


@pytest.fixture
async def rotel(tmp_path: Path) -> AsyncIterator[Rotel]:
    collector = Rotel(tmp_path)
    await anyio.to_thread.run_sync(collector.start)
    yield collector
    collector.stop()


class Receiver(services.TraceServiceServicer):
    """Keeps spans, and what each export said of itself. Answers only when it is let."""

    def __init__(self) -> None:
        self.spans: list[str] = []
        self.said: list[dict[str, Any]] = []
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the protocol
        self.said.append(dict(context.invocation_metadata()))
        self.asked.set()
        self.open.wait(LONG)
        self.spans += [
            span.name for each in request.resource_spans for scope in each.scope_spans for span in scope.spans
        ]
        return messages.ExportTraceServiceResponse()


@contextmanager
def receiving(receiver: Receiver, credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """The port of a receiver that runs."""
    server = grpc.server(ThreadPoolExecutor(4))
    services.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]  # generated
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        receiver.open.set()
        server.stop(None).wait(LONG)


def only_spans(url: str, **otlp: Any) -> Handle:
    off = {"exporters": {"otlp": {"enabled": False}}}
    return telemetry.begin(table(url, "grpc", otlp, logs=off, metrics=off), "edge-1")


def span(handle: Handle, name: str) -> None:
    assert handle.tracing is not None
    handle.tracing.span(handle.tracing.sampler.decide(NONE, {}).own, name).end()


async def test_a_collector_gets_all_signals(rotel: Rotel) -> None:
    families.OMITTED.cell().add()
    keys: dict[str, Any] = {
        "service_name": "shop",
        "resource_attributes": {"deployment.environment.name": "tests"},
    }
    handle = telemetry.begin(table(f"http://127.0.0.1:{rotel.port}", "grpc", **keys), "edge-1")
    span(handle, "over-grpc")
    await handle.close()
    await rotel.said("over-grpc", "shop", "deployment.environment.name", "edge-1", families.OMITTED.name)


async def test_headers_go_with_each_export() -> None:
    with receiving(receiver := Receiver()) as port:
        handle = only_spans(f"http://127.0.0.1:{port}", grpc={"headers": {"X-Scope-OrgID": "acme"}})
        span(handle, "a")
        await handle.close()
    assert receiver.spans == ["a"]
    assert receiver.said[0]["x-scope-orgid"] == "acme"


async def test_both_sides_show_certificates_and_the_name_may_be_another(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    server, client = theirs.issue_cert(NAME), ours.issue_cert("nexus.internal")
    pairs = [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())]
    credentials = grpc.ssl_server_credentials(pairs, ours.cert_pem.bytes(), require_client_auth=True)
    theirs.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = {each: str(tmp_path / f"{each}.pem") for each in ("ca", "key", "cert")}
    with receiving(receiver := Receiver(), credentials) as port:
        for name, more in (("named", {"domain_name": NAME}), ("unnamed", {})):
            handle = only_spans(f"https://127.0.0.1:{port}", timeout=1, grpc={"tls": tls | more})
            span(handle, name)
            await handle.close()
    assert receiver.spans == ["named"]


async def test_a_collector_that_never_answers_holds_up_neither_calls_nor_the_end() -> None:
    with receiving(receiver := Receiver()) as port:
        receiver.open.clear()
        handle = only_spans(f"http://127.0.0.1:{port}", timeout=60)
        span(handle, "first")
        assert await anyio.to_thread.run_sync(receiver.asked.wait, LONG)
        for _ in range(10_000):
            span(handle, "later")
        with anyio.fail_after(LONG / 2):
            await handle.close()
    assert len(receiver.said) == 1
