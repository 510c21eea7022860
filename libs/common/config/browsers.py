"""What pages in browsers may do: CORS and the header against forged requests."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from libs.common.config.table import Table
from libs.common.config.values import Duration, Flag, HeaderName, expected, is_header_name

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "PATCH", "TRACE")
_GLOB = re.compile(r"[?*\[\]{}!\\]")
_PATTERN = re.compile(r"https?://[A-Za-z0-9.*?:-]+\Z")
Any_ = Literal["*"]


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _origins(value: Any) -> Any:
    return value if value == "*" else tuple(_origin(each) for each in _several(value))


def _origin(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else ""
    url = urlsplit(text)
    if _GLOB.search(text):
        if _PATTERN.match(text):
            return text
    elif url.scheme in ("http", "https") and url.hostname:
        return f"{url.scheme}://{url.netloc}"
    raise expected('"*", or origins such as "https://app.example.com" or "https://*.example.com"')


def _methods(value: Any) -> Any:
    if value == "*":
        return value
    methods = tuple(_several(value))
    if not all(method in METHODS for method in methods):
        raise expected(f'"*", or methods in capitals: {", ".join(METHODS)}', *METHODS)
    return (*methods, *(("OPTIONS",) if "OPTIONS" not in methods else ()))


def _headers(value: Any) -> Any:
    if value == "*":
        return value
    names = tuple(_several(value))
    if not all(isinstance(name, str) and is_header_name(name) for name in names):
        raise expected('"*", or names of HTTP headers')
    return names


Names = Any_ | tuple[str, ...]


class Cors(Table):
    """Which pages of other origins may read answers. What is not set is not allowed."""

    allow_credentials: Flag = False
    allow_origins: Annotated[Names, BeforeValidator(_origins)] = ()
    allow_methods: Annotated[Names, BeforeValidator(_methods)] = ()
    allow_headers: Annotated[Names, BeforeValidator(_headers)] = ()
    expose_headers: Annotated[Names, BeforeValidator(_headers)] = ()
    max_age: Duration | None = None
    allow_private_network: Flag = False


class Csrf(Table):
    """A header that no form of a foreign page can send."""

    enabled: Flag = False
    header_name: HeaderName = "X-Nexus-CSRF-Protection"
