"""Who is calling: the one shape every way of authenticating ends in."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Literal

import msgspec

Tier = Literal["anonymous", "authenticated", "premium"]
"""How much a caller is trusted with: what limits may depend on."""


class Principal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified caller. `subject` is unique within `issuer`."""

    subject: str = "anonymous"
    issuer: str = ""
    groups: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    tier: Tier = "anonymous"
    client: str = ""
    """The client's id, where clients are identified."""
    address: str = ""
    """Where the request came from, where limits need it; no part of the identity."""
    credential: str = ""
    """The fingerprint of its token, where servers get tokens of callers; empty for a caller without one."""
    tenant: str = ""
    """Whom it works for, where several share the gateway: their audits are apart."""

    @property
    def key(self) -> str:
        """The identity that handles (sessions, cursors, tasks) are bound to.

        Where a proxy alone says who calls, nobody has a name but the client's. The same subject in two
        tenants is two callers.
        """
        if self.tier == "anonymous" and self.client:
            return f"|{self.subject}|{self.client}"
        if self.tenant:
            return f"{tenant_token(self.tenant)}@{self.issuer}|{self.subject}"
        return f"{self.issuer}|{self.subject}"


ANONYMOUS = Principal()


@lru_cache(maxsize=4096)
def tenant_token(tenant: str) -> str:
    """What stands for a tenant in subjects and keys: 16 of `a-z2-7`, from its SHA-256."""
    digest = hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest)[:16].decode().lower()
