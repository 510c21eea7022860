"""Which IP addresses belong to the public Internet, and which to a network of somebody's own.

A table of our own (IANA special-purpose registries of IPv4 and IPv6): `ipaddress.is_global` differs between
releases of Python, and takes NAT64 and 6to4 spellings of private addresses for public ones.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            # Public by its number, yet the metadata service of a cloud.
            "168.63.129.16/32",
        ),
    )
)
_UNICAST = IPv6Network("2000::/3")
_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_EMBEDDING = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))
"""Mapped and translated (NAT64) IPv4 addresses: the last 32 bits are where it goes."""


def is_public(text: str) -> bool:
    """Whether this is the address of a host on the public Internet; False for text that is no address."""
    address = parse(text)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _V4)
    if address is None:
        return False
    return address in _UNICAST and not any(address in network for network in _V6)


def is_loopback(text: str) -> bool:
    """Whether this is an address of the machine itself."""
    address = parse(text)
    return address is not None and address.is_loopback


def parse(text: str) -> Address | None:
    """The address that packets for `text` go to: an embedded IPv4 address is taken out. No zone is kept."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
