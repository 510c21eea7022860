"""The events of tool calls: what is told of one before it is sent, and after it has ended."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from libs.common import log
from libs.common.audit.events import Event, Outcome, Payload
from libs.common.audit.fingerprint import Fingerprints
from libs.common.codec import UNREADABLE, decoder
from libs.common.errors import Executed, Failure, WorkerLost
from libs.common.messages.calls import EMPTY, CallServer, ExecuteTool
from libs.common.policy import Policy
from services.edge import verdicts
from services.edge.definitions import Definitions
from services.edge.verdicts import Ruling
from services.edge.visitor import CLIENT_CANCELLED, CLIENT_LEFT, LEFT, Visitor

CALL = "tools/call"
INFO_MAX = 512
"""Bytes of a `clientInfo` whose name is remembered."""
ACCEPTED = 202
"""The status of a request that its client cancelled: it is answered with nothing."""
_UNKNOWN = "there is no such tool for this caller"
_STOPPED = "the gateway stopped before the call was finished"

ToolCall = ExecuteTool | CallServer
Shown = Callable[[str, str], tuple[str, ...]]
"""The arguments of a server's tool that may be shown, as an operator's rule says."""


class _Params(Struct):
    arguments: Raw = EMPTY


class _Info(Struct):
    name: str = ""


_params: Decoder[_Params] = decoder(_Params)
_info: Decoder[_Info] = decoder(_Info)


def nothing_shown(server: str, tool: str) -> tuple[str, ...]:
    """Without a rule no argument is shown."""
    return ()


class Evidence:
    """Puts together what is known of a call; reads arguments and result once each."""

    def __init__(
        self,
        policy: Policy,
        definitions: Definitions,
        fingerprints: Fingerprints,
        shown: Shown = nothing_shown,
    ) -> None:
        self._policy = policy
        self._definitions = definitions
        self._fingerprints = fingerprints
        self._shown = shown

    def requested(self, message: ToolCall, visitor: Visitor, call: str) -> Event:
        """Of a call that is about to be sent."""
        principal = message.principal
        if isinstance(message, ExecuteTool):
            found = self._definitions.exposed(message.name, principal)
        else:
            found = self._definitions.own(message.server, message.tool, principal)
        ruling = verdicts.ruled(self._policy, principal, found.server, found.tool)
        return Event(
            code="mcp.tool.call.requested",
            principal=principal,
            tenant=principal.tenant,
            app=app_of(message.client.info),
            address=visitor.address,
            user_agent=visitor.agent,
            path=visitor.path,
            session=visitor.session,
            token=visitor.token,
            trace=message.trace.place,
            operation=CALL,
            server=found.server,
            tool=found.tool,
            definition=found.digest,
            decision=ruling.decision,
            rule=ruling.rule,
            args=self._arguments(message.params, self._shown(found.server, found.tool)),
            call=call,
            deadline=message.deadline,
        )

    def answered(self, begun: Event, result: Raw, status: int, duration: int) -> Event:
        """Of a call with a result."""
        outcome = verdicts.answered(result)
        unknown = outcome.executed == "no" and not begun.definition
        if status == LEFT:
            outcome = verdicts.aborted(outcome.executed, outcome.tool)
        data = bytes(result)
        payload = Payload(len(data), self._fingerprints.of(data))
        message = _UNKNOWN if unknown else ""
        return _completed(begun, outcome, status, duration, result=payload, message=message)

    def failed(self, begun: Event, failure: Failure, visitor: Visitor, duration: int) -> Event:
        """Of a call that ended in an error."""
        ruling = verdicts.amended(Ruling(begun.decision, begun.rule), failure)
        return _completed(
            begun,
            verdicts.failed(failure),
            LEFT if visitor.closed() else visitor.status(failure),
            duration,
            decision=ruling.decision,
            rule=ruling.rule,
            limit=ruling.limit,
            message=verdicts.reason(failure),
        )

    def stopped(self, begun: Event, cause: str, visitor: Visitor, duration: int) -> Event:
        """Of a call that was cancelled: by its client, or because the gateway stops."""
        executed: Executed = "unknown" if visitor.sent else "no"
        if cause == CLIENT_LEFT:
            return _completed(begun, verdicts.aborted(executed), LEFT, duration, message=cause)
        if cause == CLIENT_CANCELLED:
            return _completed(begun, verdicts.aborted(executed), ACCEPTED, duration, message=cause)
        failure = replace(WorkerLost(_STOPPED).failure(), executed=executed)
        status = LEFT if visitor.closed() else visitor.status(failure)
        return _completed(begun, verdicts.failed(failure), status, duration, message=_STOPPED)

    def _arguments(self, params: Raw, fields: tuple[str, ...]) -> Payload:
        try:
            arguments = _params.decode(params).arguments
        except UNREADABLE:
            arguments = EMPTY
        payload = self._fingerprints.payload(arguments, fields)
        if not payload.fields:
            return payload
        return replace(payload, fields=tuple((name, log.clean(value)) for name, value in payload.fields))


def app_of(info: Raw) -> str:
    """The name in a `clientInfo`."""
    data = bytes(info)
    return _named(data) if len(data) <= INFO_MAX else _name(data)


def _name(info: bytes) -> str:
    try:
        return _info.decode(info).name
    except UNREADABLE:
        return ""


_named = lru_cache(maxsize=1024)(_name)


def _completed(begun: Event, outcome: Outcome, status: int, duration: int, **more: Any) -> Event:
    """Without the arguments and the deadline, which its `requested` has."""
    return replace(
        begun,
        code="mcp.tool.call.completed",
        args=None,
        deadline=0.0,
        outcome=outcome,
        status=status,
        duration=duration,
        **more,
    )
