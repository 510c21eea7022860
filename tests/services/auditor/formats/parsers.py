"""Readers of CEF, RFC 5424 and octet counting, written from their specifications and from nothing of ours."""

from __future__ import annotations

import re
from typing import NamedTuple


class Cef(NamedTuple):
    """A line of CEF: its seven header fields, and its extension."""

    header: list[str]
    extension: dict[str, str]


def read_cef(line: str) -> Cef:
    """Character by character: an escape is a backslash and what follows it."""
    assert line.startswith("CEF:0|")
    assert "\n" not in line
    assert "\r" not in line
    fields: list[str] = []
    at = len("CEF:")
    while len(fields) < 7:
        field = ""
        while line[at] != "|":
            if line[at] == "\\":
                at += 1
                assert line[at] in "|\\"
            field += line[at]
            at += 1
        fields.append(field)
        at += 1
    return Cef(fields, _extension(line[at:]))


def _extension(text: str) -> dict[str, str]:
    """Keys begin where an equals sign that no backslash escapes follows a word."""
    values: dict[str, str] = {}
    key, value, at = "", "", 0
    while at < len(text):
        if text[at] == "\\":
            value += {"n": "\n", "r": "\r", "=": "=", "\\": "\\"}[text[at + 1]]
            at += 2
            continue
        if text[at] == "=":
            head, _, word = value.rpartition(" ")
            if key:
                values[key] = head
            assert re.fullmatch(r"[A-Za-z0-9]+", word), word
            assert word not in values
            key, value = word, ""
        else:
            value += text[at]
        at += 1
    values[key] = value
    return values


class Syslog(NamedTuple):
    """A message of RFC 5424."""

    facility: int
    severity: int
    time: str
    host: str
    app: str
    process: str
    name: str
    element: str
    parameters: dict[str, str]
    text: str


_HEADER = re.compile(r"<(\d{1,3})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) ")


def read_syslog(message: bytes) -> Syslog:
    """By the grammar of §6: the header, one element of structured data, the rest."""
    text = message.decode()
    head = _HEADER.match(text)
    assert head is not None, text[:200]
    priority = int(head[1])
    assert priority <= 191
    element, parameters, at = _structured(text, head.end())
    assert text[at] == " "
    time, host, app, process, name = head.groups()[1:]
    place = (priority // 8, priority % 8, time, host, app, process, name)
    return Syslog(*place, element, parameters, text[at + 1 :])


def _structured(text: str, at: int) -> tuple[str, dict[str, str], int]:
    assert text[at] == "["
    end = re.compile("[ \\]]").search(text, at)
    assert end is not None
    element, at = text[at + 1 : end.start()], end.start()
    parameters: dict[str, str] = {}
    while text[at] == " ":
        name = re.compile(r' ([^ ="\]]{1,32})="').match(text, at)
        assert name is not None
        at, value = name.end(), ""
        while text[at] != '"':
            assert text[at] != "]"
            if text[at] == "\\" and text[at + 1] in '"\\]':
                at += 1
            value += text[at]
            at += 1
        parameters[name[1]] = value
        at += 1
    assert text[at] == "]"
    return element, parameters, at + 1


class Frames:
    """Octet counting: MSG-LEN, a space, so many octets; bytes may come in any pieces."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        self.rest += data
        found = []
        while (space := self.rest.find(b" ")) > 0:
            assert re.fullmatch(rb"[1-9]\d*", self.rest[:space]), self.rest[:40]
            end = space + 1 + int(self.rest[:space])
            if len(self.rest) < end:
                break
            found.append(self.rest[space + 1 : end])
            self.rest = self.rest[end:]
        return found
