"""Starts a child process that cannot outlive its parent, and says plainly why one cannot be started."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from libs.common.errors import ServerUnavailable

P = TypeVar("P", bound=asyncio.SubprocessProtocol)

_PR_SET_PDEATHSIG = 1
_CLOSE_RANGE = 436
_CLOEXEC = 4
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


async def launch(
    protocol: P, command: Sequence[str], env: Mapping[str, str], cwd: Path | None, stderr: int | None
) -> asyncio.SubprocessTransport:
    """Run `command` in a process group of its own; only descriptors 0, 1 and 2 are inherited.

    On Linux the kernel kills the child when this process dies. Raises `ServerUnavailable` with a sentence.
    Call it on the main thread: the kernel takes the end of the forking *thread* for the death of the parent.
    """
    program = _program(command, env, cwd)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.subprocess_exec(
            lambda: protocol,
            program,
            *command[1:],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_bound_to(os.getpid()),
        )
    except OSError as error:
        raise ServerUnavailable(f'command "{command[0]}" could not be started: {error.strerror}') from error
    return transport


def _bound_to(parent: int) -> Callable[[], None] | None:
    """Runs between fork and exec, so it only makes three system calls, resolved beforehand.

    A launcher program in between would do the same for 20 ms and a process image per child. A parent that
    died before the first call never sends the signal: that is what the second one looks for. uvloop does not
    honour `close_fds`, so the third marks what this process holds; loop and exec need it open until then.
    """
    if _libc is None:
        return None
    prctl, syscall = _libc.prctl, _libc.syscall

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if syscall(_CLOSE_RANGE, 3, ctypes.c_uint(0xFFFFFFFF), _CLOEXEC) != 0:
            _mark_descriptors()

    return bind


def _mark_descriptors() -> None:
    """The same on a kernel before 5.11, one call for each."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - nothing is allocated here that is not needed
        with contextlib.suppress(OSError):
            os.set_inheritable(int(name), int(name) < 3)


def _program(command: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> str:
    """The path of the program, found before the fork: afterwards nobody could say what was wrong."""
    if not command or not command[0]:
        raise ServerUnavailable("the command is empty")
    if any("\0" in text for text in (*command, *env, *env.values(), str(cwd))):
        raise ServerUnavailable("the command, its environment or its working directory holds a NUL character")
    if cwd is not None and not cwd.is_dir():
        what = "is not a directory" if cwd.exists() else "does not exist"
        raise ServerUnavailable(f'the working directory "{cwd}" {what}')
    return _found(command[0], env["PATH"], cwd or Path.cwd())


def _found(name: str, path: str, cwd: Path) -> str:
    if "/" not in name:
        found = shutil.which(name, path=path)
        if found is None:
            raise ServerUnavailable(f'command "{name}" was not found on PATH')
        return found
    program = cwd / name
    if not program.is_file():
        raise ServerUnavailable(f'command "{name}" was not found')
    if not os.access(program, os.X_OK):
        raise ServerUnavailable(f'command "{name}" is not executable')
    return str(program)
