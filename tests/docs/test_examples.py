from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from libs.cli.main import app
from libs.common.config import load
from libs.common.config.refused import REFUSED
from tests.docs.pages import ROOT, blocks, commands, rows, spans, text

TOML = [(page, code) for page, code in blocks("toml") if page != "docs/configuration.md"]
"""The examples of that page are tested with the configuration."""
TIME = '[mcp.servers.time]\ncmd = ["uvx", "mcp-server-time"]\n'
"""What an example about something else does not show."""


@pytest.mark.parametrize(("page", "code"), TOML)
def test_every_configuration_can_be_loaded(page: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(code if "[mcp.servers." in code else f"{code}\n{TIME}", encoding="utf-8")
    variables = dict.fromkeys(re.findall(r"env\.(\w+)", code), "A" * 43)
    assert load(path, env=variables).mcp.servers


@pytest.mark.parametrize(("page", "code"), blocks("json"))
def test_every_json_example_parses(page: str, code: str) -> None:
    assert isinstance(json.loads(code), dict)


@pytest.mark.parametrize(("page", "line"), commands("nexus"))
def test_every_nexus_command_is_understood(page: str, line: str) -> None:
    group = get_command(app)
    context = group.make_context("nexus", shlex.split(line, comments=True)[1:])
    rest = [*context._protected_args, *context.args]
    if rest:
        name, command, arguments = group.resolve_command(context, rest)  # type: ignore[attr-defined]  # a group
        command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize(("page", "line"), commands("make"))
def test_every_make_target_exists(page: str, line: str) -> None:
    wanted = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    targets = re.findall(r"^([\w./-]+):(?!=)", text("Makefile"), re.MULTILINE)
    assert wanted
    assert set(wanted) <= set(targets)


@pytest.mark.parametrize(("page", "line"), commands("python"))
def test_every_module_that_is_run_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    module = words[words.index("-m") + 1]
    assert module == "timeit" or (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def test_the_readme_lists_exactly_the_keys_that_are_refused() -> None:
    listed = [cells[1] for cells in rows(text("README.md")) if cells[0].startswith("refused in")]
    assert {key for cell in listed for key in spans(cell)} == set(REFUSED) - {"llm"}


def test_the_readme_shows_the_example_servers() -> None:
    configured = load(ROOT / "nexus.example.toml", env={"PWD": "/"}).mcp.servers
    shown = re.findall(r"^(\w+) +ready ", text("README.md"), re.MULTILINE)
    assert shown == list(configured)
