"""Results and errors as JSON-RPC bytes and HTTP statuses, in one place."""

from __future__ import annotations

import secrets

import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decoder, encode, raw
from libs.common.errors import NULL, Failure, MethodNotAllowed, NexusError, ScopeRefused, WorkerLost
from services.edge.inbound import ERROR_CODE_HTTP_STATUS
from services.edge.streams import Header

log = structlog.get_logger("edge")

RETRY_AFTER = b"1"
"""Seconds: a lost bus or a full queue is usually over by then."""


class _Reply(Struct):
    id: Raw
    result: Raw
    jsonrpc: str = "2.0"


class _Error(Struct, omit_defaults=True):
    code: int
    message: str
    data: Raw = NULL


class _Refusal(Struct):
    id: Raw
    error: _Error
    jsonrpc: str = "2.0"


class _Scopes(Struct):
    scopes: tuple[str, ...] = ()


_scopes: Decoder[_Scopes] = decoder(_Scopes)


class _Notice(Struct):
    method: str
    params: Raw
    jsonrpc: str = "2.0"


class _Limit(Struct):
    """The `data` of a limit that refused."""

    limit: int
    retry_after_ms: int
    interval_ms: int = 0


_limit: Decoder[_Limit] = decoder(_Limit)


def result_bytes(request_id: Raw, result: Raw) -> bytes:
    """A JSON-RPC response."""
    return encode(_Reply(request_id, result))


def error_bytes(request_id: Raw, failure: Failure) -> bytes:
    """A JSON-RPC error response; `null` stands for an id nobody could read."""
    return encode(_Refusal(request_id, _Error(failure.code, failure.message, failure.data)))


def notice_bytes(method: str, params: Raw) -> bytes:
    """A JSON-RPC notification."""
    return encode(_Notice(method, params))


def transport_status(failure: Failure) -> int:
    """For a message that was refused before it was understood."""
    return failure.http


def modern_status(failure: Failure) -> int:
    """2026-07-28: malformed is 400 and unknown 404, also when a downstream server says so."""
    if failure.http != 200:
        return failure.http
    return ERROR_CODE_HTTP_STATUS.get(failure.code, 200)


def legacy_status(failure: Failure) -> int:
    """Up to 2025-11-25 an answered request is 200; a 404 would tell the client that its session is over."""
    return 200 if failure.code in ERROR_CODE_HTTP_STATUS else failure.http


def error_headers(error: NexusError) -> list[Header]:
    """What HTTP wants to be said beside the status."""
    headers: list[Header] = []
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.data["allow"]).encode()))
    failure = error.failure()
    if failure.http == 503:
        headers.append((b"retry-after", RETRY_AFTER))
    if failure.http == 429:
        headers += _limit_headers(_limit.decode(failure.data))
    return headers


def _limit_headers(limit: _Limit) -> list[Header]:
    """RFC 6585 §4 and the fields that draft-ietf-httpapi-ratelimit-headers began with; whole seconds."""
    wait = b"%d" % max(1, -(-limit.retry_after_ms // 1000))
    headers = [
        (b"retry-after", wait),
        (b"ratelimit-limit", b"%d" % limit.limit),
        (b"ratelimit-remaining", b"0"),
        (b"ratelimit-reset", wait),
    ]
    if limit.interval_ms:
        policy = b"%d;w=%d" % (limit.limit, -(-limit.interval_ms // 1000))
        headers.append((b"ratelimit-policy", policy))
    return headers


def failure_of(error: Exception) -> Failure:
    """What a client is told of whatever was raised."""
    return error.failure() if isinstance(error, NexusError) else incident(error)


def cut_short() -> Failure:
    """What becomes of a call that runs when the time to drain is over."""
    late = WorkerLost("the gateway stopped before the call was finished; whether it ran is unknown")
    return late.failure()


def missing_scopes(error: NexusError) -> tuple[str, ...]:
    """All scopes that a refused operation needs, if scopes are what it lacks."""
    if error.failure().code != ScopeRefused.code:
        return ()
    try:
        return _scopes.decode(error.failure().data).scopes
    except UNREADABLE:
        return ()


def incident(error: Exception) -> Failure:
    """An error nobody foresaw: all of it goes to the log, its number to the client."""
    number = secrets.token_hex(6)
    log.error("unexpected error", incident=number, exc_info=error)
    message = f"internal error; the gateway's log has more under {number}"
    return Failure(-32603, message, "unknown", 500, raw({"incident": number, "executed": "unknown"}))
