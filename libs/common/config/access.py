"""Whom a server and its tools are for: the tables, and the rules they come to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from libs.common.config.audit import Capture
from libs.common.config.report import Key, Mistake
from libs.common.config.table import Table
from libs.common.config.values import ScopeName
from libs.common.policy import Rule, Rules


class Access(Table):
    """Groups that may and may not, and scopes a token needs. An empty `allow` lets nobody in."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] | None = None
    required_scopes: tuple[ScopeName, ...] = ()

    def rule(self) -> Rule:
        """Lists are left to the server where scopes are all that is said."""
        lists = self.allow is not None or self.deny is not None or not self.required_scopes
        return Rule(self.allow, self.deny or frozenset(), self.required_scopes, lists)


class ToolAccess(Access):
    """Rules for single tools, and what of their calls the audit shows."""

    audit: Capture | None = None

    @property
    def rules(self) -> bool:
        """Whether it says who may; one that is about the audit alone does not."""
        return self.audit is None or self.model_fields_set != {"audit"}


def rules_of(server: Access, tools: dict[str, ToolAccess], *, delegated: bool = False) -> Rules:
    """What policy is to know of one server."""
    return Rules(server.rule(), {name: tool.rule() for name, tool in tools.items() if tool.rules}, delegated)


def check_access(document: dict[str, Any]) -> Iterator[Mistake]:
    """Groups that nobody can be in, because nothing says them or no such group exists."""
    named = list(_groups(document))
    if not named:
        return
    server = _table(document.get("server"))
    client = _table(server.get("client_identification"))
    sources = "api_keys" in server or (client.get("enabled") is True and "group_id" in client)
    if not sources:
        why = "names groups, but nobody is in any: set group_id in server.client_identification"
        yield Mistake(named[0][0], "", problem=why)
    known = _table(client.get("validation")).get("group_values")
    if isinstance(known, list) and known:
        for key, group in named:
            if group not in known:
                why = f"names the group {group!r}, which is not in server.client_identification.validation"
                yield Mistake(key, "", problem=why)


def _groups(document: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    for name, server in _table(_table(document.get("mcp")).get("servers")).items():
        key: Key = ("mcp", "servers", name)
        yield from _lists(key, _table(server))
        for tool, access in _table(_table(server).get("tools")).items():
            yield from _lists((*key, "tools", tool), _table(access))


def _lists(key: Key, table: dict[str, Any]) -> Iterator[tuple[Key, str]]:
    for word in ("allow", "deny"):
        groups = table.get(word)
        for group in groups if isinstance(groups, list) else ():
            if isinstance(group, str):
                yield (*key, word), group


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
