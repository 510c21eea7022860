"""`nexus keys`: API keys in the file that the edges watch."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from libs.common.apikeys import Record, hash_key, new_key, read_records, write_records
from libs.common.config import load
from libs.common.config.values import is_key_name
from libs.common.errors import ConfigError
from libs.common.identity import Tier


def create(
    config: Path,
    name: str,
    subject: str,
    groups: list[str],
    scopes: list[str],
    tier: Tier,
    tenant: str = "",
) -> None:
    """Add a key and print it: the one time that it can be seen."""
    path = _file(config)
    records = _read(path)
    if not is_key_name(name):
        raise ConfigError("the name of a key has 1 to 32 of a-z 0-9 _ -, a letter or digit first")
    if name in records:
        raise ConfigError(f'there is a key "{name}" already; revoke it first or take another name')
    key = new_key()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    record = Record(hash_key(key), subject or name, tuple(groups), tuple(scopes), tier, created, tenant)
    _write(path, {**records, name: record})
    typer.echo(key)
    typer.echo(f'Key "{name}" works within seconds. It is not shown again: only its hash is kept.', err=True)


def show(config: Path) -> None:
    """Print the keys that there are, never the keys themselves."""
    titles = ("name", "subject", "groups", "scopes", "tier", "tenant", "created")
    table = Table(*titles, box=None, pad_edge=False)
    for name, each in sorted(_read(_file(config)).items()):
        groups, scopes = ", ".join(each.groups), " ".join(each.scopes)
        table.add_row(name, each.subject, groups, scopes, each.tier, each.tenant, each.created)
    Console().print(table)


def revoke(config: Path, name: str) -> None:
    """Remove a key; the edges refuse it within seconds."""
    path = _file(config)
    records = _read(path)
    if name not in records:
        raise ConfigError(f'there is no key "{name}"; the names are: {", ".join(sorted(records)) or "none"}')
    _write(path, {other: record for other, record in records.items() if other != name})
    typer.echo(f'Key "{name}" is revoked.', err=True)


def _file(config: Path) -> Path:
    file = load(config, secrets=False).server.api_keys.file
    if file is None:
        raise ConfigError('server.api_keys.file is not set; add [server.api_keys] with file = "keys.json"')
    return file


def _read(path: Path) -> dict[str, Record]:
    try:
        return read_records(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _write(path: Path, records: dict[str, Record]) -> None:
    try:
        write_records(path, records)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written, and is as it was: {error.strerror}") from None
