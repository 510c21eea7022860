"""What the answer to one POST stands for: a result, or an error with the right verdict."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw

from libs.common.errors import (
    DownstreamError,
    DownstreamLost,
    NexusError,
    Overloaded,
    Refused,
    ResultInvalid,
    ResultTooLarge,
)
from services.connector import envelope
from services.connector.envelope import Envelope
from services.connector.session import LINE_MAX

JSON = "application/json"
EVENTS = "text/event-stream"

_REFUSALS = {
    401: "refuses the credentials of the gateway",
    403: "forbids this to the gateway",
    404: "has nothing at the configured URL",
    405: "takes no POST at the configured URL",
    406: "cannot answer in JSON or events",
    415: "does not take JSON",
}
"""Answers that come before the message is looked at, so that nothing was executed."""


def mime(content_type: str | None) -> str:
    """The type without parameters, in lower case."""
    return (content_type or "").partition(";")[0].strip().lower()


def verdict(name: str, status: int) -> NexusError:
    """The error an HTTP status stands for when no JSON-RPC came with it; its `data` has the status."""
    if status in _REFUSALS:
        return Refused(f"{name} {_REFUSALS[status]} (HTTP {status})", status=status)
    if status == 429:
        return Overloaded(f"{name} takes no more calls for now (HTTP 429)", status=status)
    if status in (307, 308):
        return Refused(f"{name} {_moved(status)}", status=status)
    if 300 <= status < 400:
        return DownstreamLost(f"{name} {_moved(status)}", status=status)
    if status < 300:
        return ResultInvalid(f"{name} took the request without an answer (HTTP {status})")
    return DownstreamLost(f"{name} answered HTTP {status} and no JSON-RPC", status=status)


def refusal(body: bytes) -> DownstreamError | None:
    """The JSON-RPC error in the body of a failed request, whatever its id; None if there is none."""
    try:
        parsed = envelope.parse(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    error = envelope.outcome(parsed, text=envelope.is_text(body))
    return error if isinstance(error, DownstreamError) else None


def parse(name: str, message: bytes) -> Envelope:
    """One message of the server. Raises `ResultInvalid` if it is none."""
    try:
        return envelope.parse(message)
    except (msgspec.DecodeError, RecursionError):
        fault = "nothing" if not message else "something that is not JSON-RPC"
        raise ResultInvalid(f"{name} answered with {fault}") from None


def result(name: str, parsed: Envelope, message: bytes, number: int) -> Raw:
    """The result of an answer to request `number`. Raises what else it is."""
    told = envelope.outcome(parsed, text=envelope.is_text(message))
    # An error that found no id in the request has a null one (JSON-RPC 2.0 §5).
    orphan = isinstance(told, DownstreamError) and (parsed.id is None or parsed.id is UNSET)
    if parsed.id != number and not orphan:
        raise ResultInvalid(f"{name} answered another request than the one it was sent")
    if isinstance(told, NexusError):
        raise told
    return told


def too_large(limit: int = LINE_MAX) -> ResultTooLarge:
    """The error for an answer of more bytes than this."""
    return ResultTooLarge(f"the answer of the server is longer than {limit} bytes", limit=limit)


def _moved(status: int) -> str:
    return f"redirects to another URL, which is not followed (HTTP {status}); configure its final URL"
