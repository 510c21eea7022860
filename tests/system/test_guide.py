"""The guide to OAuth, followed line by line: what it says to type is typed, what it shows is what comes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import anyio.to_thread
import pytest

from tests.broker import free_port
from tests.docs.pages import section, text
from tests.system.gateway import ROOT, Gateway
from tests.system.parts import NPM
from tests.system.provider import Provider
from tests.system.real import SCRIPTS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.system,
    pytest.mark.skipif(
        not (NPM / "oidc-provider").exists(), reason="the provider is missing: python tests/real/install.py"
    ),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the guide uses curl"),
]

END = "--- exit status"


def _blocks(guide: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)


def _steps(blocks: list[str]) -> list[tuple[str, str]]:
    """(command, what it prints), in their order."""
    found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.MULTILINE)
    return [(command, shown) for command, shown in found if not command.startswith(". ")]


def _typed(commands: list[str], env: Mapping[str, str]) -> list[str]:
    """What each of `commands` prints, in one shell."""
    script = "".join(f"{command} 2>&1\necho '{END}'\n" for command in commands)
    shell = ["bash", "-c", script]
    done = subprocess.run(shell, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout.split(f"{END}\n")[:-1]


def _fits(printed: str, shown: str) -> bool:
    """Whether that is what the guide shows; `…` stands for anything."""
    wanted = shown.strip().replace("[", "[[]").replace("…", "*")
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return fnmatchcase(lines, wanted)


async def test_the_guide_to_oauth_can_be_followed(tmp_path: Path) -> None:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    made = re.search(r"provider\.mjs 9000 http://127\.0\.0\.1:8000 (.*)\n", text("Makefile"))
    assert made
    provider = Provider(tmp_path, origin, *made[1].split())
    guide = section(text("docs/oauth.md"), "Try it")
    for named, used in ((9000, provider.port), (8000, port)):
        guide = guide.replace(f"127.0.0.1:{named}", f"127.0.0.1:{used}")
    (configuration,) = _blocks(guide, "toml")
    steps = _steps(_blocks(guide, "console"))
    path = os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])
    try:
        await provider.start()
        token = await provider.token(origin, "mcp")
        gateway = Gateway(tmp_path, {}, needs=("time",), port=port, token=token)
        gateway.config.write_text(configuration.replace('"mcp-server-time"', f'"{SCRIPTS}/mcp-server-time"'))
        async with gateway:
            env = {**os.environ, "PATH": path, "NEXUS_URL": gateway.url}
            printed = await anyio.to_thread.run_sync(_typed, [command for command, _ in steps], env)
    finally:
        provider.stop()
    assert len(printed) == len(steps)
    for (command, shown), lines in zip(steps, printed, strict=True):
        assert _fits(lines, shown), f"$ {command}\n{lines}\nis not what the guide shows:\n{shown}"
