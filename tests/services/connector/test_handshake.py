"""What requests carry, and how answers to the probe are read. The eras over a real pipe are in test_stdio."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from msgspec import Raw

from libs.common import codec
from libs.common.errors import DownstreamError, NexusError, ResultInvalid, ServerUnavailable
from services.connector import handshake
from services.connector.handshake import LEGACY, MODERN, negotiate, stamped, stripped
from services.connector.session import Opened, Params

pytestmark = pytest.mark.anyio
PREFIX = "io.modelcontextprotocol/"
INITIALIZED = {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}, "serverInfo": {"name": "old"}}
DISCOVERED = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}}


def decoded(params: Params) -> dict[str, Any]:
    return {key: json.loads(bytes(value)) for key, value in params.items()}


class Server:
    """Answers by method; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.heard: list[str] = []

    async def ask(self, method: str, params: Params, deadline: float) -> Raw:
        self.heard.append(method)
        answer = self.answers[method.rpartition("/")[2]]
        if isinstance(answer, NexusError):
            raise answer
        return codec.raw(answer)

    async def tell(self, method: str, params: Params) -> None:
        self.heard.append(method)

    async def shake(self, choice: handshake.Choice = "auto") -> Opened:
        return await negotiate(self.ask, self.tell, choice, time.time() + 5)


def test_a_modern_request_says_who_asks_and_keeps_what_else_it_carried() -> None:
    params = {
        "name": codec.raw("x"),
        "_meta": codec.raw({"traceparent": "00-1", PREFIX + "protocolVersion": "y"}),
    }
    meta = decoded(stamped(params))["_meta"]
    assert meta["traceparent"] == "00-1"
    assert meta[PREFIX + "protocolVersion"] == MODERN
    assert meta[PREFIX + "clientCapabilities"] == {}
    assert meta[PREFIX + "clientInfo"]["name"] == "nexus"
    assert decoded(stamped({}))["_meta"].keys() == meta.keys() - {"traceparent"}


def test_of_what_a_client_can_do_only_what_is_carried_reaches_the_server() -> None:
    tasks = PREFIX + "tasks"
    told = {"roots": {}, "com.example/own": {}, "extensions": {tasks: {"a": 1}, "com.example/other": {}}}
    meta = decoded(stamped({}, codec.raw(told)))["_meta"]
    assert meta[PREFIX + "clientCapabilities"] == {"roots": {}, "extensions": {tasks: {"a": 1}}}
    odd = decoded(stamped({}, codec.raw({"extensions": [1]})))["_meta"]
    assert odd[PREFIX + "clientCapabilities"] == {}


def test_a_legacy_request_has_no_modern_keys_and_keeps_the_rest() -> None:
    meta = codec.raw({"traceparent": "00-1", PREFIX + "logLevel": "debug"})
    assert decoded(stripped({"a": Raw(b"1"), "_meta": meta})) == {"a": 1, "_meta": {"traceparent": "00-1"}}
    escaped = Raw(b'{"io.modelcontextprotocol\\/logLevel":"debug"}')
    assert decoded(stripped({"a": Raw(b"1"), "_meta": escaped})) == {"a": 1}


@pytest.mark.parametrize("meta", [b"null", b"[]", b'"x"', b"5"])
def test_a_meta_that_is_no_object_is_replaced(meta: bytes) -> None:
    assert PREFIX + "protocolVersion" in decoded(stamped({"_meta": Raw(meta)}))["_meta"]
    assert stripped({"_meta": Raw(meta)}) == {}


async def test_a_server_that_discovers_is_modern() -> None:
    server = Server(
        discover={**DISCOVERED, "_meta": {PREFIX + "serverInfo": {"name": "new"}}, "instructions": "hi"}
    )
    opened = await server.shake()
    assert (opened.era, opened.version, opened.instructions) == ("modern", MODERN, "hi")
    assert json.loads(bytes(opened.info)) == {"name": "new"}
    assert server.heard == ["server/discover"]


@pytest.mark.parametrize(
    "answer",
    [
        DownstreamError(-32601, "what?"),
        DownstreamError(-32602, "Invalid request parameters"),
        DownstreamError(-32022, "no", codec.raw({"supported": ["2025-11-25"]})),
        DownstreamError(-32022, "no", codec.raw("nonsense")),
        ResultInvalid("not JSON-RPC"),
        {"supportedVersions": ["2025-11-25"]},
        {"unrelated": True},
    ],
)
async def test_a_server_that_does_not_is_legacy(answer: Any) -> None:
    server = Server(discover=answer, initialize=INITIALIZED)
    opened = await server.shake()
    assert (opened.era, opened.version) == ("legacy", "2025-03-26")
    assert server.heard == ["server/discover", "initialize", "notifications/initialized"]


async def test_a_server_of_newer_revisions_alone_is_refused_with_their_names() -> None:
    server = Server(discover=DownstreamError(-32022, "no", codec.raw({"supported": ["2031-01-01"]})))
    with pytest.raises(ServerUnavailable, match="2031-01-01"):
        await server.shake()
    assert server.heard == ["server/discover"]


@pytest.mark.parametrize("version", LEGACY)
async def test_every_legacy_revision_is_accepted(version: str) -> None:
    server = Server(initialize={**INITIALIZED, "protocolVersion": version})
    assert (await server.shake("legacy")).version == version


async def test_an_initialize_without_a_version_is_refused() -> None:
    with pytest.raises(ServerUnavailable, match="no valid result"):
        await Server(initialize={}).shake("legacy")


async def test_a_server_that_must_be_modern_and_is_not_is_refused() -> None:
    with pytest.raises(ServerUnavailable, match="era is set to modern"):
        await Server(discover=DownstreamError(-32601, "what?")).shake("modern")


async def test_a_refusal_that_names_the_revision_it_refused_is_asked_again() -> None:
    server = Server(initialize=INITIALIZED)
    answers = iter([DownstreamError(-32022, "no", codec.raw({"supported": [MODERN]})), DISCOVERED])

    async def ask(method: str, params: Params, deadline: float) -> Raw:
        server.answers["discover"] = next(answers)
        return await server.ask(method, params, deadline)

    opened = await negotiate(ask, server.tell, "auto", time.time() + 5)
    assert opened.era == "modern"
    assert server.heard == ["server/discover", "server/discover"]


async def test_a_server_that_refuses_what_it_names_twice_is_taken_for_legacy() -> None:
    refusal = DownstreamError(-32022, "no", codec.raw({"supported": [MODERN]}))
    server = Server(discover=refusal, initialize=INITIALIZED)
    assert (await server.shake()).era == "legacy"
    assert server.heard[:3] == ["server/discover", "server/discover", "initialize"]
