"""The JSON-RPC envelope on the wire: what is read of a message, and how one is written.

Everything inside the envelope stays `Raw`. A missing member (`ABSENT`) and a null one (`NULL`) differ.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from libs.common import codec
from libs.common.errors import NULL, DownstreamError, NexusError, ResultInvalid
from services.connector.questions import Id
from services.connector.session import Params

FRAGMENT = 512
"""Bytes of each end of a discarded message that are enough to find its id."""
ABSENT = Raw(b"")
SUBSCRIPTION = b"io.modelcontextprotocol/subscriptionId"

_OPENING = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?(?:"id"\s*:\s*(\d{1,18})\s*,\s*)?'
    rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(?:result|error)"\s*:'
)
_CLOSING = re.compile(rb',\s*"id"\s*:\s*(\d{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')


class Envelope(Struct):
    """One message. Without `method` it is an answer; with it and without `id`, a notification."""

    id: Id | UnsetType = UNSET
    method: str | UnsetType = UNSET
    result: Raw = ABSENT
    error: Raw = ABSENT


class _Error(Struct):
    code: int
    message: str = ""
    data: Raw = NULL


class _Token(Struct, rename={"token": "progressToken"}):
    token: Id = None


class _Progress(Struct):
    params: _Token


class _Meta(Struct, frozen=True, rename={"subscription": "io.modelcontextprotocol/subscriptionId"}):
    subscription: Id = None


class _Tagged(Struct, frozen=True, rename={"meta": "_meta"}):
    meta: _Meta = _Meta()


class _Notice(Struct):
    params: _Tagged = _Tagged()


parse = msgspec.json.Decoder(Envelope).decode
_error = msgspec.json.Decoder(_Error).decode
_progress = msgspec.json.Decoder(_Progress).decode
_notice = msgspec.json.Decoder(_Notice).decode
_batch = msgspec.json.Decoder(list[Raw]).decode


def request(number: int, method: str, params: Params, *, progress: bool) -> bytes:
    """A request; with `progress` its number is also its progress token.

    A token the caller put there is taken out: it means nothing on this hop, and may be another call's.
    """
    if progress or "_meta" in params:
        params = {**params, "_meta": _marked(params.get("_meta", ABSENT), number if progress else None)}
    return codec.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: Params) -> bytes:
    """A notification."""
    return codec.encode({"jsonrpc": "2.0", "method": method, "params": params})


def outcome(envelope: Envelope, *, text: bool) -> Raw | NexusError:
    """The result of an answer, or the error it stands for. `text`: the whole message is valid UTF-8."""
    if not text:
        return ResultInvalid("the answer of the server is not UTF-8")
    if envelope.error != ABSENT and envelope.error != NULL:
        return _refusal(envelope.error)
    if envelope.result == ABSENT:
        return ResultInvalid("the answer of the server has neither a result nor an error")
    if memoryview(envelope.result)[0] != ord("{"):
        return ResultInvalid("the result of the server is not an object")
    return envelope.result


def split(message: bytes) -> list[Raw]:
    """The messages of a batch, as servers of 2025-03-26 may send; none if it is not one."""
    try:
        return _batch(message) if message.lstrip()[:1] == b"[" else []
    except (msgspec.DecodeError, RecursionError):
        return []


def token(message: bytes) -> Id:
    """The progress token of a progress notification, if it has one."""
    try:
        return _progress(message).params.token
    except codec.UNREADABLE:
        return None


def subscription(message: bytes) -> Id:
    """The id of the `subscriptions/listen` request a notification is sent for, if it is for one."""
    if SUBSCRIPTION not in message:
        return None
    try:
        return _notice(message).params.meta.subscription
    except codec.UNREADABLE:
        return None


def answered(head: bytes, tail: bytes) -> int | None:
    """The id an answer is for, told from the two ends of it; only where that is beyond doubt.

    The id counts only where it can be nothing but the envelope's own: among the first members of the message,
    or right before the brace that ends it. A request or a notification is never taken for an answer.
    """
    opening = _OPENING.match(head)
    if opening is None:
        return None
    found = opening if opening[1] else _CLOSING.search(tail)
    return int(found[1]) if found else None


def is_text(message: bytes) -> bool:
    """Whether it is UTF-8; msgspec does not check that inside of `Raw`."""
    if message.isascii():
        return True
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


def _marked(meta: Raw, number: int | None) -> Raw:
    try:
        members: dict[str, object] = dict(codec.members(meta)) if meta != ABSENT else {}
    except msgspec.DecodeError:
        members = {}
    members.pop("progressToken", None)
    if number is not None:
        members["progressToken"] = number
    return codec.raw(members)


def _refusal(error: Raw) -> NexusError:
    try:
        body = _error(error)
    except (msgspec.DecodeError, RecursionError):
        return ResultInvalid("the server answered with an error that is not JSON-RPC")
    return DownstreamError(body.code, body.message, body.data)
