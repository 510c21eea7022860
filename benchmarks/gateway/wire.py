"""Just enough HTTP/1.1 and MCP to know that an answer is whole and right."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec


class WrongAnswer(Exception):
    """An answer that is not the one the request should have got; its figures would mean nothing."""


class Block(msgspec.Struct):
    """One content block of a tool's result."""

    text: str = ""


class Result(msgspec.Struct, rename="camel"):
    """What is checked of a result."""

    content: list[Block] = []
    is_error: bool = False


class Reply(msgspec.Struct):
    """What is checked of a JSON-RPC answer."""

    id: int | None = None
    result: Result | None = None
    error: msgspec.Raw = msgspec.Raw()


@dataclass(slots=True)
class Response:
    """One whole HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


_reply = msgspec.json.Decoder(Reply).decode


def reply(response: Response, number: int) -> Result:
    """The result of request `number`. Raises `WrongAnswer`."""
    if response.status != 200:
        raise WrongAnswer(f"HTTP {response.status}: {response.body[:300]!r}")
    body = response.body
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        body = _last_event(body)
    try:
        answer = _reply(body)
    except msgspec.DecodeError as error:
        raise WrongAnswer(f"{error}: {body[:300]!r}") from None
    if answer.id != number or answer.result is None or answer.result.is_error:
        raise WrongAnswer(f"to request {number}: {body[:300]!r}")
    return answer.result


def check_events(response: Response, wanted: int) -> None:
    """Raises `WrongAnswer` unless so many progress notifications came before the answer."""
    found = response.body.count(b'"notifications/progress"')
    if found != wanted:
        raise WrongAnswer(f"{found} progress notifications instead of {wanted}")


def head(url: str, headers: dict[str, str]) -> bytes:
    """The request line and headers of a POST, up to the length of its body."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path or '/'} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "content-length: "]).encode()


@dataclass(slots=True)
class Parser:
    """Cuts one connection's bytes into responses; one request is in flight at a time."""

    _held: bytes = b""
    _response: Response | None = field(default=None)

    def feed(self, data: bytes) -> Response | None:
        """The response that `data` completes, if it does."""
        self._held = self._held + data if self._held else data
        if self._response is None:
            before, found, rest = self._held.partition(b"\r\n\r\n")
            if not found:
                return None
            self._response, self._held = _headed(before), rest
        body = _body(self._response.headers, self._held)
        if body is None:
            return None
        response, self._response, self._held = self._response, None, b""
        response.body = body
        return response


def _headed(text: bytes) -> Response:
    first, *lines = text.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Response(int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs})


def _body(headers: dict[str, str], held: bytes) -> bytes | None:
    length = headers.get("content-length")
    if length is not None:
        return held if len(held) >= int(length) else None
    if headers.get("transfer-encoding") != "chunked":
        return b""
    return _unchunked(held) if held.endswith(b"0\r\n\r\n") else None


def _unchunked(held: bytes) -> bytes | None:
    parts: list[bytes] = []
    place = 0
    while True:
        end = held.find(b"\r\n", place)
        if end < 0:
            return None
        size = int(held[place:end].partition(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(held[end + 2 : end + 2 + size])
        place = end + 4 + size


def _last_event(body: bytes) -> bytes:
    events = body.replace(b"\r\n", b"\n").strip().split(b"\n\n")
    return b"\n".join(line[5:].strip() for line in events[-1].split(b"\n") if line.startswith(b"data:"))
