"""Whose spool is whose: a folder for each writer, locked while it lives, taken over when it is dead."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from libs.common.audit.chain import Head
from libs.common.audit.spool import LOCK, Segments, Spool


def begin(root: Path, role: str, worker: str, most: int, *, keep: bool) -> Spool:
    """A new folder `<role>/<worker>.<boot>` of our own, of at most `most` bytes. Raises `OSError`.

    With `keep` a file stays open until it is synced.
    """
    family = root / role
    family.mkdir(parents=True, exist_ok=True, mode=0o700)
    boot = secrets.token_hex(4)
    # Locked before it has its name, so that nobody takes it for a dead one.
    making = family / f".{worker}.{boot}"
    making.mkdir(mode=0o700)
    lock = _locked(making)
    if lock is None:
        raise OSError(11, f"somebody else has locked {making}")
    folder = making.rename(family / f"{worker}.{boot}")
    return Spool(folder, lock, most, keep=keep)


class Orphan(Segments):
    """The folder of a dead writer, ours until it is closed."""

    def __init__(self, folder: Path, lock: int) -> None:
        super().__init__(folder)
        self._lock = lock

    @property
    def role(self) -> str:
        return self.folder.parent.name

    def head(self) -> Head | None:
        """The last whole event in it, None if there is none."""
        for start in reversed(self.starts):
            for line in reversed(self._lines(start)):
                with suppress(msgspec.MsgspecError, ValueError):
                    chain = _chained(line[line.find(b"{") :]).unmapped.nexus.chain
                    return Head(chain.uid, chain.seq, chain.hash)
        return None

    def _lines(self, start: int) -> list[bytes]:
        with suppress(OSError):
            return self.path(start).read_bytes().rpartition(b"\n")[0].split(b"\n")
        return []

    def remove(self) -> None:
        """Delete it; nothing in it is needed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        super().close()
        os.close(self._lock)


def orphans(root: Path, role: str = "*") -> Iterator[Orphan]:
    """Folders whose writer is dead, those of the longest silence first; each is locked for the caller."""
    found = [each for each in root.glob(f"{role}/*.*") if not each.name.startswith(".")]
    for folder in sorted(found, key=_touched):
        lock = _locked(folder)
        if lock is None:
            continue
        try:
            orphan = Orphan(folder, lock)
        except OSError:
            # It is being removed, or cannot be read: neither may keep the others from being adopted.
            os.close(lock)
            continue
        yield orphan


def predecessor(found: list[Orphan], worker: str) -> Orphan | None:
    """Of dead folders of one role the one a new writer continues: its own name's, else the last."""
    own = [each for each in found if each.folder.name.rpartition(".")[0] == worker]
    return next(reversed(own or found), None)


def _touched(folder: Path) -> float:
    with suppress(OSError):
        return max((each.stat().st_mtime for each in folder.iterdir()), default=0.0)
    return 0.0


def _locked(folder: Path) -> int | None:
    """The lock of a folder, None if its writer lives or it is gone meanwhile."""
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


class _Place(msgspec.Struct):
    hash: str
    seq: int
    uid: str


class _Nexus(msgspec.Struct):
    chain: _Place


class _Unmapped(msgspec.Struct):
    nexus: _Nexus


class _Event(msgspec.Struct):
    unmapped: _Unmapped


_chained = msgspec.json.Decoder(_Event).decode
