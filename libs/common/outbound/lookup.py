"""Names to addresses: asked once, checked, and then the only ones that are connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

from aiohttp.abc import AbstractResolver, ResolveResult

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host name, as text; raises `OSError` if there are none."""


async def system(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Pinned(AbstractResolver):
    """Answers with addresses that were found before, whatever it is asked."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = tuple(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The pinned addresses, as aiohttp wants them."""
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=_family(address), proto=0, flags=_NUMERIC
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
