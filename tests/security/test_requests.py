"""Requests that try to be taken for something else: B1, B2, B3, B7, B10."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
import httpx
import pytest

from libs.common.identity import Principal
from services.edge.address import Proxies
from services.edge.gateway import Anonymous, Visit
from services.edge.wire import Bounds
from tests.services.edge.conftest import LEGACY, Edge, modern_body, modern_headers, running
from tests.services.edge.test_wire import ASK, asked, closed, connections, serving

pytestmark = pytest.mark.anyio


class Seen(Anonymous):
    """Notes who the edge takes a request to be from."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []

    async def __call__(self, visit: Visit) -> Principal:
        self.visits.append(visit)
        return Principal()


async def sent(edge: Edge, headers: dict[str, str] | list[tuple[str, str]]) -> httpx.Response:
    more = list(headers.items()) if isinstance(headers, dict) else headers
    known = {name for name, _ in more}
    first = [(name, value) for name, value in modern_headers("tools/list").items() if name not in known]
    return await edge.http.post("/mcp/demo", json=modern_body("tools/list"), headers=[*first, *more])


@pytest.mark.parametrize("host", ["evil.com", "localhost.evil.com", "127.0.0.1.evil.com", ""])
async def test_b1_a_rebound_name_is_not_served(edge: Edge, host: str) -> None:
    assert (await sent(edge, {"host": host})).status_code in (403, 421)
    assert edge.gateway.seen == []


@pytest.mark.parametrize(
    "origins",
    [
        ["https://evil.com"],
        ["null"],
        ["http://localhost", "http://localhost"],
        ["http://localhost.evil"],
        ["http://localhost/path"],
        ["http://[::1].evil"],
    ],
    ids=str,
)
async def test_b1_a_foreign_page_may_not_call(edge: Edge, origins: list[str]) -> None:
    answer = await sent(edge, [("origin", each) for each in origins])
    assert answer.status_code in (400, 403)
    assert edge.gateway.seen == []


async def test_b1_a_client_without_a_page_may(edge: Edge) -> None:
    assert (await sent(edge, {})).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["slow", "=?base64?!!!?=", "=?base64?ZWNobw0KeDogeQ==?=", None],
    ids=["other", "broken", "crlf", "none"],
)
async def test_b2_a_header_that_differs_from_the_body_is_refused(edge: Edge, header: str | None) -> None:
    headers = modern_headers("tools/call", "echo")
    if header is None:
        del headers["mcp-name"]
    else:
        headers["mcp-name"] = header
    body = modern_body("tools/call", name="echo", arguments={})
    answer = await edge.http.post("/mcp/demo", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert edge.gateway.seen == []


async def test_b2_what_is_decided_is_decided_by_the_body(edge: Edge) -> None:
    headers = {**modern_headers("tools/call"), "mcp-name": "=?base64?ZWNobw==?="}
    body = modern_body("tools/call", name="echo", arguments={})
    assert (await edge.http.post("/mcp/demo", json=body, headers=headers)).status_code == 200
    assert edge.gateway.seen[-1].tool == "echo"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["authorization", "mcp-name", "mcp-session-id", "content-type"])
async def test_b3_a_header_given_twice_is_refused(edge: Edge, name: str) -> None:
    answer = await sent(edge, [(name, "a"), (name, "b")])
    assert answer.status_code == 400
    assert edge.gateway.seen == []


async def test_b3_a_header_with_an_underscore_is_refused(edge: Edge) -> None:
    assert (await sent(edge, {"x_nexus_user": "root"})).status_code == 400


@pytest.mark.parametrize(
    ("proxies", "told", "expected"),
    [
        (Proxies(), {"x-forwarded-for": "1.2.3.4", "x-real-ip": "1.2.3.4"}, "127.0.0.1"),
        (Proxies(hops=0), {"x-forwarded-for": "9.9.9.9, 1.2.3.4"}, "1.2.3.4"),
        (Proxies(hops=1), {"x-forwarded-for": "9.9.9.9, 1.2.3.4, 10.0.0.1"}, "1.2.3.4"),
        (Proxies(hops=3), {"x-forwarded-for": "1.2.3.4"}, "127.0.0.1"),
        (Proxies(hops=0), {"x-forwarded-for": "not an address"}, "127.0.0.1"),
        (Proxies(real_ip=True), {"x-real-ip": "::ffff:1.2.3.4"}, "1.2.3.4"),
    ],
    ids=["no proxy", "no hop", "one hop", "too few", "garbage", "real ip"],
)
async def test_b3_an_address_is_believed_of_proxies_only(
    proxies: Proxies, told: dict[str, str], expected: str
) -> None:
    seen = Seen()
    async with running(identify=seen, proxies=proxies) as edge:
        await sent(edge, told)
    assert seen.visits[-1].address == expected


async def test_b3_hop_by_hop_headers_take_nothing_away() -> None:
    seen = Seen()
    async with running(identify=seen) as edge:
        await sent(edge, {"authorization": "Bearer x", "connection": "authorization"})
    assert seen.visits[-1].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize("text", ["garbage", "00-0-0-0", "ff-" + "a" * 500])
async def test_b3_a_broken_trace_is_no_error(edge: Edge, text: str) -> None:
    assert (await sent(edge, {"traceparent": text})).status_code == 200


async def test_b7_slow_clients_do_not_keep_others_waiting() -> None:
    bounds = Bounds(1000, 1000, 1.0)
    async with serving(bounds) as port, connections(port, 200) as streams:
        dripping = asyncio.create_task(_drip(streams))
        with anyio.fail_after(20):
            began = time.perf_counter()
            for _ in range(20):
                assert (await asked(port, ASK)).startswith(b"HTTP/1.1 204")
            assert time.perf_counter() - began < 10
            for stream in streams:
                await closed(stream)
            while bounds.open:
                await asyncio.sleep(0.01)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def _drip(streams: list[anyio.abc.SocketStream]) -> None:
    """One byte at a time, for as long as anybody takes it."""
    for byte in b"GET / HTTP/1.1\r\nHost: localhost and much more that never ends":
        for stream in streams:
            try:
                await stream.send(bytes([byte]))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                continue
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_b10_a_form_is_no_request(edge: Edge, kind: str) -> None:
    body: Any = modern_body("tools/list")
    answer = await edge.http.post("/mcp/demo", json=body, headers={**LEGACY, "content-type": kind})
    assert answer.status_code == 415
    preflight = await edge.http.options("/mcp", headers={"origin": "https://evil.com", **ASKED})
    assert "access-control-allow-origin" not in preflight.headers
    assert edge.gateway.seen == []


ASKED = {"access-control-request-method": "POST"}


@pytest.fixture
async def edge() -> Any:
    async with running() as edge:
        yield edge
