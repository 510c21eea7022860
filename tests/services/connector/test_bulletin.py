"""Who hears what of a server, how slowly they may read, and what they follow together."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common import codec
from libs.common.errors import InvalidParams, Overloaded
from services.connector import bulletin as bulletins
from services.connector.bulletin import WAITING_MAX, Bulletin
from tests.services.connector.news import Listener, notice

pytestmark = pytest.mark.anyio

TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
TASK = "notifications/tasks"


@pytest.fixture
async def bulletin() -> Bulletin:
    """One whose server takes every wish at once."""
    made = Bulletin()
    made.cover(made.interest, frozenset())
    return made


async def listening(bulletin: Bulletin, **wanted: Any) -> Listener:
    """A listener whose wish the server has taken."""
    listener = Listener(bulletin, **wanted)
    await asyncio.sleep(0)
    bulletin.cover(bulletin.interest, frozenset())
    await listener.began()
    return listener


async def test_each_listener_hears_what_it_asked_for_and_nothing_else(bulletin: Bulletin) -> None:
    tools = await listening(bulletin, toolsListChanged=True)
    files = await listening(bulletin, resourceSubscriptions=["file:///a"])
    jobs = await listening(bulletin, taskIds=["t-1"])
    bulletin.post(*notice(TOOLS))
    bulletin.post(*notice("notifications/prompts/list_changed"))
    bulletin.post(*notice("notifications/message", level="info"))
    for uri in ("file:///a/b", "file:///ab", "file:///c", "file:///a", ""):
        bulletin.post(*notice(UPDATED, uri=uri))
    for task in ("t-2", "t-1", ""):
        bulletin.post(*notice(TASK, taskId=task, status="working"))
    await tools.until(lambda: tools.told == [TOOLS])
    await files.until(lambda: files.told == ["file:///a/b", "file:///a"])
    await jobs.until(lambda: jobs.told == ["t-1"])
    assert jobs.heard[-1]["params"]["status"] == "working"
    for listener in (tools, files, jobs):
        assert all(each["params"]["_meta"] == {SUBSCRIPTION: 0} for each in listener.heard)
        await listener.stop()
    assert (len(bulletin), bulletin.interest.uris, bulletin.interest.tasks) == (0, frozenset(), frozenset())


SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


async def test_what_listeners_follow_is_one_wish_that_changes_with_the_first_and_the_last(
    bulletin: Bulletin,
) -> None:
    one = await listening(bulletin, resourceSubscriptions=["x:1", "x:2", "x:1"])
    first = bulletin.interest
    bulletin.altered.clear()
    two = await listening(bulletin, resourceSubscriptions=["x:1"], toolsListChanged=True)
    assert bulletin.interest is first
    assert not bulletin.altered.is_set()
    await one.stop()
    assert bulletin.altered.is_set()
    assert bulletin.interest.uris == {"x:1"}
    await two.stop()
    assert (bulletin.interest.uris, bulletin.interest.number) == (frozenset(), first.number + 2)


async def test_the_acknowledgement_waits_for_the_server_and_names_what_it_took(bulletin: Bulletin) -> None:
    listener = Listener(
        bulletin, resourceSubscriptions=["x:1", "x:2"], taskIds=["t-1"], toolsListChanged=True
    )
    await asyncio.sleep(0)
    bulletin.post(*notice(UPDATED, uri="x:1"))
    await asyncio.sleep(0.01)
    assert listener.heard == []
    bulletin.cover(bulletin.interest, frozenset({"x:2", "t-1"}))
    await listener.until(lambda: listener.told)
    assert listener.honoured == {"toolsListChanged": True, "resourceSubscriptions": ["x:1"]}
    assert listener.told == ["x:1"]
    await listener.stop()


async def test_a_server_that_takes_no_wish_in_time_is_not_waited_for(
    bulletin: Bulletin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulletins, "PATIENCE", 0.05)
    listener = Listener(bulletin, resourceSubscriptions=["x:1"], promptsListChanged=True)
    await listener.began()
    assert listener.honoured == {"promptsListChanged": True}
    await listener.stop()


async def test_a_slow_listener_gets_the_newest_of_each_and_delays_nobody(bulletin: Bulletin) -> None:
    slow = await listening(bulletin, resourceSubscriptions=["x:1", "x:2"], toolsListChanged=True)
    fast = await listening(bulletin, resourceSubscriptions=["x:1"])
    slow.room.clear()
    bulletin.post(*notice(TOOLS))
    await slow.until(lambda: slow.told == [TOOLS])
    for number in range(1000):
        bulletin.post(*notice(UPDATED, uri="x:1", number=number))
        if number == 0:
            bulletin.post(*notice(UPDATED, uri="x:2"))
    await fast.until(lambda: fast.told)
    assert slow.told == [TOOLS]
    slow.room.set()
    await slow.until(lambda: len(slow.told) == 3)
    assert slow.told == [TOOLS, "x:2", "x:1"]
    assert slow.heard[-1]["params"]["number"] == 999
    await slow.stop()
    await fast.stop()


async def test_what_waits_for_a_slow_listener_is_bounded(bulletin: Bulletin) -> None:
    slow = await listening(bulletin, resourceSubscriptions=["x:"])
    slow.room.clear()
    bulletin.post(*notice(UPDATED, uri="x:/first"))
    await slow.until(lambda: slow.told)
    for number in range(WAITING_MAX + 10):
        bulletin.post(*notice(UPDATED, uri=f"x:/{number}"))
    slow.room.set()
    await slow.until(lambda: len(slow.told) > 1)
    assert slow.told == ["x:/first", *(f"x:/{number}" for number in range(10, WAITING_MAX + 10))]
    await slow.stop()


async def test_a_slow_listener_keeps_no_more_bytes_than_the_newest_news_are(
    bulletin: Bulletin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulletins, "WAITING_BYTES", 5000)
    slow = await listening(bulletin, resourceSubscriptions=["x:/"])
    slow.room.clear()
    bulletin.post(*notice(UPDATED, uri="x:/first"))
    await slow.until(lambda: slow.told)
    for number in range(6):
        bulletin.post(*notice(UPDATED, uri=f"x:/{number}", padding="p" * 2000))
    slow.room.set()
    await slow.until(lambda: len(slow.told) > 1)
    assert slow.told == ["x:/first", "x:/4", "x:/5"]
    await slow.stop()


async def test_those_who_listened_before_are_told_that_anything_may_have_changed(bulletin: Bulletin) -> None:
    before = await listening(bulletin, resourceSubscriptions=["x:1"], toolsListChanged=True)
    late = Listener(bulletin, resourceSubscriptions=["x:1", "x:2"], toolsListChanged=True)
    await asyncio.sleep(0)
    bulletin.hint([TOOLS, "notifications/prompts/list_changed"])
    bulletin.cover(bulletin.interest, frozenset())
    await late.began()
    await before.until(lambda: before.told == [TOOLS, "x:1"])
    assert late.told == []
    await before.stop()
    await late.stop()


async def test_a_stream_ends_well_when_its_time_is_over(bulletin: Bulletin) -> None:
    listener = Listener(bulletin, seconds=0.05, toolsListChanged=True)
    with anyio.fail_after(5):
        assert bytes(await listener.task) == b"{}"
    assert len(bulletin) == 0


async def test_a_bulletin_that_closes_ends_every_stream(bulletin: Bulletin) -> None:
    one = await listening(bulletin, toolsListChanged=True)
    unacknowledged = Listener(bulletin, resourceSubscriptions=["x:1"])
    await asyncio.sleep(0)
    bulletin.close()
    with anyio.fail_after(5):
        assert [bytes(await each.task) for each in (one, unacknowledged)] == [b"{}", b"{}"]


@pytest.mark.parametrize(
    "wanted",
    [
        Raw(b"null"),
        Raw(b"[]"),
        codec.raw({"resourceSubscriptions": ["x"] * 101}),
        codec.raw({"taskIds": [str(number) for number in range(101)]}),
        codec.raw({"taskIds": "t-1"}),
    ],
)
async def test_an_odd_filter_is_refused(bulletin: Bulletin, wanted: Raw) -> None:
    with pytest.raises(InvalidParams):
        await bulletin.listen(
            {"notifications": wanted}, time.time() + 5, lambda event: None, anyio.lowlevel.checkpoint
        )


@pytest.mark.parametrize("bound", ["LISTENERS_MAX", "FOLLOWED_MAX"])
async def test_listeners_and_what_they_follow_are_bounded(
    bulletin: Bulletin, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(bulletins, bound, 1)
    one = await listening(bulletin, resourceSubscriptions=["x:1"])
    with pytest.raises(Overloaded):
        await Listener(bulletin, resourceSubscriptions=["x:2"]).task
    assert (len(bulletin), set(bulletin.interest.uris)) == (1, {"x:1"})
    await one.stop()


async def test_a_notification_nobody_can_read_is_dropped(bulletin: Bulletin) -> None:
    listener = await listening(bulletin, toolsListChanged=True, resourceSubscriptions=["x"])
    for junk in (b"[]", b'{"params":[]}', b'{"params":{"uri":5}}'):
        bulletin.post(UPDATED, Raw(junk))
    bulletin.post(*notice(TOOLS))
    await listener.until(lambda: listener.told)
    assert listener.told == [TOOLS]
    await listener.stop()
