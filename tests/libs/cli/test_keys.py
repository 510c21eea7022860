from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from libs.cli.main import app
from libs.common.apikeys import hash_key
from libs.common.errors import ConfigError

CONFIG = """
[server.api_keys]
file = "{folder}/keys.json"

[mcp.servers.git]
cmd = ["git-mcp"]
allow = ["dev", "ops"]
deny = ["interns"]

[mcp.servers.git.tools]
push = {{ allow = ["ops"] }}
log = {{ required_scopes = ["read"] }}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "nexus.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    return path


def run(config: Path, *words: str) -> Result:
    found = CliRunner().invoke(app, [*words, "--config", str(config)])
    if isinstance(found.exception, ConfigError):
        raise found.exception
    return found


def test_a_key_is_shown_once_and_kept_as_a_hash(config: Path) -> None:
    made = run(
        config, "keys", "create", "ci", "--group", "dev", "--scope", "read", "--premium", "--tenant", "acme"
    )
    key = made.stdout.split()[0]
    kept = (config.parent / "keys.json").read_text()
    assert key not in kept
    assert json.loads(kept)["ci"]["hash"] == hash_key(key)
    assert json.loads(kept)["ci"]["tenant"] == "acme"
    assert (config.parent / "keys.json").stat().st_mode & 0o077 == 0
    listed = run(config, "keys", "list").stdout
    assert "ci" in listed
    assert "premium" in listed
    assert "acme" in listed
    assert key not in listed


def test_a_name_is_given_once_and_a_revoked_key_is_gone(config: Path) -> None:
    run(config, "keys", "create", "ci")
    with pytest.raises(ConfigError, match="already"):
        run(config, "keys", "create", "ci")
    with pytest.raises(ConfigError, match="1 to 32"):
        run(config, "keys", "create", "No Name")
    run(config, "keys", "revoke", "ci")
    assert json.loads((config.parent / "keys.json").read_text()) == {}
    with pytest.raises(ConfigError, match="no key"):
        run(config, "keys", "revoke", "ci")


def test_keys_need_a_file(tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text('[mcp.servers.git]\ncmd = ["x"]\n')
    with pytest.raises(ConfigError, match=r"server\.api_keys\.file"):
        run(path, "keys", "list")


def test_a_file_that_holds_no_keys_is_named(config: Path) -> None:
    (config.parent / "keys.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"keys\.json"):
        run(config, "keys", "list")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["ann", "git__push"], 1, "mcp.servers.git.tools.push.allow"),
        (["ann", "git__push", "--group", "ops"], 0, "ann may use git__push"),
        (["ann", "git__pull", "--group", "dev", "--group", "interns"], 1, "mcp.servers.git.deny"),
        (["ann", "git__log", "--group", "dev"], 1, "scopes read"),
        (["ann", "git__log", "--group", "dev", "--scope", "read"], 0, "ann may use git__log"),
    ],
)
def test_every_rule_that_was_asked_is_explained(
    config: Path, words: list[str], status: int, said: str
) -> None:
    found = run(config, "explain", *words)
    assert (found.exit_code, said in found.stdout) == (status, True)


def test_the_groups_of_a_key_are_known(config: Path) -> None:
    run(config, "keys", "create", "bot", "--group", "ops")
    assert run(config, "explain", "bot", "git__push").exit_code == 0


def test_a_tool_of_no_server_is_a_mistake(config: Path) -> None:
    with pytest.raises(ConfigError, match="SERVER__TOOL"):
        run(config, "explain", "ann", "nope__x")


def test_who_could_read_the_file_still_can(config: Path) -> None:
    run(config, "keys", "create", "ci")
    file = config.parent / "keys.json"
    file.chmod(0o640)
    run(config, "keys", "revoke", "ci")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in config.parent.iterdir() if "keys.json" in each.name] == ["keys.json"]


def test_a_file_that_cannot_be_written_is_said(config: Path) -> None:
    (config.parent / "keys.json").mkdir()
    with pytest.raises(ConfigError, match=r"keys\.json"):
        run(config, "keys", "create", "ci")
    config.write_text(CONFIG.format(folder="/proc"))
    with pytest.raises(ConfigError, match="cannot be written, and is as it was"):
        run(config, "keys", "create", "ci")
