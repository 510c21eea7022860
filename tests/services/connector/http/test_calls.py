from __future__ import annotations

import anyio
import pytest

from libs.common.errors import DownstreamError, DownstreamLost, NotSent, Refused, ResultInvalid
from tests.services.connector.http.conftest import call, opened, text_of
from tests.services.connector.http.peer import Asked, Reply, Script, echo, legacy, modern, serving

pytestmark = pytest.mark.anyio
ERAS = {"modern": modern, "legacy": legacy}


async def test_a_call_is_answered_in_json(era: str) -> None:
    async with serving(ERAS[era](echo)) as peer, opened(peer.url) as session:
        assert text_of(await call(session, "one")) == "one"


async def test_a_call_is_answered_by_an_event(era: str) -> None:
    async def stream(asked: Asked, reply: Reply) -> None:
        await reply.events()
        await reply.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {"content": []}})
        await reply.end()

    async with serving(ERAS[era](stream)) as peer, opened(peer.url) as session:
        for _ in range(3):
            assert await call(session) == {"content": []}
