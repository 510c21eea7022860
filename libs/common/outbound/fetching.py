"""One HTTP request to an address that somebody else may have named."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from libs.common.outbound import addresses, lookup
from libs.common.outbound.lookup import Lookup, Pinned

LIMIT = 64 * 1024
"""Bytes of an answer: metadata, key sets and tokens are smaller."""
TIMEOUT = 10.0
"""Seconds for everything: lookup, connect, TLS, request, answer."""


class FetchFailed(Exception):
    """There is no answer; the text names the host and the reason, and never a query, header or body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status; redirects are not followed. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def fetch(
    url: str,
    *,
    method: str = "GET",
    data: Mapping[str, str] | bytes | None = None,
    headers: Mapping[str, str] | None = None,
    limit: int = LIMIT,
    timeout: float = TIMEOUT,
    near: Collection[str] = (),
    tls: ssl.SSLContext | None = None,
    find: Lookup = lookup.system,
) -> Reply:
    """One request. `data` is a form, or bytes as they are; `limit` is of the answer's body, in bytes.

    https only, http on the loopback. The host is looked up once, and every address found must be public, or
    the host be one of `near`: hosts that the operator configured, which may be private ones. No proxies, no
    redirects, no compression, no cookies. Raises `FetchFailed`.
    """
    target = _parsed(url)
    try:
        async with asyncio.timeout(timeout):
            pinned = await _checked(target, near, find)
            # Reading the CAs of the system takes 10 to 30 ms.
            context = await asyncio.to_thread(_context) if tls is None else tls
            connector = aiohttp.TCPConnector(resolver=pinned, ssl=context, force_close=True)
            async with aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session:
                return await _asked(session, method, target, data, headers, limit)
    except TimeoutError:
        raise FetchFailed(f"{host_of(url)} did not answer within {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchFailed(f"{host_of(url)} {_reason(error)}") from None


def host_of(url: str) -> str:
    """The host of a URL, in lower case, without brackets; empty if there is none."""
    try:
        return (URL(url).host or "").lower()
    except ValueError:
        return ""


async def _asked(
    session: aiohttp.ClientSession,
    method: str,
    target: URL,
    data: Mapping[str, str] | bytes | None,
    headers: Mapping[str, str] | None,
    limit: int,
) -> Reply:
    sent = {"accept": "application/json", "accept-encoding": "identity", **(headers or {})}
    async with session.request(
        method, target, data=data, headers=sent, allow_redirects=False, max_redirects=0
    ) as response:
        body = await response.content.read(limit + 1)
        while len(body) <= limit and not response.content.at_eof():
            body += await response.content.read(limit + 1 - len(body))
        if len(body) > limit:
            raise FetchFailed(f"{target.host} answered with more than {limit} bytes")
        return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, body)


def _parsed(url: str) -> URL:
    try:
        target = URL(url)
    except ValueError:
        raise FetchFailed("the URL to ask is not valid") from None
    if target.scheme not in ("https", "http") or not target.host:
        raise FetchFailed("the URL to ask does not begin with https:// and a host")
    if target.user is not None or target.password is not None:
        raise FetchFailed(f"the URL to ask at {target.host} holds a user or a password")
    return target


async def _checked(target: URL, near: Collection[str], find: Lookup) -> Pinned:
    host = target.host or ""
    found = await find(host, target.port or 443)
    if target.scheme == "http" and not all(map(addresses.is_loopback, found)):
        raise FetchFailed(f"{host} is to be asked by http://, which only this machine itself may be")
    if host.lower() not in near and not all(map(addresses.is_public, found)):
        raise FetchFailed(f"{host} has an address that is not public; configure its URL if that is right")
    return Pinned(found)


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "has a certificate that is not accepted"
    if isinstance(error, aiohttp.ClientSSLError):
        return "failed the TLS handshake"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "could not be connected to"
    if isinstance(error, aiohttp.ClientError):
        return "closed the connection or did not answer in HTTP"
    return "cannot be found" if isinstance(error, OSError) else "cannot be asked: its URL is not valid"
