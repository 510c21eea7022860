from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.connector import stderr
from services.connector.stderr import TAIL, Stderr


def test_only_the_end_is_kept() -> None:
    errors = Stderr("null", "s")
    for _ in range(100):
        errors.feed(b"x" * 1000)
    errors.feed(b"the end")
    assert len(errors.tail()) == TAIL
    assert errors.tail().endswith("the end")


def test_the_end_has_no_control_characters() -> None:
    errors = Stderr("null", "s")
    errors.feed(b"\x1b[31mred\x00\r\nline \xe2\x80\xaetwo\xff")
    assert errors.tail() == "[31mred \nline  two\ufffd"


def test_lines_are_logged_one_by_one_and_cut() -> None:
    errors = Stderr("pipe", "files")
    with capture_logs() as logs:
        errors.feed(b"first\nsec")
        errors.feed(b"ond\n\n" + b"y" * 10_000 + b"\n")
    assert [entry["line"][:6] for entry in logs] == ["first", "second", "yyyyyy"]
    assert max(len(entry["line"]) for entry in logs) <= stderr.LINE
    assert {entry["server"] for entry in logs} == {"files"}


def test_a_flood_of_lines_is_counted_instead_of_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    errors = Stderr("pipe", "s")
    with capture_logs() as logs:
        errors.feed(b"again\n" * 1000)
        now = 101.0
        errors.feed(b"calm\n")
    assert len(logs) == stderr.LINES_PER_SECOND + 2
    assert (logs[-2]["event"], logs[-2]["lines"]) == ("stderr_dropped", 1000 - stderr.LINES_PER_SECOND)


def test_the_end_of_a_file_that_is_gone_is_empty(tmp_path: Path) -> None:
    assert Stderr(tmp_path / "gone", "s").tail() == ""
