"""What an indexer counts."""

from __future__ import annotations

import pytest

from libs.common import meters
from libs.common.bus import Bus
from tests.meters import Since
from tests.services.indexer.test_main import LOG, World, found, indexer, world

__all__ = ["indexer", "world"]

pytestmark = pytest.mark.anyio


async def test_searches_are_timed_and_empty_ones_counted(indexer: Bus, world: World) -> None:
    await world.list("git", LOG)
    await found(world, "commits", "git__log")
    since = Since()
    await world.search("commits")
    await world.search("zebra")
    assert since.told("nexus.search.duration") == {(): 2}
    assert since.told("nexus.search.empty") == {(): 1}


async def test_the_index_tells_its_size(indexer: Bus, world: World) -> None:
    await world.list("git", LOG)
    await found(world, "commits", "git__log")
    told = {each.name: each.series[0].value for each in meters.collect()}
    assert (told["nexus.index.tools"], told["nexus.index.servers"]) == (1, 1)
