"""One server's own list of tools, without those that its rules keep from the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw

from libs.common.codec import UNREADABLE, members, raw
from libs.common.errors import ResultInvalid
from libs.common.identity import Principal
from libs.common.messages.catalog import Listing
from libs.common.policy import Policy


class _Named(msgspec.Struct):
    name: str


_tools = msgspec.json.Decoder(list[Raw]).decode
_named = msgspec.json.Decoder(_Named).decode


class Listed:
    """The names of the tools of servers, read once per version of a listing."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Listing, frozenset[str]]] = {}

    def has(self, listing: Listing | None, tool: str) -> bool:
        """Whether a server lists a tool of this name."""
        if listing is None:
            return False
        known = self._known.get(listing.server)
        if known is None or known[0] is not listing:
            known = self._known[listing.server] = listing, frozenset(names(listing.tools))
        return tool in known[1]


def permitted(result: Raw, server: str, principal: Principal, policy: Policy) -> Raw:
    """The result of `tools/list` as `principal` may see it. Raises `ResultInvalid` for what is no list."""
    if not policy.ruled(server):
        return result
    try:
        parts = members(result)
        tools = _tools(parts.get("tools", Raw(b"[]")))
        kept = [tool for tool in tools if policy.allows(principal, server, _named(tool).name)]
    except UNREADABLE:
        raise ResultInvalid("the server's result is not a list of tools as MCP requires") from None
    return raw({**parts, "tools": kept})


def names(tools: Iterable[Raw]) -> Iterator[str]:
    """Of the definitions that have one."""
    for tool in tools:
        try:
            yield _named(tool).name
        except UNREADABLE:
            continue
