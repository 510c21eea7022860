"""What a server is asked for the sake of all who listen, in either era, and what they hear meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.common import codec
from libs.common.errors import DownstreamLost
from services.connector import changes
from services.connector.bulletin import Bulletin
from services.connector.session import Era, Opened
from services.connector.subscribed import TOGETHER
from tests.services.connector.news import Listener, Server

pytestmark = pytest.mark.anyio

TOOLS = "notifications/tools/list_changed"
PROMPTS = "notifications/prompts/list_changed"
UPDATED = "notifications/resources/updated"
CAPABILITIES: dict[str, Any] = {
    "tools": {"listChanged": True},
    "prompts": {},
    "resources": {"subscribe": True},
}
LISTS = {"toolsListChanged": True}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "FIRST", 0.01)
    monkeypatch.setattr(changes, "SETTLE", 0.01)
    monkeypatch.setattr(changes, "OVERLAP", 0.05)


@dataclass
class World:
    """A server that is followed, and who listens."""

    server: Server
    bulletin: Bulletin
    relisted: list[None] = field(default_factory=list)


@asynccontextmanager
async def following(
    era: Era, bulletin: Bulletin | None = None, capabilities: Any = CAPABILITIES, **refuses: Any
) -> AsyncIterator[World]:
    world = World(Server(), Bulletin() if bulletin is None else bulletin)
    world.server.refuses = refuses.get("refuses", set())
    opened = Opened(era, "x", codec.raw(capabilities))
    task = asyncio.ensure_future(
        changes.follow(
            world.server,  # type: ignore[arg-type]  # the part it uses
            opened,
            world.bulletin,
            world.bulletin.post,
            lambda: world.relisted.append(None),
        )
    )
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert world.server.open == []


async def stop(*listeners: Listener) -> None:
    for listener in listeners:
        await listener.stop()


async def test_twenty_clients_share_one_stream_of_a_modern_server() -> None:
    async with following("modern") as world:
        listeners = [Listener(world.bulletin, toolsListChanged=True) for _ in range(20)]
        for each in listeners:
            await each.began()
        (stream,) = world.server.streams
        assert stream.wanted == LISTS
        stream.say(TOOLS, _meta={"io.modelcontextprotocol/subscriptionId": 7})
        for each in listeners:
            await each.heard_of(TOOLS)
        await stop(*listeners)


async def test_another_wish_opens_the_new_stream_before_the_old_one_is_closed() -> None:
    async with following("modern") as world:
        one = Listener(world.bulletin, resourceSubscriptions=["x:1"])
        await one.began()
        first = world.server.open[-1]
        two = Listener(world.bulletin, resourceSubscriptions=["x:2"], taskIds=["t-1"])
        await two.began()
        second = world.server.open[-1]
        assert first in world.server.open
        assert second.wanted == {**LISTS, "resourceSubscriptions": ["x:1", "x:2"], "taskIds": ["t-1"]}
        first.say(UPDATED, uri="x:1")
        second.say(UPDATED, uri="x:2")
        await one.until(lambda: one.told == ["x:1"])
        await two.until(lambda: two.told == ["x:2"])
        await world.server.until(lambda: world.server.open == [second])
        await stop(two)
        await world.server.until(
            lambda: world.server.open[-1].wanted == {**LISTS, "resourceSubscriptions": ["x:1"]}
        )
        await stop(one)
        await world.server.until(lambda: [each.wanted for each in world.server.open] == [LISTS])
        assert world.relisted == []


async def test_wishes_that_come_together_are_told_together() -> None:
    async with following("modern") as world:
        await world.server.until(lambda: world.server.open)
        listeners = [Listener(world.bulletin, resourceSubscriptions=[f"x:{number}"]) for number in range(50)]
        for each in listeners:
            await each.began()
        assert len(world.server.streams) <= 3
        await stop(*listeners)


async def test_only_a_wish_for_tasks_says_that_the_client_takes_them() -> None:
    async with following("modern") as world:
        listener = Listener(world.bulletin, taskIds=["t-1"])
        await listener.began()
        plain, jobs = world.server.streams[0], world.server.streams[-1]
        assert codec.decode(plain.client.capabilities) == {}
        assert codec.decode(jobs.client.capabilities) == {"extensions": {"io.modelcontextprotocol/tasks": {}}}
        jobs.say("notifications/tasks", taskId="t-1", status="completed")
        await listener.until(lambda: listener.told == ["t-1"])
        await stop(listener)


async def test_what_the_server_does_not_honour_is_not_acknowledged() -> None:
    async with following("modern", refuses={"x:2"}) as world:
        listener = Listener(world.bulletin, resourceSubscriptions=["x:1", "x:2"])
        await listener.began()
        assert listener.honoured == {"resourceSubscriptions": ["x:1"]}
        await stop(listener)


async def test_a_stream_that_breaks_is_opened_again_and_what_was_missed_is_hinted_at() -> None:
    async with following("modern") as world:
        listener = Listener(world.bulletin, resourceSubscriptions=["x:1"], toolsListChanged=True)
        await listener.began()
        await world.server.until(lambda: len(world.server.open) == 1 and len(world.server.streams) == 2)
        world.server.open[0].ended.set_exception(DownstreamLost("closed"))
        await listener.until(lambda: listener.told == ["x:1"])
        assert len(world.relisted) == 1
        await stop(listener)


async def test_a_server_that_refuses_to_be_listened_to_keeps_nobody_waiting() -> None:
    async with following("modern", refuses={"subscriptions/listen"}) as world:
        listener = Listener(world.bulletin, resourceSubscriptions=["x:1"], toolsListChanged=True)
        await listener.began()
        assert listener.honoured == {"toolsListChanged": True}
        world.server.refuses.clear()
        await world.server.until(lambda: world.server.open)
        await stop(listener)


async def test_a_stream_that_nobody_acknowledges_is_given_up_and_the_old_one_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "OPENING", 0.05)
    async with following("modern") as world:
        await world.server.until(lambda: world.server.open)
        (first,) = world.server.open
        one = Listener(world.bulletin, toolsListChanged=True)
        await one.began()
        world.server.mute = True
        two = Listener(world.bulletin, resourceSubscriptions=["x:1"])
        await two.began()
        assert two.honoured == {}
        first.say(TOOLS)
        await one.until(lambda: one.told == [TOOLS])
        await stop(one, two)


async def test_a_server_with_nothing_to_tell_is_not_asked() -> None:
    async with following("modern", capabilities={"tools": {}}) as world:
        listener = Listener(world.bulletin, toolsListChanged=True)
        await listener.began()
        assert world.server.streams == []
        await stop(listener)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_listeners_outlive_a_session_and_are_told_that_anything_may_have_changed(era: Era) -> None:
    bulletin = Bulletin()
    async with following(era, bulletin):
        listener = Listener(
            bulletin, resourceSubscriptions=["x:1"], toolsListChanged=True, promptsListChanged=True
        )
        await listener.began()
        assert listener.told == []
    async with following(era, bulletin) as world:
        await listener.until(lambda: listener.told == [TOOLS, PROMPTS, "x:1"])
        if era == "legacy":
            assert world.server.asked == [("resources/subscribe", "x:1")]
        else:
            assert world.server.open[0].wanted == {**LISTS, "resourceSubscriptions": ["x:1"]}
        await stop(listener)


async def test_a_resource_of_a_server_with_sessions_is_subscribed_once_and_left_with_its_last_listener() -> (
    None
):
    async with following("legacy") as world:
        one, two = (Listener(world.bulletin, resourceSubscriptions=["x:1"]) for _ in range(2))
        await one.began()
        await two.began()
        assert world.server.asked == [("resources/subscribe", "x:1")]
        await stop(one)
        await stop(two)
        await world.server.until(lambda: len(world.server.asked) == 2)
        assert world.server.asked[1] == ("resources/unsubscribe", "x:1")


async def test_a_refused_subscription_is_not_acknowledged_and_asked_for_again_later() -> None:
    async with following("legacy", refuses={"x:1"}) as world:
        one = Listener(world.bulletin, resourceSubscriptions=["x:1", "x:2"], taskIds=["t-1"])
        await one.began()
        assert one.honoured == {"resourceSubscriptions": ["x:2"]}
        world.server.refuses.clear()
        two = Listener(world.bulletin, resourceSubscriptions=["x:3"])
        await two.began()
        assert sorted(world.server.asked[2:]) == [
            ("resources/subscribe", "x:1"),
            ("resources/subscribe", "x:3"),
        ]
        await stop(one, two)


async def test_many_subscriptions_are_asked_for_few_at_a_time() -> None:
    async with following("legacy") as world:
        listener = Listener(world.bulletin, resourceSubscriptions=[f"x:{number}" for number in range(100)])
        await listener.began()
        assert len(world.server.asked) == 100
        assert 1 < world.server.most <= TOGETHER
        await stop(listener)
