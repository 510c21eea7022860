"""The `nexus` command."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import typer

from libs.cli import options as flags
from libs.common.errors import ConfigError, NexusError
from libs.common.identity import Tier
from libs.common.service import Options

ROLES = ("edge", "router", "connector", "indexer", "auditor")
EXIT_CONFIG = 2
"""Exit status of a configuration that cannot be used: a supervisor does not try again."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="One MCP endpoint in front of every MCP server. Without a command: run everything here.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nexus {installed('nexus-gateway')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def local(
    context: typer.Context,
    config: flags.Config = None,
    listen: flags.Listen = None,
    log: flags.Log = None,
    log_style: flags.LogStyle = None,
    nats: flags.Nats = None,
    scale: Annotated[str, typer.Option(help="Processes by role, e.g. edge=2,connector=3.")] = "",
    single_process: Annotated[bool, typer.Option(help="All services in one process.")] = False,
    version: Annotated[bool, typer.Option("--version", "-V", callback=_version, is_eager=True)] = False,
) -> None:
    """Run the broker and all services here, or one command."""
    given = flags.Given(config, listen, log, log_style, nats)
    context.obj = given
    if context.invoked_subcommand is None:
        from libs.cli import local as run

        run.run(given.options(), run.parse_scale(scale), single=single_process)


def _service(role: str) -> None:
    @app.command(role, help=f"Run one {role}.")
    def command(
        context: typer.Context,
        config: flags.Config = None,
        listen: flags.Listen = None,
        log: flags.Log = None,
        log_style: flags.LogStyle = None,
        nats: flags.Nats = None,
    ) -> None:
        from libs.common import service

        given = flags.typed(context, flags.Given(config, listen, log, log_style, nats)).over(context.obj)
        # Services are found by name: the library must not import them.
        build = importlib.import_module(f"services.{role}.main").build
        service.run(role, build, given.options())


for _role in ROLES:
    _service(_role)


@app.command()
def check(context: typer.Context, config: flags.Config = None) -> None:
    """Validate the configuration and say every mistake; start nothing."""
    from libs.common.config import load

    given = flags.typed(context, flags.Given(config)).over(context.obj)
    path = given.options().config
    loaded = load(path)
    names = loaded.mcp.servers
    typer.echo(f"{path}: fine; {len(names)} server{'s' * (len(names) != 1)}: {', '.join(names)}")


@app.command()
def servers(
    url: flags.Url = "http://127.0.0.1:8000/mcp",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep the table current.")] = False,
) -> None:
    """Show every configured server and its state."""
    from libs.cli import remote

    remote.servers(url, watch=watch)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="What you look for.")],
    url: flags.Url = "http://127.0.0.1:8000/mcp",
    limit: Annotated[int, typer.Option(min=1, max=50)] = 10,
    server: Annotated[str, typer.Option(help="Only tools of this server.")] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only tools that, so their server says, change nothing.")
    ] = False,
    detail: flags.Detail = "summary",
) -> None:
    """Find tools, as a model would."""
    from libs.cli import remote

    remote.search(url, words, limit=limit, server=server, read_only=read_only, detail=detail)


@app.command()
def call(
    tool: Annotated[str, typer.Argument(help="The exact name, e.g. time__get_current_time.")],
    arguments: Annotated[str, typer.Argument(help="The arguments as JSON.")] = "{}",
    url: flags.Url = "http://127.0.0.1:8000/mcp",
) -> None:
    """Run one tool and print its result."""
    from libs.cli import remote

    remote.call(url, tool, arguments)


@app.command()
def explain(
    context: typer.Context,
    caller: Annotated[str, typer.Argument(help="Any name; that of an API key brings its groups and scopes.")],
    tool: Annotated[str, typer.Argument(help="The tool, e.g. github__merge_pull_request.")],
    group: Annotated[list[str] | None, typer.Option(help="A group of the caller; repeatable.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A scope of the token; repeatable.")] = None,
    config: flags.Config = None,
) -> None:
    """Say which rules decide whether a caller may use a tool."""
    from libs.cli import explain as rules

    rules.explain(_path(context, config), caller, tool, group or [], scope or [])


keys = typer.Typer(help="API keys, in the file of server.api_keys.file.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What you call the key.")],
    subject: Annotated[str, typer.Option(help="Who comes with it; the name by default.")] = "",
    group: Annotated[list[str] | None, typer.Option(help="A group of the caller; repeatable.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="An OAuth scope it stands for; repeatable.")] = None,
    premium: Annotated[bool, typer.Option(help="In the premium tier of the rate limits.")] = False,
    tenant: Annotated[str, typer.Option(help="Whom the caller works for; audits are apart by it.")] = "",
    config: flags.Config = None,
) -> None:
    """Make a key, print it once, keep its hash."""
    from libs.cli import keys as files

    tier: Tier = "premium" if premium else "authenticated"
    files.create(_path(context, config), name, subject, group or [], scope or [], tier, tenant)


@keys.command("list")
def list_keys(context: typer.Context, config: flags.Config = None) -> None:
    """Show whose keys there are."""
    from libs.cli import keys as files

    files.show(_path(context, config))


@keys.command("revoke")
def revoke_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The key's name.")],
    config: flags.Config = None,
) -> None:
    """Remove a key; edges refuse it within seconds."""
    from libs.cli import keys as files

    files.revoke(_path(context, config), name)


def _path(context: typer.Context, config: Path | None) -> Path:
    return flags.typed(context, flags.Given(config)).over(context.obj).options().config


audit = typer.Typer(help="What the gateway has recorded.", no_args_is_help=True)
app.add_typer(audit, name="audit")


@audit.command("tail")
def tail_audit(
    context: typer.Context,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", "-f", help="key=value; repeatable.")
    ] = None,
    plain: Annotated[bool, typer.Option("--json", help="Events as they are, one a line.")] = False,
    config: flags.Config = None,
    nats: flags.Nats = None,
) -> None:
    """Show events as they happen."""
    from libs.cli import audit as trail

    trail.tail(_options(context, config, nats), filters or [], plain=plain)


@audit.command("export")
def export_audit(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="A duration before now, or a time (ISO 8601).")],
    until: Annotated[str, typer.Option(help="The same; now if not given.")] = "",
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only these; repeatable.")] = None,
    config: flags.Config = None,
    nats: flags.Nats = None,
) -> None:
    """Print events that are kept, one a line."""
    from libs.cli import audit as trail

    try:
        span = trail.Span(trail.moment(since), trail.moment(until) if until else None, classes or ())
    except ValueError:
        raise typer.BadParameter("write a duration such as 1h, or a time such as 2026-04-19T22:00") from None
    trail.export(_options(context, config, nats), span)


@audit.command("verify")
def verify_audit(
    context: typer.Context,
    files: Annotated[list[str] | None, typer.Argument(help="NDJSON; - for standard input.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="A public key of checkpoints; repeatable.")] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="The files have all events there ever were.")
    ] = False,
    config: flags.Config = None,
    nats: flags.Nats = None,
) -> None:
    """Check the chains of events, in files or in the stream; exit status 1 if anything was changed."""
    from libs.cli import audit as trail

    trail.verify(_options(context, config, nats), files or [], key or [], whole=whole)


@audit.command("key")
def audit_key(context: typer.Context, config: flags.Config = None) -> None:
    """Print the public key that checkpoints are signed with."""
    from libs.cli import audit as trail

    trail.key(_options(context, config, None))


@audit.command("reader")
def audit_reader(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The reader, and the name of its NATS user.")],
    tenant: Annotated[str, typer.Option(help="Only events of this tenant.")] = "",
    config: flags.Config = None,
    nats: flags.Nats = None,
) -> None:
    """Let another system read events; prints its user for nats.conf."""
    from libs.cli import audit as trail

    trail.reader(_options(context, config, nats), name, tenant)


def _options(context: typer.Context, config: Path | None, nats: str | None) -> Options:
    """The same, for commands that print events: whatever they log goes elsewhere."""
    from libs.common import log as logs

    options = flags.typed(context, flags.Given(config, nats=nats)).over(context.obj).options()
    logs.configure(options.log, options.style, "nexus")
    return options


@app.command()
def login(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="The server, as it is called in the configuration.")],
    config: flags.Config = None,
    nats: flags.Nats = None,
    port: Annotated[int, typer.Option(help="Where the browser comes back to, on the loopback.")] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page, rather than only print it.")] = True,
) -> None:
    """Log in at a server with auth.type = "oauth", for the whole gateway."""
    from libs.cli import login as command

    given = flags.typed(context, flags.Given(config, nats=nats)).over(context.obj)
    command.run(given.options(), server, port=port, browser=browser)


@app.command()
def alive() -> None:
    """Exit with 0 if the service of this machine lives and has its bus (for health checks)."""
    from libs.common import service

    if not service.is_alive():
        raise typer.Exit(1)


def main() -> None:
    """Run the command; an error that we know is text, not a trace."""
    try:
        app()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)
    except NexusError as error:
        typer.echo(error.message, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
