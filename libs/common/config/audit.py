"""The audit trail: whether and how events are kept, where they go, and what of calls they show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from libs.common.config.sinks import Sink
from libs.common.config.table import Table
from libs.common.config.values import Count, FilePath, Flag, SealKey, Size, Timeout

Mode = Literal["fast", "strict"]


class Audit(Table):
    """The trail of all that is asked of the gateway. Sizes in bytes, times in seconds."""

    enabled: Flag = True
    mode: Mode = "fast"
    spool: FilePath | None = None
    """A folder for events not yet shipped; `.nexus/audit` beside the file, if None."""
    spool_max_size: Size = 256 * 2**20
    max_age: Timeout = 30 * 86_400.0
    max_size: Size = 2**30
    replicas: Count = 1
    signing_key: SealKey | None = None
    checkpoint_interval: Timeout = 60.0
    sinks: dict[str, Sink] = Field(default_factory=dict)


class Capture(Table):
    """What of a tool's arguments and results events show: digests, or members by name as well."""

    capture: Literal["digest", "redacted"] = "digest"
    fields: tuple[str, ...] = ()
