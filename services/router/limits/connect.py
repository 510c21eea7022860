"""The client of a Redis or Valkey, by the configuration."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from libs.common.config import Storage, StorageTls
from services.router.limits.remote import Remote


def connect(storage: Storage) -> Remote:
    """Counters where `storage` says; connects when they are first used."""
    pool = storage.pool
    client = BlockingConnectionPool.from_url(
        storage.secret().get_secret_value(),
        max_connections=pool.max_size,
        timeout=pool.timeout_wait,
        socket_timeout=storage.response_timeout,
        socket_connect_timeout=min(storage.connection_timeout, pool.timeout_create),
        health_check_interval=pool.timeout_recycle,
        # The default tries three times with pauses; a call must not wait for that, and we have our own.
        retry=Retry(NoBackoff(), 0),
        # All servers and proxies know RESP2, and nothing here needs more.
        protocol=2,
        **_tls(storage.tls),
    )
    patience = storage.connection_timeout + storage.response_timeout
    return Remote(Redis.from_pool(client), storage.key_prefix, storage.call_timeout, patience)


def _tls(tls: StorageTls | None) -> dict[str, Any]:
    """Options that a `rediss://` URL does not say."""
    if tls is None or not tls.enabled:
        return {}
    files = {
        "ssl_ca_certs": tls.ca_cert_path,
        "ssl_certfile": tls.client_cert_path,
        "ssl_keyfile": tls.client_key_path,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    verified: dict[str, Any] = {"ssl_cert_reqs": "none", "ssl_check_hostname": False} if tls.insecure else {}
    return {"connection_class": SSLConnection, **given, **verified}
