"""What no client should send, in both eras: each gets a status and an error, and reaches nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from libs.common.codec import encode
from tests.services.edge.conftest import Edge, modern_body, modern_headers

pytestmark = pytest.mark.anyio

CALL: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__echo", "arguments": {}}}


@dataclass
class Caller:
    """One era's way to post a call that would succeed, and to spoil it."""

    edge: Edge
    headers: dict[str, str]
    body: dict[str, Any]

    async def post(self, content: bytes | None = None, **headers: str) -> httpx.Response:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.edge.http.post("/mcp", content=content or encode(self.body), headers=sent)


@pytest.fixture(params=["modern", "legacy"])
async def caller(request: pytest.FixtureRequest, edge: Edge) -> AsyncIterator[Caller]:
    if request.param == "modern":
        body = modern_body("tools/call", **CALL)
        yield Caller(edge, modern_headers("tools/call", "execute"), body)
    else:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
        yield Caller(edge, await edge.session(), body)


def check_refused(
    caller: Caller, answer: httpx.Response, status: int, code: int, request_id: Any = None
) -> None:
    assert answer.status_code == status, answer.text
    refusal = answer.json()
    assert refusal["error"]["code"] == code
    assert refusal["id"] == request_id
    assert refusal["jsonrpc"] == "2.0"
    assert caller.edge.gateway.seen == []


async def test_the_call_that_is_spoilt_below_is_served_as_it_is(caller: Caller) -> None:
    answer = await caller.post()
    assert answer.status_code == 200
    assert "result" in answer.json()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", -32700),
        (b"\xef\xbb\xbf{}", -32700),
        (b'{"id": NaN}', -32700),
        (b'{"jsonrpc": "2.0", "id": "\\ud800"}', -32700),
        (b"[" * 100_000, -32600),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'"text"', -32600),
        (b'{"jsonrpc":"1.0","method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"result":{},"error":{}}', -32600),
    ],
)
async def test_a_body_that_is_no_message_is_refused(caller: Caller, content: bytes, code: int) -> None:
    check_refused(caller, await caller.post(content), 400, code)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"jsonrpc": "1.0"}, -32600),
        ({"method": 7}, -32600),
        ({"params": [1]}, -32602),
        ({"params": None}, -32602),
        ({"params": "x"}, -32602),
    ],
)
async def test_a_refused_message_is_answered_under_its_own_id(
    caller: Caller, changed: dict[str, Any], code: int
) -> None:
    caller.body |= {"id": "mine", **changed}
    check_refused(caller, await caller.post(), 400, code, "mine")


async def test_an_id_beyond_64_bits_comes_back_as_it_was(caller: Caller) -> None:
    caller.body["id"] = 2**70
    answer = await caller.post()
    assert answer.json()["id"] == 2**70


async def test_another_content_type_is_refused(caller: Caller) -> None:
    check_refused(caller, await caller.post(content_type="text/plain"), 415, -32600)


async def test_a_compressed_body_is_refused(caller: Caller) -> None:
    check_refused(caller, await caller.post(content_encoding="gzip"), 415, -32600)


async def test_a_client_that_cannot_read_event_streams_is_refused(caller: Caller) -> None:
    check_refused(caller, await caller.post(accept="application/json"), 406, -32600)


async def test_a_foreign_host_is_refused(caller: Caller) -> None:
    check_refused(caller, await caller.post(host="evil.com"), 421, -32600)


async def test_a_foreign_page_is_refused(caller: Caller) -> None:
    check_refused(caller, await caller.post(origin="http://evil.com"), 403, -32600)


async def test_a_header_name_with_an_underscore_is_refused(caller: Caller) -> None:
    caller.headers["x_forwarded_user"] = "root"
    check_refused(caller, await caller.post(), 400, -32600)


@pytest.mark.parametrize("name", ["authorization", "content-type", "mcp-session-id"])
async def test_a_repeated_singleton_header_is_refused(caller: Caller, name: str) -> None:
    doubled = [*caller.headers.items(), (name, "a"), (name, "a")]
    answer = await caller.edge.http.post("/mcp", content=encode(caller.body), headers=doubled)
    check_refused(caller, answer, 400, -32600)


async def test_a_method_nobody_knows_is_refused(caller: Caller) -> None:
    caller.body["method"] = "no/such"
    answer = await caller.post(mcp_method="no/such")
    is_modern = "mcp-session-id" not in caller.headers
    check_refused(caller, answer, 404 if is_modern else 200, -32601, 1)


@pytest.mark.parametrize("verb", ["PUT", "PATCH", "OPTIONS"])
async def test_another_verb_is_refused_and_told_which_ones_there_are(caller: Caller, verb: str) -> None:
    answer = await caller.edge.http.request(verb, "/mcp", headers=caller.headers)
    check_refused(caller, answer, 405, -32600)
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("token", [True, 1.5, [1], {"a": 1}])
async def test_a_progress_token_of_another_type_is_refused(caller: Caller, token: Any) -> None:
    caller.body["params"] = {**caller.body["params"]}
    caller.body["params"]["_meta"] = {**caller.body["params"].get("_meta", {}), "progressToken": token}
    answer = await caller.post()
    assert answer.json()["error"]["code"] == -32602
    assert caller.edge.gateway.seen == []


async def test_only_one_of_two_members_with_one_name_is_passed_on(caller: Caller) -> None:
    text = encode(caller.body).replace(b'"arguments":{}', b'"arguments":{"a":1,"a":2}')
    assert (await caller.post(text)).status_code == 200
    sent = caller.edge.gateway.seen[0]
    assert bytes(sent.params).count(b'"a"') == 1  # type: ignore[union-attr]  # the call below is an ExecuteTool
