"""What changed of the definitions a server had listed before, as findings for the audit. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw

from libs.common.audit.events import Event
from libs.common.codec import UNREADABLE, decode
from libs.common.definition import definition_digest
from libs.common.messages.catalog import Listing

SINGLE_MAX = 100
"""Changed tools of one list that are told one by one; of the rest the number is."""
SEVERITIES = {"instructions": 4, "description": 4, "annotations": 4, "title": 4, "inputSchema": 3}
"""What a model reads or trusts is high; a schema is medium; anything else is low."""
OTHER = 2
ADDED = "added"


def findings(before: Listing | None, now: Listing) -> list[Event]:
    """One for each tool that is another than before, or new; none for a server's first list."""
    if before is None:
        return []
    found = [*_instructions(before, now), *_tools(before, now)]
    if len(found) <= SINGLE_MAX:
        return found
    rest = len(found) - SINGLE_MAX
    more = _finding(now.server, "", "", ["more"], severity=4, facts={"count": rest})
    return [*found[:SINGLE_MAX], more]


def _instructions(before: Listing, now: Listing) -> Iterator[Event]:
    if before.instructions != now.instructions:
        yield _finding(now.server, "", "", ["instructions"])


def _tools(before: Listing, now: Listing) -> Iterator[Event]:
    known = _named(before)
    for name, tool in _named(now).items():
        old = known.get(name)
        digest = "" if old == tool else definition_digest(tool)
        if old is None:
            yield _finding(now.server, name, digest, [ADDED], severity=OTHER)
        elif digest and (changed := _changed(old, tool)):
            yield _finding(now.server, name, digest, changed, facts={"before": definition_digest(old)})


def _finding(
    server: str,
    tool: str,
    digest: str,
    changed: list[str],
    *,
    severity: int = 0,
    facts: dict[str, object] | None = None,
) -> Event:
    told = f"of the tool {tool}" if tool else "of the server"
    return Event(
        code="tool.definition.changed",
        server=server,
        tool=tool,
        definition=digest,
        severity=severity or max(SEVERITIES.get(each, OTHER) for each in changed),
        message=f"{', '.join(changed[:5])} {told} changed" if changed != [ADDED] else "a tool was added",
        facts={"changed": changed, **(facts or {})},
    )


def _changed(old: Raw, new: Raw) -> list[str]:
    """The members that differ; their order, and that of what is in them, does not count."""
    before, now = _members(old), _members(new)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _named(listing: Listing) -> dict[str, Raw]:
    found: dict[str, Raw] = {}
    for tool in listing.tools:
        name = _members(tool).get("name")
        if isinstance(name, str):
            found.setdefault(name, tool)
    return found


def _members(tool: Raw) -> dict[str, Any]:
    try:
        value = decode(tool)
    except UNREADABLE:
        return {}
    return value if isinstance(value, dict) else {}
