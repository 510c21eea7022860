"""The base of every table of the configuration file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the file: frozen, and closed to keys it does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
