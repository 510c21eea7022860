"""Limits of how often and how much at once, and where calls are counted. Times in seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from libs.common.config.table import Table
from libs.common.config.values import Count, Duration, FilePath, Flag, Prefix, StorageUrl, Timeout


class Rate(Table):
    """At most `limit` calls in any `interval`."""

    limit: Count
    interval: Timeout


class PerUser(Table):
    """What each user may; a user in one of `groups` has the most generous of their rates instead."""

    limit: Count | None = None
    interval: Timeout | None = None
    groups: dict[str, Rate] = Field(default_factory=dict)


class GatewayPerUser(PerUser):
    """The same for all that a user does."""

    max_in_flight: Count | None = None
    """Requests of one user at the same time, in each edge."""


class Rates(Table):
    """Limits of a tool: of all its callers together, of each of them, and of each group together."""

    limit: Count | None = None
    interval: Timeout | None = None
    per_user: PerUser | None = None
    per_group: dict[str, Rate] = Field(default_factory=dict)


class ServerRates(Rates):
    """Limits of a server; its tools have their own beside them."""

    tools: dict[str, Rates] = Field(default_factory=dict)
    max_in_flight: Count | None = None
    """Calls that run on the server at the same time, in each connector."""


class Tiers(Table):
    """What each caller may by its tier: an address while it is anonymous, else a user."""

    anonymous: Rate | None = None
    authenticated: Rate | None = None
    premium: Rate | None = None


class Pool(Table):
    """Connections to the storage."""

    max_size: Count = 16
    min_idle: int = Field(default=0, ge=0, strict=True)
    timeout_create: Timeout = 5.0
    timeout_wait: Timeout = 5.0
    timeout_recycle: Duration = 300.0
    """A connection that was idle for longer is tried before it is used; 0 never tries."""


class StorageTls(Table):
    """How the storage's certificate is judged, and our own one for it. PEM files."""

    enabled: Flag
    insecure: Flag = False
    ca_cert_path: FilePath | None = None
    client_cert_path: FilePath | None = None
    client_key_path: FilePath | None = None


class Storage(Table):
    """Where calls are counted: in each router, or in a Redis or Valkey that all share."""

    type: Literal["memory", "redis"]
    url: StorageUrl | None = None
    key_prefix: Prefix = "nexus:rate_limit:"
    response_timeout: Timeout = 1.0
    connection_timeout: Timeout = 5.0
    call_timeout: Timeout = 0.25
    """How long a call waits for its limits; then `on_storage_error` decides."""
    pool: Pool = Pool()
    tls: StorageTls | None = None

    def secret(self) -> SecretStr:
        """The URL; the checks have made sure that there is one."""
        return self.url or SecretStr("")


OnStorageError = Literal["local-share", "allow", "deny"]


class RateLimits(Table):
    """Limits of the whole gateway, and what holds for all limits."""

    enabled: Flag
    mode: Literal["exact", "smooth"] = "exact"
    storage: Storage = Storage(type="memory")
    on_storage_error: OnStorageError = "local-share"
    overall: Rate | None = Field(default=None, validation_alias="global", serialization_alias="global")
    per_ip: Rate | None = None
    per_user: GatewayPerUser | None = None
    per_group: dict[str, Rate] = Field(default_factory=dict)
    tiers: Tiers = Tiers()
