"""Tells who sends a request: the one way in, for tokens, API keys and nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from libs.common.apikeys import PREFIX
from libs.common.delegated import fingerprint
from libs.common.identity import ANONYMOUS, Principal
from services.edge.auth.apikeys import ApiKeys
from services.edge.auth.bearer import bearer_token
from services.edge.auth.cache import Verified
from services.edge.auth.claims import TEXT_MAX, Claims, claim_texts
from services.edge.auth.client import Identification
from services.edge.auth.refusal import AuthRefused, ScopeMissing, Unauthorized, challenge
from services.edge.auth.resource import Resources
from services.edge.auth.tokens import Token, Verifier
from services.edge.auth.wallet import Wallet
from services.edge.gateway import Visit
from services.edge.streams import Header
from services.edge.visitor import Visitor, visitor

NOTHING: Mapping[str, Any] = {}


class Oauth(Struct, frozen=True):
    """What a resource server needs: who verifies, for what, and which scopes everybody must have."""

    verifier: Verifier
    resources: Resources
    audience: frozenset[str]
    """Instead of the resource itself, if it is not empty."""
    skip_audience: bool
    required: tuple[str, ...]
    premium: str
    tenant: str | None = None


class Entry(Struct, frozen=True):
    """What is remembered of good credentials."""

    principal: Principal
    claims: Claims
    audiences: frozenset[str] = frozenset()
    expected: frozenset[str] = frozenset()
    key: bool = False
    expires: float = 0.0
    """Of a token, seconds since the epoch."""
    mark: str = ""
    """The audit's fingerprint of the token or key."""


class Authenticate:
    """`Identify`: with neither OAuth nor keys everybody is anonymous, else everybody needs credentials."""

    def __init__(
        self,
        oauth: Oauth | None,
        keys: ApiKeys | None,
        client: Identification | None,
        wallet: Wallet | None = None,
    ) -> None:
        self._oauth = oauth
        self._keys = keys
        self._client = client
        self._wallet = wallet
        self._required = () if oauth is None else oauth.required
        self._cache: Verified[Entry] = Verified()

    async def __call__(self, visit: Visit) -> Principal:
        """Raises `AuthRefused`, with the headers it should be told with."""
        try:
            return await self._identify(visit)
        except AuthRefused as refused:
            if refused.status in (401, 403):
                refused.headers = self.challenge(visit.route, (), refused.error if refused.sent else "")
            raise

    def challenge(self, route: str, scopes: tuple[str, ...], error: str) -> list[Header]:
        """For a request that needs `scopes` besides those that all need: clients ask for what stands here."""
        wanted = (*self._required, *(scope for scope in scopes if scope not in self._required))
        metadata = self._oauth.resources.metadata_url(route) if self._oauth is not None else None
        if error == "unauthorized":
            error = "invalid_token"
        return [challenge(metadata, wanted, error)]

    async def _identify(self, visit: Visit) -> Principal:
        entry = await self._entry(visit)
        if self._client is None:
            return entry.principal
        return self._client.identify(entry.principal, visit, entry.claims)

    def forget(self) -> None:
        """Credentials may have been revoked: verify everything anew."""
        self._cache.clear()

    async def _entry(self, visit: Visit) -> Entry:
        if self._oauth is None and self._keys is None:
            return _NOBODY
        header = visit.headers.get("authorization", "")
        entry = self._cache.get(header)
        who = visitor()
        if entry is None:
            entry = await self._verified(header, who)
        elif who is not None:
            who.token = entry.mark
        self._check(entry, visit.route)
        if self._wallet is not None and not entry.key:
            self._wallet.keep(entry.principal.credential, bearer_token(header), entry.expires)
        return entry

    async def _verified(self, header: str, who: Visitor | None) -> Entry:
        secret = bearer_token(header)
        mark = ""
        if who is not None:
            who.token = mark = who.book.fingerprint(secret)
        entry, until = self._key(secret) or await self._token(secret)
        entry = replace(entry, mark=mark)
        self._cache.put(header, entry, until)
        if who is not None:
            who.fresh = True
        return entry

    def _key(self, secret: str) -> tuple[Entry, float] | None:
        if self._keys is None or not secret.startswith(PREFIX):
            return None
        principal = self._keys.find(secret)
        if principal is None:
            raise Unauthorized("unauthorized")
        return Entry(principal, NOTHING, key=True), float("inf")

    async def _token(self, secret: str) -> tuple[Entry, float]:
        if self._oauth is None:
            raise Unauthorized("unauthorized")
        token = await self._oauth.verifier.verify(secret)
        credential = "" if self._wallet is None else fingerprint(secret)
        principal = _principal(token, self._oauth, credential)
        expires = token.expires
        return Entry(principal, token.claims, token.audiences, token.expected, expires=expires), expires

    def _check(self, entry: Entry, route: str) -> None:
        """The audience, which depends on the path (RFC 8707), and the scopes everybody needs."""
        oauth = self._oauth
        if entry.key or oauth is None:
            return
        wanted = entry.expected or oauth.audience or oauth.resources.audiences(route)
        if not oauth.skip_audience and not wanted & entry.audiences:
            raise Unauthorized("unauthorized")
        if not set(oauth.required) <= set(entry.principal.scopes):
            raise ScopeMissing(oauth.required)


_NOBODY = Entry(ANONYMOUS, NOTHING)


def _principal(token: Token, oauth: Oauth, credential: str) -> Principal:
    claims = token.claims
    return Principal(
        subject=claims["sub"],
        issuer=claims["iss"],
        scopes=_scopes(claims),
        tier="premium" if claim_texts(claims, oauth.premium) == ("true",) else "authenticated",
        credential=credential,
        tenant="" if oauth.tenant is None else _tenant(claims, oauth.tenant),
    )


def _tenant(claims: Claims, path: str) -> str:
    """None of a token that names several, or one of excessive length: nobody could tell whose it is."""
    named = claim_texts(claims, path)
    return named[0] if len(named) == 1 and len(named[0]) <= TEXT_MAX else ""


def _scopes(claims: Claims) -> tuple[str, ...]:
    """`scope` of RFC 8693 and RFC 9068, or `scp` as some issuers call it; text or array."""
    value = claims.get("scope", claims.get("scp", ""))
    words = value.split() if isinstance(value, str) else value
    return tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else ()
