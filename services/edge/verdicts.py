"""What the end of a request was: how far it came, who refused it and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from libs.common.audit.events import Decision, Outcome, ToolSaid
from libs.common.codec import UNREADABLE, decoder, members
from libs.common.errors import (
    BusUnavailable,
    DeadlineExceeded,
    DownstreamLost,
    Draining,
    Executed,
    Failure,
    HostRefused,
    NotSent,
    OriginRefused,
    Overloaded,
    RateLimited,
    ResultInvalid,
    ResultTooLarge,
    ScopeRefused,
    ServerUnavailable,
    ServerUnknown,
    WorkerLost,
)
from libs.common.identity import Principal
from libs.common.policy import Policy

_REASONS = {
    ServerUnknown.code: "there is no such server for this caller",
    ServerUnavailable.code: "the server was not available",
    NotSent.code: "the request could not be sent to the server",
    Overloaded.code: "too much was under way",
    Draining.code: "the worker was stopping",
    BusUnavailable.code: "the message bus was away",
    ScopeRefused.code: "the token lacks a scope",
    RateLimited.code: "a limit was used up",
    WorkerLost.code: "the worker was lost",
    DownstreamLost.code: "the server was lost",
    DeadlineExceeded.code: "the time was over",
    ResultTooLarge.code: "the result was too large",
    ResultInvalid.code: "the result could not be read",
}
"""Sentences of our own: the text of an error may be a server's, and hold anything."""
FORGED = Failure(0, "", "no", 403)
"""A request that was refused before anything of it was read."""
_GUARDS = {
    (FORGED.code, FORGED.http): "server.csrf.header_name",
    (HostRefused.code, HostRefused.http): "server.allowed_hosts",
    (OriginRefused.code, OriginRefused.http): "server.allowed_origins",
}
_TRUE = Raw(b"true")
_NO = Raw(b'"no"')
_CLAIM = "nexus/executed"


class Ruling(Struct, frozen=True):
    """Whether a request was let through, and by which rule or limit."""

    decision: Decision = ""
    rule: str = ""
    limit: Mapping[str, str | int] | None = None


class _Limit(Struct, omit_defaults=True):
    scope: str = ""
    limit: int = 0
    interval_ms: int = 0
    retry_after_ms: int = 0


_limit: Decoder[_Limit] = decoder(_Limit)


def ruled(policy: Policy, principal: Principal, server: str, tool: str = "") -> Ruling:
    """What the rules say before anything is done."""
    decided = policy.decide(principal, server, tool)
    allowed = decided.allowed and not decided.missing
    return Ruling("allowed" if allowed else "denied", decided.rule)


def amended(ruling: Ruling, failure: Failure) -> Ruling:
    """The ruling once more is known: a limit refuses what rules allow."""
    if failure.verbatim:
        return ruling
    if (failure.code, failure.http) in _GUARDS:
        return Ruling("denied", _GUARDS[failure.code, failure.http])
    if failure.code == ScopeRefused.code:
        return Ruling("denied", ruling.rule)
    if failure.code != RateLimited.code:
        return ruling
    try:
        limit = _limit.decode(failure.data)
    except UNREADABLE:
        return Ruling("denied", "rate limit")
    told: dict[str, str | int] = {
        "scope": limit.scope,
        "limit": limit.limit,
        "interval_ms": limit.interval_ms,
        "retry_after_ms": limit.retry_after_ms,
    }
    return Ruling("denied", f"rate limit {limit.scope}", told)


def reason(failure: Failure) -> str:
    """Why, in a sentence of ours; empty where only the server could say."""
    return "" if failure.verbatim else _REASONS.get(failure.code, "")


def failed(failure: Failure) -> Outcome:
    """The outcome of a request that ended in an error."""
    if failure.verbatim:
        return Outcome("ok", failure.code, "none", failure.executed)
    if failure.executed == "no":
        return Outcome("none", failure.code, "none", "no")
    return Outcome("failed", failure.code, "none", failure.executed)


def aborted(executed: Executed, tool: ToolSaid = "none") -> Outcome:
    """The outcome of a request whose client did not wait."""
    return Outcome("aborted", 0, tool, executed)


def answered(result: Raw) -> Outcome:
    """The outcome of a call with a result: whether its tool failed, or was proven not to have run."""
    try:
        parts = members(result)
        said: ToolSaid = "error" if parts.get("isError") == _TRUE else "ok"
        if said == "error" and "_meta" in parts and members(parts["_meta"]).get(_CLAIM) == _NO:
            return Outcome("ok", 0, said, "no")
    except UNREADABLE:
        return Outcome("ok", 0, "none", "yes")
    return Outcome("ok", 0, said, "yes")
