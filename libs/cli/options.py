"""Flags and variables that every command shares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from libs.common import log as logs
from libs.common.service import Options

CONFIG = Path("nexus.toml")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="NEXUS_CONFIG_PATH", help="The configuration file.")
]
Listen = Annotated[
    str | None,
    typer.Option("--listen-address", "-l", envvar="NEXUS_LISTEN_ADDRESS", help="IP:PORT of the edge."),
]
Log = Annotated[
    str | None, typer.Option("--log", envvar="NEXUS_LOG", help="off, error, warn, info, debug or trace.")
]
LogStyle = Annotated[
    str | None, typer.Option("--log-style", envvar="NEXUS_LOG_STYLE", help="color, text or json.")
]
Nats = Annotated[
    str | None, typer.Option("--nats", envvar="NEXUS_NATS_URL", help="Join this bus instead of starting one.")
]
Url = Annotated[
    str,
    typer.Option("--url", envvar="NEXUS_URL", help="The MCP endpoint of a running gateway."),
]

Detail = Annotated[
    Literal["names", "summary", "full"],
    typer.Option(help="How much of each tool: a line, what decides between them, or all there is."),
]

STYLES = ("color", "text", "json")
PARAMETERS = {"style": "log_style"}
"""Fields of `Given` whose parameters have another name."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was given on the command line or in the environment; None where nothing was."""

    config: Path | None = None
    listen: str | None = None
    log: str | None = None
    style: str | None = None
    nats: str | None = None

    def over(self, base: Given) -> Given:
        """These, and `base` where nothing was given."""
        mine = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        return replace(base, **mine)

    def options(self) -> Options:
        """Checked, with the defaults. Raises `typer.BadParameter`."""
        return Options(
            config=self.config or CONFIG,
            nats=self.nats,
            listen=self.listen,
            log=cast("logs.Level", _one_of(self.log or "info", tuple(logs.LEVELS), "--log")),
            style=cast("logs.Style", _one_of(self.style or logs.default_style(), STYLES, "--log-style")),
        )


def typed(context: typer.Context, given: Given) -> Given:
    """What of `given` was typed at this command; variables were read by the one above it already."""
    sources = {name: context.get_parameter_source(PARAMETERS.get(name, name)) for name in given.__slots__}
    return Given(
        **{
            name: getattr(given, name)
            for name, source in sources.items()
            if source is not None and source.name == "COMMANDLINE"
        }
    )


def _one_of(value: str, allowed: tuple[str, ...], flag: str) -> str:
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(allowed)}", param_hint=flag)
    return value
