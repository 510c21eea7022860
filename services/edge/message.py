"""One JSON-RPC message as a client may post it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Raw

from libs.common.codec import raw
from libs.common.errors import NULL, InvalidParams, InvalidRequest

INITIALIZE = "initialize"
BATCH_MAX = 50
"""Messages of one batch."""

Kind = Literal["request", "notification", "response"]


@dataclass(slots=True)
class Message:
    """A well-formed message. `id` is the JSON of the request's id, `null` if it has none."""

    kind: Kind
    method: str
    id: Raw
    params: dict[str, Any]
    body: dict[str, Any]


def known_id(body: Any) -> Raw:
    """The JSON of a message's id if it has a valid one, else `null`: what even a refusal is addressed to."""
    value = body.get("id") if isinstance(body, dict) else None
    return raw(value) if _is_id(value) else NULL


def read_message(body: Any) -> Message:
    """Raises `InvalidRequest` for what is not one JSON-RPC 2.0 message, `InvalidParams` for odd params."""
    if not isinstance(body, dict):
        what = "batches are" if isinstance(body, list) else "a bare value is"
        raise InvalidRequest(f"{what} not accepted: post one JSON-RPC message as an object")
    if body.get("jsonrpc") != "2.0":
        raise InvalidRequest('the member "jsonrpc" must be "2.0"')
    if "method" not in body:
        return _response(body)
    method = body["method"]
    if not isinstance(method, str):
        raise InvalidRequest('the member "method" must be a string')
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise InvalidParams('the member "params" must be an object')
    if "id" not in body:
        return Message("notification", method, NULL, params, body)
    if not _is_id(body["id"]):
        raise InvalidRequest('the member "id" must be a string or an integer')
    return Message("request", method, raw(body["id"]), params, body)


def _response(body: dict[str, Any]) -> Message:
    if ("result" in body) == ("error" in body) or not _is_id(body.get("id")):
        raise InvalidRequest('the member "method" is missing')
    return Message("response", "", raw(body["id"]), {}, body)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
