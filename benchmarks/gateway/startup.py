"""How long the gateway takes to start with many servers, and what that costs."""

from __future__ import annotations

import msgspec

from benchmarks.gateway.target import Peer, running, stdio


class Start(msgspec.Struct):
    """Seconds from spawning the command, and CPU seconds of all its processes until all is ready."""

    servers: int
    healthy: float
    ready: float
    cpu: float


def start(servers: int, rounds: int) -> Start:
    """The fastest of some starts with so many stdio servers, which answer at once."""
    return min((_once(servers) for _ in range(rounds)), key=lambda each: each.ready)


def _once(servers: int) -> Start:
    table = {f"s{number}": stdio() for number in range(servers)}
    with running(table, Peer()) as target:
        healthy, ready = target.wait_healthy(), target.wait_ready()
        return Start(servers, healthy, ready, sum(target.processes().cpu().values()))
