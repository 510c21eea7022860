"""Buckets and streams of a cluster outlive any one of its servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from nats.js.api import StreamConfig

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.declare import declare_stream
from libs.common.errors import BusUnavailable
from libs.common.kv import Bucket
from tests.cluster import Cluster

pytestmark = [pytest.mark.anyio, pytest.mark.system]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
async def clustered(cluster: Cluster) -> AsyncIterator[Bus]:
    await cluster.ready()
    bus = Bus(cluster.url, "edge", replicas=3)
    await bus.connect()
    yield bus
    await bus.close()


async def test_a_bucket_of_one_server_is_spread_when_the_configuration_says_so(
    cluster: Cluster, clustered: Bus
) -> None:
    alone = Bus(cluster.url, "edge")
    await alone.connect()
    await Bucket(alone, subjects.CATALOG, owner=True).put("kept", b"1")
    await declare_stream(alone, StreamConfig(name="KEPT", subjects=["kept.>"]))
    await alone.close()

    await declare_stream(clustered, StreamConfig(name="KEPT", subjects=["kept.>"]))
    await Bucket(clustered, subjects.CATALOG, owner=True).open()

    for stream in ("KEPT", f"KV_{subjects.CATALOG}"):
        assert (await clustered.jetstream().stream_info(stream)).config.num_replicas == 3


async def test_a_bucket_is_written_and_read_after_its_leader_was_killed(
    cluster: Cluster, clustered: Bus
) -> None:
    bucket = Bucket(clustered, subjects.SESSIONS, owner=True)
    await bucket.put("before", b"1")
    leader = await cluster.leader(f"KV_{subjects.SESSIONS}")
    cluster.kill(leader)
    try:
        with anyio.fail_after(30):
            # Any server may answer a read, one that is a moment behind as well.
            while await _kept(bucket) != b"2":
                await anyio.sleep(0.1)
    finally:
        cluster.launch(leader)


async def _kept(bucket: Bucket) -> bytes | None:
    """What is read after it was written; None while the cluster elects a leader."""
    try:
        await bucket.put("after", b"2")
        return await bucket.get("after")
    except BusUnavailable:
        return None
