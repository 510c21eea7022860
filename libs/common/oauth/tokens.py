"""Asking for a token: the forms of each grant, how a client proves who it is, and what comes back."""

from __future__ import annotations

import base64
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal
from urllib.parse import quote

import jwt
import msgspec
from msgspec import Struct

from libs.common.codec import UNREADABLE
from libs.common.outbound import FetchFailed, Reply

Method = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
Form = dict[str, str]
Post = Callable[[str, Form, Mapping[str, str]], Awaitable[Reply]]
"""Posts a form to a URL, with headers; raises `FetchFailed`."""

ASSERTION_LIFE = 60
"""Seconds that a signed assertion is good for."""
MARGIN = 30.0
"""Seconds before its end that a token is replaced; a tenth of its life if that is less."""
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CODE = re.compile(r"[a-z_]{1,40}")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


class GrantFailed(Exception):
    """There is no token; the text says why, without secrets. `code` is the OAuth error, if that was it."""

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Client(Struct, frozen=True, omit_defaults=True):
    """Who asks, and how it proves that. `key` is a private key, PEM."""

    id: str
    secret: str = ""
    method: Method = "client_secret_basic"
    key: str = ""


class Token(Struct, frozen=True, omit_defaults=True):
    """What was granted. `renew_at`: seconds since the epoch, a little before its end; 0: unknown."""

    access: str
    renew_at: float = 0.0
    refresh: str = ""
    scope: str = ""

    def fresh(self, now: float) -> bool:
        """Whether it may be used at `now`, as far as is known."""
        return not self.renew_at or now < self.renew_at


class _Granted(Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    expires_in: float | None = None
    refresh_token: str = ""
    scope: str = ""


class _Refused(Struct):
    error: str = ""


_granted = msgspec.json.Decoder(_Granted, strict=False).decode
_refused = msgspec.json.Decoder(_Refused).decode


def credentials(scopes: str, resource: str) -> Form:
    """The form of `client_credentials` (RFC 6749 §4.4, RFC 8707 §2.2)."""
    return _filled({"grant_type": "client_credentials", "scope": scopes, "resource": resource})


def renewal(refresh: str, resource: str) -> Form:
    """The form of `refresh_token` (RFC 6749 §6)."""
    return _filled({"grant_type": "refresh_token", "refresh_token": refresh, "resource": resource})


def exchange(subject_token: str, scopes: str, resource: str, audience: str = "") -> Form:
    """The form that turns a caller's token into one for another resource (RFC 8693 §2.1)."""
    return _filled(
        {
            "grant_type": EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": ACCESS_TOKEN,
            "requested_token_type": ACCESS_TOKEN,
            "scope": scopes,
            "resource": resource,
            "audience": audience,
        }
    )


async def ask(endpoint: str, client: Client, form: Form, post: Post, audience: str = "") -> Token:
    """The token that `endpoint` gives for a form. `audience` is of assertions: the issuer, if it is known.

    Raises `GrantFailed`.
    """
    extra, headers = proof(client, audience or endpoint)
    try:
        reply = await post(endpoint, {**form, **extra}, headers)
    except FetchFailed as error:
        raise GrantFailed(f"the token endpoint cannot be asked: {error}") from None
    return read(reply, now=time.time())


def proof(client: Client, audience: str) -> tuple[Form, dict[str, str]]:
    """What says who the client is: members of the form, and headers (RFC 6749 §2.3, RFC 7523)."""
    match client.method:
        case "client_secret_basic":
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
            return {}, {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        case "client_secret_post":
            return {"client_id": client.id, "client_secret": client.secret}, {}
        case "private_key_jwt":
            signed = {"client_assertion_type": _ASSERTION, "client_assertion": _assertion(client, audience)}
            return {"client_id": client.id, **signed}, {}
        case "none":
            return {"client_id": client.id}, {}


def read(reply: Reply, *, now: float) -> Token:
    """The token in an answer. Raises `GrantFailed`: refused, no bearer token, or no answer at all."""
    if reply.status not in (200, 201):
        raise _refusal(reply)
    try:
        granted = _granted(reply.body)
    except UNREADABLE:
        raise GrantFailed("the token endpoint answered with no token") from None
    if granted.token_type.lower() != "bearer" or not _VISIBLE.fullmatch(granted.access_token):
        raise GrantFailed("the token endpoint gave a token of a kind that cannot be sent")
    return Token(
        granted.access_token, renewal_time(now, granted.expires_in), granted.refresh_token, granted.scope
    )


def renewal_time(now: float, lives: float | None) -> float:
    """When a token that lives this many seconds from `now` is to be replaced; 0 if that is not known."""
    if lives is None or not math.isfinite(lives) or lives <= 0:
        return 0.0
    return now + lives - min(MARGIN, lives / 10)


def _refusal(reply: Reply) -> GrantFailed:
    try:
        said = _refused(reply.body).error
    except UNREADABLE:
        said = ""
    code = said if _CODE.fullmatch(said) else ""
    return GrantFailed(f"the token endpoint refused: {code or f'HTTP {reply.status}'}", code)


def _assertion(client: Client, audience: str) -> str:
    now = int(time.time())
    claims = {"iss": client.id, "sub": client.id, "aud": audience, "jti": secrets.token_urlsafe(16)}
    try:
        return jwt.encode(
            {**claims, "iat": now, "exp": now + ASSERTION_LIFE}, client.key, _algorithm(client.key)
        )
    except (ValueError, TypeError, jwt.PyJWTError):
        raise GrantFailed("auth.private_key cannot sign: it is no PEM of an RSA, EC or Ed25519 key") from None


def _algorithm(pem: str) -> str:
    """What a key of this kind signs with."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.encode(), password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "ES256", 384: "ES384", 521: "ES512"}.get(key.curve.key_size, "ES256")
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "RS256"


def _filled(form: Form) -> Form:
    return {name: value for name, value in form.items() if value}
