"""A session that takes calls, and what belongs to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from msgspec import Raw

from libs.common.messages.catalog import Listing
from services.connector.arguments import Checker
from services.connector.bulletin import Bulletin
from services.connector.logs import LOGGED, Logs
from services.connector.questions import Audience
from services.connector.session import Opened, Session


@dataclass(slots=True)
class Live:
    """One open session."""

    session: Session
    opened: Opened
    listing: Listing
    checker: Checker
    bulletin: Bulletin
    logs: Logs = field(default_factory=Logs)
    audience: Audience = field(default_factory=Audience)
    listed: float = field(default_factory=time.monotonic)
    stale: bool = False
    """Whether the server has said since that it lists something else."""
    running: int = 0
    parked: int = 0
    """Of the running calls, those that wait for their client to come back."""

    def hear(self, method: str, message: Raw) -> None:
        """Pass on what the server told outside of any call."""
        if method == LOGGED:
            self.logs.post(message)
        else:
            self.bulletin.post(method, message)
