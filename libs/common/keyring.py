"""The keys of the fleet: from the configuration, or handed down by a supervisor."""

from __future__ import annotations

import os

from pydantic import SecretStr

from libs.common import log as logs
from libs.common.config import Config
from libs.common.config.values import key_bytes
from libs.common.errors import ConfigError
from libs.common.seal import KEY_SIZE

VARIABLE = "NEXUS_SEAL_KEYS"
"""Base64 keys, comma-separated, where the configuration has none: how a supervisor hands down its own."""


def fleet_keys(config: Config) -> tuple[bytes, ...]:
    """32 bytes each, the sealing one first; empty if nobody gave any. Raises `ConfigError`."""
    return config.seal.decoded() or _handed_down()


def delegation_keys(config: Config) -> tuple[bytes, ...]:
    """The same, for tokens of callers, which edges seal and connectors open. Raises `ConfigError` without."""
    keys = fleet_keys(config)
    if not keys:
        names = ", ".join(sorted(config.delegated()))
        raise ConfigError(f"seal.keys is needed: servers get the tokens of callers ({names})")
    return keys


def _handed_down() -> tuple[bytes, ...]:
    texts = [text for text in os.environ.get(VARIABLE, "").split(",") if text]
    for text in texts:
        logs.hide(text)
    try:
        keys = tuple(key_bytes(SecretStr(text)) for text in texts)
    except ValueError:
        keys = (b"",)
    if any(len(key) != KEY_SIZE for key in keys):
        raise ConfigError(
            f"{VARIABLE} must hold base64 of {KEY_SIZE} random bytes, or several, comma-separated"
        )
    return keys
