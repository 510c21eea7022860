"""The pages that say where something is tested name files that are there."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT, rows, spans

TESTS = ROOT / "tests"


def named() -> list[tuple[str, str]]:
    """(what is tested, where) as the two pages say."""
    pages = (TESTS / "README.md", TESTS / "security" / "README.md")
    return [
        (cells[0], span)
        for page in pages
        for cells in rows(page.read_text(encoding="utf-8"))
        if len(cells) == 3 and cells[0] not in ("group", "id")
        for span in spans(cells[2])
    ]


@pytest.mark.parametrize(("what", "where"), named())
def test_every_test_that_is_named_is_there(what: str, where: str) -> None:
    path = where.removeprefix("tests/")
    assert (TESTS / path).exists() or (TESTS / "security" / path).exists()
