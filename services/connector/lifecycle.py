"""What the audit is told of the life of a server: that it is there, and that it went away. Pure."""

from __future__ import annotations

from libs.common import log
from libs.common.audit.events import Event

STARTED, AGAIN = "the server is there", "the server is there again"
UNSTARTED, CRASHED = "the server could not be started", "the server went away by itself"


def started(server: str, worker: str, kind: str, version: str, restarts: int) -> Event:
    """A session was opened: of what kind, in which revision of MCP, after how many failures."""
    facts = {"worker": worker, "kind": kind, "version": version, "restarts": restarts}
    return Event(code="server.started", server=server, message=AGAIN if restarts else STARTED, facts=facts)


def failed(server: str, worker: str, reason: str, restarts: int, wait: float, *, lived: bool) -> Event:
    """It could not be opened, or ended. `wait` is the time until the next attempt, in seconds.

    `reason` is a sentence of ours: what a server writes may hold anything.
    """
    facts = {
        "worker": worker,
        "reason": log.clean(reason),
        "restarts": restarts,
        "retry_in_ms": round(wait * 1000),
    }
    return Event(code="server.failed", server=server, message=CRASHED if lived else UNSTARTED, facts=facts)
