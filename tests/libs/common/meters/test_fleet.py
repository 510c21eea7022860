"""One edge asks, every process answers: in time, too late, wrongly, too much, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from nats.aio.msg import Msg
from prometheus_client.parser import text_string_to_metric_families

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import encode
from libs.common.connection import Handler
from libs.common.messages.metrics import MetricsTold
from libs.common.meters import asking, families
from libs.common.meters.asking import Asking
from libs.common.meters.cells import SECONDS, Series
from libs.common.meters.telling import HEAD, bounded, telling, told

pytestmark = pytest.mark.anyio

BUSY = {
    "nexus.downstream.call.duration": tuple(
        Series((f"server{number}", "success"), 1.5, (1,) * (len(SECONDS) + 1)) for number in range(20)
    )
}


def answer(number: int, **more: tuple[Series, ...]) -> MetricsTold:
    return MetricsTold(f"p{number}", "connector", f"connector-{number}", more or BUSY)


@asynccontextmanager
async def processes(bus: Bus, *answers: bytes) -> AsyncIterator[None]:
    """Each answers with its bytes."""

    def answering(data: bytes) -> Handler:
        async def on_question(msg: Msg) -> None:
            await bus.publish(msg.reply, data)

        return on_question

    subs = [await bus.subscribe(subjects.METRICS, answering(data)) for data in answers]
    await bus.settled()
    yield
    for sub in subs:
        await bus.drop(sub)


def workers(text: str) -> set[str]:
    return {
        sample.labels.get("worker", "")
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "nexus_downstream_call_duration_seconds_count"
    }


async def test_a_process_answers_with_all_it_measured(bus: Bus, other: Bus) -> None:
    families.DOWNSTREAM.cell("git", "success").observe(0.1)
    async with telling(other, "connector", "connector-1"):
        await other.settled()
        said = await bus.ask(subjects.METRICS, b"", 5)
    assert said is not None
    assert b'"worker":"connector-1"' in said
    assert b"nexus.downstream.call.duration" in said


async def test_services_of_one_process_answer_once(bus: Bus, other: Bus) -> None:
    async with telling(other, "edge", "edge-1"), telling(other, "router", "router-1"):
        assert (told().service, told().worker) == ("nexus", "edge-1")
        await other.settled()
        text = await Asking(bus).fleet()
    assert text.count("# TYPE nexus_event_loop_lag_seconds ") <= 1
    assert 'worker="router-1"' not in text


async def test_a_hundred_workers_give_one_valid_text_in_time(bus: Bus, other: Bus) -> None:
    fleet = Asking(bus)
    async with processes(other, *(encode(answer(number)) for number in range(100))):
        await fleet.fleet()
        with anyio.fail_after(10):
            text = await fleet.fleet()
    assert {f"connector-{number}" for number in range(100)} <= workers(text)
    assert text.count("# HELP nexus_downstream_call_duration_seconds ") == 1
    assert len(text.splitlines()) < asking.LINES_MAX + 200


async def test_who_does_not_answer_is_left_out_and_counted(
    bus: Bus, other: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, missing = Asking(bus), families.MISSING.cell()
    async with processes(other, encode(answer(1)), encode(answer(2))):
        assert {"connector-1", "connector-2"} <= workers(await fleet.fleet())
    before = missing.value
    monkeypatch.setattr(asking, "WITHIN", 0.05)
    with anyio.fail_after(asking.WITHIN + 2):
        assert "connector-1" not in workers(await fleet.fleet())
    assert missing.value == before + 2
    for _ in range(asking.GIVEN_UP):
        await fleet.fleet()
    settled = missing.value
    await fleet.fleet()
    assert missing.value == settled


async def test_a_process_that_is_alone_does_not_wait_for_others_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Asking(bus)
    await fleet.fleet()
    monkeypatch.setattr(asking, "WITHIN", 60.0)
    with anyio.fail_after(5):
        await fleet.fleet()


async def test_one_that_is_late_is_expected_next_time(bus: Bus, other: Bus) -> None:
    fleet, heard = Asking(bus), asyncio.Event()

    async def late(msg: Msg) -> None:
        # Behind the answer of the first: that one completes the round.
        await other.settled()
        await other.publish(msg.reply, encode(answer(2)))
        heard.set()

    async with processes(other, encode(answer(1))):
        await fleet.fleet()
        sub = await bus.subscribe(subjects.METRICS, late)
        await bus.settled()
        with anyio.fail_after(5):
            while "connector-2" not in workers(await fleet.fleet()):
                await heard.wait()
        await bus.drop(sub)


async def test_scrapes_that_come_together_ask_once(bus: Bus, other: Bus) -> None:
    asked = 0

    async def count(msg: Msg) -> None:
        nonlocal asked
        asked += 1

    await other.subscribe(subjects.METRICS, count)
    await other.settled()
    fleet = Asking(bus)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(fleet.fleet())
    await other.settled()
    assert asked == 1


@pytest.mark.parametrize(
    "said",
    [
        b"\xff",
        b"{}",
        b'{"process":"p","service":"x","worker":"w","families":{"nexus.downstream.ready":[["a"]]}}',
        encode(answer(1, **{"nexus.downstream.ready": (Series(('x"\n} 1\nevil 1',), 1.0),)})),
        encode(answer(1, **{"nexus.downstream.ready": (Series((), 1.0, (1, 2)),)})),
        encode(answer(1, evil=(Series((), 1.0),))),
    ],
)
async def test_a_lying_process_spoils_nothing(bus: Bus, other: Bus, said: bytes) -> None:
    async with processes(other, said, encode(answer(7))):
        text = await Asking(bus).fleet()
    assert "connector-7" in workers(text)
    assert not any(line.startswith("evil") for line in text.splitlines())


async def test_without_a_bus_a_process_tells_of_itself(bus: Bus) -> None:
    fleet = Asking(bus)
    await bus.close()
    families.DOWNSTREAM.cell("git", "success").observe(0.1)
    with anyio.fail_after(asking.WITHIN + 2):
        assert 'server_name="git"' in await fleet.fleet()
    assert 'server_name="git"' in await fleet.own()


def test_an_answer_that_is_too_large_keeps_its_small_families() -> None:
    small = {"nexus.bus.connected": (Series((), 1.0),)}
    kept = bounded(answer(1, **small, **BUSY), HEAD + 200)
    assert set(kept.families) == set(small)
    assert bounded(answer(1, **small, **BUSY)).families == small | BUSY


async def test_a_text_that_would_be_too_large_keeps_its_small_families(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "LINES_MAX", 100)
    text = await asking.exposition([answer(1, **{"nexus.bus.connected": (Series((), 1.0),)}, **BUSY)])
    assert [line for line in text.splitlines() if line[0] != "#"] == [
        'nexus_bus_connected{service="connector",worker="connector-1"} 1'
    ]
