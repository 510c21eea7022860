"""An audit event as formatters read it: values by their dotted OCSF path."""

from __future__ import annotations

from typing import Any

import msgspec

_DECODE = msgspec.json.Decoder(dict[str, Any])
_ACTIONS = {1: "allowed", 2: "denied", 3: "observed"}
_STATUS = {1: "success", 2: "failure"}


class Unreadable(ValueError):
    """The bytes are no JSON object; no format can carry them."""


class View:
    """One event, decoded. What is missing, or something else than expected, is empty rather than an error."""

    __slots__ = ("values",)

    def __init__(self, data: bytes) -> None:
        try:
            self.values = _DECODE.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unreadable("it is not a JSON object") from error

    @property
    def action(self) -> str:
        """What the gateway did: `allowed`, `denied` or `observed`."""
        return _ACTIONS.get(self.number("action_id") or 0, "")

    @property
    def status(self) -> str:
        """What became of it: `success`, `failure` or `unknown`."""
        return _STATUS.get(self.number("status_id") or 0, "unknown")

    def text(self, *paths: str) -> str:
        """The first of these that holds text or a number; empty if none does."""
        return next(filter(None, map(self._text, paths)), "")

    def number(self, path: str) -> int | None:
        """The value as a whole number; None where there is none."""
        value = self._at(path)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _text(self, path: str) -> str:
        value = self._at(path)
        if isinstance(value, str):
            return value
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""

    def _at(self, path: str) -> Any:
        value: Any = self.values
        for name in path.split("."):
            if isinstance(value, list):
                value = value[int(name)] if name.isdecimal() and int(name) < len(value) else None
            else:
                value = value.get(name) if isinstance(value, dict) else None
        return value
