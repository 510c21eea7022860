"""Names the gateway mints."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest

from libs.common import naming, subjects


@pytest.mark.parametrize("name", ["github", "a", "my-server", "A_b-9", "x" * 32])
def test_ordinary_server_names_are_accepted(name: str) -> None:
    assert naming.is_server(name)


@pytest.mark.parametrize(
    "name", ["", "a__b", "..", "*", ">", "a.b", "-a", "_a", "a_", "x" * 33, "a b", "ü", "a\n"]
)
def test_names_that_could_break_a_subject_or_a_prefix_are_refused(name: str) -> None:
    assert not naming.is_server(name)
    with pytest.raises(ValueError, match="not a server name"):
        subjects.call(name)


def test_a_short_name_is_server_and_tool() -> None:
    assert naming.exposed("github", "search_code") == "github__search_code"


def test_a_long_name_is_shortened_with_its_digest_and_always_the_same() -> None:
    tool = "t" * 100
    name = naming.exposed("github", tool)
    assert len(name) == naming.NAME_MAX
    assert name.startswith("github__ttt")
    assert name.endswith(sha256(f"github__{tool}".encode()).hexdigest()[:8])
    assert name == naming.exposed("github", tool)
    assert name != naming.exposed("github", tool + "t")


@pytest.mark.parametrize("tool", ["with space", "ünï", "a\nb", "x>y", ""])
def test_an_odd_tool_name_becomes_one_that_every_client_takes(tool: str) -> None:
    name = naming.exposed("s", tool)
    assert re.fullmatch(r"[A-Za-z0-9_./-]{1,64}", name)


def test_names_resolve_back_and_colliding_ones_belong_to_nobody() -> None:
    twin = naming.exposed("s", "a b").removeprefix("s__")
    names, collided = naming.resolve([("s", "a b"), ("s", twin), ("s", "c")])
    assert collided == [f"s__{twin}"]
    assert names == {"s__c": ("s", "c")}


@pytest.mark.parametrize("token", ["", "a.b", "*", "a b", "x" * 65, "-"])
def test_subjects_take_minted_ids_only(token: str) -> None:
    for build in (subjects.worker, subjects.stream):
        with pytest.raises(ValueError, match="not a minted id"):
            build(token)
