"""How requests end, in the few words that a label may have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

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


def error_type(error: BaseException) -> str:
    """`error.type` of whatever ended a request."""
    if isinstance(error, NexusError):
        return failure_type(error.failure())
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal_error"


def failure_type(failure: Failure) -> str:
    """The same of an error on the wire: of its code, which in a server's own error is the server's."""
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
