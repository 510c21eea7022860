"""Request bodies: bounded before they are read, checked before they are parsed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from msgspec import DecodeError

from libs.common.codec import decode
from libs.common.errors import (
    BodyTooLarge,
    BodyTooSlow,
    InvalidRequest,
    NotAcceptable,
    ParseFailed,
    UnsupportedMediaType,
)
from services.edge.headers import Headers

LINGER = 2.0
LINGER_MAX = 16 * 1024 * 1024
DEPTH_MAX = 64
CONTAINERS_MAX = 100_000
"""Arrays and objects of one body: about 20 ms of parsing, during which nobody else is served."""
COMMAS_MAX = 500_000
QUOTES_MAX = 1_000_000
_EVENTS = frozenset({"*/*", "text/*", "text/event-stream"})
RANGES_MAX = 1024
"""Characters of an `Accept` or `Content-Type` header: verdicts on them are remembered."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


class ClientGone(Exception):
    """The client closed its connection; there is nobody to answer."""


@lru_cache(maxsize=256)
def check_type(content_type: str | None, encoding: str | None) -> None:
    """Only `application/json` in UTF-8 and uncompressed; raises `UnsupportedMediaType`.

    A compressed body could be a thousand times its size, and a form type could come from any web page.
    """
    media, _, parameters = (content_type or "").partition(";")
    if media.strip().lower() != "application/json" or len(parameters) > RANGES_MAX:
        raise UnsupportedMediaType("the Content-Type must be application/json")
    for parameter in parameters.lower().split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("the charset must be utf-8")
    if encoding is not None and encoding.lower() != "identity":
        raise UnsupportedMediaType("compressed bodies are not accepted: send no Content-Encoding")


@lru_cache(maxsize=256)
def check_accept(accept: str | None) -> None:
    """The client must take both forms of an answer; raises `NotAcceptable`. No header means anything goes."""
    ranges = _ranges(accept)
    if not (ranges & {"*/*", "application/*", "application/json"} and ranges & _EVENTS):
        raise NotAcceptable("the Accept header must list application/json and text/event-stream")


def check_events(accept: str | None) -> None:
    """The client must take an event stream; raises `NotAcceptable`."""
    if not _ranges(accept) & _EVENTS:
        raise NotAcceptable("the Accept header must list text/event-stream")


def _ranges(accept: str | None) -> set[str]:
    if accept is not None and len(accept) > RANGES_MAX:
        raise NotAcceptable(f"the Accept header may have at most {RANGES_MAX} characters")
    ranges = set()
    for part in ["*/*"] if accept is None else accept.lower().split(","):
        media, _, parameters = part.partition(";")
        if not re.search(r"q\s*=\s*0(\.0*)?\s*(;|\Z)", parameters):
            ranges.add(media.strip())
    return ranges


async def read_body(receive: Receive, headers: Headers, limit: int, timeout: float) -> bytes:
    """The whole body, at most `limit` bytes within `timeout` seconds.

    Raises `BodyTooLarge` (at once, if the length is declared), `BodyTooSlow`, `ClientGone`.
    """
    declared = headers.get("content-length", "0")
    if not declared.isdecimal():
        raise InvalidRequest("the Content-Length header must be a decimal number")
    if len(declared) > len(str(limit)) + 1 or int(declared) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(timeout):
            return await _collect(receive, limit)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {timeout:g} s") from None


async def _collect(receive: Receive, limit: int) -> bytes:
    body = b""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        size += len(body)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join((*chunks, body)) if chunks else body
        chunks.append(body)


async def discard(receive: Receive) -> None:
    """Read on after a refusal, for 2 s or 16 MiB.

    Closing over unread bytes resets the connection, and the client may lose the answer (RFC 9112 §9.6).
    """
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while size < LINGER_MAX:
                message = await receive()
                if not message.get("more_body", False):
                    return
                size += len(message.get("body", b""))


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body may have at most {limit} bytes (server.max_body_size)")


def parse_body(body: bytes) -> Any:
    """The JSON value of a body: strict UTF-8, no NaN, no lone surrogates, integers of any size kept.

    Raises `ParseFailed`, or `InvalidRequest` for a value too deep or too rich to be parsed in bounded time.
    """
    openings = body.count(b"[") + body.count(b"{")
    if openings > DEPTH_MAX or len(body) > COMMAS_MAX:
        _check_shape(body)
    try:
        return decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseFailed(f"the body is not valid JSON: {error}"[:200]) from None


def _check_shape(body: bytes) -> None:
    """Look at the brackets outside strings, level by level, at the speed of `bytes.replace`."""
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > QUOTES_MAX:
        raise InvalidRequest(f"the body has more than {QUOTES_MAX // 2} strings")
    bare = b"".join(unescaped.split(b'"')[::2])
    brackets = bare.translate(_BRACKETS, _OTHERS)
    if brackets.count(b"[") > CONTAINERS_MAX or bare.count(b",") > COMMAS_MAX:
        raise InvalidRequest(f"the body has more than {CONTAINERS_MAX} containers or {COMMAS_MAX} commas")
    for _ in range(DEPTH_MAX):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise InvalidRequest(
            f"the body is nested deeper than {DEPTH_MAX} levels, or its brackets do not match"
        )
