"""A configuration from its text, and the lines of what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from libs.common.config import Config, load
from libs.common.errors import ConfigError

Read = Callable[..., Config]
Wrong = Callable[..., list[str]]

TIME = '[mcp.servers.time]\ncmd = ["time"]\n'
"""A server, so that a text about something else is complete."""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`read(text)`: the configuration the text says; the environment is empty but for `env`."""

    def read_text(text: str, *, env: Mapping[str, str] | None = None, secrets: bool = True) -> Config:
        path = tmp_path / "nexus.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, env=env or {}, secrets=secrets)

    return read_text


@pytest.fixture
def wrong(read: Read, tmp_path: Path) -> Wrong:
    """`wrong(text)`: every mistake in the text, without the name of the file before it."""

    def mistakes(text: str, *, env: Mapping[str, str] | None = None, secrets: bool = True) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, env=env, secrets=secrets)
        head, *lines = str(caught.value).splitlines()
        assert "mistake" in head
        return [line.removeprefix(f"{tmp_path / 'nexus.toml'}: ") for line in lines]

    return mistakes
