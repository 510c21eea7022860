"""Writes down what becomes of every request but tool calls, and who is let in and who is not."""

from __future__ import annotations

from typing import Any

import structlog
from msgspec.structs import replace
from starlette.types import Scope

from libs.common.audit.events import Code, Event
from libs.common.audit.trail import Trail
from libs.common.errors import AuditUnavailable, NexusError
from libs.common.networks import network
from libs.common.policy import Policy
from services.edge import inquiries, verdicts
from services.edge.address import Proxies
from services.edge.auth.refusal import AuthRefused
from services.edge.definitions import Definitions
from services.edge.evidence import CALL
from services.edge.flood import Flood
from services.edge.headers import read_headers
from services.edge.verdicts import Ruling
from services.edge.visitor import Visitor

log = structlog.get_logger("audit")

SESSION = "mcp-session-id"


class Scribe:
    """`Book` that ends each visit with one event, unless that of a tool call has."""

    def __init__(self, trail: Trail, policy: Policy, definitions: Definitions) -> None:
        self._trail = trail
        self._policy = policy
        self._definitions = definitions
        self._refusals: Flood[Event] = Flood(self._refuse)

    def fingerprint(self, secret: str) -> str:
        return self._trail.fingerprints.of(secret) if self._trail.enabled else ""

    def know(self, visitor: Visitor) -> None:
        """Take down what the headers say."""
        agent, session = visitor.headers.get("user-agent"), visitor.headers.get(SESSION)
        if agent is not None:
            visitor.agent = inquiries.shown(agent)
        if session is not None:
            visitor.open(session)

    def accept(self, visitor: Visitor) -> None:
        """Let in; told of credentials that were not seen for a minute."""
        if visitor.fresh and self._trail.enabled:
            self._write(_event(visitor, "auth.accepted", status=200, message="the credentials are good"))

    def refuse(self, visitor: Visitor, refused: AuthRefused) -> None:
        """Not let in: the credentials are no good, or missing."""
        visitor.told = True
        if not self._trail.enabled:
            return
        told = "the credentials are no good" if refused.sent else "credentials are missing"
        facts = {"error": refused.error}
        event = _event(visitor, "auth.refused", status=refused.status, message=told, facts=facts)
        self._refusals.take(network(visitor.address), event)

    def forged(self, proxies: Proxies, scope: Scope) -> None:
        """A request without the header that pages of others cannot send."""
        try:
            headers = read_headers(scope["headers"])
        except NexusError:
            headers = {}
        peer = scope.get("client")
        address = proxies.client(peer[0] if peer else "", headers)
        path = inquiries.shown(scope["path"])
        visitor = Visitor(self, scope["method"], path, address=address, headers=headers)
        self.know(visitor)
        visitor.failure = verdicts.FORGED
        visitor.leave()

    def leave(self, visitor: Visitor) -> None:
        """The end of a request, or of one of the messages in it."""
        visitor.told = True
        if not self._trail.enabled:
            return
        event = self._request(visitor)
        if visitor.message is None and visitor.failure is not None and not visitor.token:
            # Nobody has said who it is, and nothing was asked: anybody can send any number of these.
            self._refusals.take(network(visitor.address), event)
        else:
            self._write(event)

    def close(self) -> None:
        """Tell at once what is held back."""
        self._refusals.close()

    def _request(self, visitor: Visitor) -> Event:
        message = visitor.message
        ruling, tool, definition = self._judged(visitor)
        if visitor.failure is not None:
            ruling = verdicts.amended(ruling, visitor.failure)
        outcome, status, told = inquiries.ended(visitor)
        asked = {} if message is None or tool else inquiries.target(message)
        return _event(
            visitor,
            "mcp.request",
            operation=visitor.verb if message is None else message.method or "response",
            server=visitor.server,
            tool=tool,
            definition=definition,
            decision=ruling.decision,
            rule=ruling.rule,
            limit=ruling.limit,
            trace=inquiries.trace(visitor),
            status=status,
            outcome=outcome,
            duration=visitor.milliseconds(),
            message=told,
            facts={**asked, **(visitor.facts or {})} or None,
        )

    def _judged(self, visitor: Visitor) -> tuple[Ruling, str, str]:
        """By which rule it was let through; of a call that was not sent, the tool and its definition."""
        message, principal = visitor.message, visitor.principal
        name = message.params.get("name") if message is not None and message.method == CALL else None
        if isinstance(name, str):
            if visitor.server:
                found = self._definitions.own(visitor.server, name, principal)
            else:
                found = self._definitions.exposed(name, principal)
            if not found.tool:
                return Ruling(), name, ""
            visitor.server = found.server
            return verdicts.ruled(self._policy, principal, found.server, found.tool), found.tool, found.digest
        if visitor.server:
            return verdicts.ruled(self._policy, principal, visitor.server), "", ""
        return Ruling(), "", ""

    def _refuse(self, event: Event, count: int) -> None:
        if count > 1:
            event = replace(event, facts={**(event.facts or {}), "count": count})
        self._write(event)

    def _write(self, event: Event) -> None:
        try:
            self._trail.record(event)
        except AuditUnavailable as error:
            log.warning("a request is not recorded", code=event.code, reason=error.message)


def _event(visitor: Visitor, code: Code, **more: Any) -> Event:
    principal = visitor.principal
    return Event(
        code=code,
        principal=principal,
        tenant=principal.tenant,
        app=inquiries.program(visitor),
        address=visitor.address,
        user_agent=visitor.agent,
        path=visitor.path,
        session=visitor.session,
        token=visitor.token,
        **more,
    )
