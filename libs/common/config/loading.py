"""Reads `nexus.toml`: parse, refuse, interpolate, check, and report every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli
from pydantic import ValidationError

from libs.common.config.checks import EXAMPLE, check_document, sound_servers
from libs.common.config.findings import find_mistakes
from libs.common.config.interpolate import Secrets, interpolate
from libs.common.config.model import Config
from libs.common.config.refused import refuse_keys
from libs.common.config.report import Mistake, render
from libs.common.config.sinks import sound_sinks
from libs.common.config.together import check_limits
from libs.common.config.variables import overlay
from libs.common.errors import ConfigError


def load(path: Path, *, env: Mapping[str, str] = os.environ, secrets: Secrets = True) -> Config:
    """The configuration in a file; ConfigError names every mistake in it, one a line.

    `{{ env.X }}` is resolved from `env`. Without `secrets`, values that only the process talking to a
    downstream or a sink uses keep their placeholders, and their variables may be unset.
    """
    document, refused = refuse_keys(_parse(path))
    resolved, unset = interpolate(document, env, secrets=secrets)
    resolved, unfit = overlay(resolved, env)
    config, wrong = _validate(document, resolved, secrets)
    mistakes = [*refused, *unset, *unfit, *check_document(resolved), *check_limits(resolved)]
    said = {mistake.key for mistake in mistakes}
    beside = {mistake.key[:-1] for mistake in refused}
    for mistake in wrong:
        replaced = mistake.missing and mistake.key[:-1] in beside
        if mistake.key not in said and not replaced:
            mistakes.append(mistake)
    if mistakes or config is None:
        raise ConfigError(render(str(path), mistakes))
    return config


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; create it, or name another one with --config or "
            f"NEXUS_CONFIG_PATH. The smallest one is\n\n{EXAMPLE}\n"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the file is not UTF-8 text at byte {error.start}") from None
    except tomli.TOMLDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path}: the file is not TOML at {where}: {error.msg}") from None


def _validate(
    document: dict[str, Any], resolved: dict[str, Any], secrets: Secrets
) -> tuple[Config | None, list[Mistake]]:
    sound = sound_sinks(sound_servers(resolved))
    try:
        return Config.model_validate(sound, context={"secrets": secrets is True}), []
    except ValidationError as error:
        return None, list(find_mistakes(document, error))
