"""Which addresses are one caller's."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

CACHED = 4096
_V6 = 64
"""Bits of an IPv6 address that tell one customer from another; the rest anybody may choose."""


@lru_cache(maxsize=CACHED)
def network(address: str) -> str:
    """The address that counts as one caller: of IPv6 the /64, IPv4 as it is, also where IPv6 maps it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _V6), strict=False))
