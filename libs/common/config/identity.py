"""Who may come in: tokens of issuers, API keys, and what of them names a client and its groups."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt

from libs.common.config.table import Table
from libs.common.config.values import (
    ClaimPath,
    FilePath,
    Flag,
    HeaderName,
    HttpUrl,
    KeyHash,
    KeyName,
    ScopeName,
    Subject,
    Timeout,
    expected,
)
from libs.common.identity import Tier


class Issuer(Table):
    """One authorization server: its exact name, its keys, and the audience it writes into tokens."""

    issuer: str
    url: HttpUrl
    audience: tuple[str, ...] = ()


class ProtectedResource(Table):
    """What RFC 9728 metadata says of this gateway."""

    resource: HttpUrl
    authorization_servers: tuple[HttpUrl, ...]
    scopes_supported: tuple[ScopeName, ...] = ()


class OAuth(Table):
    """The gateway as an OAuth 2.1 resource server. Times in seconds."""

    url: HttpUrl
    poll_interval: Timeout | None = None
    expected_issuer: str | None = None
    expected_audience: str | None = None
    insecure_skip_audience: Flag = False
    max_token_lifetime: Timeout = 7 * 86400.0
    required_scopes: tuple[ScopeName, ...] = ()
    premium_claim: ClaimPath = "is_admin"
    tenant_claim: ClaimPath | None = None
    protected_resource: ProtectedResource
    issuers: tuple[Issuer, ...] = ()


class ApiKey(Table):
    """One key: its hash as `nexus keys create` prints it, and who comes with it."""

    hash: KeyHash
    subject: Subject
    groups: tuple[str, ...] = ()
    scopes: tuple[ScopeName, ...] = ()
    tier: Tier = "authenticated"
    tenant: Subject | None = None


class ApiKeys(Table):
    """Keys of machines: written here, or in a file that `nexus keys` edits and every edge watches."""

    file: FilePath | None = None
    keys: dict[KeyName, ApiKey] = Field(default_factory=dict)

    @property
    def enabled(self) -> bool:
        return self.file is not None or bool(self.keys)


class Claim(Table):
    """A value taken from a claim of the token; the path goes through nested objects by dots."""

    jwt_claim: ClaimPath


class FromHeader(Table):
    """A value taken from a request header that a trusted proxy sets."""

    http_header: HeaderName


def _source(value: Any) -> Any:
    if isinstance(value, Claim | FromHeader):
        return value
    names = set(value) if isinstance(value, dict) else set()
    if "jwt_claim" in names and names <= {"jwt_claim", "http_header"}:
        return Claim.model_validate({"jwt_claim": value["jwt_claim"]})
    if names == {"http_header"}:
        return FromHeader.model_validate(value)
    raise expected('{ jwt_claim = "sub" } or { http_header = "X-Client-Id" }')


Source = Annotated[Claim | FromHeader, BeforeValidator(_source)]


class Validation(Table):
    """Groups that exist; others are refused. Empty lets every group be."""

    group_values: frozenset[str] = frozenset()


class ClientIdentification(Table):
    """Where a client's id and groups come from."""

    enabled: Flag = False
    client_id: Source = Claim(jwt_claim="sub")
    group_id: Source | None = None
    validation: Validation = Validation()


def _hops(value: int) -> int:
    if not 0 <= value <= 16:
        raise expected("a number of proxies from 0 to 16")
    return value


class ClientIp(Table):
    """Which headers are believed about the client's address."""

    x_real_ip: Flag = False
    x_forwarded_for_trusted_hops: Annotated[StrictInt, AfterValidator(_hops)] | None = None
