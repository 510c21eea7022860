"""Whom a browser may be talking for: `Host` and `Origin` against DNS rebinding and foreign pages.

MCP requires the Origin check (Streamable HTTP, security warning); an IP address as `Host` cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from libs.common.errors import HostRefused, OriginRefused
from services.edge.browsers import Cors

_AUTHORITY = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?"
_HOST = re.compile(rf"{_AUTHORITY}\Z")
_ORIGIN = re.compile(rf"(https?)://{_AUTHORITY}\Z", re.IGNORECASE)
_PORTS = {"http": "80", "https": "443"}


@lru_cache(maxsize=1024)
def admit(
    host: str | None,
    origin: str | None,
    hosts: frozenset[str],
    origins: frozenset[str],
    cors: Cors | None = None,
) -> None:
    """Let a request pass, or raise `HostRefused` or `OriginRefused`.

    `hosts` are lower-case names, valid with any port; `origins` lower-case `scheme://host[:port]`. An origin
    that CORS lets read answers may call.
    """
    name, port = _checked_host(host, hosts)
    if origin is None:
        return
    match = _ORIGIN.match(origin)
    if match is None:
        raise OriginRefused("the Origin header must be one http(s) origin without a path")
    scheme, source, source_port = match[1].lower(), match[2].lower(), match[3]
    default = _PORTS[scheme]
    same = source == name and (source_port or default) == (port or default)
    if cors is not None and cors.admits(origin):
        return
    if same or origin.lower() in origins or (_is_loopback(source) and _is_loopback(name)):
        return
    raise OriginRefused("this Origin may not call; add it to server.allowed_origins to let its pages in")


def _checked_host(host: str | None, allowed: frozenset[str]) -> tuple[str, str | None]:
    match = _HOST.match(host or "")
    if match is None:
        raise HostRefused("the request needs one valid Host header")
    name = match[1].lower()
    if name != "localhost" and _address(name) is None and name not in allowed:
        raise HostRefused("this Host is not served; add it to server.allowed_hosts to serve it")
    return name, match[2]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.IPv6Address(name[1:-1]) if name.startswith("[") else ipaddress.IPv4Address(name)
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)
