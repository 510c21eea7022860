"""Who hears what of a legacy server, with a session in memory that records what it was asked."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from msgspec import Raw

from libs.common import codec
from libs.common.errors import InvalidParams
from libs.common.messages.calls import Client
from services.connector.bulletin import Bulletin
from services.connector.session import EventSink, Params

pytestmark = pytest.mark.anyio


class Server:
    """The part of a session that a bulletin uses."""

    kind = "stdio"

    def __init__(self) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.asked: list[tuple[str, Any]] = []

    async def call(
        self,
        method: str,
        params: Params,
        *,
        deadline: float,
        client: Client,
        on_event: EventSink | None = None,
        progress: bool = True,
    ) -> Raw:
        self.asked.append((method, codec.decode(params["uri"])))
        return Raw(b"{}")


class Listener:
    """One stream: what it asked for, and what it heard after the acknowledgement."""

    def __init__(self, bulletin: Bulletin, **wanted: Any) -> None:
        self._heard: list[Any] = []
        params = {"notifications": codec.raw(wanted)}
        self.task = asyncio.ensure_future(bulletin.listen(params, self._hear))

    def _hear(self, event: Raw) -> None:
        self._heard.append(json.loads(bytes(event)))

    def heard(self) -> list[str]:
        assert self._heard[0]["method"] == "notifications/subscriptions/acknowledged"
        return [event["params"].get("uri", event["method"]) for event in self._heard[1:]]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def notice(method: str, **params: Any) -> tuple[str, Raw]:
    return method, codec.raw({"jsonrpc": "2.0", "method": method, "params": params})


async def turn() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_each_listener_hears_what_it_asked_for_and_nothing_else() -> None:
    server = Server()
    bulletin = Bulletin(server, now=time.time)  # type: ignore[arg-type]  # the part it uses
    tools = Listener(bulletin, toolsListChanged=True)
    files = Listener(bulletin, resourceSubscriptions=["file:///a"])
    await turn()
    bulletin.post(*notice("notifications/tools/list_changed"))
    bulletin.post(*notice("notifications/prompts/list_changed"))
    bulletin.post(*notice("notifications/resources/updated", uri="file:///a/b"))
    bulletin.post(*notice("notifications/resources/updated", uri="file:///c"))
    bulletin.post(*notice("notifications/message", level="info"))
    assert tools.heard() == ["notifications/tools/list_changed"]
    assert files.heard() == ["file:///a/b"]
    await tools.stop()
    await files.stop()
    assert len(bulletin) == 0


async def test_a_resource_is_subscribed_once_and_left_with_its_last_listener() -> None:
    server = Server()
    bulletin = Bulletin(server, now=time.time)  # type: ignore[arg-type]  # the part it uses
    one, two = (Listener(bulletin, resourceSubscriptions=["x:1"]) for _ in range(2))
    await turn()
    assert server.asked == [("resources/subscribe", "x:1")]
    await one.stop()
    assert len(server.asked) == 1
    await two.stop()
    assert server.asked[1:] == [("resources/unsubscribe", "x:1")]


async def test_the_end_of_the_session_ends_the_listening() -> None:
    server = Server()
    bulletin = Bulletin(server, now=time.time)  # type: ignore[arg-type]  # the part it uses
    listener = Listener(bulletin, toolsListChanged=True)
    await turn()
    server.lost.set_result("it exited")
    assert bytes(await listener.task) == b"{}"


@pytest.mark.parametrize(
    "wanted", [Raw(b"null"), Raw(b"[]"), codec.raw({"resourceSubscriptions": ["x"] * 101})]
)
async def test_an_odd_filter_is_refused(wanted: Raw) -> None:
    bulletin = Bulletin(Server(), now=time.time)  # type: ignore[arg-type]  # the part it uses
    with pytest.raises(InvalidParams):
        await bulletin.listen({"notifications": wanted}, lambda event: None)


async def test_a_notification_nobody_can_read_is_dropped() -> None:
    bulletin = Bulletin(Server(), now=time.time)  # type: ignore[arg-type]  # the part it uses
    listener = Listener(bulletin, toolsListChanged=True, resourceSubscriptions=["x"])
    await turn()
    for junk in (b"[]", b'{"params":[]}', b'{"params":{"uri":5}}'):
        bulletin.post("notifications/resources/updated", Raw(junk))
    assert listener.heard() == []
    await listener.stop()
