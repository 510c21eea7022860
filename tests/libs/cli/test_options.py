"""Flags over variables over defaults, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from libs.cli import main, options
from libs.cli.options import Given
from libs.common import log
from libs.common.errors import ConfigError


def test_what_is_not_given_has_a_default() -> None:
    got = Given().options()
    assert (got.config, got.nats, got.listen, got.log, got.sockets) == (
        Path("nexus.toml"),
        None,
        None,
        "info",
        (),
    )
    assert got.style == log.default_style()


def test_what_is_given_is_taken() -> None:
    got = Given(Path("a.toml"), "0.0.0.0:1", "debug", "json", "nats://bus").options()
    assert (got.config, got.listen, got.log, got.style, got.nats) == (
        Path("a.toml"), "0.0.0.0:1", "debug", "json", "nats://bus",
    )  # fmt: skip


def test_a_commands_own_flags_go_before_those_above_it() -> None:
    above = Given(Path("a.toml"), "1:1", "debug")
    assert Given(config=Path("b.toml"), nats="nats://x").over(above) == Given(
        Path("b.toml"), "1:1", "debug", None, "nats://x"
    )


@pytest.mark.parametrize("level", [*log.LEVELS])
def test_every_level_is_taken(level: str) -> None:
    assert Given(log=level).options().log == level


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Given(log="loud"), "'loud' is none of off, error, warn, info, debug, trace"),
        (Given(log="INFO"), "'INFO' is none of"),
        (Given(style="pink"), "'pink' is none of color, text, json"),
    ],
)
def test_a_word_nobody_knows_is_refused_with_those_that_are(given: Given, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        given.options()


def checked(*argv: str, **env: str) -> str:
    """The file that `nexus check` reads; each is missing, and named in the complaint."""
    result = CliRunner().invoke(main.app, argv, env={"NEXUS_CONFIG_PATH": None, **env})
    assert isinstance(result.exception, ConfigError)
    return str(result.exception).partition(":")[0]


@pytest.mark.parametrize(
    ("argv", "env", "read"),
    [
        (["check"], {}, "nexus.toml"),
        (["check"], {"NEXUS_CONFIG_PATH": "variable.toml"}, "variable.toml"),
        (["--config", "flag.toml", "check"], {}, "flag.toml"),
        (["check", "-c", "flag.toml"], {}, "flag.toml"),
        (["check", "--config", "flag.toml"], {"NEXUS_CONFIG_PATH": "variable.toml"}, "flag.toml"),
        (["--config", "flag.toml", "check"], {"NEXUS_CONFIG_PATH": "variable.toml"}, "flag.toml"),
        (["--config", "above.toml", "check", "-c", "flag.toml"], {}, "flag.toml"),
    ],
)  # fmt: skip
def test_a_flag_goes_before_a_variable_and_a_variable_before_the_default(
    argv: list[str], env: dict[str, str], read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked(*argv, **env) == read


def test_fields_and_parameters_have_the_same_names() -> None:
    assert set(options.PARAMETERS) <= set(Given.__slots__)
