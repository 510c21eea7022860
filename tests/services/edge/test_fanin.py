"""What the aggregate tells outside of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common.messages.calls import ExecuteTool
from libs.common.policy import Policy, Rule, Rules
from services.edge import following
from services.edge.fanin import URIS_MAX
from tests.services.edge.conftest import Edge, modern_body, modern_headers, running
from tests.services.edge.shelves import server, tool
from tests.services.edge.test_standing import EVENTS, events

pytestmark = pytest.mark.anyio

TAG = "io.modelcontextprotocol/subscriptionId"
ALL: dict[str, Any] = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
UPDATED = "notifications/resources/updated"
Heard = AsyncIterator[dict[str, Any]]


@pytest.fixture(autouse=True)
def shelves(edge: Edge) -> None:
    stock(edge)


def stock(edge: Edge) -> None:
    edge.catalog.list(server("demo", capabilities={"tools": {}}))
    edge.catalog.list(server("ark", resources=("file:///log", "ark://deck")))
    edge.catalog.list(server("zoo", resources=("file:///log",)))


@asynccontextmanager
async def listening(edge: Edge, user: str = "", **wanted: Any) -> AsyncIterator[Heard]:
    """The events of a modern client, the acknowledgement first."""
    body = modern_body("subscriptions/listen", request_id="mine", notifications=wanted)
    headers = {**modern_headers("subscriptions/listen"), "x-test-user": user}
    with anyio.fail_after(20):
        async with edge.http.stream("POST", "/mcp", json=body, headers=headers) as answer:
            yield events(answer)


@asynccontextmanager
async def standing(edge: Edge, *uris: str) -> AsyncIterator[Heard]:
    """The events of a legacy client that follows these resources."""
    headers = await edge.session()
    for uri in uris:
        assert (await edge.legacy(headers, "resources/subscribe", uri=uri)).json()["result"] == {}
    with anyio.fail_after(20):
        async with edge.http.stream("GET", "/mcp", headers={**headers, **EVENTS}) as answer:
            assert answer.status_code == 200
            yield events(answer)


async def until(done: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not done():
            await anyio.sleep(0.01)


async def test_what_is_honoured_is_acknowledged_first(edge: Edge) -> None:
    edge.catalog.list(server("dumb", resources=("dumb://x",), capabilities={"resources": {}}))
    uris = ["file:///log", "zoo+file:///log", "dumb://x", "odd:1"]
    async with listening(edge, **ALL, resourceSubscriptions=uris, taskIds=["t"]) as heard:
        first = await anext(heard)
    assert first["method"] == "notifications/subscriptions/acknowledged"
    assert first["params"] == {
        "notifications": {
            "promptsListChanged": True,
            "resourcesListChanged": True,
            "resourceSubscriptions": ["file:///log", "zoo+file:///log"],
        },
        "_meta": {TAG: "mine"},
    }


async def test_each_server_is_asked_for_its_own_uris_under_its_own_names(edge: Edge) -> None:
    uris = ["file:///log", "zoo+file:///log", "ark://deck"]
    async with listening(edge, resourceSubscriptions=uris) as heard:
        await anext(heard)
        asked = {each.server: each.wanted for each in edge.gateway.listens}
    assert asked == {
        "ark": {"resourceSubscriptions": ["ark://deck", "file:///log"]},
        "zoo": {"resourceSubscriptions": ["file:///log"]},
    }


async def test_a_changed_resource_is_told_under_the_uri_the_client_knows(edge: Edge) -> None:
    async with listening(edge, resourceSubscriptions=["zoo+file:///log"]) as heard:
        await anext(heard)
        (listen,) = edge.gateway.listens
        for noise in (Raw(b"not json"), Raw(b'{"method": 5}'), Raw(b"{}"), Raw(b'{"id": 1, "method": "x"}')):
            listen.on_event(noise)
        listen.tell("notifications/tools/list_changed")
        listen.tell(UPDATED, uri="file:///other")
        listen.tell(UPDATED, uri="file:///log/part", more=1)
        told = await anext(heard)
    assert told["method"] == UPDATED
    assert told["params"] == {"uri": "zoo+file:///log/part", "more": 1, "_meta": {TAG: "mine", "x-kept": 1}}


async def test_a_legacy_client_hears_it_on_its_stream_without_a_tag(edge: Edge) -> None:
    async with standing(edge, "zoo+file:///log") as heard:
        await until(lambda: edge.gateway.listens)
        edge.gateway.listens[0].tell(UPDATED, uri="file:///log")
        told = await anext(heard)
    assert told["params"] == {"uri": "zoo+file:///log", "_meta": {"x-kept": 1}}


async def test_a_changed_list_is_told_once_it_can_be_listed(edge: Edge) -> None:
    async with listening(edge, **ALL) as heard:
        await anext(heard)
        edge.catalog.list(server("ark", prompts=("two",), resources=("file:///log", "ark://deck")))
        first = await anext(heard)
        edge.catalog.list(server("zoo", templates=("zoo://{id}",), resources=("file:///log",)))
        second = await anext(heard)
        assert edge.gateway.listens == []
    assert [each["method"] for each in (first, second)] == [
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
    ]
    assert first["params"] == {"_meta": {TAG: "mine"}}


async def test_a_legacy_client_hears_of_changed_lists(edge: Edge) -> None:
    async with standing(edge) as heard:
        await until(lambda: edge.catalog.watchers)
        edge.catalog.list(server("ark", prompts=("two",), resources=("file:///log", "ark://deck")))
        assert (await anext(heard))["method"] == "notifications/prompts/list_changed"


async def test_changed_tools_are_told_only_where_they_are_listed() -> None:
    tools = server("zoo", tools=(tool("feed"),), resources=("file:///log",), prompts=("two",))
    for expose, expected in (("all", "tools"), ("search", "prompts")):
        async with running(expose=expose) as edge:
            stock(edge)
            async with listening(edge, **ALL) as heard:
                acknowledged = (await anext(heard))["params"]["notifications"]
                edge.catalog.list(tools)
                seen = {(await anext(heard))["method"] for _ in acknowledged if _ != "resourcesListChanged"}
            assert f"notifications/{expected}/list_changed" in seen
            assert ("toolsListChanged" in acknowledged) == (expose == "all")


async def test_what_changes_at_once_is_told_once(edge: Edge) -> None:
    async with listening(edge, promptsListChanged=True, resourcesListChanged=True) as heard:
        await anext(heard)
        for number in range(5):
            edge.catalog.list(server(f"s{number}", prompts=("p",)))
        first = await anext(heard)
        edge.catalog.list(server("s9", resources=("s:9",)))
        second = await anext(heard)
    assert first["method"] == "notifications/prompts/list_changed"
    assert second["method"] == "notifications/resources/list_changed"


async def test_a_change_the_caller_may_not_see_is_not_told() -> None:
    nobody = Policy({"secret": Rules(Rule(frozenset()))})
    async with (
        running(policy=nobody) as edge,
        listening(edge, promptsListChanged=True, resourcesListChanged=True) as heard,
    ):
        await anext(heard)
        edge.catalog.list(server("secret", prompts=("p",)))
        edge.catalog.list(server("seen", resources=("s:1",)))
        assert (await anext(heard))["method"] == "notifications/resources/list_changed"


async def test_a_listen_that_ends_is_asked_again_and_ends_nothing_else(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "AGAIN", 0.05)
    uris = ["file:///log", "zoo+file:///log"]
    async with listening(edge, resourceSubscriptions=uris) as heard:
        await anext(heard)
        ark, zoo = sorted(edge.gateway.listens, key=lambda each: each.server)
        ark.ended.set()
        await until(lambda: len(edge.gateway.listens) == 3)
        zoo.tell(UPDATED, uri="file:///log")
        assert (await anext(heard))["params"]["uri"] == "zoo+file:///log"
        edge.gateway.listens[2].tell(UPDATED, uri="file:///log")
        assert (await anext(heard))["params"]["uri"] == "file:///log"
    assert [each.server for each in edge.gateway.listens[2:]] == ["ark"]


async def test_a_uri_that_leads_elsewhere_later_is_followed_there(edge: Edge) -> None:
    async with listening(edge, resourceSubscriptions=["file:///log", "ark://deck"]) as heard:
        await anext(heard)
        edge.catalog.list(server("aaa", resources=("file:///log",)))
        await until(lambda: len(edge.gateway.listens) == 3)
        found = {each.server: each.wanted["resourceSubscriptions"] for each in edge.gateway.listens[1:]}
        assert found == {"aaa": ["file:///log"], "ark": ["ark://deck"]}
        await until(lambda: edge.gateway.running == 2)


async def test_hanging_up_ends_every_listen(edge: Edge) -> None:
    async with listening(edge, resourceSubscriptions=["file:///log", "zoo+file:///log"]) as heard:
        await anext(heard)
        assert edge.gateway.running == 2
    await until(lambda: not edge.gateway.running)
    assert edge.catalog.watchers == set()


async def test_a_server_that_does_not_acknowledge_holds_nobody_up(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.fanin.BEGIN", 0.1)
    edge.gateway.mute = True
    async with listening(edge, resourceSubscriptions=["file:///log"]) as heard:
        assert (await anext(heard))["params"]["notifications"] == {"resourceSubscriptions": ["file:///log"]}


async def test_a_stream_ends_with_a_result_when_its_time_is_over() -> None:
    async with running(listen_ttl=0.2) as edge:
        stock(edge)
        async with listening(edge, promptsListChanged=True) as heard:
            last = [each async for each in heard][-1]
    assert last["result"]["_meta"][TAG] == "mine"
    assert last["id"] == "mine"


async def test_a_draining_gateway_ends_every_stream(edge: Edge) -> None:
    async with listening(edge, promptsListChanged=True) as heard:
        await anext(heard)
        edge.standing.close()
        assert "result" in await anext(heard)


async def test_too_many_listeners_are_refused(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.fanin.STREAMS_MAX", 1)
    async with listening(edge, promptsListChanged=True) as heard:
        await anext(heard)
        refused = await edge.modern("subscriptions/listen", notifications={})
        assert refused.json()["error"]["code"] == -31004


@pytest.mark.parametrize(
    "wanted", [None, 5, {"promptsListChanged": "yes"}, {"resourceSubscriptions": ["x"] * (URIS_MAX + 1)}]
)
async def test_an_odd_filter_is_refused(edge: Edge, wanted: Any) -> None:
    answer = await edge.modern("subscriptions/listen", notifications=wanted)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


async def test_log_lines_of_a_call_name_their_server(edge: Edge) -> None:
    edge.gateway.release.set()
    level = {"io.modelcontextprotocol/logLevel": "info"}
    arguments = {"name": "demo__events", "arguments": {}}
    answer = await edge.modern("tools/call", name="execute", arguments=arguments, meta=level)
    assert '"logger":"demo"' in answer.text
    silent = await edge.modern("tools/call", name="execute", arguments=arguments)
    assert "notifications/message" not in silent.text


async def test_a_legacy_client_sets_its_level_on_the_aggregate(edge: Edge) -> None:
    edge.gateway.release.set()
    headers = await edge.session()
    assert (await edge.legacy(headers, "logging/setLevel", level="debug")).json()["result"] == {}
    arguments = {"name": "demo__events", "arguments": {}}
    answer = await edge.legacy(headers, "tools/call", name="execute", arguments=arguments)
    assert '"logger":"demo"' in answer.text
    (sent,) = edge.gateway.seen
    assert isinstance(sent, ExecuteTool)
    assert b'"io.modelcontextprotocol/logLevel":"debug"' in bytes(sent.params)
