"""API keys at rest: only their hashes, in a JSON file that `nexus keys` writes and every edge watches."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decoder, encode
from libs.common.identity import Principal, Tier

PREFIX = "nxk_"
"""Tells an API key from a JWT, and lets scanners find one that was published by mistake."""
ISSUER = "api-keys"


class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key, as the file has it."""

    hash: str
    subject: str
    groups: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    tier: Tier = "authenticated"
    created: str = ""

    def principal(self) -> Principal:
        return Principal(self.subject, ISSUER, self.groups, self.scopes, self.tier, self.subject)


_records: Decoder[dict[str, Record]] = decoder(dict[str, Record])


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """How a key is stored: keys are long random texts, so a plain hash cannot be turned back."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def read_records(path: Path) -> dict[str, Record]:
    """The keys of a file, by their names. Raises `OSError`, or `ValueError` saying what is wrong."""
    try:
        return _records.decode(path.read_bytes() or b"{}")
    except (*UNREADABLE, ValidationError) as error:
        raise ValueError(f"{path.name} is no file of API keys: {error}") from None


def write_records(path: Path, records: dict[str, Record]) -> None:
    """Replace the file at once, readable by its owner only: a reader sees the old keys or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    with fresh.open("wb") as file:
        file.write(encode(records))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
