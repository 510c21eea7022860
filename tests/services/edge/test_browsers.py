"""CORS and the header against forged requests: what a browser is told, and what reaches the gateway."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services.edge.browsers import Cors
from tests.services.edge.conftest import LEGACY, Edge, modern_body, modern_headers, running

pytestmark = pytest.mark.anyio

APP = "https://app.example.com"
EVIL = "https://evil.example.net"


async def preflight(edge: Edge, origin: str, method: str = "POST", **headers: str) -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": method, **headers}
    return await edge.http.options("/mcp", headers=asked)


async def posted(edge: Edge, path: str = "/mcp", **headers: str) -> httpx.Response:
    sent = {**modern_headers("tools/list"), **headers}
    return await edge.http.post(path, json=modern_body("tools/list"), headers=sent)


def allow_origin(answer: httpx.Response) -> str | None:
    told: str | None = answer.headers.get("access-control-allow-origin")
    return told


async def test_without_cors_pages_of_other_origins_get_nothing() -> None:
    async with running() as edge:
        assert allow_origin(await preflight(edge, EVIL)) is None
        answer = await posted(edge, origin=EVIL)
        assert (answer.status_code, allow_origin(answer)) == (403, None)


async def test_any_origin_may_be_let_in() -> None:
    async with running(cors=Cors(("*",), ("*",), ("*",))) as edge:
        answer = await preflight(edge, EVIL)
        assert (answer.status_code, allow_origin(answer)) == (200, "*")
        answer = await posted(edge, origin=EVIL)
        assert (answer.status_code, allow_origin(answer)) == (200, "*")


async def test_named_origins_and_no_others_are_let_in() -> None:
    async with running(cors=Cors((APP,), ("POST",))) as edge:
        assert allow_origin(await preflight(edge, APP)) == APP
        answer = await posted(edge, origin=APP)
        assert (answer.status_code, allow_origin(answer)) == (200, APP)
        assert allow_origin(await preflight(edge, EVIL)) is None
        assert (await posted(edge, origin=EVIL)).status_code == 403


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://example.com", False),
        ("https://a.example.com.evil.net", False),
        ("https://evil.net/a.example.com", False),
        ("http://a.example.com", False),
        ("https://a.example.com:8443", False),
    ],
)
async def test_a_pattern_matches_hosts_and_never_beyond(origin: str, allowed: bool) -> None:
    async with running(cors=Cors(("https://*.example.com",), ("POST",))) as edge:
        assert (allow_origin(await preflight(edge, origin)) == origin) is allowed
        assert ((await posted(edge, origin=origin)).status_code == 200) is allowed


async def test_what_is_set_is_told_and_nothing_else() -> None:
    cors = Cors((APP,), ("GET", "OPTIONS"), ("x-a",), ("x-b",), credentials=True, max_age=60)
    async with running(cors=cors) as edge:
        told = (await preflight(edge, APP, "GET")).headers
        assert told["access-control-allow-methods"] == "GET, OPTIONS"
        assert "x-a" in told["access-control-allow-headers"]
        assert told["access-control-max-age"] == "60"
        assert told["access-control-allow-credentials"] == "true"
        assert "access-control-allow-private-network" not in told
        answer = await posted(edge, origin=APP)
        assert answer.headers["access-control-expose-headers"] == "x-b"
        assert (await preflight(edge, APP, "DELETE")).status_code == 400


async def test_a_private_network_is_opened_on_request_only() -> None:
    asked = {"access-control-request-private-network": "true"}
    for allowed in (False, True):
        async with running(cors=Cors((APP,), ("POST",), private_network=allowed)) as edge:
            told = (await preflight(edge, APP, **asked)).headers
            assert (told.get("access-control-allow-private-network") == "true") is allowed


async def test_a_preflight_needs_no_token_and_reaches_nobody() -> None:
    async with running(cors=Cors((APP,), ("POST",))) as edge:
        assert (await preflight(edge, APP)).status_code == 200
        assert edge.gateway.seen == []


async def test_without_the_guard_no_header_is_needed() -> None:
    async with running() as edge:
        assert (await posted(edge)).status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/mcp/demo", "/health", "/nowhere", "/"])
async def test_the_guard_stands_before_every_path_and_method(path: str) -> None:
    async with running(csrf="X-Nexus-CSRF-Protection") as edge:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"):
            answer = await edge.http.request(method, path, headers=LEGACY)
            assert (answer.status_code, answer.content) == (403, b"")
        assert (await edge.http.options(path)).status_code != 403
        assert edge.gateway.seen == []


@pytest.mark.parametrize("value", ["1", "", "anything"])
@pytest.mark.parametrize("name", ["X-My-Guard", "x-my-guard"])
async def test_the_header_lets_in_whatever_its_value_and_case(name: str, value: str) -> None:
    async with running(csrf="X-My-Guard") as edge:
        assert (await posted(edge, **{name: value})).status_code == 200
        assert (await posted(edge, **{"X-Nexus-CSRF-Protection": value})).status_code == 403


async def test_cors_answers_before_the_guard_asks() -> None:
    async with running(cors=Cors((APP,), ("POST",)), csrf="X-My-Guard") as edge:
        assert allow_origin(await preflight(edge, APP)) == APP
        refused = await posted(edge, origin=APP)
        assert (refused.status_code, allow_origin(refused)) == (403, APP)


async def test_a_form_of_a_foreign_page_never_reaches_a_server() -> None:
    async with running() as edge:
        body: Any = modern_body("tools/list")
        answer = await edge.http.post("/mcp", json=body, headers={**LEGACY, "content-type": "text/plain"})
        assert answer.status_code == 415
        assert edge.gateway.seen == []
