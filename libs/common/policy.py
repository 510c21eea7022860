"""Who may see and call what: one pure function for every surface.

Denied looks exactly like unknown: a refusal carries no reason to the caller. Only a missing scope is told, to
a caller who may otherwise: a token with it can be had.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from libs.common.identity import Principal

Kind = Literal["tool", "prompt", "resource"]
NAME_MAX = 256
"""Characters of a name whose decision is remembered: anybody may ask for any name."""


class Rule(Struct, frozen=True):
    """Whom one table of the configuration lets in. Without `allow` everybody, but for `deny`."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()
    lists: bool = True
    """Whether it says anything of groups; a rule of scopes alone leaves them to the server's."""


class Rules(Struct, frozen=True):
    """The rules of one server: its own, and those of single tools, by exact name or pattern."""

    server: Rule = Rule()
    tools: Mapping[str, Rule] = {}
    delegated: bool = False
    """Whether the server is for callers with a token of their own, because it gets that."""

    def of(self, tool: str) -> tuple[str, Rule] | None:
        """The rule for a tool and the name it stands under: the exact one, else the first that matches."""
        exact = self.tools.get(tool)
        if exact is not None:
            return tool, exact
        patterns = ((name, rule) for name, rule in self.tools.items() if "*" in name or "?" in name)
        return next(((name, rule) for name, rule in patterns if fnmatchcase(tool, name)), None)


class Step(Struct, frozen=True):
    """One rule that was asked, and what it said."""

    rule: str
    said: str
    allowed: bool = True


class Decision(Struct, frozen=True):
    """What policy says of one request, and the rules behind it (for the audit, not for the caller)."""

    allowed: bool
    rule: str = ""
    missing: tuple[str, ...] = ()
    """All scopes the operation needs, if the caller's token lacks one of them: allowed, but not yet."""
    steps: tuple[Step, ...] = ()


NONE = Step("no rule", "everybody may")


class Policy:
    """Decides by the rules of a configuration, for a caller's groups and scopes and nothing else of him."""

    def __init__(self, rules: Mapping[str, Rules] | None = None, *, closed: bool = False) -> None:
        self._closed = closed
        self._rules = {name: each for name, each in (rules or {}).items() if each != Rules()}
        self._delegated = any(each.delegated for each in self._rules.values())
        self._decide = lru_cache(maxsize=50_000)(self._judge)
        self.remembered = self._decide.cache_info

    @property
    def personal(self) -> bool:
        """Whether answers may differ between callers: by a rule, or because not everybody is let in."""
        return self._closed or bool(self._rules)

    def ground(self, principal: Principal) -> Hashable:
        """All of a caller that decisions rest on: who agrees in it may see the same."""
        if not self._rules:
            return None
        return principal.groups, principal.scopes, principal.credential if self._delegated else ""

    def ruled(self, server: str) -> bool:
        """Whether any rule is about this server or a tool of it."""
        return server in self._rules

    def decide(self, principal: Principal, server: str, name: str = "", kind: Kind = "tool") -> Decision:
        """Whether `principal` may see and use `server`, or a tool, prompt or resource of it."""
        rules = self._rules.get(server)
        if rules is None:
            return _ALLOWED
        if rules.delegated and not principal.credential:
            step = Step(f"mcp.servers.{server}.auth", _TOKENLESS, False)
            return Decision(False, step.rule, steps=(step,))
        tool = name if kind == "tool" else ""
        decide = self._decide if len(tool) <= NAME_MAX else self._judge
        return decide(principal.groups, principal.scopes, server, tool)

    def allows(self, principal: Principal, server: str, name: str = "", kind: Kind = "tool") -> bool:
        """Whether `principal` may see it; a scope may still be missing to use it."""
        return self.decide(principal, server, name, kind).allowed

    def unknown_tools(self, server: str, listed: Iterable[str]) -> list[str]:
        """Names in the rules of a server that match no tool it lists: probably misspelt."""
        known = list(listed)
        names = self._rules[server].tools if server in self._rules else {}
        return [name for name in names if not any(fnmatchcase(tool, name) for tool in known)]

    def _judge(self, groups: tuple[str, ...], scopes: tuple[str, ...], server: str, tool: str) -> Decision:
        rules = self._rules[server]
        place, own = f"mcp.servers.{server}", rules.of(tool) if tool else None
        listing, rule = place, rules.server
        needs = [(place, rules.server.scopes)]
        if own is not None:
            under = f"{place}.tools.{own[0]}"
            listing, rule = (under, own[1]) if own[1].lists else (place, rules.server)
            needs.append((under, own[1].scopes))
        steps = tuple(_lists(listing, rule, groups)) or (NONE,)
        refused = next((step for step in steps if not step.allowed), None)
        if refused is not None:
            return Decision(False, refused.rule, steps=steps)
        steps += tuple(_scopes(where, needed, scopes) for where, needed in needs if needed)
        lacking = next((step for step in steps if not step.allowed), steps[-1])
        needed = tuple(dict.fromkeys(scope for _, wanted in needs for scope in wanted))
        return Decision(True, lacking.rule, needed if set(needed) - set(scopes) else (), steps)


def _lists(place: str, rule: Rule, groups: tuple[str, ...]) -> Iterator[Step]:
    """What the lists of one table say; `deny` wins over `allow`."""
    if rule.allow is not None:
        fits = rule.allow.intersection(groups)
        who = ", ".join(sorted(rule.allow)) or "nobody"
        said = f"lets in {who}; the caller is in {', '.join(sorted(fits))}" if fits else f"lets in {who} only"
        yield Step(f"{place}.allow", said, bool(fits))
    if rule.deny:
        hits = rule.deny.intersection(groups)
        who = ", ".join(sorted(rule.deny))
        said = f"keeps out {who}" + (f"; the caller is in {', '.join(sorted(hits))}" if hits else "")
        yield Step(f"{place}.deny", said, not hits)


def _scopes(place: str, needed: tuple[str, ...], scopes: tuple[str, ...]) -> Step:
    lacking = [scope for scope in needed if scope not in scopes]
    said = f"needs {' '.join(needed)}" + (f"; the token lacks {' '.join(lacking)}" if lacking else "")
    return Step(f"{place}.required_scopes", said, not lacking)


_TOKENLESS = "needs a token of the caller, who has none"
_ALLOWED = Decision(True, NONE.rule, steps=(NONE,))
