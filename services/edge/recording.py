"""The audit of an edge, as a configuration wants it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from libs.common.audit.trail import Trail
from libs.common.config import Config
from libs.common.config.access import ToolAccess
from services.edge.audited import Audited
from services.edge.definitions import Definitions
from services.edge.evidence import Evidence, Shown
from services.edge.gateway import Catalog, Gateway
from services.edge.scribe import Scribe

NAME_MAX = 256
"""Characters of a name whose rule is remembered: anybody may ask for any name."""

Fields = Mapping[str, tuple[str, ...]]
"""By the name of a tool, or a pattern: the arguments that may be shown."""


def recorded(gateway: Gateway, catalog: Catalog, config: Config, trail: Trail) -> tuple[Gateway, Scribe]:
    """The gateway whose calls are recorded, and who records all else."""
    policy, definitions = config.policy(), Definitions(catalog)
    scribe = Scribe(trail, policy, definitions)
    if not trail.enabled:
        return gateway, scribe
    shown = shown_by((name, _captured(each.tools)) for name, each in config.mcp.servers.items())
    return Audited(gateway, trail, Evidence(policy, definitions, trail.fingerprints, shown)), scribe


def shown_by(rules: Iterable[tuple[str, Fields]]) -> Shown:
    """What may be shown of a server's tool: its exact rule counts, else the first pattern that fits."""
    known = {server: fields for server, fields in rules if fields}

    def find(server: str, tool: str) -> tuple[str, ...]:
        fields = known.get(server, {})
        if tool in fields:
            return fields[tool]
        return next((names for pattern, names in fields.items() if fnmatchcase(tool, pattern)), ())

    remembered = lru_cache(maxsize=4096)(find)

    def shown(server: str, tool: str) -> tuple[str, ...]:
        return remembered(server, tool) if len(tool) <= NAME_MAX else find(server, tool)

    return shown


def _captured(tools: Mapping[str, ToolAccess]) -> Fields:
    """A rule that is more exact and shows nothing still counts."""
    return {
        name: each.audit.fields if each.audit.capture == "redacted" else ()
        for name, each in tools.items()
        if each.audit is not None
    }
