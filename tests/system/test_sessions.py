"""Legacy sessions belong to no replica: any edge opens what another one sealed, also after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from mcp import Client

from tests.system.gateway import Gateway, eventually, gone, only
from tests.system.parts import witness
from tests.system.wire import LEGACY, Message, answered, begin, called, http, text

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("sessions")
    async with Gateway(folder, {"peer": witness()}, "--scale", "edge=2") as gateway:
        yield gateway


async def _echo(gateway: Gateway, headers: dict[str, str], number: int) -> Message:
    async with http() as client:
        message = called(number, "peer__echo", {"n": number})
        response = await client.post(gateway.url, json=message, headers=headers)
    return answered(response)


async def test_a_session_begun_at_one_replica_goes_on_at_the_other(gateway: Gateway) -> None:
    edges = gateway.services("edge")
    first, second = edges
    with only(first, edges):
        async with http() as client:
            headers = await begin(client, gateway.url)
        assert text(await _echo(gateway, headers, 1)) == '{"n": 1}'
    with only(second, edges):
        assert text(await _echo(gateway, headers, 2)) == '{"n": 2}'


async def test_a_session_ended_at_one_replica_is_unknown_to_the_other(gateway: Gateway) -> None:
    edges = gateway.services("edge")
    async with http() as client:
        headers = await begin(client, gateway.url)
        with only(edges[0], edges):
            async with http() as deleting:
                assert (await deleting.delete(gateway.url, headers=headers)).status_code in (200, 204)
        with only(edges[1], edges):
            async with http() as asking:
                response = await asking.post(gateway.url, json=called(3, "peer__echo"), headers=headers)
                assert response.status_code == 404


async def test_a_session_outlives_every_edge(gateway: Gateway) -> None:
    async with http() as client:
        headers = await begin(client, gateway.url)
    edges = gateway.services("edge")
    for edge in edges:
        edge.kill()
    await gone(edges, 5)
    assert text(await _echo(gateway, headers, 4)) == '{"n": 4}'


async def test_the_python_client_does_not_notice_that_every_edge_was_replaced(gateway: Gateway) -> None:
    async with Client(gateway.url, mode="legacy") as client:
        assert (await client.list_tools()).tools
        edges = gateway.services("edge")
        for edge in edges:
            edge.terminate()
        await gone(edges, 10)
        await eventually(lambda: len(gateway.services("edge")) == 2, 10)
        assert (await client.list_tools()).tools


async def test_a_session_of_one_path_is_unknown_on_another(gateway: Gateway) -> None:
    async with http() as client:
        headers = await begin(client, gateway.url)
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert (await client.post(gateway.url, json=ping, headers=headers)).status_code == 200
        response = await client.post(f"{gateway.url}/peer", json=ping, headers=headers)
        assert response.status_code == 404
        assert headers["MCP-Protocol-Version"] == LEGACY
