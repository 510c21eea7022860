"""`python -m benchmarks`: what the gateway costs in CPU, time and memory, beside its budgets.

The figures are of this machine; CPU time of a process is steadier than latency where others work too.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.gateway import report
from benchmarks.gateway.calls import Bench, Plan, Row
from benchmarks.gateway.crowd import Stage, crowd
from benchmarks.gateway.entrance import Entrance, entrance
from benchmarks.gateway.generator import Generator
from benchmarks.gateway.limits import Counted, Window, costs, windows
from benchmarks.gateway.lookup import Lookup, lookup
from benchmarks.gateway.processes import Costs
from benchmarks.gateway.progress import Stretch, progress
from benchmarks.gateway.recording import Recorded, recording
from benchmarks.gateway.startup import Start, start
from benchmarks.gateway.target import NEXUS, Peer, Target, http, running, stdio
from benchmarks.gateway.tracing import Step, Traced, gateways, steps
from benchmarks.gateway.writing import Written, writing

PARTS = ("calls", "progress", "entrance", "crowd", "search", "limits", "audit", "tracing", "start")
QUICK = Plan(in_flight=(1, 16), calls=2000, rounds=2, ways=("execute",), clients=("modern",))


class Report(msgspec.Struct):
    """Everything that was measured."""

    version: str
    machine: str
    calls: list[Row] = []
    memory: dict[str, Costs] = {}
    progress: list[Stretch] = []
    entrance: list[Entrance] = []
    crowd: list[Stage] = []
    search: list[Lookup] = []
    limits: list[Counted] = []
    audit: list[Recorded] = []
    written: list[Written] = []
    windows: list[Window] = []
    tracing: list[Traced] = []
    unrecorded: list[Step] = []
    start: list[Start] = []


def main() -> None:
    """Measure what was asked for, print it, write it."""
    given = _arguments()
    # So that whoever stops the benchmark stops the gateway it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    result = Report(version("nexus-gateway"), machine)
    report.console.print(f"nexus {result.version} on {machine}", highlight=False)
    peer = Peer(given.peer_command, given.peer_url, ours=given.peer_command == NEXUS)
    parts = given.only if peer.ours else ["calls"]
    with Generator() as generator:
        if "calls" in parts:
            _calls(result, generator, peer, given)
        if "progress" in parts:
            _progress(result, generator, given)
        if "search" in parts:
            _search(result, generator, quick=given.quick)
        if "tracing" in parts:
            _tracing(result, generator, quick=given.quick)
        if "audit" in parts:
            _audit(result, generator, quick=given.quick)
    if "entrance" in parts:
        result.entrance += entrance()
        report.print_entrance(result.entrance)
    if "crowd" in parts:
        with report.console.status("opening sessions and streams"):
            result.crowd += crowd(1_000, 100) if given.quick else crowd(10_000, 1_000)
        report.print_crowd(result.crowd)
    if "limits" in parts:
        with report.console.status("counting calls to limits"):
            result.limits = costs(2_000 if given.quick else 20_000)
            result.windows = windows(100_000 if given.quick else 1_000_000)
        report.print_limits(result.limits, result.windows)
    if "start" in parts:
        _start(result, quick=given.quick)
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(result)))


def _calls(result: Report, generator: Generator, peer: Peer, given: argparse.Namespace) -> None:
    bench = Bench(generator, QUICK if given.quick else Plan())
    with http(given.era, given.downstream_port) as url:
        result.calls += _shown(bench.direct(url))
        servers = {"stdio": stdio(given.era), "http": {"url": url}}
        with running(servers, peer) as target, _memory(result, target, ours=peer.ours):
            result.calls += _shown(bench.gateway(target.url, target.processes()))
    report.print_calls(result.calls)
    report.print_memory(result.memory)


def _progress(result: Report, generator: Generator, given: argparse.Namespace) -> None:
    with http(given.era) as url, running({"stdio": stdio(given.era), "http": {"url": url}}, Peer()) as target:
        target.wait_ready()
        with report.console.status("measuring progress"):
            rows = progress(generator, target.url, target.processes(), 2 if given.quick else 3)
            result.progress += rows
    report.print_progress(result.progress)


@contextmanager
def _memory(result: Report, target: Target, *, ours: bool) -> Iterator[None]:
    if ours:
        target.wait_ready()
        result.memory["idle"] = target.processes().memory()
    yield
    result.memory["after load"] = target.processes().memory()


def _audit(result: Report, generator: Generator, *, quick: bool) -> None:
    with report.console.status("recording calls"):
        result.audit = recording(generator, 2_000 if quick else 4_000, 3 if quick else 6)
        result.written = writing(2_000 if quick else 20_000)
    report.print_audit(result.audit)
    report.print_written(result.written)


def _tracing(result: Report, generator: Generator, *, quick: bool) -> None:
    with report.console.status("tracing calls"):
        result.unrecorded = steps(2_000 if quick else 20_000)
        result.tracing = gateways(generator, 1_000 if quick else 2_000, 4 if quick else 12)
    report.print_tracing(result.tracing, result.unrecorded)


def _search(result: Report, generator: Generator, *, quick: bool) -> None:
    for tools in (100, 1_000) if quick else (100, 1_000, 10_000):
        with report.console.status(f"searching {tools} tools"):
            result.search.append(lookup(generator, tools, 500 if quick else 1000))
    report.print_lookups(result.search)


def _start(result: Report, *, quick: bool) -> None:
    for servers in (1, 10) if quick else (1, 10, 50):
        with report.console.status(f"starting with {servers} servers"):
            result.start.append(start(servers, 1 if quick else 3))
    report.print_starts(result.start)


def _shown(rows: Iterator[Row]) -> Sequence[Row]:
    """All of them; the last one is shown while the next is measured."""
    done: list[Row] = []
    with report.console.status("measuring calls") as status:
        for row in rows:
            done.append(row)
            place = f"{row.way}, {row.client}, {row.downstream}, {row.in_flight} in flight"
            status.update(f"{place}: {row.error or f'{row.rate:,.0f}/s, p50 {row.p50:.2f} ms'}")
    return done


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure only these")
    parser.add_argument(
        "--era", choices=("both", "modern", "legacy"), default="both", help="of the downstream servers"
    )
    parser.add_argument(
        "--peer-command",
        default=NEXUS,
        metavar="CMD",
        help="measure the calls of another gateway: its command; {config} and {port} are filled in",
    )
    parser.add_argument("--peer-url", default=Peer().url, metavar="URL", help="where it serves MCP")
    parser.add_argument(
        "--downstream-port", type=int, default=0, help="of the HTTP server, for a peer that is configured"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
