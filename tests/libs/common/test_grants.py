"""Each role's user on a real broker: what it may do works, what belongs to others is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import msgspec
import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from libs.cli import broker
from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.facts import Facts, ServerFailed
from libs.common.grants import ROLES, user_grant
from libs.common.kv import Bucket
from libs.common.snapshot import Snapshot

pytestmark = pytest.mark.anyio

API = "$JS.API"
READERS = {"edge", "router", "connector", "indexer"}
"""Who reads the catalog and what is known of servers."""

PUBLISHERS: dict[str, set[str]] = {
    "nexus.v1.request": {"edge"},
    "nexus.v1.cancel": {"edge"},
    "nexus.v1.edges": {"edge"},
    "nexus.v1.metrics": {"edge"},
    "nexus.v1.search": {"router"},
    "nexus.v1.call.github": {"router"},
    "nexus.v1.worker.w1": {"edge", "router"},
    "nexus.v1.held.e1": {"edge"},
    "nexus.v1.stream.s1": {"edge"},
    "nexus.v1.fact.tools.listed": {"connector"},
    "nexus.v1.call": set(),
    "nexus.v1.call.github.more": set(),
    "_INBOX_edge.a.b": set(ROLES),
    "_INBOX_router.a.b": {"router"},
    "_INBOX_connector.a.b": {"connector"},
    "_INBOX_indexer.a.b": {"indexer"},
    "_INBOX_auditor.a.b": {"auditor"},
    "audit.v1.api_activity": set(ROLES),
    "audit.v1.api_activity.aaaaaaaaaaaaaaaa": set(ROLES),
    "audit.dead.v1.siem": {"auditor"},
    "$KV.nexus-audit.key": {"auditor"},
    "$KV.nexus-auditors.key": {"auditor"},
    f"{API}.STREAM.CREATE.AUDIT": {"auditor"},
    f"{API}.STREAM.UPDATE.AUDIT": {"auditor"},
    f"{API}.STREAM.DELETE.AUDIT": set(),
    f"{API}.STREAM.PURGE.AUDIT": set(),
    f"{API}.STREAM.MSG.DELETE.AUDIT": set(),
    f"{API}.STREAM.CREATE.AUDIT_DEAD": {"auditor"},
    f"{API}.CONSUMER.CREATE.AUDIT.sink-siem": {"auditor"},
    f"{API}.CONSUMER.DELETE.AUDIT.sink-siem": {"auditor"},
    f"{API}.CONSUMER.MSG.NEXT.AUDIT.sink-siem": {"auditor"},
    f"{API}.DIRECT.GET.AUDIT": {"auditor"},
    "$JS.ACK.AUDIT.sink-siem.1.1.1.1.1": {"auditor"},
    "$KV.nexus-catalog.key": {"indexer"},
    "$KV.nexus-servers.key": {"connector"},
    "$KV.nexus-leases.key": {"connector"},
    "$KV.nexus-sessions.key": {"edge"},
    f"{API}.STREAM.CREATE.KV_nexus-catalog": {"indexer"},
    f"{API}.STREAM.CREATE.KV_nexus-servers": {"connector"},
    f"{API}.STREAM.CREATE.KV_nexus-leases": {"connector"},
    f"{API}.STREAM.CREATE.KV_nexus-sessions": {"edge"},
    f"{API}.STREAM.CREATE.FACTS": {"connector", "indexer"},
    f"{API}.STREAM.CREATE.EVENTS": {"edge"},
    f"{API}.DIRECT.GET.EVENTS": {"edge"},
    f"{API}.STREAM.MSG.GET.EVENTS": set(),
    f"{API}.STREAM.CREATE.OTHER": set(),
    f"{API}.STREAM.DELETE.KV_nexus-leases": set(),
    f"{API}.STREAM.PURGE.FACTS": set(),
    f"{API}.STREAM.MSG.DELETE.FACTS": set(),
    f"{API}.STREAM.NAMES": set(),
    f"{API}.STREAM.MSG.GET.KV_nexus-catalog": READERS,
    f"{API}.STREAM.MSG.GET.KV_nexus-servers": READERS,
    f"{API}.STREAM.MSG.GET.KV_nexus-leases": {"connector"},
    f"{API}.STREAM.MSG.GET.KV_nexus-sessions": {"edge"},
    f"{API}.STREAM.MSG.GET.FACTS": set(),
    f"{API}.DIRECT.GET.KV_nexus-leases.$KV.nexus-leases.key": {"connector"},
    f"{API}.DIRECT.GET.KV_nexus-sessions.$KV.nexus-sessions.key": {"edge"},
    f"{API}.CONSUMER.CREATE.KV_nexus-leases": {"connector"},
    f"{API}.CONSUMER.CREATE.KV_nexus-sessions": {"edge"},
    f"{API}.CONSUMER.DURABLE.CREATE.FACTS.mine": {"indexer"},
    f"{API}.CONSUMER.MSG.NEXT.FACTS.mine": {"indexer"},
    "$JS.ACK.FACTS.mine.1.1.1.1.1": {"indexer"},
    "$SYS.REQ.SERVER.PING": set(),
    "somewhere.else": set(),
}
SUBSCRIBERS: dict[str, set[str]] = {
    "nexus.v1.request": {"router"},
    "nexus.v1.cancel": {"edge"},
    "nexus.v1.edges": {"edge"},
    "nexus.v1.metrics": set(ROLES),
    "nexus.v1.search": {"indexer"},
    "nexus.v1.call.github": {"connector"},
    "nexus.v1.worker.w1": {"connector"},
    "nexus.v1.held.e1": {"edge"},
    "nexus.v1.stream.s1": {"edge"},
    "nexus.v1.fact.>": set(),
    "nexus.v1.>": set(),
    "_INBOX_edge.>": {"edge"},
    "_INBOX_edge.a.*": {"edge"},
    "_INBOX_router.>": {"router"},
    "_INBOX_connector.>": {"connector"},
    "_INBOX_indexer.>": {"indexer"},
    "_INBOX_auditor.>": {"auditor"},
    "audit.v1.>": set(),
    "audit.dead.v1.*": set(),
    "$KV.nexus-catalog.>": set(),
    "$JS.API.>": set(),
    "$SYS.>": set(),
    ">": set(),
    "*": set(),
}


@dataclass
class User:
    """One role's raw connection and what the broker refused it."""

    role: str
    nats: Client = field(default_factory=Client)
    refused: list[str] = field(default_factory=list)

    async def on_error(self, error: Exception) -> None:
        self.refused.append(str(error))

    async def barrier(self) -> None:
        """Return once the broker has judged everything sent before."""
        echoed = asyncio.Event()

        async def on_echo(_: Msg) -> None:
            echoed.set()

        echo = f"_INBOX_{self.role}.test.echo"
        await self.nats.subscribe(echo, cb=on_echo)
        await self.nats.publish(echo, b"")
        with anyio.fail_after(5):
            await echoed.wait()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[broker.Broker]:
    started = await broker.start(tmp_path / "nats")
    yield started
    await started.stop()


@asynccontextmanager
async def connected(guarded: broker.Broker, role: str) -> AsyncIterator[User]:
    user = User(role)
    await user.nats.connect(guarded.url(role), inbox_prefix=f"_INBOX_{role}", error_cb=user.on_error)
    yield user
    await user.nats.close()


@asynccontextmanager
async def buses(guarded: broker.Broker, *roles: str) -> AsyncIterator[list[Bus]]:
    async with AsyncExitStack() as stack:
        opened = []
        for role in roles:
            bus = Bus(guarded.url(role), role)
            await bus.connect()
            stack.push_async_callback(bus.close)
            opened.append(bus)
        yield opened


def set_when_gone(event: asyncio.Event, _: str, value: str | None) -> None:
    if value is None:
        event.set()


def refusals(user: User, verb: str, table: dict[str, set[str]]) -> set[str]:
    """The subjects of `table` that the broker named in a violation of `verb`."""
    texts = [text.lower() for text in user.refused if verb in text.lower()]
    return {subject for subject in table if any(f'"{subject.lower()}"' in text for text in texts)}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_publishes_exactly_what_the_table_says(guarded: broker.Broker, role: str) -> None:
    async with connected(guarded, role) as user:
        for subject in PUBLISHERS:
            await user.nats.publish(subject, b"")
        await user.barrier()
    assert refusals(user, "publish", PUBLISHERS) == {
        subject for subject, roles in PUBLISHERS.items() if role not in roles
    }


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_subscribes_exactly_what_the_table_says(guarded: broker.Broker, role: str) -> None:
    async with connected(guarded, role) as user:
        for subject in SUBSCRIBERS:
            await user.nats.subscribe(subject)
        await user.barrier()
    assert refusals(user, "subscription", SUBSCRIBERS) == {
        subject for subject, roles in SUBSCRIBERS.items() if role not in roles
    }


@pytest.mark.parametrize(
    ("bucket", "owner", "readers"),
    [
        (subjects.CATALOG, "indexer", ("edge", "router", "connector")),
        (subjects.SERVERS, "connector", ("edge", "router", "indexer")),
        (subjects.LEASES, "connector", ("connector",)),
        (subjects.SESSIONS, "edge", ("edge",)),
    ],
)
async def test_an_owner_writes_its_bucket_and_every_reader_follows(
    guarded: broker.Broker, bucket: str, owner: str, readers: tuple[str, ...]
) -> None:
    async with buses(guarded, owner, *readers) as (own, *others), asyncio.TaskGroup() as tasks:
        mine = Bucket(own, bucket, owner=True)
        revision = await mine.put("kept", b'"first"')
        assert await mine.swap("kept", b'"second"', revision)
        assert await mine.swap("kept", b'"late"', revision) is None
        views: list[Snapshot[str]] = [
            Snapshot(Bucket(bus, bucket, owner=False), decoder(str)) for bus in others
        ]
        watches = [tasks.create_task(view.run()) for view in views]
        gone = [asyncio.Event() for _ in views]
        for view, event in zip(views, gone, strict=True):
            with anyio.fail_after(10):
                await view.ready.wait()
            assert view.values == {"kept": "second"}
            view.listen(partial(set_when_gone, event))
        await mine.delete("kept")
        for event in gone:
            with anyio.fail_after(10):
                await event.wait()
        for watch in watches:
            watch.cancel()


@pytest.mark.parametrize("role", ["edge", "router", "connector"])
async def test_a_reader_gets_one_value(guarded: broker.Broker, role: str) -> None:
    async with buses(guarded, "indexer", role) as (owner, reader):
        await Bucket(owner, subjects.CATALOG, owner=True).put("key", b"value")
        bucket = await reader.jetstream().key_value(subjects.CATALOG)
        assert (await bucket.get("key")).value == b"value"


async def test_a_connectors_fact_reaches_the_indexer(guarded: broker.Broker) -> None:
    heard: asyncio.Future[ServerFailed] = asyncio.get_running_loop().create_future()

    async def on_failed(fact: ServerFailed) -> None:
        heard.set_result(fact)

    indexer = Facts(guarded.url("indexer"), "indexer")
    indexer.subscribe(ServerFailed, on_failed)
    sent = ServerFailed(server="github", worker="c1", reason="refused", retry_in=1.0)
    async with indexer, Facts(guarded.url("connector"), "connector") as connector:
        await connector.publish(sent)
        with anyio.fail_after(10):
            assert await heard == sent


async def test_a_call_goes_from_edge_to_connector_and_its_answer_back(guarded: broker.Broker) -> None:
    answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with buses(guarded, "edge", "router", "connector") as (edge, router, connector):

        async def route(msg: Msg) -> None:
            await router.publish(subjects.call("github"), msg.data)

        async def answer(msg: Msg) -> None:
            await connector.publish(msgspec.json.decode(msg.data), b"done")

        edge.answers["1"] = answered.set_result
        await router.subscribe(subjects.REQUEST, route, queue="router")
        await connector.subscribe(subjects.call("github"), answer, queue="connector")
        await router.settled()
        await connector.settled()
        await edge.publish(subjects.REQUEST, msgspec.json.encode(f"{edge.inbox}.1"))
        with anyio.fail_after(5):
            assert await answered == b"done"


@pytest.mark.parametrize("url", ["nats://127.0.0.1:{port}", "nats://edge:wrong@127.0.0.1:{port}"])
async def test_nobody_connects_without_a_roles_password(guarded: broker.Broker, url: str) -> None:
    user = User("edge")
    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        await user.nats.connect(url.format(port=guarded.port), allow_reconnect=False, error_cb=user.on_error)
    await user.nats.close()


async def test_an_unknown_role_has_no_grant() -> None:
    with pytest.raises(KeyError):
        user_grant("nobody")
