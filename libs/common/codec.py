"""JSON on the bus and on the wire: one encoder, typed decoders."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Whatever decoding untrusted bytes may raise: not JSON, not the type, not UTF-8, or nested too deeply."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def decoder(kind: type[T] | Any) -> msgspec.json.Decoder[T]:
    """A reusable decoder for one message type; unknown fields are ignored, so messages can grow."""
    return msgspec.json.Decoder(kind)


def raw(value: object) -> msgspec.Raw:
    """`value` encoded once, to be embedded as it is."""
    return msgspec.Raw(encode(value))


def members(value: msgspec.Raw | bytes) -> dict[str, msgspec.Raw]:
    """The top-level members of a JSON object, their values left as they came.

    Raises one of `UNREADABLE` (a `msgspec.ValidationError` if it is not an object).
    """
    return _members(value)
