from __future__ import annotations

from collections.abc import Iterator

import pytest

from libs.common import errors
from libs.common.errors import CallFailed, DownstreamFailed, Lost, NexusError, ProtocolError
from tests.docs.pages import rows, spans, text

PAGE = text("docs/errors.md")
ROWS = {spans(cells[0])[0]: cells for cells in rows(PAGE) if cells[0].startswith("`") and len(cells) == 6}
BASES = {ProtocolError, Lost, DownstreamFailed}
"""Never raised themselves; they are sections of the page."""


def _below(kind: type[NexusError]) -> Iterator[type[NexusError]]:
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _below(each)


RAISED = {each.__name__: each for each in _below(NexusError) if each not in BASES | {CallFailed}}


def test_the_page_has_every_error_and_no_other() -> None:
    assert set(ROWS) == set(RAISED)


@pytest.mark.parametrize("name", RAISED)
def test_code_status_verdict_and_repetition_are_the_real_ones(name: str) -> None:
    kind = RAISED[name]
    _, code, status, executed, repeats, advice = ROWS[name]
    assert code == ("its own" if name == "DownstreamError" else str(kind.code))
    assert status == str(kind.http)
    assert executed == kind.executed
    assert repeats == ("yes" if kind.retry else "no")
    assert advice


@pytest.mark.parametrize("kind", sorted([*BASES, CallFailed, errors.ConfigError], key=str))
def test_what_clients_do_not_meet_is_explained_too(kind: type) -> None:
    assert f"`{kind.__name__}`" in PAGE
