"""Audit events for people: which of them are wanted, and one line of a table for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from libs.common.audit.text import LONG, clean
from libs.common.errors import ConfigError

KEYS = {
    "code": "metadata.event_code",
    "class": "class_uid",
    "user": "actor.user.uid",
    "client": "actor.app_uid",
    "tenant": "metadata.tenant_uid",
    "call": "metadata.correlation_uid",
    "method": "api.operation",
    "server": "api.service.name",
    "tool": "resources.0.name",
    "status": "http_response.code",
    "failed": "status_code",
    "rule": "policy.uid",
    "executed": "unmapped.nexus.outcome.executed",
    "address": "src_endpoint.ip",
    "process": "metadata.log_provider",
}
"""Short names of members; any other is a dotted path."""
COLUMNS = (("time", 13), ("event", 25), ("user", 16), ("what", 34), ("status", 7), ("ms", 6), ("outcome", 0))


class Filter:
    """`key=pattern` each, and all of them have to fit; a pattern may have `*` and `?`."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._wanted: list[tuple[str, str]] = []
        for text in texts:
            name, equals, pattern = text.partition("=")
            if not equals or not name:
                raise ConfigError(f"{text!r} is no filter: write key=value, such as code=auth.refused")
            self._wanted.append((KEYS.get(name, name), pattern))

    def takes(self, line: bytes) -> bool:
        """Whether an event fits."""
        if not self._wanted:
            return True
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return all(fnmatchcase(found(event, path), pattern) for path, pattern in self._wanted)


def found(event: Any, path: str) -> str:
    """What stands at a dotted path, as text; empty if nothing does."""
    for part in path.split("."):
        if isinstance(event, dict):
            event = event.get(part)
        elif isinstance(event, list) and part.isdecimal() and int(part) < len(event):
            event = event[int(part)]
        else:
            return ""
    return "" if event is None else str(event)


def heading() -> str:
    return _line([name for name, _ in COLUMNS])


def row(line: bytes) -> str:
    """One event in columns; of what is none, that it is none. Nothing in it reaches the terminal but text."""
    try:
        event = json.loads(line)
        at = datetime.fromtimestamp(int(found(event, "time") or 0) / 1000).astimezone()
    except (ValueError, OverflowError, OSError, RecursionError):
        return f"{'':13}{len(line)} bytes that are no event"
    named = {name: found(event, path) for name, path in KEYS.items()}
    what = "/".join(filter(None, (named["server"], named["tool"]))) or named["method"]
    said = named["failed"] or {"1": "ok", "2": "failed"}.get(found(event, "status_id"), "")
    executed = f"executed {named['executed']}" if named["executed"] else ""
    outcome = ", ".join(filter(None, (said, executed, found(event, "message"))))
    user = named["user"] or found(event, "user.uid") or named["process"]
    duration = found(event, "duration")
    cells = [f"{at:%H:%M:%S.%f}"[:12], named["code"], user, what, named["status"], duration, outcome]
    return _line([clean(cell, LONG) for cell in cells])


def plain(line: bytes) -> str:
    """One event as it is, but for what a terminal may obey: that is spelt out, which is the same JSON."""
    text = line.decode(errors="replace")
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def _line(cells: Sequence[str]) -> str:
    widths = [width for _, width in COLUMNS]
    return " ".join(
        cell[: width - 1].ljust(width - 1) + ("…" if len(cell) > width - 1 else " ") if width else cell
        for cell, width in zip(cells, widths, strict=True)
    ).rstrip()
