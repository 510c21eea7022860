"""However the gateway ends, it finishes what runs if it may, and leaves no process behind."""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.system.gateway import Gateway, Server
from tests.system.parts import Journal, witness
from tests.system.wire import Message, answered, begin, called, execute, http, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

ORPHANS_WITHIN = 8.0
"""Seconds for services whose supervisor was killed to drain and go."""
KINDS = pytest.mark.parametrize("flags", [(), ("--single-process",)], ids=["processes", "single-process"])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def servers(journal: Journal) -> Mapping[str, Server]:
    return {"peer": witness(journal.flag)}


@KINDS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
async def test_nothing_is_left_after_it_was_told_to_stop(
    tmp_path: Path, servers: Mapping[str, Server], number: int, flags: tuple[str, ...]
) -> None:
    stubborn = witness(f"stubborn={tmp_path}/mark")
    async with Gateway(tmp_path, {**servers, "stubborn": stubborn}, *flags) as gateway:
        gateway.remember()
        assert len(gateway.left()) > 3
        await gateway.stop(number)
        assert not gateway.left()


@KINDS
async def test_a_call_in_flight_is_finished_before_the_end(
    tmp_path: Path, servers: Mapping[str, Server], journal: Journal, flags: tuple[str, ...]
) -> None:
    answers: list[Message] = []
    async with Gateway(tmp_path, servers, *flags) as gateway:

        async def modern() -> None:
            answers.append(await execute(gateway.url, "peer__wait", {"seconds": 2, "tag": "modern"}))

        async def legacy() -> None:
            async with http() as client:
                headers = await begin(client, gateway.url)
                message = called(1, "peer__wait", {"seconds": 2, "tag": "legacy"})
                answers.append(answered(await client.post(gateway.url, json=message, headers=headers)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(modern)
            tasks.start_soon(legacy)
            await journal.saw("waiting", times=2)
            await gateway.stop()
    assert [text(answer) for answer in answers] == ["waited", "waited"]


async def test_a_call_that_outlasts_the_drain_is_ended_with_it(
    tmp_path: Path, servers: Mapping[str, Server], journal: Journal
) -> None:
    settings = "[server]\ndrain_timeout = 1\n"
    answers: list[Message] = []
    async with Gateway(tmp_path, servers, settings=settings) as gateway:

        async def call() -> None:
            async with http(60) as client:
                headers = await begin(client, gateway.url)
                message = called(1, "peer__wait", {"seconds": 60, "tag": "long"})
                answers.append(answered(await client.post(gateway.url, json=message, headers=headers)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await journal.saw("waiting", "long")
            await gateway.stop()
    assert [verdict(answer) for answer in answers] == ["unknown"]


async def test_a_killed_supervisor_takes_every_process_along_and_can_be_started_again(
    tmp_path: Path, servers: Mapping[str, Server]
) -> None:
    """The lock, the port and the state of the last life are no obstacle."""
    async with Gateway(tmp_path, servers) as gateway:
        gateway.remember()
        assert gateway.process is not None
        gateway.process.kill()
        gateway.process.wait(5)
        await gateway.vanished(ORPHANS_WITHIN)
        gateway.start()
        await gateway.ready("peer")
        assert text(await execute(gateway.url, "peer__echo")) == "{}"


async def test_a_second_gateway_in_the_same_folder_is_refused(
    tmp_path: Path, servers: Mapping[str, Server]
) -> None:
    async with Gateway(tmp_path, servers) as gateway:
        second = Gateway(tmp_path, servers)
        second.start()
        assert second.process is not None
        with anyio.fail_after(20):
            while second.process.poll() is None:
                await anyio.sleep(0.05)
        assert second.process.returncode not in (0, None)
        await gateway.said("another gateway runs here")
        assert text(await execute(gateway.url, "peer__echo")) == "{}"


async def test_a_port_that_is_taken_is_said_in_a_sentence(
    tmp_path: Path, servers: Mapping[str, Server]
) -> None:
    gateway = Gateway(tmp_path, servers)
    with socket.socket() as other:
        other.bind(("127.0.0.1", gateway.port))
        other.listen()
        gateway.start()
        assert gateway.process is not None
        with anyio.fail_after(20):
            while gateway.process.poll() is None:
                await anyio.sleep(0.05)
    assert gateway.process.returncode != 0
    assert f"cannot listen on {gateway.address}" in gateway.log()
    assert "Traceback" not in gateway.log()
    await gateway.vanished(5)


async def test_two_ctrl_c_in_a_row_still_leave_nothing(tmp_path: Path, servers: Mapping[str, Server]) -> None:
    async with Gateway(tmp_path, servers) as gateway:
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGINT)
        await gateway.stop(signal.SIGINT)
