"""An issuer's signing keys: fetched in the background, kept while the issuer is away (RFC 7517)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import InvalidKeyError, PyJWKError
from msgspec import Struct
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decoder
from libs.common.outbound import FetchFailed, fetch, host_of

log = structlog.get_logger("auth")

COOLDOWN = 10.0
"""Seconds between two fetches that unknown key ids ask for."""
UNKNOWN = 1.0
"""The same while no key was ever fetched: nobody's requests may wear out an issuer that has trouble."""
RETRY = 5.0
"""Seconds to the next attempt while no key was ever fetched."""
FETCH_TIMEOUT = 5.0
KEYS_MAX = 64
KID_MAX = 256
RSA_BITS = 2048
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

Fetch = Callable[[str], Awaitable[bytes]]
"""The bytes at a URL, bounded in size and time. Raises `FetchFailed`."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the only algorithms its kind can be used with."""

    kid: str | None
    algorithms: tuple[str, ...]
    public: Any


class _Document(Struct):
    keys: list[Any]


_document: Decoder[_Document] = decoder(_Document)


class KeySet:
    """The keys at one URL. `run` keeps them fresh; what was fetched stays good while the issuer is down."""

    def __init__(self, url: str, poll: float | None, fetch: Fetch) -> None:
        self._url = url
        self._poll = poll
        self._fetch = fetch
        self._keys: tuple[Key, ...] = ()
        self._fetching: asyncio.Task[None] | None = None
        self._asked = float("-inf")
        self.known = False
        """Whether a set was ever fetched."""

    async def run(self) -> None:
        """Fetch now and every poll interval; until it has worked once, every few seconds."""
        while True:
            await self.refresh()
            if self.known and self._poll is None:
                return
            await asyncio.sleep(self._poll if self.known and self._poll is not None else RETRY)

    async def find(self, kid: str | None) -> tuple[Key, ...]:
        """The keys a token with this `kid` may be signed with; a new one is looked for, but not often."""
        found = self._matching(kid)
        if found or self._rests():
            return found
        if self._fetching is None:
            # One that is under way was not begun for this, and may be older than the new key.
            self._asked = time.monotonic()
        await self.refresh()
        return self._matching(kid)

    async def refresh(self) -> None:
        """Fetch once, however many ask for it at the same time; a failure keeps what there is."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._renew())
            self._fetching.add_done_callback(self._renewed)
        await asyncio.shield(self._fetching)

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _rests(self) -> bool:
        """Whether it is too early to ask again; before the first set, whoever comes waits with the others."""
        pause = COOLDOWN if self.known else UNKNOWN
        waits = not self.known and self._fetching is not None
        return not waits and time.monotonic() < self._asked + pause

    def _matching(self, kid: str | None) -> tuple[Key, ...]:
        return tuple(key for key in self._keys if kid is None or key.kid == kid)

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _renew(self) -> None:
        try:
            keys = read_keys(await self._fetch(self._url))
        except FetchFailed as error:
            log.warning("keys of an issuer cannot be fetched", url=self._url, reason=str(error))
        except UNREADABLE as error:
            log.warning("keys of an issuer cannot be read", url=self._url, reason=str(error)[:200])
        else:
            self._keys, self.known = keys, True


async def fetch_keys(url: str) -> bytes:
    """A key set, from where the operator said it is; its host may be one of a private network."""
    reply = await fetch(url, near=(host_of(url),), timeout=FETCH_TIMEOUT)
    if reply.status != 200:
        raise FetchFailed(f"{host_of(url)} answered {reply.status}")
    return reply.body


def read_keys(document: bytes) -> tuple[Key, ...]:
    """The keys of a JWK set that may verify signatures; one that cannot be used spoils no other."""
    entries = _document.decode(document).keys[:KEYS_MAX]
    keys = [_key(entry) for entry in entries if isinstance(entry, dict)]
    return tuple(key for key in keys if key is not None)


def _key(entry: dict[str, Any]) -> Key | None:
    kid, named = entry.get("kid"), entry.get("alg")
    if entry.get("use", "sig") != "sig" or not (kid is None or isinstance(kid, str)):
        return None
    try:
        public = PyJWK.from_dict({**entry, "alg": _guess(entry)}).key
    except (PyJWKError, InvalidKeyError, ValueError, TypeError, KeyError) as error:
        log.warning("a key of an issuer cannot be used", kid=str(kid)[:64], reason=str(error)[:100])
        return None
    algorithms = _algorithms(public)
    if named is not None:
        algorithms = tuple(each for each in algorithms if each == named)
    if not algorithms:
        log.warning("a key of an issuer is too weak or of an unknown kind", kid=str(kid)[:64])
        return None
    return Key(kid, algorithms, public)


def _guess(entry: dict[str, Any]) -> str:
    """Any algorithm of the key's type: it only says how the numbers are to be read."""
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    match entry.get("kty"):
        case "RSA":
            return "RS256"
        case "EC":
            return curves.get(entry.get("crv", ""), "ES256")
        case "OKP":
            return "EdDSA"
    raise ValueError("symmetric and unknown keys are not used")


def _algorithms(public: Any) -> tuple[str, ...]:
    if isinstance(public, RSAPublicKey):
        return _RSA if public.key_size >= RSA_BITS else ()
    if isinstance(public, EllipticCurvePublicKey):
        algorithm = _CURVES.get(public.curve.name)
        return (algorithm,) if algorithm else ()
    return ("EdDSA",) if isinstance(public, Ed25519PublicKey) else ()
