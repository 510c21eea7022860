"""Records by Pub/Sub: who listens hears them, and a server that is away costs nothing but them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis as Client

from libs.common.config.sinks import RedisSink
from services.auditor.sinks.redis import Redis
from tests.meters import Since
from tests.services.auditor.sinks.events import delivery, event
from tests.valkey import Valkey

pytestmark = pytest.mark.anyio


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.stop()


def sink(url: str) -> Redis:
    return Redis(RedisSink.model_validate({"type": "redis", "url": url, "timeout": "200ms"}))


async def test_a_listener_hears_of_finished_requests_only(valkey: Valkey) -> None:
    publisher = sink(valkey.url)
    client = Client.from_url(valkey.url)
    events = [event("mcp.tool.call.requested"), event(), b"no JSON", event("mcp.request")]
    async with client.pubsub() as listener:
        await listener.subscribe("nexus:audit:mcp")
        heard: list[str] = []
        with anyio.fail_after(5):
            await listener.get_message(timeout=5)
            given = [delivery(number, data) for number, data in enumerate(events)]
            assert len(await publisher.deliver(given)) == 4
            while len(heard) < 2:
                message = await listener.get_message(ignore_subscribe_messages=True, timeout=5)
                heard += [message["data"]] if message else []
    await client.aclose()
    await publisher.close()
    assert [json.loads(each)["rpc_method"] for each in heard] == ["tools/call", "tools/call"]
    assert publisher.lost == 0


@pytest.mark.parametrize("manner", ["dead", "silent"])
async def test_records_nobody_takes_are_counted_and_not_kept(valkey: Valkey, manner: str) -> None:
    since, publisher = Since(), sink(valkey.url)
    await publisher.deliver([delivery(0, event())])
    if manner == "dead":
        valkey.stop()
    else:
        valkey.pause()
    with anyio.fail_after(5):
        assert len(await publisher.deliver([delivery(1, event()), delivery(2, event())])) == 2
    assert since.told("mcp.audit.publish.errors") == {(): 2}
    assert publisher.lost == 2
    if manner == "dead":
        valkey.start()
    else:
        valkey.resume()
    await publisher.deliver([delivery(3, event())])
    assert publisher.lost == 2
    await publisher.close()
