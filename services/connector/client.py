"""The HTTP client of the connector: one server, pooled connections, nothing followed, nothing unpacked."""

from __future__ import annotations

import asyncio
import io
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import metadata

import aiohttp
import structlog
from yarl import URL

from libs.common.config import HeaderRule, HttpServer
from libs.common.errors import DownstreamLost, NexusError, NotSent, ResultInvalid
from libs.common.oauth import challenge
from services.connector import tls
from services.connector.bearer import Bearer
from services.connector.headers import Headers, Laid
from services.connector.replies import too_large
from services.connector.session import LINE_MAX, NOTHING

CONNECT = 10.0
"""Seconds for a free place in the pool, name lookup, connect and TLS handshake together."""
IDLE = 4.0
"""Seconds a connection is kept unused: less than the 5 s after which common servers close it, so that a call
does not meet a connection that is just being closed."""
CONNECTIONS = 512
LINGER = 0.5
"""Seconds for a server to end a stream after its last event, so that the connection can be used again."""
LINGERING = 64
_INLINE = 256 * 1024
_URL = re.compile(r"(https?://)(?:[^/\s@]*@)?([^/\s?#]+)\S*")

_log = structlog.get_logger(__name__)

Response = aiohttp.ClientResponse

_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
"""Raised while there is no connection yet, and only then."""


class HttpClient:
    """Requests to one server, over a pool of connections of its own.

    Errors: `NotSent` if no connection came about, so that nothing left; `DownstreamLost` for whatever fails
    later. Their text is for clients; addresses and causes go to the log and to the error's notes.
    """

    def __init__(
        self,
        server: HttpServer,
        own: Headers,
        bearer: Bearer | None = None,
        rules: Sequence[HeaderRule] = (),
    ) -> None:
        self.name = server.name
        self.url = URL(server.url)
        self._laid = Laid({"accept-encoding": "identity", "user-agent": agent(), **own}, rules)
        self._tls = server.tls
        # A configured Authorization beats every token.
        self._bearer = None if "authorization" in self._laid.of(NOTHING) else bearer
        self._session: aiohttp.ClientSession | None = None
        self._lingering: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Read the certificates; nothing is sent yet. Raises `ServerUnavailable` if one cannot be used."""
        secure = self.url.scheme == "https"
        # Reading the CAs of the system takes 10 to 30 ms.
        context = await asyncio.to_thread(tls.context, self._tls) if secure else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS, keepalive_timeout=IDLE),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_connect=CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("content-type", "user-agent"),
            auto_decompress=False,
            trust_env=False,
        )

    @asynccontextmanager
    async def send(
        self,
        method: str,
        headers: Headers,
        body: bytes | None = None,
        url: URL | None = None,
        sent: Mapping[str, str] = NOTHING,
    ) -> AsyncIterator[Response]:
        """One request; its answer, to be read inside the block. Leaving the block early aborts the request.

        `headers` beat what rules set; `sent` is what those find of the client's own.
        """
        response = await self._request(method, {**self._laid.of(sent), **headers}, body, url or self.url)
        try:
            self._refuse_packed(response)
            yield response
        except (aiohttp.ClientError, OSError) as error:
            response.close()
            raise self._fault(error) from None
        except BaseException:
            response.close()
            raise
        self._leave(response)

    async def _request(self, method: str, headers: Headers, body: bytes | None, url: URL) -> Response:
        """The answer; of the second attempt, if the first was refused and there is another token by now."""
        if self._bearer is None:
            return await self._once(method, headers, body, url)
        token = await self._bearer.token()
        response = await self._once(method, _with(token, headers), body, url)
        if response.status not in (401, 403):
            return response
        try:
            said = challenge.parse(response.status, response.headers.get("www-authenticate", ""))
            again = await self._bearer.refused(token, said)
        except BaseException:
            response.close()
            raise
        if not again:
            return response
        response.close()
        return await self._once(method, _with(await self._bearer.token(), headers), body, url)

    async def _once(self, method: str, headers: Headers, body: bytes | None, url: URL) -> Response:
        if self._session is None:
            raise NotSent(f'server "{self.name}" is not connected')
        try:
            return await self._session.request(
                method,
                url,
                headers=headers,
                data=body if body is None or len(body) < _INLINE else io.BytesIO(body),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._fault(error) from None

    def explain(self, error: NexusError, cause: str) -> NexusError:
        """`error`, its cause logged and noted for operators: it may hold what clients must not see."""
        error.add_note(cause)
        _log.warning("downstream.failed", server=self.name, reason=error.message, cause=cause)
        return error

    async def close(self) -> None:
        """Close every connection; whatever still runs is aborted."""
        for task in self._lingering:
            task.cancel()
        await asyncio.gather(*self._lingering, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _refuse_packed(self, response: Response) -> None:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() not in ("identity", ""):
            raise ResultInvalid("the server compressed its answer although it was asked not to")

    def _leave(self, response: Response) -> None:
        if response.connection is None:
            return
        if len(self._lingering) >= LINGERING:
            response.close()
            return
        task = asyncio.ensure_future(_linger(response))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    def _fault(self, error: Exception) -> NexusError:
        """What a failure means for the request, in words that name no address."""
        kind = NotSent if isinstance(error, _UNSENT) else DownstreamLost
        return self.explain(
            kind(f'server "{self.name}" {_reason(error)}'), f"{type(error).__name__}: {error}"
        )


def _with(token: str, headers: Headers) -> Headers:
    return {**headers, "authorization": f"Bearer {token}"} if token else headers


def agent() -> str:
    """The user agent of every request."""
    try:
        return f"nexus/{metadata.version('nexus-gateway')}"
    except metadata.PackageNotFoundError:
        return "nexus/0"


async def whole(response: Response, limit: int = LINE_MAX) -> bytes:
    """The body. Raises `ResultTooLarge` as soon as it is known to be over `limit` bytes; keeps no more."""
    length = response.content_length
    if length is not None and length <= limit:
        return await response.read()
    parts: list[bytes] = []
    held = 0 if length is None else length
    async for chunk in response.content.iter_any():
        if length is None:
            held += len(chunk)
        if held > limit:
            break
        parts.append(chunk)
    if held > limit:
        raise too_large(limit)
    return b"".join(parts)


async def _linger(response: Response) -> None:
    """Read on to the end of a stream that said all it had to say; an endless one is cut off."""
    try:
        async with asyncio.timeout(LINGER):
            await response.content.readany()
            await response.content.readany()
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    finally:
        response.close()


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"has a certificate that is not accepted: {_verdict(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "failed the TLS handshake"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "has a host name that cannot be resolved"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"could not be connected to within {CONNECT:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, ConnectionRefusedError)
        return "refused the connection" if refused else "could not be connected to"
    if isinstance(error, ValueError):
        return "cannot be asked: its URL or a header of the request is not valid"
    if isinstance(error, aiohttp.ClientResponseError):
        return "did not answer in HTTP"
    return "closed the connection before it had answered"


def _verdict(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        hostname = error.verify_code in (62, 64)
        return "it is for another host name" if hostname else error.verify_message
    return "it cannot be verified"
