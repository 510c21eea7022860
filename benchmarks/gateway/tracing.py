"""What traces cost: calls that are not recorded, some that are, and the steps of one that is not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any

import msgspec
import uvloop
from msgspec.json import Decoder

from benchmarks.gateway.calls import settle
from benchmarks.gateway.generator import Generator, Round
from benchmarks.gateway.load import Job
from benchmarks.gateway.processes import Processes
from benchmarks.gateway.target import Peer, running, stdio
from benchmarks.gateway.traffic import Traffic, calling
from libs.common import telemetry
from libs.common.codec import decoder, encode
from libs.common.config.telemetry import Telemetry
from libs.common.identity import ANONYMOUS
from libs.common.messages.calls import Call, Client, ExecuteTool, Order
from libs.common.telemetry.tracing import Tracing
from libs.common.trace import NONE, Trace
from services.connector.spanned import Spanned
from services.edge.arrival import HERE, Arrivals
from services.edge.surface import Ask
from services.router.spanned import routing

SHARES = {"off": None, "none recorded": 0.0, "15 % recorded": 0.15, "all recorded": 1.0}
IN_FLIGHT = 16
_HEADERS = [(b"host", b"127.0.0.1"), (b"accept", b"application/json"), (b"content-type", b"application/json")]
_OWN = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-00"
_FAR = time.time() + 3600


class Traced(msgspec.Struct):
    """One gateway: CPU microseconds of a call in all its processes, and milliseconds until its answer."""

    mode: str
    cost: float
    added: float
    """The median of what its rounds cost over those of the first gateway at the same time."""
    p50: float


class Step(msgspec.Struct):
    """What one part adds to a call that is not recorded, in microseconds."""

    part: str
    cost: float


def gateways(generator: Generator, calls: int, rounds: int) -> list[Traced]:
    """All modes side by side, their rounds in turn, so that whatever else runs meets all of them."""
    with sink() as url, ExitStack() as stack:
        targets = {
            mode: stack.enter_context(running({"stdio": stdio()}, Peer(), _settings(url, share)))
            for mode, share in SHARES.items()
        }
        found: dict[str, list[Round]] = {mode: [] for mode in targets}
        traffic = {
            mode: calling(each.url, "modern", "stdio__echo", inside="execute")
            for mode, each in targets.items()
        }
        processes = {mode: each.processes() for mode, each in targets.items()}
        for each in traffic.values():
            settle(generator, each)
        for _ in range(rounds):
            for mode, rounds_ in found.items():
                rounds_.append(_round(generator, traffic[mode], calls, processes[mode]))
    return [_traced(mode, each, found["off"]) for mode, each in found.items()]


def steps(calls: int) -> list[Step]:
    """The parts of the code, each alone, with traces and without."""
    return uvloop.run(_steps(calls))


@contextmanager
def sink() -> Iterator[str]:
    """A collector that throws away what it gets, in a process of its own; its URL."""
    command = [sys.executable, "-m", "benchmarks.gateway.tracing"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _settings(url: str, share: float | None) -> str:
    if share is None:
        return ""
    otlp = f'enabled = true\nprotocol = "http"\nendpoint = {json.dumps(url)}'
    return f"[telemetry.tracing]\nsampling = {share}\n[telemetry.tracing.exporters.otlp]\n{otlp}\n"


def _round(generator: Generator, traffic: Traffic, calls: int, processes: Processes) -> Round:
    return generator.round(Job(traffic, IN_FLIGHT, calls), processes)


def _traced(mode: str, rounds: list[Round], off: list[Round]) -> Traced:
    added = median(each.cost - other.cost for each, other in zip(rounds, off, strict=True))
    return Traced(mode, min(each.cost for each in rounds), added, median(each.p50 for each in rounds))


async def _steps(calls: int) -> list[Step]:
    exporters = {"otlp": {"enabled": True}}
    table = Telemetry.model_validate({"tracing": {"sampling": 0, "exporters": exporters}})
    handle = telemetry.begin(table, "bench")
    assert handle.tracing is not None
    try:
        return [
            Step("edge", await _edge(handle.tracing, calls)),
            Step("router", _router(handle.tracing, calls)),
            Step("connector", await _connector(handle.tracing, calls)),
            Step("longer messages", _bytes(calls)),
        ]
    finally:
        await handle.close()


async def _edge(tracing: Tracing, calls: int) -> float:
    """A request whose place is decided, and the place given to its message."""
    ask = Ask("tools/call", {}, ANONYMOUS, Client(), lambda _: None)

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def placed(scope: Any, receive: Any, send: Any) -> None:
        here = HERE.get()
        assert here is not None
        ask.trace = here.settle(NONE)
        await plain(scope, receive, send)

    async def send(message: MutableMapping[str, Any]) -> None: ...

    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": _HEADERS}
    traced = Arrivals(placed, tracing, "/mcp")
    return await _added(lambda: traced(scope, None, send), lambda: plain(scope, None, send), calls)  # type: ignore[arg-type]  # nobody receives


def _router(tracing: Tracing, calls: int) -> float:
    request = ExecuteTool("a__b", _FAR, trace=Trace(own=_OWN))

    def once(known: Tracing | None) -> None:
        with routing(known, request):
            pass

    return _timed(lambda: once(tracing), calls) - _timed(lambda: once(None), calls)


async def _connector(tracing: Tracing, calls: int) -> float:
    call = Call("a", "tools/call", _FAR, trace=Trace(own=_OWN))

    async def handle(order: Order, job: Any) -> msgspec.Raw:
        return msgspec.Raw(b"{}")

    spanned = Spanned(handle, tracing, {})
    job: Any = None
    return await _added(lambda: spanned.handle(call, job), lambda: handle(call, job), calls)


def _bytes(calls: int) -> float:
    """Both hops written and read, with a place in a trace and without."""
    request: Decoder[ExecuteTool] = decoder(ExecuteTool)
    call: Decoder[Call] = decoder(Call)

    def hop(trace: Trace) -> None:
        request.decode(encode(ExecuteTool("a__b", _FAR, trace=trace)))
        call.decode(encode(Call("a", "tools/call", _FAR, trace=trace)))

    return _timed(lambda: hop(Trace(own=_OWN)), calls) - _timed(lambda: hop(NONE), calls)


async def _added(
    with_: Callable[[], Awaitable[Any]], without: Callable[[], Awaitable[Any]], calls: int
) -> float:
    return await _awaited(with_, calls) - await _awaited(without, calls)


async def _awaited(work: Callable[[], Awaitable[Any]], calls: int) -> float:
    return min([await _batch(work, calls) for _ in range(3)])


async def _batch(work: Callable[[], Awaitable[Any]], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        await work()
    return (time.process_time() - began) / calls * 1e6


def _timed(work: Callable[[], None], calls: int) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(calls):
            work()
        times.append((time.process_time() - began) / calls * 1e6)
    return min(times)


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    print(server.server_address[1], flush=True)
    server.serve_forever()
