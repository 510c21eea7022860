"""Every NATS subject of the gateway, built here and nowhere else.

A token is a configured server name or an id we minted, never text from a client or a downstream server.
"""

from __future__ import annotations

import re

from libs.common.naming import is_server

REQUEST = "nexus.v1.request"
SEARCH = "nexus.v1.search"
CANCEL = "nexus.v1.cancel"
"""Edge to all edges: a legacy client's `notifications/cancelled`, which any replica may receive."""
EDGES = "nexus.v1.edges"
"""Edge to all edges: who is there, and which sessions have ended."""
ROUTERS = "nexus.v1.routers"
"""Router to all routers: that it lives, so that each knows its share of a limit."""
METRICS = "nexus.v1.metrics"
"""Edge to everybody: say what you have measured."""
FACTS = "nexus.v1.fact.>"
FACT_STREAM = "FACTS"

EVENTS = "nexus.v1.stream.>"
EVENT_STREAM = "EVENTS"

AUDIT = "audit.v1.>"
"""What happened, for auditors: the class of OCSF, and sixteen characters for a tenant, if there is one."""
AUDIT_STREAM = "AUDIT"
DEAD = "audit.dead.v1.*"
DEAD_STREAM = "AUDIT_DEAD"

CATALOG = "nexus-catalog"
SERVERS = "nexus-servers"
LEASES = "nexus-leases"
SESSIONS = "nexus-sessions"
CREDENTIALS = "nexus-credentials"
AUDITORS = "nexus-auditors"
LEDGER = "nexus-audit"

_DOT = ":"
"""A dot within one token; no minted id holds it."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


def call(server: str) -> str:
    """Router to the connectors that hold `server`."""
    if not is_server(server):
        raise ValueError(f"not a server name: {server!r}")
    return f"nexus.v1.call.{server}"


def worker(worker: str) -> str:
    """To one connector: cancel, answers to a server's question, calls bound to its sessions."""
    return f"nexus.v1.worker.{minted(worker)}"


def edge(replica: str) -> str:
    """Edge to one other edge: a client's answer to the question that replica asked."""
    return f"nexus.v1.edge.{minted(replica)}"


def held(replica: str) -> str:
    """Edge to the one edge that holds a stream of a legacy client."""
    return f"nexus.v1.held.{minted(replica)}"


def stream(stream: str) -> str:
    """What was sent on one stream of a legacy session, kept in the stream `EVENTS`."""
    return f"nexus.v1.stream.{minted(stream)}"


def fact(noun: str, past: str) -> str:
    """Something that happened, kept in the stream `FACTS`."""
    return f"nexus.v1.fact.{minted(noun)}.{minted(past)}"


def dead(sink: str) -> str:
    """Audit events that a sink never took, kept in the stream `AUDIT_DEAD`."""
    return f"audit.dead.v1.{minted(sink)}"


def audit(target: str) -> str:
    """One class of audit events, `<class>` or `<class>.<tenant16>` as `audit.events` has them."""
    return f"{AUDIT.removesuffix('>')}{target}"


def inbox(role: str, client: str) -> str:
    """The private prefix where one client's answers arrive; a call's id is appended."""
    return f"_INBOX_{minted(role)}.{minted(client)}"


def forwarded(inbox: str, reply: str) -> str:
    """The reply subject of a question passed on: the answer goes to `reply` (see `asker`), the broker's word
    that nobody was there goes to `inbox`, for the broker tells only whoever published.
    """
    return f"{inbox}.{reply.replace('.', _DOT)}"


def asker(reply: str) -> str:
    """Where an answer goes: `reply`, or what it was before the question was passed on."""
    last = reply.rpartition(".")[2]
    return last.replace(_DOT, ".") if _DOT in last else reply


def minted(token: str) -> str:
    """`token` itself, if it is safe as one subject token (1–64 of `[A-Za-z0-9_-]`)."""
    if not _ID.match(token):
        raise ValueError(f"not a minted id: {token!r}")
    return token
