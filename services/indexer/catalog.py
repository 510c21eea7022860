"""What exists: tool definitions by exposed name, current with the catalog bucket."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import structlog
from msgspec import Raw, Struct

from libs.common import naming
from libs.common.codec import UNREADABLE, decode, raw
from libs.common.messages.catalog import Listing
from services.indexer.index import Document, Index, parameters

log = structlog.get_logger("catalog")


ANYTHING = {"type": "object"}
"""The schema of a tool that shows none."""


PERSONAL_MAX = 500
"""Lists for single callers that are kept beside those for everybody."""


def personal(server: str, digest: str) -> str:
    """The key of a list that only some callers see; no server has such a name."""
    return f"{server}#{digest}"


class Entry(Struct, frozen=True):
    """One tool as it is shown: the parts of its definition, raw."""

    server: str
    tool: str
    """What its server calls it."""
    title: str
    description: str
    input_schema: Raw
    output_schema: Raw
    annotations: Raw
    execution: Raw
    read_only: bool
    """Whether its server says that it changes nothing; nobody has checked that."""


class Catalog:
    """All tools of the configured servers, and the index over them."""

    def __init__(self, configured: frozenset[str], index: Index) -> None:
        self.index = index
        self.configured = configured
        self._personal: OrderedDict[str, None] = OrderedDict()
        self._entries: dict[str, dict[str, Entry]] = {}
        self._readers: dict[str, frozenset[str]] = {}

    def __len__(self) -> int:
        return len(self.index)

    @property
    def servers(self) -> int:
        """How many servers have listed anything, be it to one caller only."""
        return len({key.partition("#")[0] for key in self._entries})

    def update(self, key: str, listing: Listing | None) -> None:
        """Take one change of the catalog bucket."""
        if listing is None or listing.server != key or key not in self.configured:
            self._forget(key)
        else:
            self._enter(key, listing)

    def knows(self, digests: Mapping[str, str]) -> bool:
        """Whether all these lists are here, each of which is only for callers who name its digest."""
        keys = [personal(server, digest) for server, digest in digests.items()]
        for key in keys:
            if key in self._personal:
                self._personal.move_to_end(key)
        return all(key in self._personal for key in keys)

    def learn(self, listing: Listing) -> None:
        """Take a list that only callers who name its digest may see; the least used one makes room."""
        key = personal(listing.server, listing.digest)
        if listing.server in self.configured and key not in self._personal:
            self._personal[key] = None
            self._enter(key, listing)
            if len(self._personal) > PERSONAL_MAX:
                self._forget(self._personal.popitem(last=False)[0])

    def _forget(self, key: str) -> None:
        self._entries.pop(key, None)
        self._readers.pop(key, None)
        self.index.remove(key)

    def _enter(self, key: str, listing: Listing) -> None:
        tools = {tool["name"]: tool for tool in _named(listing.tools)}
        names, collided = naming.resolve((listing.server, name) for name in tools)
        if collided:
            log.warning("tool names collide and are not offered", server=listing.server, names=collided[:20])
        found = {name: tools[own] for name, (_, own) in names.items()}
        entries = {name: _entry(listing.server, tool) for name, tool in found.items()}
        self._entries[key] = entries
        self._readers[key] = frozenset(entry.tool for entry in entries.values() if entry.read_only)
        self.index.replace(key, [_document(name, key, tool) for name, tool in found.items()])

    def entry(self, key: str, name: str) -> Entry | None:
        """The tool of a list with this exposed name."""
        return self._entries.get(key, {}).get(name)

    def tools(self, key: str) -> Iterator[str]:
        """All tools of a list, by their server's own names."""
        return (entry.tool for entry in self._entries.get(key, {}).values())

    def reads(self, key: str, tool: str) -> bool:
        """Whether the server says that this tool of its own name only reads."""
        return tool in self._readers.get(key, ())


def _named(tools: Iterable[Raw]) -> Iterator[dict[str, Any]]:
    """The definitions that are objects with a name."""
    for each in tools:
        try:
            tool = decode(each)
        except UNREADABLE:
            continue
        if isinstance(tool, dict) and isinstance(tool.get("name"), str):
            yield tool


def _entry(server: str, tool: dict[str, Any]) -> Entry:
    schema, annotations = tool.get("inputSchema"), tool.get("annotations")
    return Entry(
        server=server,
        tool=tool["name"],
        title=_title(tool),
        description=_text(tool.get("description")),
        input_schema=raw(schema if isinstance(schema, dict) else ANYTHING),
        output_schema=raw(tool.get("outputSchema")),
        annotations=raw(annotations),
        execution=raw(tool.get("execution")),
        read_only=isinstance(annotations, dict) and annotations.get("readOnlyHint") is True,
    )


def _document(name: str, server: str, tool: dict[str, Any]) -> Document:
    return Document(
        name=name,
        server=server,
        tool=tool["name"],
        title=_title(tool),
        description=_text(tool.get("description")),
        parameters=parameters(tool.get("inputSchema")),
    )


def _title(tool: dict[str, Any]) -> str:
    annotations = tool.get("annotations")
    inner = annotations.get("title") if isinstance(annotations, dict) else None
    return _text(tool.get("title")) or _text(inner)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
