"""How requests end, in the few words that a label may have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import NamedTuple

from libs.common.errors import Failure, NexusError, RateLimited, Refused

_STANDARD = {
    -32700: "parse_error",
    -32600: "invalid_request",
    -32601: "method_not_found",
    -32602: "invalid_params",
    -32603: "internal_error",
    -32000: "rate_limit_exceeded",
}
SERVER_ERRORS = range(-32099, -32000)
"""What JSON-RPC 2.0 §5.1 leaves to implementations."""


_CLIENT = frozenset(
    {
        "parse_error",
        "invalid_request",
        "method_not_found",
        "invalid_params",
        "rate_limit_exceeded",
        "server_error",
        "refused",
        "server_unknown",
        "scope_refused",
    }
)
_SERVER = frozenset(
    {
        "server_unavailable",
        "not_sent",
        "downstream_lost",
        "deadline_exceeded",
        "downstream_failed",
        "result_too_large",
        "result_invalid",
    }
)
"""What is ours to say, and no fault of ours. `server_error` is where our codes for odd headers are, too."""


class Cause(NamedTuple):
    """Why a request failed: its `error.type`, and whose doing that is."""

    type: str = ""
    origin: str = ""
    """`client`, `server` or `gateway`."""


CANCELLED = Cause("cancelled", "client")


def cause(error: BaseException) -> Cause:
    """Why whatever ended a request did so."""
    if isinstance(error, NexusError):
        failure = error.failure()
        said = failure_type(failure)
        return Cause(said, "server" if failure.verbatim else _origin(said))
    return CANCELLED if isinstance(error, asyncio.CancelledError) else Cause("internal_error", "gateway")


def _origin(said: str) -> str:
    if said in _CLIENT:
        return "client"
    return "server" if said in _SERVER else "gateway"


def failure_type(failure: Failure) -> str:
    """`error.type` of an error on the wire, by its code, which in a server's own error is the server's."""
    if failure.code in _STANDARD:
        return _STANDARD[failure.code]
    if failure.code in SERVER_ERRORS:
        return "server_error"
    return "unknown" if failure.verbatim else _OURS.get(failure.code, "unknown")


def _kinds(kind: type[NexusError]) -> Iterator[tuple[int, str]]:
    for each in kind.__subclasses__():
        yield from _kinds(each)
    yield kind.code, re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


_OURS = {**dict(_kinds(NexusError)), Refused.code: "refused", RateLimited.code: "rate_limit_exceeded"}
