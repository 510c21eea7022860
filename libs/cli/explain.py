"""`nexus explain`: which rules decide whether a caller may use a tool."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from libs.common.apikeys import read_records
from libs.common.config import Config, load
from libs.common.errors import ConfigError
from libs.common.identity import Principal
from libs.common.naming import SEPARATOR


def explain(path: Path, caller: str, tool: str, groups: list[str], scopes: list[str]) -> None:
    """Print each rule that was asked and what it said; exit status 1 if the caller may not."""
    config = load(path, secrets=False)
    server, _, own = tool.partition(SEPARATOR)
    if server not in config.mcp.servers:
        known = ", ".join(config.mcp.servers)
        raise ConfigError(f'no server is called "{server}"; the tool is SERVER__TOOL, with one of: {known}')
    principal = _principal(config, caller, groups, scopes)
    decision = config.policy().decide(principal, server, own)
    table = Table("rule", "says", "", box=None, pad_edge=False)
    for step in decision.steps:
        mark = Text("yes", "green") if step.allowed else Text("no", "red")
        table.add_row(Text(step.rule), Text(step.said), mark)
    Console().print(table)
    if not decision.allowed:
        typer.echo(f"{caller} may not: {tool} looks to {caller} as if it were not there")
    elif decision.missing:
        typer.echo(
            f"{caller} may with a token that has the scopes {' '.join(decision.missing)} (403 until then)"
        )
    else:
        typer.echo(f"{caller} may use {tool}")
    if not decision.allowed or decision.missing:
        raise typer.Exit(1)


def _principal(config: Config, caller: str, groups: list[str], scopes: list[str]) -> Principal:
    """Of an API key what is written of it; what is given comes on top."""
    keys = config.server.api_keys
    named = {name: (key.groups, key.scopes) for name, key in keys.keys.items()}
    if keys.file is not None and keys.file.exists():
        try:
            records = read_records(keys.file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{keys.file}: {error}") from None
        named |= {name: (record.groups, record.scopes) for name, record in records.items()}
    own_groups, own_scopes = named.get(caller, ((), ()))
    return Principal(caller, groups=(*own_groups, *groups), scopes=(*own_scopes, *scopes), credential="some")
