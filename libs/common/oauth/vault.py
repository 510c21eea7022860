"""What operators were granted, sealed in the bucket `nexus-credentials`: one value for each server."""

from __future__ import annotations

import asyncio
import time

import structlog
from msgspec import Raw, Struct, structs
from msgspec.json import Decoder

from libs.common import codec, subjects
from libs.common.bus import Bus
from libs.common.errors import NULL
from libs.common.kv import Bucket
from libs.common.oauth.challenge import Challenge
from libs.common.oauth.tokens import Client, Token
from libs.common.seal import Keyring, SealBroken
from libs.common.snapshot import Snapshot

SEALED_MAX = 256 * 1024
"""Characters of a sealed grant: some tokens are long."""
_KEPT = 10 * 365 * 86_400.0
"""Seconds; what is inside ends long before."""

log = structlog.get_logger("vault")


class Grant(Struct, frozen=True, omit_defaults=True):
    """All that is needed to go on using what an operator was granted."""

    client: Client
    token: Token
    endpoint: str
    """Of tokens."""
    issuer: str = ""
    resource: str = ""
    asked: str = ""
    """The scopes that the operator was last asked to grant."""
    registration: Raw = NULL
    """How the client is registered, for the next login."""
    challenge: Challenge | None = None
    """Why an operator has to log in again, if that is so."""
    busy_until: float = 0.0
    """Until then, one connector of the fleet is replacing the token; seconds since the epoch."""


class Sealed(Struct, frozen=True):
    """A value of the bucket."""

    grant: str


_sealed: Decoder[Sealed] = codec.decoder(Sealed)
_grant: Decoder[Grant] = codec.decoder(Grant)


class Vault:
    """Grants by server. Bound to the URL they were granted for: of another server they are unknown.

    `snapshot` is to be kept running by the owner; reading never waits.
    """

    def __init__(self, bus: Bus, keys: tuple[bytes, ...]) -> None:
        self._bucket = Bucket(bus, subjects.CREDENTIALS, owner=True)
        self._keys = Keyring(keys, SEALED_MAX)
        self._changed = asyncio.Event()
        self.snapshot: Snapshot[Sealed] = Snapshot(self._bucket, _sealed)
        self.snapshot.listen(self._told)

    def read(self, server: str, url: str) -> Grant | None:
        """What was granted for `server` at `url`; None if nothing was, or not with a key we have."""
        held = self.snapshot.values.get(server)
        if held is None:
            return None
        try:
            return _grant.decode(self._keys.open(held.grant, binding=_binding(server, url), now=time.time()))
        except (SealBroken, *codec.UNREADABLE):
            log.warning("grant cannot be opened: another key or URL", server=server)
            return None

    async def write(self, server: str, url: str, grant: Grant) -> None:
        """Store a new grant, whatever was there."""
        await self._bucket.put(server, self._seal(server, url, grant))

    async def replace(self, server: str, url: str, **fields: object) -> bool:
        """Change the grant that `read` last gave; False if somebody else was first."""
        grant = self.read(server, url)
        if grant is None:
            return False
        changed = self._seal(server, url, structs.replace(grant, **fields))
        revision = self.snapshot.revisions[server]
        swapped = await self._bucket.swap(server, changed, revision)
        return swapped is not None and await self._seen(server, swapped)

    async def change(self, seconds: float) -> None:
        """Return when any grant has changed, or after this time."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _seen(self, server: str, revision: int) -> bool:
        """Wait until our own change has come round, so that `read` gives it."""
        end = time.monotonic() + 5
        while self.snapshot.revisions.get(server, 0) < revision and time.monotonic() < end:
            await self.change(0.5)
        return self.snapshot.revisions.get(server, 0) >= revision

    def _seal(self, server: str, url: str, grant: Grant) -> bytes:
        sealed = self._keys.seal(
            codec.encode(grant), binding=_binding(server, url), expires=time.time() + _KEPT
        )
        return codec.encode(Sealed(sealed))

    def _told(self, server: str, value: Sealed | None) -> None:
        self._changed.set()


def _binding(server: str, url: str) -> tuple[str, str, str]:
    return "credential", server, url
