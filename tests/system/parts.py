"""Servers the system tests put behind the gateway, as tables of `mcp.servers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.system.gateway import PYTHON, ROOT, Server, eventually

WITNESS = Path(__file__).parent / "children" / "witness.py"
LIBRARY = WITNESS.with_name("library.py")
NPM = ROOT / "tests" / "real" / "node_modules"


def witness(*flags: str, **keys: Any) -> Server:
    """The server of `children/witness.py`; `-S -E` because nothing installed is needed."""
    return {"cmd": [PYTHON, "-S", "-E", str(WITNESS), *flags], **keys}


class Journal:
    """What the witnesses have written down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def flag(self) -> str:
        return f"journal={self.path}"

    def entries(self, event: str, value: Any = None) -> list[dict[str, Any]]:
        """Entries of one kind, oldest first; of one value if one is given."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        entries = [json.loads(line) for line in lines]
        return [each for each in entries if each["event"] == event and value in (None, each["value"])]

    async def saw(self, event: str, value: Any = None, *, times: int = 1, within: float = 10.0) -> None:
        """Wait until something was written down so many times."""
        complaint = f"no witness noted {event} {value or ''} {times} times"
        await eventually(lambda: len(self.entries(event, value)) >= times, within, complaint)
