"""The broker's configuration for compose: made from the grants, and usable as committed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from libs.cli.broker import find_binary
from libs.cli.natsconf import USERS, compose_text, variable

CONF = Path(__file__).parents[2] / "deploy/nats/nats.conf"


def test_the_committed_file_is_what_the_grants_say() -> None:
    assert CONF.read_text() == compose_text(), "run `make deploy/nats/nats.conf`"


@pytest.mark.parametrize("missing", [None, *USERS])
def test_the_server_takes_it_only_with_every_password(missing: str | None) -> None:
    given = {variable(role): f"p{role}" for role in USERS if role != missing}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NATS_")}
    checked = subprocess.run(
        [find_binary(), "-t", "-c", str(CONF)], env={**environment, **given}, capture_output=True, text=True
    )
    assert (checked.returncode == 0) == (missing is None)
    if missing is not None:
        assert variable(missing) in checked.stderr
