"""What the tables of all sinks of audit events have in common."""

from __future__ import annotations

from typing import Literal

from libs.common.config.table import Table
from libs.common.config.values import Count, FilePath, Flag

Class = Literal["api_activity", "authentication", "detection_finding", "application_lifecycle"]


class SinkTls(Table):
    """How a receiver's certificate is judged, and our own one for it. PEM files."""

    verify_certs: Flag = True
    ca_cert_path: FilePath | None = None
    """Trusted beside the system's authorities."""
    client_cert_path: FilePath | None = None
    client_key_path: FilePath | None = None


class SinkTable(Table):
    """What every sink may set."""

    classes: tuple[Class, ...] = ()
    """Only events of these; empty: of all."""
    max_tries: Count = 5
    """Rejections of one event until it is given up, and kept among the dead letters."""
