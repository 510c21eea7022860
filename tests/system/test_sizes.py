"""How large an answer may be, and that one over it costs nobody else anything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.system.gateway import Gateway
from tests.system.parts import witness
from tests.system.wire import answered, ask, begin, called, execute, http, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

MIB = 2**20
LARGEST = 8 * MIB - 65536
"""Of the text alone: the message around it counts too. A multiple of 64 KiB, as the witness makes it."""


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with Gateway(tmp_path_factory.mktemp("sizes"), {"peer": witness()}) as gateway:
        yield gateway


async def test_a_result_of_eight_mebibytes_arrives_whole(gateway: Gateway) -> None:
    assert len(text(await execute(gateway.url, "peer__big", {"size": LARGEST}))) == LARGEST


async def test_a_legacy_client_gets_it_too(gateway: Gateway) -> None:
    async with http() as client:
        headers = await begin(client, gateway.url)
        message = called(1, "peer__big", {"size": LARGEST})
        answer = answered(await client.post(gateway.url, json=message, headers=headers))
    assert len(text(answer)) == LARGEST


async def test_a_result_of_fifty_mebibytes_is_an_error_and_memory_stays_flat(gateway: Gateway) -> None:
    (connector,) = gateway.services("connector")
    pid = text(await execute(gateway.url, "peer__pid"))
    # The first large one warms the allocator up.
    assert verdict(await execute(gateway.url, "peer__big", {"size": 50 * MIB})) == "yes"
    before = connector.memory_info().rss
    for _ in range(3):
        answer = await execute(gateway.url, "peer__big", {"size": 50 * MIB})
        assert verdict(answer) == "yes"
        assert "longer than" in answer["error"]["message"]
    assert connector.memory_info().rss - before < 16 * MIB
    assert text(await execute(gateway.url, "peer__pid")) == pid


async def test_a_request_over_the_bound_is_refused_before_it_is_read(gateway: Gateway) -> None:
    async with http() as client:
        params = {"name": "execute", "arguments": {"name": "peer__echo", "arguments": {"x": "x" * 5 * MIB}}}
        response = await ask(client, gateway.url, "tools/call", params)
    assert response.status_code == 413
    assert text(await execute(gateway.url, "peer__echo")) == "{}"
