"""Whoever dies while a person is asked: the caller gets its answer, or soon a word of what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx
import pytest

from tests.system.gateway import Gateway
from tests.system.parts import Journal, witness
from tests.system.wire import Message, answered, ask, begin, called, http, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

TOLD_WITHIN = 5.0
"""Seconds in which a caller hears that its call is lost."""
BACK_WITHIN = 10.0
"""Seconds in which a killed service works again."""
GIVEN_UP_WITHIN = 20.0
"""Seconds in which a call is given up whose edge has died: it says every second that it waits."""
ACCEPT = {"action": "accept", "content": {"name": "Ann"}}
CAPABILITIES: Message = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("elicitation")
    async with Gateway(folder, {"peer": witness(Journal(folder / "journal").flag)}) as gateway:
        yield gateway


@pytest.fixture
def journal(gateway: Gateway) -> Journal:
    return Journal(gateway.folder / "journal")


@dataclass
class Asked:
    """A client with a session whose person is being asked."""

    client: httpx.AsyncClient
    url: str
    headers: dict[str, str]
    question: str
    last: str
    """The id of the last event."""
    lines: AsyncIterator[str]

    async def reply(self) -> None:
        message = {"jsonrpc": "2.0", "id": self.question, "result": ACCEPT}
        posted = await self.client.post(self.url, json=message, headers=self.headers)
        assert posted.status_code == 202, posted.text

    async def end(self) -> Message:
        """The last message of the call."""
        data = [line.removeprefix("data: ") async for line in self.lines if line.startswith("data: ")]
        return dict(json.loads(data[-1]))


@asynccontextmanager
async def asked(gateway: Gateway) -> AsyncIterator[Asked]:
    """A call of the legacy era, up to its question."""
    async with http() as client:
        headers = await begin(client, gateway.url, elicitation={})
        call = called(1, "peer__ask")
        async with client.stream("POST", gateway.url, json=call, headers=headers) as response:
            lines = response.aiter_lines()
            question, last = await _question(lines)
            yield Asked(client, gateway.url, headers, question, last, lines)


async def _question(lines: AsyncIterator[str]) -> tuple[str, str]:
    """The id of the question that a call asks, and of the event before it."""
    last, heard = "", []
    async for line in lines:
        heard.append(line)
        last = line.removeprefix("id: ") if line.startswith("id: ") else last
        if "elicitation/create" in line:
            return json.loads(line.removeprefix("data: "))["id"], last
    raise AssertionError(f"the call asked nothing: {heard}")


async def execute(url: str, **more: object) -> Message:
    """A call of the modern era, or what goes on with it."""
    arguments = {"name": "peer__ask", "arguments": {}}
    params = {"name": "execute", "arguments": arguments, "_meta": CAPABILITIES, **more}
    async with http() as client:
        return answered(await ask(client, url, "tools/call", params))


async def resume(url: str, result: Message) -> Message:
    """Answer the one question of a result."""
    (question,) = result["inputRequests"]
    return await execute(url, requestState=result["requestState"], inputResponses={question: ACCEPT})


async def persistently(url: str, result: Message) -> Message:
    """The same, by a client that tries again while nobody accepts its connection."""
    with anyio.fail_after(BACK_WITHIN):
        while True:
            try:
                return await resume(url, result)
            except httpx.HTTPError:
                await anyio.sleep(0.05)


def said(message: Message) -> Message:
    """What the server was told."""
    return dict(json.loads(text(message)))


async def test_a_legacy_client_hears_soon_that_the_connector_was_killed(gateway: Gateway) -> None:
    await gateway.ready("peer")
    async with asked(gateway) as call:
        await gateway.killed(gateway.services("connector")[0])
        with anyio.fail_after(TOLD_WITHIN):
            assert verdict(await call.end()) == "unknown"


async def test_a_modern_client_hears_at_once_that_the_connector_was_killed(gateway: Gateway) -> None:
    await gateway.ready("peer")
    result = (await execute(gateway.url))["result"]
    await gateway.killed(gateway.services("connector")[0])
    with anyio.fail_after(TOLD_WITHIN):
        assert verdict(await resume(gateway.url, result)) == "unknown"
    await gateway.ready("peer")
    with anyio.fail_after(TOLD_WITHIN):
        assert verdict(await resume(gateway.url, result)) == "unknown", "the next one does not know the call"


async def test_a_legacy_client_is_answered_although_the_router_was_killed(gateway: Gateway) -> None:
    await gateway.ready("peer")
    async with asked(gateway) as call:
        await gateway.killed(gateway.services("router")[0])
        await call.reply()
        with anyio.fail_after(BACK_WITHIN):
            assert said(await call.end()) == ACCEPT


async def test_a_modern_client_is_answered_although_the_router_was_killed(gateway: Gateway) -> None:
    await gateway.ready("peer")
    result = (await execute(gateway.url))["result"]
    await gateway.killed(gateway.services("router")[0])
    with anyio.fail_after(BACK_WITHIN):
        assert said(await resume(gateway.url, result)) == ACCEPT


async def test_a_modern_client_is_answered_although_the_edge_was_killed(gateway: Gateway) -> None:
    await gateway.ready("peer")
    result = (await execute(gateway.url))["result"]
    await gateway.killed(gateway.services("edge")[0])
    assert said(await persistently(gateway.url, result)) == ACCEPT


async def test_a_legacy_client_whose_edge_was_killed_is_cut_off_and_its_call_given_up(
    gateway: Gateway, journal: Journal
) -> None:
    await gateway.ready("peer")
    cancelled = len(journal.entries("cancelled"))
    struck = time.monotonic()
    async with asked(gateway) as call:
        await gateway.killed(gateway.services("edge")[0])
        with anyio.fail_after(TOLD_WITHIN), pytest.raises(httpx.HTTPError):
            await call.end()
    again = {**call.headers, "Last-Event-ID": call.last}
    await gateway.ready("peer")
    async with http() as client:
        with anyio.fail_after(TOLD_WITHIN):
            assert verdict(answered(await client.get(gateway.url, headers=again))) == "unknown"
    await journal.saw("cancelled", times=cancelled + 1, within=GIVEN_UP_WITHIN)
    assert time.monotonic() - struck < GIVEN_UP_WITHIN


async def test_a_broker_that_restarts_while_a_person_thinks_leaves_nobody_waiting(gateway: Gateway) -> None:
    await gateway.ready("peer")
    async with asked(gateway) as call:
        broker = gateway.broker()
        await gateway.killed(broker)
        await gateway.until(lambda page: page["ready"] and gateway.broker() != broker)
        await call.reply()
        with anyio.fail_after(BACK_WITHIN):
            end = await call.end()
    assert verdict(end) == "unknown" if "error" in end else said(end) == ACCEPT
