"""What a client of older revisions began at one edge goes on at another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.system.parts import witness
from tests.system.replicas import Replicas
from tests.system.wire import begin, called, http

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    async with Replicas(tmp_path_factory.mktemp("replicas"), peer=witness()) as replicas:
        yield replicas


async def test_a_session_that_was_ended_is_unknown_at_the_other_edge_at_once(replicas: Replicas) -> None:
    async with http() as client:
        for number in range(100):
            here, there = number % 2, 1 - number % 2
            headers = await begin(client, replicas.url(here))
            assert (await client.delete(replicas.url(here), headers=headers)).status_code == 204
            after = await client.post(replicas.url(there), json=called(1, "peer__echo"), headers=headers)
            assert after.status_code == 404, number
