"""Every key the configuration knows, as dotted patterns: `mcp.servers.*.cmd`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import AliasChoices

from libs.common.config.model import Config, StderrFile
from libs.common.config.table import Table


@cache
def known_keys() -> tuple[str, ...]:
    """All patterns, tables included, in the order of the models; `*` is a free name or a position."""
    return tuple(dict.fromkeys((*_keys(Config, ""), *_keys(StderrFile, "mcp.servers.*.stderr."))))


def _keys(model: type[Table], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if (prefix, name) == ("mcp.servers.*.", "name"):
            continue
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        for key in names:
            yield f"{prefix}{key}"
        yield from _below(field.annotation, f"{prefix}{names[0]}.")


def _below(annotation: Any, prefix: str) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield from () if annotation is StderrFile else _keys(annotation, prefix)
        return
    step = "*." if get_origin(annotation) in (dict, tuple) else ""
    for argument in get_args(annotation):
        yield from _below(argument, prefix + step)
