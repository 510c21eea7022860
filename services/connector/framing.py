"""Cuts a byte stream into lines, and holds no more than the limit of one that is too long."""

from __future__ import annotations

from typing import NamedTuple

from services.connector.envelope import FRAGMENT


class Overlong(NamedTuple):
    """What is kept of a line over the limit: `FRAGMENT` bytes of each end."""

    head: bytes
    tail: bytes


class Lines:
    """Lines of at most `limit` bytes, without their newline, in the order they came."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._head = b""
        self._tail = b""

    def cut(self, data: bytes) -> list[bytes | Overlong]:
        """The lines that `data` ends; what follows the last newline is held for the next time."""
        *ended, rest = data.split(b"\n")
        lines = [self._end(part) for part in ended]
        self._grow(rest)
        return lines

    def _end(self, part: bytes) -> bytes | Overlong:
        if not self._held and not self._head and len(part) <= self._limit:
            return part
        self._grow(part)
        line = Overlong(self._head, self._tail) if self._head else bytes(self._held)
        self._held, self._head, self._tail = bytearray(), b"", b""
        return line

    def _grow(self, part: bytes) -> None:
        if self._head:
            self._tail = (self._tail + part[-FRAGMENT:])[-FRAGMENT:]
            return
        self._held += part
        if len(self._held) > self._limit:
            self._head, self._tail = bytes(self._held[:FRAGMENT]), bytes(self._held[-FRAGMENT:])
            self._held = bytearray()
