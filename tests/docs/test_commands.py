from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from libs.cli.main import app
from tests.docs.pages import rows, spans, text

RUNNING = text("docs/running.md")
SHARED = {span.split(" ")[0] for cells in rows(text("docs/configuration.md")) for span in spans(cells[0])}
ROWS = {spans(cells[0])[0]: cells for cells in rows(RUNNING) if cells[0].startswith("`nexus")}

_group: Any = get_command(app)
COMMANDS = {"nexus": _group, **{f"nexus {name}": each for name, each in _group.commands.items()}}


def _flags(command: Any) -> set[str]:
    options = [each for each in command.params if each.param_type_name == "option"]
    return {flag for each in options for flag in (*each.opts, *each.secondary_opts)} - {"--help"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_row(name: str) -> None:
    assert any(" ".join(shown.split()[: len(name.split())]) == name for shown in ROWS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_of_a_command_is_described(name: str) -> None:
    described = "".join(
        cells[-1] for shown, cells in ROWS.items() if shown == name or shown.startswith(f"{name} ")
    )
    own = {span.split(" ")[0] for span in spans(described)}
    assert _flags(COMMANDS[name]) <= own | SHARED


def test_no_row_describes_a_command_that_does_not_exist() -> None:
    known = {name.split()[-1] for name in COMMANDS}
    assert {shown.split()[1] for shown in ROWS if " " in shown} <= known


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_variable_of_a_flag_is_described(command: Any) -> None:
    variables = {each.envvar for each in command.params if each.envvar}
    described = spans(RUNNING) + spans(text("docs/configuration.md"))
    assert variables <= set(described)
