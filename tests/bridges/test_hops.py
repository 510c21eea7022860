"""What belongs to one hop stays there: handshake, version, identity, session, ids."""

from __future__ import annotations

import anyio
import pytest

from tests.bridges.clients import PREFIX, Given, LegacyCaller, Outcome
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.system.wire import LEGACY, MODERN, Message

pytestmark = pytest.mark.anyio


@proves("handshake", "identity")
async def test_a_client_is_introduced_to_the_server_in_its_own_era(bridge: Bridge, cell: Cell) -> None:
    if cell.modern:
        client = await bridge.client(cell)
        result = (await client.ask("server/discover")).result
        assert result["supportedVersions"] == [MODERN]
        info = result["_meta"][f"{PREFIX}serverInfo"]
    else:
        result = (await LegacyCaller(bridge.http, bridge.url(cell), {}).begin()).result
        assert result["protocolVersion"] == LEGACY
        info = result["serverInfo"]
    assert info["name"] == "fixture"
    assert {"tools", "prompts", "resources"} <= result["capabilities"].keys()
    assert result["instructions"] == "Everything the conformance suite asks for."


@proves("handshake", cells="L?-*")
async def test_a_revision_nobody_knows_is_answered_with_the_newest_that_has_sessions(
    bridge: Bridge, cell: Cell
) -> None:
    client = LegacyCaller(bridge.http, bridge.url(cell), {}, "2099-01-01")
    assert (await client.begin()).result["protocolVersion"] == LEGACY


@proves("version", "identity")
async def test_the_server_is_asked_in_the_revision_of_its_own_hop(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, "2025-06-18")
    seen = (await client.call("probe_seen")).said
    assert seen["version"] == (MODERN if cell.pair[1] == "M" else LEGACY)
    assert seen["client"]["name"] == "nexus"
    if cell.transport == "http":
        assert seen["headers"]["mcp-protocol-version"] == seen["version"]
    meta = seen["params"].get("_meta", {})
    stamped = {key for key in meta if key.startswith(PREFIX)}
    assert bool(stamped) == (cell.pair[1] == "M")


@proves("capabilities", cells="?M-*")
async def test_a_modern_server_sees_what_the_calling_client_declares(bridge: Bridge, cell: Cell) -> None:
    every: tuple[Message, ...] = ({"sampling": {}}, {"elicitation": {"form": {}}, "roots": {}}, {})
    for declared in every:
        client = await bridge.client(cell, **declared)
        seen = (await client.call("probe_seen")).said["capabilities"]
        assert seen.keys() == declared.keys()


@proves("capabilities", cells="?L-*")
async def test_what_the_calling_client_did_not_declare_is_refused_to_the_server(
    bridge: Bridge, cell: Cell
) -> None:
    """The session was opened for all clients; each question is held against the one that called."""
    client = await bridge.client(cell, sampling={})
    with anyio.fail_after(10):
        for kind, code in (("elicitation", -32601), ("url", -32602), ("roots", -32601)):
            outcome = await client.call("probe_ask", kind=kind, token="none of yours")
            assert outcome.error["code"] == (-32021 if cell.modern else code)
            assert outcome.asked == []


@proves("session", cells="M?-*")
async def test_a_modern_client_gets_no_session_and_needs_none(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    outcome = await client.call("probe_seen", Given(headers={"Mcp-Session-Id": "made-up"}))
    assert "mcp-session-id" not in outcome.headers
    assert outcome.said["headers"].get("mcp-session-id") != "made-up"


@proves("session", cells="L?-*")
async def test_a_session_is_known_to_every_replica_until_it_is_ended(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    assert isinstance(client, LegacyCaller)
    seen: list[Outcome] = [await client.call("probe_seen") for _ in range(4)]
    assert all(
        outcome.said["headers"].get("mcp-session-id") != client.headers["Mcp-Session-Id"] for outcome in seen
    )
    assert (await bridge.http.delete(client.url, headers=client.headers)).status_code == 204
    for _ in range(4):
        assert (await client.ask("ping")).status == 404


@proves("session", cells="L?-*")
async def test_a_session_that_never_was_is_not_found(bridge: Bridge, cell: Cell) -> None:
    client = LegacyCaller(bridge.http, bridge.url(cell), {})
    client.headers = {"Mcp-Session-Id": "made-up", "MCP-Protocol-Version": LEGACY}
    assert (await client.ask("tools/list")).status == 404


@proves("ping", cells="M?-*")
async def test_a_modern_client_has_no_ping(bridge: Bridge, cell: Cell) -> None:
    outcome = await (await bridge.client(cell)).ask("ping")
    assert outcome.error["code"] == -32601
    assert outcome.status == 404


@proves("ping", cells="L?-*")
async def test_a_legacy_client_is_answered_its_ping(bridge: Bridge, cell: Cell) -> None:
    assert (await (await bridge.client(cell)).ask("ping")).result == {}


@proves("ids")
async def test_twenty_clients_use_the_same_id_and_each_gets_its_own_answer(
    bridge: Bridge, cell: Cell
) -> None:
    got: dict[str, Outcome] = {}

    async def call(token: str) -> None:
        client = await bridge.client(cell)
        given = Given(number="the same")
        got[token] = await client.call("probe_steps", given, token=token, meeting=f"ids {cell}", size=20)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(call, f"token {number}")
    assert {token: outcome.said["token"] for token, outcome in got.items()} == {token: token for token in got}
    assert {outcome.message["id"] for outcome in got.values() if outcome.message} == {"the same"}


@proves("ids")
async def test_the_server_never_sees_the_id_of_a_client(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    outcome = await client.call("probe_seen", Given(number="mine alone"))
    assert outcome.said["id"] != "mine alone"


@proves("unknown")
async def test_a_method_that_no_revision_knows_reaches_the_server_with_all_its_params(
    bridge: Bridge, cell: Cell
) -> None:
    client = await bridge.client(cell)
    params = {"deep": [{"a": None, "b": [1.5, "\u2028"]}], "wide": {"c": {}}}
    echoed = (await client.ask("fixture/echo", params)).result["echoed"]
    assert {key: value for key, value in echoed.items() if key != "_meta"} == params


@proves("unknown")
async def test_a_method_that_the_server_does_not_have_is_told_as_each_era_tells_it(
    bridge: Bridge, cell: Cell
) -> None:
    outcome = await (await bridge.client(cell)).ask("fixture/missing")
    assert outcome.error["code"] == -32601
    assert outcome.status == (404 if cell.modern else 200)


@proves("mirrored headers", cells="M?-*")
async def test_an_argument_and_its_header_must_agree(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    for headers in ({}, {"Mcp-Param-Region": "elsewhere"}):
        refused = await client.call("test_x_mcp_header", Given(headers=headers), region="here")
        assert refused.status == 400
        assert refused.error["code"] == -32020
    agreed = Given(headers={"Mcp-Param-Region": "here"})
    outcome = await client.call("test_x_mcp_header", agreed, region="here")
    assert outcome.result["content"][0]["text"] == "region: here"


@proves("mirrored headers", cells="L?-*")
async def test_a_legacy_client_repeats_nothing_and_the_gateway_does(bridge: Bridge, cell: Cell) -> None:
    """A modern server over HTTP insists on the header; its absence would be an error."""
    outcome = await (await bridge.client(cell)).call("test_x_mcp_header", region="here")
    assert outcome.result["content"][0]["text"] == "region: here"
