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
    tenant: str = ""

    def principal(self) -> Principal:
        return Principal(
            self.subject, ISSUER, self.groups, self.scopes, self.tier, self.subject, tenant=self.tenant
        )


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
    """Replace the file at once: a reader sees the old keys or the new ones. Raises `OSError`.

    A new file is for its owner only; one that was there stays readable for whoever could read it, or edges
    that run as somebody else would not hear that a key is revoked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(encode(records))
            if path.exists():
                _keep_readers(path.stat(), file.fileno())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _keep_readers(old: os.stat_result, fresh: int) -> None:
    new = os.fstat(fresh)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(fresh, old.st_uid, old.st_gid)
    os.fchmod(fresh, old.st_mode & 0o777)
