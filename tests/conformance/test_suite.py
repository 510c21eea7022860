"""The conformance suite against a whole fleet: both revisions, by stdio and HTTP, servers of both eras."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.conformance import suite, verdict
from tests.conformance.suite import REVISIONS
from tests.conformance.targets import TARGETS, collect

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not suite.PROGRAM.exists(), reason="the suite is missing: python tests/conformance/install.py"
    ),
]

EXPECTED = Path(__file__).with_name("expected.toml")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> verdict.Found:
    """Every run at once: most of the time each of them waits."""
    folder = tmp_path_factory.mktemp("conformance")
    return asyncio.run(collect(list(TARGETS), REVISIONS, folder, complete=False))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("revision", REVISIONS)
def test_the_gateway_conforms(found: verdict.Found, revision: str, target: str) -> None:
    key = (revision, target)
    assert len(found[key]) > 30
    assert verdict.complaints({key: found[key]}, verdict.read(EXPECTED)) == []
