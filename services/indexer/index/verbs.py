"""Verbs that tools use for one another: who asks to show wants what gets.

Measured on nine suites of real tools: a small bonus for the same class decides between siblings such as
`issue_list` and `issue_create`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

_CLASSES = (
    "get show fetch read retrieve view display describe lookup",
    "list enumerate browse",
    "search find query discover locate",
    "create add new insert make generate register",
    "update set edit modify change configure patch rename",
    "delete remove drop erase clear destroy",
    "send post publish notify reply",
    "run execute start launch invoke trigger",
    "stop cancel abort kill terminate end",
    "upload import push put",
    "download export pull save",
    "convert transform translate",
    "calculate compute count sum",
    "analyze analyse inspect check evaluate",
    "compare diff",
)
_CHANGES = frozenset(("create", "update", "delete", "send", "stop", "upload"))
_CLASS = {verb: line.split()[0] for line in _CLASSES for verb in line.split()}


def among(words: Iterable[str]) -> set[str]:
    """Those of the lower-case `words` that are verbs of a class."""
    return {word for word in words if word in _CLASS}


def classes(words: Iterable[str]) -> frozenset[str]:
    """The classes of the verbs among lower-case `words`."""
    return frozenset(_CLASS[word] for word in words if word in _CLASS)


def clash(asked: Collection[str], offered: Collection[str]) -> bool:
    """Whether classes of verbs ask only to look and what is offered only changes things."""
    return bool(asked and offered) and _CHANGES.isdisjoint(asked) and _CHANGES.issuperset(offered)
