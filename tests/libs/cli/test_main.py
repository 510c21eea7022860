"""The command as it is typed: exit statuses, and text instead of traces."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.cli import broker, main
from libs.common import service

pytestmark = pytest.mark.anyio

GOOD = '[mcp.servers.time]\ncmd = ["time"]\n\n[mcp.servers.git]\ncmd = ["git"]\n'
BAD = '[server]\nlisten_address = "nowhere"\n\n[mcp.servers.a__b]\ncmd = []\nbogus = 1\n'


def nexus(*argv: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with nothing of ours in its environment."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    place = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-m", "libs.cli.main", *argv],
        cwd=cwd,
        env={**known, "PYTHONPATH": place, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_version_is_that_of_the_distribution() -> None:
    for flag in ("--version", "-V"):
        result = CliRunner().invoke(main.app, [flag])
        assert (result.exit_code, result.output) == (0, f"nexus {version('nexus-gateway')}\n")


def test_help_names_every_command() -> None:
    text = CliRunner().invoke(main.app, ["--help"]).output
    for command in (*main.ROLES, "check", "servers", "search", "call", "alive"):
        assert f"\n  {command} " in text


def test_a_good_configuration_is_said_to_be_fine(tmp_path: Path) -> None:
    (tmp_path / "nexus.toml").write_text(GOOD)
    done = nexus("check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nexus.toml: fine; 2 servers: git, time\n"


def test_every_mistake_of_a_bad_configuration_is_said_and_the_status_is_2(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD)
    done = nexus("check", cwd=tmp_path, NEXUS_CONFIG_PATH="bad.toml")
    assert (done.returncode, done.stdout) == (2, "")
    for key in (
        "server.listen_address",
        "mcp.servers.a__b",
        "mcp.servers.a__b.cmd",
        "mcp.servers.a__b.bogus",
    ):
        assert key in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv", [["check"], ["edge"], ["router"], ["connector"], ["indexer"], ["auditor"], []]
)
def test_a_missing_configuration_ends_every_command_alike(tmp_path: Path, argv: list[str]) -> None:
    done = nexus(*argv, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("nexus.toml: there is no such file; create it")
    assert "Traceback" not in done.stderr


async def test_a_second_gateway_in_the_same_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "nexus.toml").write_text(GOOD)
    running = await broker.start(tmp_path / ".nexus" / "nats")
    try:
        done = nexus("-l", "127.0.0.1:0", cwd=tmp_path)
    finally:
        await running.stop()
    assert done.returncode == 1
    assert done.stderr.startswith("another gateway runs here")
    assert done.stderr.count("\n") == 1


def test_alive_asks_the_file_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "alive"
    monkeypatch.setenv(service.ALIVE_VARIABLE, str(path))
    assert CliRunner().invoke(main.app, ["alive"]).exit_code == 1
    path.touch()
    assert CliRunner().invoke(main.app, ["alive"]).exit_code == 0


@pytest.mark.parametrize("argv", [["--log", "loud", "check"], ["--scale", "edge=0"], ["call"], ["nonsense"]])
def test_a_mistyped_command_is_explained_with_status_2(argv: list[str]) -> None:
    result = CliRunner().invoke(main.app, argv)
    assert result.exit_code == 2
    assert "Error" in result.output
