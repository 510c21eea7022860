"""Tokens of callers, kept for the servers that get them; where there are none, nothing is kept."""

from __future__ import annotations

import time
from collections import OrderedDict

from pydantic import SecretStr

SIZE = 10_000


class Wallet:
    """By fingerprint, each until its own end; the one that was used longest ago makes room."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._tokens: OrderedDict[str, tuple[float, SecretStr]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def keep(self, credential: str, token: str, expires: float) -> None:
        """Remember a token that was verified, until `expires` (seconds since the epoch)."""
        if credential not in self._tokens:
            self._tokens[credential] = expires, SecretStr(token)
            if len(self._tokens) > self._size:
                self._tokens.popitem(last=False)
        self._tokens.move_to_end(credential)

    def find(self, credential: str) -> tuple[float, str] | None:
        """When it ends, and the token; None if it is over or was never here."""
        known = self._tokens.get(credential)
        if known is None or known[0] <= time.time():
            self._tokens.pop(credential, None)
            return None
        return known[0], known[1].get_secret_value()
