"""Batches over HTTP: what a receiver gets, and what each of its answers means."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from libs.common.config.sinks import WebhookSink
from libs.common.errors import ConfigError
from services.auditor.sinks import Rejected, SinkDown
from services.auditor.sinks.webhook import Webhook
from tests.services.auditor.sinks.events import batch

pytestmark = pytest.mark.anyio

Answer = Callable[[list[int]], web.Response]


@dataclass
class Receiver:
    """Keeps each request that came, and answers as it is told."""

    url: str = ""
    answer: Answer = lambda numbers: web.Response()
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    numbers: list[list[int]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        text = body.decode()
        events = (
            json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        )
        self.numbers.append([each["n"] for each in events])
        return self.answer(self.numbers[-1])


@asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/in", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"{'https' if context else 'http'}://127.0.0.1:{port}/in"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def hooked(url: str, **more: Any) -> AsyncIterator[Webhook]:
    hook = Webhook(WebhookSink.model_validate({"type": "webhook", "url": url, **more}))
    try:
        yield hook
    finally:
        await hook.close()


async def test_a_batch_is_ndjson_with_the_headers_that_were_configured() -> None:
    async with receiving() as receiver, hooked(receiver.url, headers={"X-Key": "a secret"}) as hook:
        assert list(await hook.deliver(batch(1, 3))) == [0, 1, 2]
    ((headers, body),) = receiver.requests
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["X-Key"] == "a secret"
    assert body == b"".join(each.data + b"\n" for each in batch(1, 3))


async def test_a_batch_is_an_array_if_that_is_wanted() -> None:
    async with receiving() as receiver, hooked(receiver.url, format="json") as hook:
        await hook.deliver(batch(1, 2))
    ((headers, body),) = receiver.requests
    assert headers["Content-Type"] == "application/json"
    assert [each["n"] for each in json.loads(body)] == [1, 2]


async def test_a_batch_is_packed_if_that_is_wanted() -> None:
    async with receiving() as receiver, hooked(receiver.url, gzip=True) as hook:
        await hook.deliver(batch(1, 50))
    ((headers, body),) = receiver.requests
    assert headers["Content-Encoding"] == "gzip"
    assert receiver.numbers == [list(range(1, 51))]
    assert int(headers["Content-Length"]) < len(body)
    assert len(gzip.compress(body)) < len(body)


async def test_a_batch_that_is_too_large_is_sent_in_halves() -> None:
    async with receiving() as receiver, hooked(receiver.url) as hook:
        receiver.answer = lambda numbers: web.Response(status=413 if len(numbers) > 2 else 204)
        assert sorted(await hook.deliver(batch(1, 7))) == list(range(7))
    taken = [numbers for numbers in receiver.numbers if len(numbers) <= 2]
    assert [number for numbers in taken for number in numbers] == list(range(1, 8))


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_one_event_that_is_refused_is_named(status: int) -> None:
    async with receiving() as receiver, hooked(receiver.url) as hook:
        receiver.answer = lambda numbers: web.Response(status=status if 5 in numbers else 200)
        with pytest.raises(Rejected) as caught:
            await hook.deliver(batch(1, 8))
    assert caught.value.poison == {4: f"HTTP {status}"}
    assert sorted(caught.value.accepted) == [0, 1, 2, 3, 5, 6, 7]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 500, 502])
async def test_a_receiver_that_is_not_well_loses_nothing(status: int) -> None:
    async with receiving() as receiver, hooked(receiver.url) as hook:
        receiver.answer = lambda numbers: web.Response(status=status, headers={"Location": "/other"})
        with pytest.raises(SinkDown, match=f"HTTP {status}"):
            await hook.deliver(batch(1, 2))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_receiver_says_when_to_come_back(status: int) -> None:
    async with receiving() as receiver, hooked(receiver.url) as hook:
        receiver.answer = lambda numbers: web.Response(status=status, headers={"Retry-After": "7"})
        with pytest.raises(SinkDown) as caught:
            await hook.deliver(batch(1, 2))
        assert caught.value.retry_after == 7
        later = formatdate(time.time() + 60, usegmt=True)
        receiver.answer = lambda numbers: web.Response(status=status, headers={"Retry-After": later})
        with pytest.raises(SinkDown) as caught:
            await hook.deliver(batch(1, 2))
        assert caught.value.retry_after == pytest.approx(60, abs=5)


async def test_what_was_taken_before_the_receiver_failed_is_not_sent_again() -> None:
    async with receiving() as receiver, hooked(receiver.url) as hook:
        answers = iter([413, 200, 500])
        receiver.answer = lambda numbers: web.Response(status=next(answers))
        assert sorted(await hook.deliver(batch(1, 4))) == [0, 1]


@pytest.mark.parametrize("manner", ["silent", "reset", "closed", "nothing"])
async def test_a_receiver_that_does_not_answer_is_down(manner: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if manner == "reset":
            writer.transport.abort()
        elif manner == "silent":
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if manner == "nothing":
        server.close()
        await server.wait_closed()
    async with hooked(f"http://127.0.0.1:{port}/in", timeout="300ms") as hook:
        with pytest.raises(SinkDown, match="no answer"):
            await hook.deliver(batch(1, 2))
    server.close()
    await server.wait_closed()


async def test_a_certificate_is_verified_by_the_authority_that_was_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with receiving(context) as receiver:
        async with hooked(receiver.url) as hook:
            with pytest.raises(SinkDown, match="no answer"):
                await hook.deliver(batch(1, 1))
        async with hooked(receiver.url, tls={"ca_cert_path": tmp_path / "ca.pem"}) as hook:
            await hook.deliver(batch(1, 1))
        async with hooked(receiver.url, tls={"verify_certs": False}) as hook:
            await hook.deliver(batch(2, 2))
    assert receiver.numbers == [[1], [2]]


async def test_a_certificate_that_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be used"):
        async with hooked("https://127.0.0.1:1/in", tls={"ca_cert_path": tmp_path / "ca.pem"}):
            pass
