"""Lines on a pipe, whoever reads it and how slowly."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator

import pytest

from libs.common.config.sinks import StdoutSink
from services.auditor.sinks import SinkDown, stdout
from services.auditor.sinks.stdout import Stdout
from tests.services.auditor.sinks.events import batch, delivery, event

pytestmark = pytest.mark.anyio


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def drained(end: int) -> list[int]:
    """The numbers of all whole lines that are in the pipe now."""
    os.set_blocking(end, False)
    got = b""
    try:
        while part := os.read(end, 1 << 20):
            got += part
    except BlockingIOError:
        pass
    assert got.endswith(b"\n")
    return [json.loads(line)["n"] for line in got.splitlines()]


async def test_each_event_is_one_line(pipe: tuple[int, int]) -> None:
    sink = Stdout(StdoutSink(type="stdout"), pipe[1])
    assert list(await sink.deliver(batch(1, 3))) == [0, 1, 2]
    assert drained(pipe[0]) == [1, 2, 3]


async def test_of_records_only_what_ends_a_request_is_printed(pipe: tuple[int, int]) -> None:
    sink = Stdout(StdoutSink(type="stdout", format="record"), pipe[1])
    events = [event("mcp.tool.call.requested"), event(), b"no JSON", b"{}", event("server.started")]
    given = [delivery(number, data) for number, data in enumerate(events)]
    assert len(await sink.deliver(given)) == 5
    (line,) = os.read(pipe[0], 1 << 20).splitlines()
    assert json.loads(line)["tool_name"] == "get_current_time"


async def test_a_reader_that_stalls_gets_no_broken_line(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdout, "WRITE_WITHIN", 0.1)
    sink = Stdout(StdoutSink(type="stdout"), pipe[1])
    large = [delivery(n, json.dumps({"n": n, "pad": "x" * 50_000}).encode()) for n in range(4)]
    with pytest.raises(SinkDown, match="nobody read"):
        await sink.deliver(large)
    got: list[int] = []
    done = threading.Event()

    def read() -> None:
        with os.fdopen(os.dup(pipe[0]), "rb") as lines:
            while 3 not in got:
                got.append(json.loads(lines.readline())["n"])
        done.set()

    reader = threading.Thread(target=read)
    reader.start()
    await sink.deliver(large)
    assert done.wait(5)
    reader.join()
    assert got[-4:] == [0, 1, 2, 3]
    assert got[0] == 0


@pytest.mark.parametrize(
    "strange",
    [
        b'{"time":1000000000000000000,"metadata":{"event_code":"mcp.request"}}',
        b'{"time":-99999999999999999,"metadata":{"event_code":"mcp.request"}}',
        b'{"time":0,"unmapped":{"x":' + b"[" * 100_000,
        b'{"time":0,"metadata":{"event_code":"mcp.request"},"unmapped":{"nexus":[]}}',
        b"\xff",
    ],
)
async def test_a_strange_event_does_not_hold_up_the_records_behind_it(
    pipe: tuple[int, int], strange: bytes
) -> None:
    sink = Stdout(StdoutSink(type="stdout", format="record"), pipe[1])
    assert len(await sink.deliver([delivery(1, strange), delivery(2, event())])) == 2
    assert json.loads(os.read(pipe[0], 1 << 16))["event"] == "mcp.request"
