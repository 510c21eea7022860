"""Replicas are replaced one after the other under steady calls, and no call notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import anyio
import httpx
import psutil
import pytest

from tests.system.gateway import Gateway, eventually, gone
from tests.system.parts import witness
from tests.system.wire import Message, answered, ask

pytestmark = [pytest.mark.anyio, pytest.mark.system]

CALLERS = 4


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    servers = {"spread": witness(instances="per-worker"), "single": witness()}
    folder = tmp_path_factory.mktemp("rolling")
    async with Gateway(folder, servers, "--scale", "edge=2,router=2,connector=2,indexer=2") as gateway:
        yield gateway


class Callers:
    """Clients that call without a pause, and count what they get."""

    def __init__(self, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url

    async def run(self, tool: str) -> None:
        """Call until cancelled, on connections that are kept and renewed as clients do."""
        params = _params(tool)
        transport = httpx.AsyncHTTPTransport(retries=1)
        async with httpx.AsyncClient(trust_env=False, timeout=30, transport=transport) as client:
            while True:
                try:
                    answer = answered(await _asked(client, self._url, params))
                except httpx.TransportError as error:
                    self.seen[f"{type(error).__name__}: {error}"] += 1
                else:
                    good = "result" in answer and not answer["result"].get("isError")
                    self.seen["good" if good else str(answer.get("error", answer))] += 1

    async def made(self, calls: int) -> None:
        """Wait until so many more calls have succeeded."""
        target = self.seen["good"] + calls
        await eventually(lambda: self.seen["good"] >= target, 20, lambda: f"calls stopped: {self.seen}")


@pytest.mark.parametrize(
    ("role", "tool"),
    [
        ("router", "spread__wait"),
        ("connector", "spread__wait"),
        ("connector", "single__wait"),
        ("edge", "spread__wait"),
        ("indexer", "search"),
    ],
)
async def test_no_call_fails_while_a_role_is_restarted_one_by_one(
    gateway: Gateway, role: str, tool: str
) -> None:
    await gateway.until(lambda page: len(page["servers"]["spread"]["workers"]) == 2, 20)
    callers = Callers(gateway.url)
    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS):
            tasks.start_soon(callers.run, tool)
        await callers.made(20)
        for process in gateway.services(role):
            await _replace(gateway, process)
            await callers.made(20)
        tasks.cancel_scope.cancel()
    assert set(callers.seen) == {"good"}, callers.seen


async def _asked(client: httpx.AsyncClient, url: str, params: Message) -> httpx.Response:
    """The response, asked for once more where an idle connection was closed as the request was on its way.

    Any server that ends may do that to a kept connection; HTTP/1.1 clients expect it (RFC 9112 §9.3.1).
    """
    try:
        return await ask(client, url, "tools/call", params)
    except (httpx.ReadError, httpx.RemoteProtocolError):
        return await ask(client, url, "tools/call", params)


def _params(tool: str) -> Message:
    if tool == "search":
        return {"name": tool, "arguments": {"query": "wait for it"}}
    return {"name": "execute", "arguments": {"name": tool, "arguments": {"seconds": 0.02}}}


async def _replace(gateway: Gateway, process: psutil.Process) -> None:
    """End one process in order, and wait until its successor serves."""
    before = _readies(gateway)
    process.terminate()
    await gone([process], 10)
    await eventually(lambda: _readies(gateway) > before, 15, "it was not started again")


def _readies(gateway: Gateway) -> int:
    """How often a service has said that it serves."""
    return gateway.log().count(" ready  ")
