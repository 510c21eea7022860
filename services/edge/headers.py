"""Request headers as one unambiguous mapping."""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.errors import HeaderMismatch, InvalidRequest

Headers = dict[str, str]
"""Lower-case names to values without outer white space."""
RawHeaders = Iterable[tuple[bytes, bytes]]

_ONCE = frozenset({"authorization", "content-length", "content-type", "host", "origin", "transfer-encoding"})
_ROUTING = ("mcp-method", "mcp-name", "mcp-param-", "mcp-protocol-version")


def read_headers(raw: RawHeaders) -> Headers:
    """The headers of an ASGI scope, whose names are lower-case already.

    Lists are joined. Raises `InvalidRequest` or `HeaderMismatch` for what two readers could understand
    differently: a repeated singleton, an underscore in a name (CGI turns `-` into it), two framings.
    """
    headers: Headers = {}
    for key, value in raw:
        name = key.decode("latin-1")
        # httptools leaves white space at the end of a value, RFC 9110 §5.5 says it is no part of it.
        text = value.decode("latin-1").strip(" \t")
        if name in headers:
            text = _joined(name, headers[name], text)
        elif "_" in name:
            raise InvalidRequest(f"header names may not contain underscores: {name[:64]!r}")
        headers[name] = text
    if "transfer-encoding" in headers and "content-length" in headers:
        raise InvalidRequest("a request has either Content-Length or Transfer-Encoding, not both")
    return headers


def _joined(name: str, first: str, second: str) -> str:
    if name.startswith(_ROUTING):
        raise HeaderMismatch(f"the header {name[:64]!r} appears more than once")
    if name in _ONCE or name.startswith("mcp-"):
        raise InvalidRequest(f"the header {name[:64]!r} appears more than once")
    return f"{first}, {second}"
