"""API keys: known by their hashes only, from the configuration and from a file that may change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from libs.common.apikeys import Record, hash_key, read_records
from libs.common.identity import Principal

log = structlog.get_logger("auth")


class ApiKeys:
    """Finds who a key belongs to. `reload` looks whether the file has changed, and costs a `stat` if not."""

    def __init__(self, fixed: Iterable[Record], file: Path | None) -> None:
        self._fixed = {record.hash: record.principal() for record in fixed}
        self._file = file
        self._seen: tuple[int, int] = (0, 0)
        self._known: Mapping[str, Principal] = self._fixed

    def find(self, key: str) -> Principal | None:
        return self._known.get(hash_key(key))

    def reload(self) -> bool:
        """Whether there are other keys than before. A file that cannot be read leaves the last ones."""
        if self._file is None:
            return False
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._seen:
                return False
            records = read_records(self._file)
        except FileNotFoundError:
            stamp, records = (0, 0), {}
            if self._seen == stamp:
                return False
        except (OSError, ValueError) as error:
            log.warning("the file of API keys cannot be read; the last ones stay", reason=str(error)[:200])
            return False
        self._seen = stamp
        self._known = {**self._fixed, **{each.hash: each.principal() for each in records.values()}}
        return True
