"""The pieces of a local run: how many of what, the key, the listening socket, the children's surroundings."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from libs.cli import local
from libs.cli.local import parse_scale, seal_key
from libs.common import keyring
from libs.common.config import Address, Config
from libs.common.errors import ConfigError
from libs.common.service import SOCKETS_VARIABLE, WORKER_VARIABLE, Options

pytestmark = pytest.mark.anyio

ONE = {"edge": 1, "router": 1, "indexer": 1, "connector": 1, "auditor": 1}


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", ONE),
        ("edge=2", {**ONE, "edge": 2}),
        ("edge=2,connector=3", {**ONE, "edge": 2, "connector": 3}),
        ("router=10,", {**ONE, "router": 10}),
    ],
)
def test_a_scale_is_a_count_by_role(text: str, counts: dict[str, int]) -> None:
    assert parse_scale(text) == counts


@pytest.mark.parametrize(
    "text",
    ["edge", "edge=", "edge=0", "edge=-1", "edge=1.5", "edge=two", "edge=²", "broker=1", "=1", "edge=1 2"],
)
def test_a_scale_nobody_can_run_is_refused_with_the_roles(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="a role of edge, router, indexer, connector, auditor"):
        parse_scale(text)


def test_the_sealing_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    key = seal_key(path)
    assert len(base64.b64decode(key, validate=True)) == 32
    assert seal_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("left", ["", "short", "not base64 at all!"])
def test_a_damaged_sealing_key_is_made_anew(tmp_path: Path, left: str) -> None:
    path = tmp_path / "seal.key"
    path.write_text(left)
    (tmp_path / "seal.new").write_text("of a crash")
    assert len(base64.b64decode(seal_key(path), validate=True)) == 32


async def test_a_taken_address_ends_the_run_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            local._listen(Address("127.0.0.1", port))


async def test_only_an_edge_gets_the_socket_and_only_who_seals_the_key(tmp_path: Path) -> None:
    options = Options(tmp_path / "nexus.toml", log="debug", style="json")
    with local._listen(Address("127.0.0.1", 0)) as listener:
        children = {
            role: local._child(options, role, 2, f"nats://{role}", (listener,), "the-key")
            for role in local.ROLES
        }
        number = listener.fileno()
    for role, child in children.items():
        assert child.name == child.env[WORKER_VARIABLE] == f"{role}-2"
        assert child.env["NEXUS_NATS_URL"] == f"nats://{role}"
        assert child.argv[3:] == (
            role, "--config", str(tmp_path / "nexus.toml"), "--log", "debug", "--log-style", "json",
        )  # fmt: skip
        assert (keyring.VARIABLE in child.env) == (role in ("edge", "connector", "auditor"))
        assert (SOCKETS_VARIABLE in child.env) == (role == "edge")
    assert (children["edge"].fds, children["edge"].env[SOCKETS_VARIABLE]) == ((number,), str(number))
    assert children["router"].fds == ()


@pytest.mark.parametrize("enabled", [True, False])
def test_an_auditor_is_started_only_if_there_is_an_audit(enabled: bool) -> None:
    config = Config.model_validate({"audit": {"enabled": enabled}})
    assert ("auditor" in local.roles_of(config)) == enabled
    assert local.roles_of(config)[:4] == ("edge", "router", "indexer", "connector")


async def test_one_process_for_all_ends_with_the_error_of_any(tmp_path: Path) -> None:
    options = replace(Options(tmp_path / "missing.toml"), nats="nats://127.0.0.1:1")
    urls = dict.fromkeys(local.ROLES, "nats://127.0.0.1:1")
    before = asyncio.all_tasks()
    with local._listen(Address("127.0.0.1", 0)) as listener, pytest.raises(ConfigError, match="no such file"):
        await local._in_one_process(options, urls, (listener,), asyncio.Event())
    assert asyncio.all_tasks() == before
    assert keyring.VARIABLE not in os.environ
