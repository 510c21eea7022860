"""Which connectors hold which server now, folded from their live records. Pure: fed by a KV snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from libs.common.messages.catalog import State, Worker

_BEST: tuple[State, ...] = ("ready", "starting", "failed", "standby", "stopped")
"""Of what several workers say of a server, the first of these is its state."""


@dataclass(frozen=True, slots=True)
class Status:
    """One configured server as the whole fleet sees it."""

    name: str
    state: State
    since: float
    """Seconds since the epoch; of a stopped server, when the last worker with it went."""
    tools: int
    error: str
    detail: str
    restarts: int
    kind: str
    back_at: float
    """When a server that was ready before it failed is started again; 0 where that is not so."""
    workers: tuple[str, ...]
    """Those that hold it ready."""


class Fleet:
    """Live workers and what they hold. `configured` are the servers of the configuration."""

    def __init__(self, configured: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        self.configured = tuple(sorted(configured))
        self._clock = clock
        self._left = dict.fromkeys(self.configured, clock())
        self._workers: dict[str, Worker] = {}
        self._listeners: list[Callable[[], None]] = []

    def update(self, key: str, worker: Worker | None) -> None:
        """Take one change of the workers' bucket."""
        if worker is None:
            gone = self._workers.pop(key, None)
            self._left.update(dict.fromkeys(gone.servers if gone else (), self._clock()))
        else:
            self._workers[key] = worker
        for listener in self._listeners:
            listener()

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change; returns what stops that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def holders(self, server: str) -> list[str]:
        """Workers that would take a call for `server` now."""
        return [
            worker.worker
            for worker in self._workers.values()
            if not worker.draining and (held := worker.servers.get(server)) and held.state == "ready"
        ]

    def status(self, server: str) -> Status:
        """What the fleet knows of `server`."""
        said = [worker.servers[server] for worker in self._workers.values() if server in worker.servers]
        if not said:
            return Status(server, "stopped", self._left.get(server, 0.0), 0, "", "", 0, "", 0.0, ())
        held = min(said, key=lambda each: (_BEST.index(each.state), -each.since))
        restarts = sum(each.restarts for each in said)
        return Status(
            name=server,
            state=held.state,
            since=held.since,
            tools=held.tools,
            error=held.error,
            detail=held.detail,
            restarts=restarts,
            kind=held.kind,
            back_at=held.back_at,
            workers=tuple(sorted(self.holders(server))),
        )

    def statuses(self) -> list[Status]:
        return [self.status(server) for server in self.configured]

    def why(self, server: str, now: float) -> str:
        """A sentence that says why nobody takes a call for `server`; `now` in seconds since the epoch."""
        if not self._workers:
            return f'no connector holds server "{server}": no connector is running'
        status = self.status(server)
        ago = f"{max(0.0, now - status.since):.0f} s ago"
        match status.state:
            case "failed":
                return f'no connector holds server "{server}" (configured, failed {ago}: {status.error})'
            case "starting":
                return f'no connector holds server "{server}" yet: it is starting since {ago}'
            case _:
                return f'no connector holds server "{server}" at the moment (configured, {status.state})'
