"""HTTP POST to one receiver: bounded in time, in answers, and in what is kept of either."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp

from services.auditor.sinks.sink import SinkDown

ANSWER_MAX = 64 * 1024
"""Bytes of an answer that are read."""


class Answer(NamedTuple):
    """What a receiver said. `wait`: seconds that it asks for, if it does."""

    status: int
    body: bytes
    wait: float | None


class Post:
    """Sends bodies over connections that are kept; no redirects, no cookies, no proxies."""

    def __init__(self, headers: Mapping[str, str], tls: ssl.SSLContext, timeout: float) -> None:
        self._headers = headers
        self._tls = tls
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One request. Raises `SinkDown` where there is no answer within the timeout."""
        try:
            async with self._opened().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                said = await answer.content.read(ANSWER_MAX)
                while len(said) < ANSWER_MAX and (more := await answer.content.read(ANSWER_MAX - len(said))):
                    said += more
                return Answer(answer.status, said, seconds(answer.headers.get("Retry-After", "")))
        except TimeoutError as error:
            raise SinkDown(f"no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise SinkDown(f"no answer: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                connector=aiohttp.TCPConnector(ssl=self._tls),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session


def seconds(text: str) -> float | None:
    """`Retry-After` in seconds, from either of its forms (RFC 9110 §10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None
