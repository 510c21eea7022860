"""A configuration that cannot be used is refused whole, with every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.gateway import nexus

pytestmark = pytest.mark.system

MISTAKES = """
[server]
listen_address = "nowhere"
drain_timeout = "soon"

[mcp]
path = "mcp"
call_timout = 5

[mcp.servers.both]
cmd = ["true"]
url = "http://127.0.0.1:1/"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "nexus.toml"


@pytest.mark.parametrize("command", [(), ("check",)], ids=["run", "check"])
def test_every_mistake_is_named_and_nothing_is_started(config: Path, command: tuple[str, ...]) -> None:
    config.write_text(MISTAKES)
    done = nexus(*command, config=config)
    assert done.returncode == 2
    for key in ("server.listen_address", "server.drain_timeout", "mcp.path", "mcp.call_timout", "both"):
        assert key in done.stderr
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (config.parent / ".nexus").exists()


@pytest.mark.parametrize("name", ["a__b", "..", "*", ">", "a.b", "", "a b", "_a", "é", "x" * 33])
def test_a_server_name_that_could_be_more_than_a_name_is_refused(config: Path, name: str) -> None:
    config.write_text(f'[mcp.servers."{name}"]\ncmd = ["true"]\n')
    done = nexus("check", config=config)
    assert done.returncode == 2
    assert f"'{name}'" in done.stderr or f'"{name}"' in done.stderr or f".{name}" in done.stderr


def test_a_missing_file_is_a_sentence(config: Path) -> None:
    done = nexus("check", config=config)
    assert done.returncode == 2
    assert str(config) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_good_configuration_is_said_to_be_fine(config: Path) -> None:
    config.write_text('[mcp.servers.a]\ncmd = ["true"]\n[mcp.servers.b]\nurl = "http://127.0.0.1:1/"\n')
    done = nexus("check", config=config)
    assert done.returncode == 0
    assert "2 servers: a, b" in done.stdout
