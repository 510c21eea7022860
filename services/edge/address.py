"""The address of the client, which proxies in front of the gateway tell by headers."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from services.edge.headers import Headers

TEXT_MAX = 128
"""Characters of an address and what may stand around it; longer texts are none, and are not remembered."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which headers are believed, and from whom: with `networks`, from connections out of these only."""

    networks: tuple[Network, ...] = ()
    real_ip: bool = False
    hops: int | None = None
    """Entries of `X-Forwarded-For` to skip from the right; None ignores the header."""

    def client(self, peer: str, headers: Headers) -> str:
        """The client's address; what is no address in a header is passed over for the next way to know it."""
        if (self.real_ip or self.hops is not None) and (not self.networks or self.trusts(peer)):
            told = self._told(headers)
            if told is not None:
                return told
        return _address(peer) or ""

    def trusts(self, peer: str) -> bool:
        """Whether a connection comes from a configured proxy."""
        return bool(self.networks) and _within(peer, self.networks)

    def _told(self, headers: Headers) -> str | None:
        if self.real_ip and (real := _address(headers.get("x-real-ip", ""))):
            return real
        if self.hops is None:
            return None
        entries = headers.get("x-forwarded-for", "").split(",")
        return _address(entries[-1 - self.hops]) if len(entries) > self.hops else None


NOBODY = Proxies()
"""No header is believed."""


def _address(text: str) -> str | None:
    """The one way to write an address; an IPv4 address in IPv6 form is the IPv4 address."""
    return _written(text) if len(text) <= TEXT_MAX else None


@lru_cache(maxsize=4096)
def _written(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@lru_cache(maxsize=4096)
def _within(text: str, networks: tuple[Network, ...]) -> bool:
    known = _address(text)
    if known is None:
        return False
    address = ipaddress.ip_address(known)
    return any(address.version == network.version and address in network for network in networks)
