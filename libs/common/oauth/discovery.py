"""From a server to whoever gives tokens for it: RFC 9728, then RFC 8414 or OpenID Connect Discovery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from libs.common.codec import UNREADABLE
from libs.common.oauth.tokens import GrantFailed
from libs.common.outbound import FetchFailed, Reply

Get = Callable[[str], Awaitable[Reply]]
"""Fetches a document; raises `FetchFailed`."""


class Resource(Struct, frozen=True):
    """What a protected resource says of itself (RFC 9728 §2)."""

    resource: str
    authorization_servers: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] | None = None


class Issuer(Struct, frozen=True):
    """What an authorization server says of itself (RFC 8414 §2)."""

    issuer: str
    token_endpoint: str
    token_endpoint_auth_methods_supported: tuple[str, ...] | None = None
    scopes_supported: tuple[str, ...] | None = None


_resource = msgspec.json.Decoder(Resource).decode
_issuer = msgspec.json.Decoder(Issuer).decode


async def resource(server: str, get: Get, named: str = "") -> Resource:
    """The metadata of the server at `server`; `named` is where a challenge of it said they are.

    Raises `GrantFailed` if there are none, or if they are those of another resource.
    """
    for url in (*([named] if named else []), *_places(server)):
        try:
            reply = await get(url)
            found = _resource(reply.body) if reply.status == 200 else None
        except UNREADABLE:
            found = None
        except FetchFailed as error:
            raise GrantFailed(f"its metadata cannot be read: {error}") from None
        if found is not None:
            return _of(server, found)
    raise GrantFailed("it does not say who gives tokens for it; set auth.issuer or auth.token_url")


async def issuer(name: str, get: Get) -> Issuer:
    """The metadata of the authorization server `name`. Raises `GrantFailed`."""
    for url in _documents(name):
        try:
            reply = await get(url)
            found = _issuer(reply.body) if reply.status == 200 else None
        except UNREADABLE:
            found = None
        except FetchFailed as error:
            raise GrantFailed(f"the metadata of its authorization server cannot be read: {error}") from None
        if found is not None:
            if not same(found.issuer, name):
                raise GrantFailed("the metadata of its authorization server are those of another one")
            return found
    raise GrantFailed("its authorization server publishes no metadata; set auth.token_url")


def same(one: str, other: str) -> bool:
    """Whether two issuers are one: text by text, but for the slash of an empty path (RFC 8414 §3.3)."""
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    return longer == f"{shorter}/" and _parts(shorter).path == ""


def canonical(server: str) -> str:
    """The URL of a server as the resource that tokens are for (RFC 8707 §2); what is no URL, as it is."""
    try:
        scheme, netloc, path, query, _ = urlsplit(server)
    except ValueError:
        return server
    return urlunsplit((scheme.lower(), netloc.lower(), "" if path == "/" else path, query, ""))


def _of(server: str, found: Resource) -> Resource:
    """`found`, if it is of `server`: the same origin, and a path that `server` lies under."""
    mine, theirs = _parts(canonical(server)), _parts(canonical(found.resource))
    under = f"{mine.path.rstrip('/')}/".startswith(f"{theirs.path.rstrip('/')}/")
    if mine[:2] != theirs[:2] or not under:
        raise GrantFailed("its metadata are those of another resource")
    if not found.authorization_servers:
        raise GrantFailed("its metadata name nobody who gives tokens; set auth.issuer or auth.token_url")
    return found


def _places(server: str) -> tuple[str, ...]:
    root, path = _root(server)
    known = f"{root}/.well-known/oauth-protected-resource"
    return (known + path, known) if path else (known,)


def _documents(name: str) -> tuple[str, ...]:
    root, path = _root(name)
    oauth, oidc = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    if not path:
        return root + oauth, root + oidc
    return root + oauth + path, root + oidc + path, root + path + oidc


def _root(url: str) -> tuple[str, str]:
    scheme, netloc, path, _, _ = _parts(url)
    return f"{scheme}://{netloc}", path.rstrip("/")


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise GrantFailed("its metadata name something that is no URL") from None
