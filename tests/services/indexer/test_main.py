"""An indexer on a real bus: from facts to the catalog to answers."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from nats.js.errors import KeyNotFoundError
from structlog.testing import capture_logs

from libs.common import facts as facts_module
from libs.common import naming, rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decoder, encode
from libs.common.config import Config, Mcp, StdioServer
from libs.common.errors import NexusError
from libs.common.facts import Facts, ToolsListed
from libs.common.kv import Bucket
from libs.common.messages.calls import Query, ResolveTool, SearchTools
from libs.common.messages.catalog import Listing
from libs.common.messages.search import Hit, ToolsFound
from libs.common.service import Context, Options, snapshots
from libs.common.snapshot import Snapshot
from services.indexer.main import build
from tests.broker import Broker

pytestmark = pytest.mark.anyio

CONFIG = Config(mcp=Mcp(servers={name: StdioServer(name=name, cmd=("x",)) for name in ("git", "time")}))


@asynccontextmanager
async def indexing(broker: Broker) -> AsyncIterator[Bus]:
    """An indexer; its connection."""
    bus = Bus(broker.url, "indexer")
    await bus.connect()
    try:
        async with build(Context("indexer", "i1", CONFIG, bus, Options(config=None), broker.url)):  # type: ignore[arg-type]
            yield bus
    finally:
        await bus.close()


class World:
    """Facts in, answers out."""

    def __init__(self, client: rpc.Client, facts: Facts, listings: Snapshot[Listing]) -> None:
        self.client = client
        self.facts = facts
        self.listings = listings
        self.news = anyio.Event()
        listings.listen(lambda key, listing: self.news.set())

    async def ask(self, query: Query) -> Any:
        with anyio.fail_after(10):
            return await self.client.request(subjects.SEARCH, query, deadline=query.deadline)

    async def search(self, text: str, **more: Any) -> ToolsFound:
        return msgspec.json.decode(
            bytes(await self.ask(SearchTools(time.time() + 5, text, **more))), type=ToolsFound
        )

    async def names(self, text: str, **more: Any) -> list[str]:
        return [hit.name for hit in (await self.search(text, **more)).hits]

    async def list(self, server: str, *tools: dict[str, Any], digest: str = "", **more: Any) -> None:
        """Tell that a server lists these tools, and wait until the catalog has it."""
        revision = self.listings.revisions.get(server, 0)
        await self.facts.publish(listed(server, *tools, digest=digest, **more))
        await self.until(lambda: self.listings.revisions.get(server, 0) > revision)

    async def until(self, true: Any) -> None:
        with anyio.fail_after(10):
            while not true():
                self.news = anyio.Event()
                await self.news.wait()


def listed(server: str, *tools: dict[str, Any], digest: str = "", **more: Any) -> ToolsListed:
    return ToolsListed(server=server, worker="w1", digest=digest or repr(tools), tools=list(tools), **more)


def tool(name: str, description: object = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}, **more}


@pytest.fixture
async def world(broker: Broker, bus: Bus) -> AsyncIterator[World]:
    listings: Snapshot[Listing] = Snapshot(Bucket(bus, subjects.CATALOG, owner=True), decoder(Listing))
    async with rpc.Client(bus) as client, Facts(broker.url, "connector") as facts, snapshots(listings):
        yield World(client, facts, listings)


@pytest.fixture
async def indexer(broker: Broker, world: World) -> AsyncIterator[Bus]:
    async with indexing(broker) as bus:
        yield bus


LOG = tool("log", "Show the history of commits", title="History", annotations={"readOnlyHint": True})


async def found(world: World, text: str, name: str) -> Hit:
    """The hit of this name, once the indexer's own view of the catalog has it."""
    with anyio.fail_after(10):
        while True:
            for hit in (await world.search(text)).hits:
                if hit.name == name:
                    return hit


async def test_a_listed_tool_is_stored_and_found_with_its_parts(indexer: Bus, world: World) -> None:
    await world.list("git", LOG, version="2025-06-18", info={"name": "g"}, instructions="Be kind.")
    hit = await found(world, "commits", "git__log")
    assert (hit.server, hit.title, hit.description) == ("git", "History", "Show the history of commits")
    assert bytes(hit.input_schema) == b'{"type":"object"}'
    assert bytes(hit.annotations) == b'{"readOnlyHint":true}'
    stored = world.listings.values["git"]
    assert (stored.version, bytes(stored.info), stored.instructions) == (
        "2025-06-18", b'{"name":"g"}', "Be kind.",
    )  # fmt: skip
    assert [json.loads(bytes(each)) for each in stored.tools] == [LOG]


async def test_a_new_list_replaces_the_old_one(indexer: Bus, world: World) -> None:
    await world.list("git", LOG)
    await found(world, "commits", "git__log")
    await world.list("git", tool("blame", "Show who wrote each line"))
    await found(world, "line", "git__blame")
    assert "git__log" not in await world.names("commits")


async def test_the_same_list_is_stored_once_but_new_words_of_the_server_are_taken(
    indexer: Bus, world: World
) -> None:
    await world.list("git", LOG)
    revision = world.listings.revisions["git"]
    await world.facts.publish(listed("git", LOG))
    await world.list("git", LOG, instructions="Be quick.")
    assert world.listings.revisions["git"] == revision + 1
    assert world.listings.values["git"].instructions == "Be quick."


async def test_a_list_that_changed_back_at_once_ends_as_it_is(indexer: Bus, world: World) -> None:
    blame = tool("blame", "Show who wrote each line")
    await world.list("git", LOG)
    revision = world.listings.revisions["git"]
    for _ in range(5):
        await world.facts.publish(listed("git", blame))
        await world.facts.publish(listed("git", LOG))
    await world.until(lambda: world.listings.revisions["git"] == revision + 10)
    assert [json.loads(bytes(each))["name"] for each in world.listings.values["git"].tools] == ["log"]


async def test_a_server_that_is_not_configured_is_ignored(indexer: Bus, world: World) -> None:
    await world.facts.publish(listed("other", LOG))
    await world.list("git", tool("blame", "history"))
    assert list(world.listings.values) == ["git"]
    await found(world, "history", "git__blame")
    assert await world.names("commits") == ["git__blame"]


async def test_names_that_collide_are_not_offered_and_others_are(indexer: Bus, world: World) -> None:
    with capture_logs() as logs:
        twins = [tool("a b", "twin commits"), tool("a_b_0c9f", "no twin commits")]
        twin = naming.exposed("git", "a b").removeprefix("git__")
        await world.list("git", *twins, tool(twin, "twin commits"), LOG)
        await found(world, "commits", "git__log")
    assert sorted(await world.names("commits")) == ["git__a_b_0c9f", "git__log"]
    assert [log["names"] for log in logs if log["event"].startswith("tool names collide")] == [
        [f"git__{twin}"]
    ]


ODD = [
    tool("null", None),
    tool("number", 7),
    tool("list", ["x"]),
    {"name": "bare"},
    {"name": "nothing", "inputSchema": None, "title": 7, "annotations": "none", "outputSchema": 1},
    {"name": "wrong", "inputSchema": "object", "annotations": {"title": ["x"]}},
    {"name": "deep", "inputSchema": {"properties": {"a": {"$ref": "#"}, "b": None, "c": []}}},
    {"description": "nameless"},
    {"name": None},
    {"name": 7},
]


async def test_odd_definitions_are_taken_for_what_they_are(indexer: Bus, world: World) -> None:
    await world.list("git", *ODD, LOG)
    await found(world, "commits", "git__log")
    for name in ("null", "number", "list", "bare", "nothing", "wrong", "deep"):
        hit = await found(world, name, f"git__{name}")
        assert hit.description == "No description available"
        assert isinstance(json.loads(bytes(hit.input_schema)), dict)
    assert len(world.listings.values["git"].tools) == 8


async def test_a_catalog_somebody_damaged_is_read_as_far_as_it_goes(indexer: Bus, world: World) -> None:
    bucket = Bucket(indexer, subjects.CATALOG, owner=True)
    bad = '{"server":"git","digest":"1","tools":[1e999,[],"x",{"name":"log","description":"commits"}]}'
    with capture_logs():
        await bucket.put("time", b'\xff{"server"')
        await bucket.put("time", b'{"server":"git","digest":"1","tools":[{"name":"stray"}]}')
        await bucket.put("git", bad.encode())
        await found(world, "commits", "git__log")
    assert await world.names("stray") == []


async def test_a_limit_is_kept_and_bounded(indexer: Bus, world: World) -> None:
    await world.list("git", *(tool(f"t{n}", "commits") for n in range(60)))
    await found(world, "commits", "git__t0")
    for limit, count in ((1, 1), (7, 7), (50, 50), (1000, 50), (0, 1), (-5, 1)):
        assert len(await world.names("commits", limit=limit)) == count


async def test_keywords_count_as_much_as_the_query(indexer: Bus, world: World) -> None:
    await world.list("git", LOG)
    await found(world, "commits", "git__log")
    assert await world.names("", keywords=("history", "commits")) == ["git__log"]


async def test_nothing_found_offers_what_is_near(indexer: Bus, world: World) -> None:
    await world.list("git", LOG, tool("show", "Show one commit"))
    await found(world, "commits", "git__log")
    answer = await world.search("git__lgo zzzz qqqq")
    assert len(answer.nearest) <= 3
    assert (await world.search("zzzzqqqq")).hits == ()


async def test_a_name_nobody_has_gets_a_result_that_a_model_can_act_on(indexer: Bus, world: World) -> None:
    await world.list("git", LOG)
    await found(world, "commits", "git__log")
    answer = json.loads(bytes(await world.ask(ResolveTool("git__lgo", time.time() + 5))))
    assert answer["isError"] is True
    assert answer["_meta"] == {"nexus/executed": "no", "nexus/nearest": ["git__log"]}
    assert answer["content"][0]["text"] == (
        'There is no tool "git__lgo"; nothing was run. The nearest names are: git__log. '
        "Call `search` to find the exact name."
    )
    long = json.loads(bytes(await world.ask(ResolveTool("x" * 100_000, time.time() + 5))))
    assert len(long["content"][0]["text"]) < 300


async def test_a_query_past_its_deadline_is_refused(indexer: Bus, world: World) -> None:
    over = SearchTools(time.time() - 1, "x")
    with pytest.raises(NexusError, match="deadline was over") as caught, anyio.fail_after(5):
        await world.client.request(subjects.SEARCH, over, deadline=time.time() + 5)
    assert caught.value.executed == "no"


async def test_a_thousand_messages_of_junk_leave_the_indexer_alive(
    indexer: Bus, world: World, bus: Bus
) -> None:
    chance = random.Random(11)
    good = encode(SearchTools(9e9, "commits", ("ä",)))
    await world.list("git", LOG)
    with capture_logs() as logs:
        for number in range(1000):
            message = bytearray(good) if number % 2 else bytearray(chance.randbytes(100))
            message[chance.randrange(len(message))] = chance.randrange(256)
            await bus.publish(subjects.SEARCH, bytes(message), f"{bus.inbox}.junk")
        await bus.publish(subjects.SEARCH, b"[" * 100_000, f"{bus.inbox}.junk")
        await found(world, "commits", "git__log")
    assert {log["event"] for log in logs} <= {"unreadable query", "catalog updated"}


async def test_a_restarted_indexer_knows_the_catalog_before_it_answers(broker: Broker, world: World) -> None:
    async with indexing(broker):
        await world.list("git", LOG)
    for _ in range(2):
        async with indexing(broker):
            assert await world.names("commits") == ["git__log"]


async def test_facts_of_the_time_it_was_away_are_taken_later(broker: Broker, world: World) -> None:
    async with indexing(broker):
        await world.list("git", LOG)
    await world.facts.publish(listed("git", tool("blame", "Show who wrote each line")))
    async with indexing(broker):
        await found(world, "line", "git__blame")


async def test_two_replicas_hold_the_same_catalog(broker: Broker, world: World) -> None:
    async with indexing(broker), indexing(broker):
        await world.list("git", LOG)
        await world.list("time", tool("now", "Tell the time of commits"))
        streak = 0
        with anyio.fail_after(10):
            while streak < 30:
                both = sorted(await world.names("commits")) == ["git__log", "time__now"]
                streak = streak + 1 if both else 0


async def test_a_fact_that_cannot_be_stored_at_first_is_stored_later(
    indexer: Bus, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_module, "RETRY", 0.1)
    await world.list("git", LOG)
    await indexer.jetstream().delete_key_value(subjects.CATALOG)
    bucket = Bucket(indexer, subjects.CATALOG, owner=True)
    with capture_logs():
        await world.facts.publish(listed("git", tool("blame", "Show who wrote each line")))
        with anyio.fail_after(20):
            while (await _stored(bucket)) is None:
                await anyio.sleep(0.05)


async def _stored(bucket: Bucket) -> bytes | None:
    kv = await bucket.open()
    try:
        return (await kv.get("git")).value
    except KeyNotFoundError:
        return None


def test_an_indexer_without_numpy_says_once_that_it_searches_by_words_alone() -> None:
    code = "import sys; sys.modules['numpy'] = None; from services.indexer.main import _empty; _empty()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout + done.stderr).count("words alone") == 1
