"""The certificate of our listeners, taken anew when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

log = structlog.get_logger("edge")

WATCH = 1.0
"""Seconds between two looks at the files."""


class Certificate:
    """Keeps a TLS context current: handshakes after a change get the new certificate, others keep theirs."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain = chain
        self._key = key
        self._seen = self._stamp()

    async def watch(self, context: ssl.SSLContext) -> None:
        """Until cancelled. Files that do not fit together leave the certificate as it was."""
        while True:
            await asyncio.sleep(WATCH)
            stamp = self._stamp()
            if stamp is None or stamp == self._seen:
                continue
            self._seen = stamp
            self._load(context)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # Into a context of its own first: a failure half way would leave certificate and key apart.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._chain, self._key)
            # Here and not in a thread: no handshake may fall between the certificate and its key.
            context.load_cert_chain(self._chain, self._key)
        except (OSError, ssl.SSLError) as error:
            log.warning("the new certificate cannot be used; the last one stays", reason=str(error)[:200])
        else:
            log.info("the certificate was taken anew", file=str(self._chain))

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            stats = (self._chain.stat(), self._key.stat())
        except OSError:
            return None
        return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size, stat.st_ino))
