"""News of a modern server over HTTP: one stream of our own for all who listen."""

from __future__ import annotations

import asyncio

import pytest

from libs.common import codec
from services.connector import changes
from services.connector.bulletin import Bulletin
from services.connector.http import HttpSession
from services.connector.session import Opened
from tests.services.connector.http.conftest import server
from tests.services.connector.http.peer import Asked, Message, Reply, modern, serving
from tests.services.connector.news import Listener

pytestmark = pytest.mark.anyio

UPDATED = "notifications/resources/updated"
OPENED = Opened("modern", "2026-07-28", codec.raw({"resources": {"subscribe": True, "listChanged": True}}))


class Streams:
    """The streams of `subscriptions/listen` that a server has open."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[Message, Reply]] = {}
        self.changed = asyncio.Condition()

    async def serve(self, asked: Asked, reply: Reply) -> None:
        number, wanted = asked.message["id"], asked.message["params"]["notifications"]
        await reply.events()
        await self._tell(reply, number, "notifications/subscriptions/acknowledged", {"notifications": wanted})
        self.open[number] = (wanted, reply)
        await self._note()
        await reply.gone.wait()
        del self.open[number]
        await self._note()

    async def tell(self, uri: str) -> None:
        for number, (wanted, reply) in list(self.open.items()):
            if uri in wanted.get("resourceSubscriptions", ()):
                await self._tell(reply, number, UPDATED, {"uri": uri})

    async def until(self, *wanted: Message) -> None:
        """Wait until streams for these and no others are open."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: [each for each, _ in self.open.values()] == [*wanted])

    async def _tell(self, reply: Reply, number: int, method: str, params: Message) -> None:
        tagged = {**params, "_meta": {"io.modelcontextprotocol/subscriptionId": number}}
        await reply.event({"jsonrpc": "2.0", "method": method, "params": tagged})

    async def _note(self) -> None:
        async with self.changed:
            self.changed.notify_all()


async def test_news_come_once_over_one_stream_that_follows_every_wish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "OVERLAP", 0.05)
    streams, bulletin = Streams(), Bulletin()
    async with serving(modern(streams.serve)) as peer:
        session = HttpSession(server(peer.url), {}, bulletin.post)
        await session.open()
        following = asyncio.ensure_future(
            changes.follow(session, OPENED, bulletin, bulletin.post, lambda: None)
        )
        listeners = [Listener(bulletin, resourceSubscriptions=["x:1"]) for _ in range(5)]
        for each in listeners:
            await each.began()
        await streams.until({"resourcesListChanged": True, "resourceSubscriptions": ["x:1"]})
        await streams.tell("x:1")
        await streams.tell("x:2")
        for each in listeners:
            await each.heard_of("x:1")
            await each.stop()
        await streams.until({"resourcesListChanged": True})
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await streams.until()
        await session.close()
    assert all(each.told == ["x:1"] for each in listeners)
    listen = next(asked for asked in peer.asked if asked.message["method"] == "subscriptions/listen")
    assert listen.headers["mcp-method"] == "subscriptions/listen"
