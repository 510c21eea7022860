"""Any process may be killed at any time: calls end soon with the truth, and the next one works."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.system.gateway import Gateway, gone
from tests.system.parts import Journal, witness
from tests.system.wire import Message, execute, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

KNOWN_WITHIN = 3.0
"""Seconds in which a dead worker is noticed."""
BACK_WITHIN = 8.0
"""Seconds in which a killed service works again: back-off, start, and the state of the fleet."""


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("deaths")
    servers = {"peer": witness(_journal(folder).flag), "other": witness()}
    async with Gateway(folder, servers) as gateway:
        yield gateway


@pytest.fixture
def journal(gateway: Gateway) -> Journal:
    return _journal(gateway.folder)


def _journal(folder: Path) -> Journal:
    return Journal(folder / "journal")


async def _works(gateway: Gateway, within: float = BACK_WITHIN) -> None:
    """Call until it works: what a client does that is refused with `executed: no`."""
    with anyio.fail_after(within):
        while True:
            answer = await _tried(gateway)
            if answer is not None and "result" in answer:
                assert text(answer) == "{}"
                return
            assert answer is None or verdict(answer) == "no", answer
            await anyio.sleep(0.05)


async def _tried(gateway: Gateway) -> Message | None:
    """One call; None while nobody accepts connections."""
    try:
        return await execute(gateway.url, "peer__echo")
    except OSError:
        return None


async def test_a_call_on_a_killed_connector_is_unknown_within_three_seconds(
    gateway: Gateway, journal: Journal
) -> None:
    await gateway.ready("peer")
    (connector,) = gateway.services("connector")
    children = connector.children(recursive=True)
    answers: list[Message] = []
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            answers.append(await execute(gateway.url, "peer__wait", {"seconds": 60, "tag": "doomed"}))

        tasks.start_soon(call)
        await journal.saw("waiting", "doomed")
        await gateway.killed(connector)
        struck = time.monotonic()
    assert verdict(answers[0]) == "unknown"
    assert time.monotonic() - struck < KNOWN_WITHIN + 0.2
    await gone(children, 1)
    assert text(await execute(gateway.url, "peer__echo")) == "{}"


async def test_a_call_made_while_its_connector_restarts_waits_and_succeeds(gateway: Gateway) -> None:
    await gateway.ready("peer")
    (connector,) = gateway.services("connector")
    # Ended in order, so that it is proven from its first moment on that nobody takes calls.
    connector.terminate()
    await gone([connector], 5)
    assert text(await execute(gateway.url, "peer__echo", {"patient": True})) == '{"patient": true}'


@pytest.mark.parametrize("role", ["router", "indexer"])
async def test_calls_go_on_after_a_service_was_killed(gateway: Gateway, role: str) -> None:
    await gateway.ready("peer", "other")
    (victim,) = gateway.services(role)
    await gateway.killed(victim)
    await _works(gateway)


async def test_a_killed_edge_is_back_on_the_same_address(gateway: Gateway) -> None:
    (edge,) = gateway.services("edge")
    await gateway.killed(edge)
    await _works(gateway)


async def test_search_works_again_after_the_indexer_was_killed(gateway: Gateway) -> None:
    (indexer,) = gateway.services("indexer")
    await gateway.killed(indexer)
    with anyio.fail_after(BACK_WITHIN):
        while not await _finds(gateway):
            await anyio.sleep(0.05)


async def _finds(gateway: Gateway) -> bool:
    answer = await execute(gateway.url, "peer__unknown_tool")
    return "result" in answer and "peer__" in answer["result"]["content"][0]["text"]


async def test_a_killed_broker_is_started_again_and_calls_in_between_are_refused(gateway: Gateway) -> None:
    await gateway.ready("peer")
    broker = gateway.broker()
    await gateway.killed(broker)
    await _works(gateway, 20)
    assert gateway.broker() != broker
    await gateway.ready("peer", "other")


async def test_a_stopped_broker_makes_calls_fail_and_not_hang(gateway: Gateway) -> None:
    """A broker that neither answers nor closes, as a machine that has lost its network."""
    await gateway.ready("peer")
    broker = gateway.broker()
    broker.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = await execute(gateway.url, "peer__echo")
        assert verdict(answer) == "unknown"
        assert time.monotonic() - started < KNOWN_WITHIN + 0.2
    finally:
        broker.send_signal(signal.SIGCONT)
    await _works(gateway)


async def test_every_service_killed_at_once_comes_back(gateway: Gateway) -> None:
    await gateway.ready("peer")
    for role in ("edge", "router", "indexer", "connector"):
        for service in gateway.services(role):
            service.kill()
    await _works(gateway, 15)
