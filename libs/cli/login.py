"""`nexus login`: an operator logs in at a server for the gateway, and the grant is kept sealed on the bus."""

from __future__ import annotations

import asyncio
import webbrowser
from pathlib import Path

import typer
from pydantic import SecretStr

from libs.cli import broker
from libs.cli.authorize import Show, authorize
from libs.cli.connect import joined
from libs.cli.local import STATE, seal_key
from libs.common import keyring
from libs.common.bus import Bus
from libs.common.config import Config, HttpServer, OperatorLogin, load
from libs.common.config.values import key_bytes
from libs.common.errors import ConfigError
from libs.common.oauth.tokens import GrantFailed
from libs.common.oauth.vault import Vault
from libs.common.service import Options, snapshots


def run(options: Options, name: str, *, port: int, browser: bool) -> None:
    """Log in at one server and say what came of it. Raises `typer.Exit` if nothing did."""
    config = load(options.config)
    try:
        asyncio.run(login(options, config, name, port=port, show=_shower(browser)))
    except GrantFailed as error:
        typer.echo(f'no login at "{name}": {error.reason}', err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(
            f"port {port} of the loopback cannot be used: {error.strerror}; choose another with --port",
            err=True,
        )
        raise typer.Exit(1) from None
    typer.echo(f'logged in at "{name}"; every connector has the token')


async def login(options: Options, config: Config, name: str, *, port: int, show: Show) -> None:
    """The same without a terminal. Raises `GrantFailed`, `ConfigError`, `BusUnavailable`, `OSError`."""
    server, auth = _server(config, name)
    state = options.config.resolve().parent / STATE
    async with joined(Bus(_bus(options, config, state), "connector")) as bus:
        vault = Vault(bus, _keys(config, state))
        async with snapshots(vault.snapshot):
            before = vault.read(name, server.url)
        grant = await authorize(server, auth, before, show, port)
        await vault.write(name, server.url, grant)


def _server(config: Config, name: str) -> tuple[HttpServer, OperatorLogin]:
    server = config.mcp.servers.get(name)
    if not isinstance(server, HttpServer) or not isinstance(server.auth, OperatorLogin):
        wanting = [
            each.name
            for each in config.mcp.servers.values()
            if isinstance(each, HttpServer) and isinstance(each.auth, OperatorLogin)
        ]
        known = f"; these do: {', '.join(wanting)}" if wanting else ""
        raise ConfigError(f'no server "{name}" with auth.type = "oauth" is configured{known}')
    return server, server.auth


def _bus(options: Options, config: Config, state: Path) -> str:
    """The bus of the gateway that runs here, unless another one was named."""
    return options.nats or broker.running(state / "nats", "connector") or config.nats.url.get_secret_value()


def _keys(config: Config, state: Path) -> tuple[bytes, ...]:
    keys = keyring.fleet_keys(config)
    if keys:
        return keys
    if not (state / "seal.key").exists():
        raise ConfigError("the token is kept sealed, and there is no key: set seal.keys or NEXUS_SEAL_KEYS")
    return (key_bytes(SecretStr(seal_key(state / "seal.key"))),)


def _shower(browser: bool) -> Show:
    async def show(url: str) -> None:
        typer.echo(f"Open this page to log in:\n\n  {url}\n")
        if browser:
            await asyncio.to_thread(webbrowser.open, url)

    return show
