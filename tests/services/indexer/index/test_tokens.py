"""How names and sentences fall into words."""

from __future__ import annotations

import pytest

from services.indexer.index.tokens import WORD_MAX, flat, forms, stem


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("snake", ("snake",)),
        ("camelCase", ("camel", "case", "camelcase")),
        ("HTTPServer", ("http", "server", "httpserver")),
        ("userIDs", ("user", "ids", "userids")),
        ("IDs", ("ids",)),
        ("OAuth2Token", ("oauth2", "oauth", "token", "oauth2token")),
        ("createS3Bucket", ("create", "s3", "bucket", "creates3bucket")),
        ("sha256", ("sha256", "sha")),
        ("2FA", ("fa", "2fa")),
        ("API", ("api",)),
        ("x", ("x",)),
        ("42", ("42",)),
        ("Ünïcode", ("ünïcode",)),
    ],
)
def test_an_identifier_gives_its_parts_and_its_joined_form(run: str, expected: tuple[str, ...]) -> None:
    assert forms(run) == expected


def test_separators_split_and_stop_words_are_left_out() -> None:
    assert flat("list_all the-open.issues/of you") == ["list", "open", "issues"]


def test_scripts_without_spaces_give_pairs() -> None:
    assert flat("更新日志 a 字") == ["更新", "新日", "日志", "字"]


def test_words_longer_than_any_word_are_dropped() -> None:
    assert flat("A" * (WORD_MAX + 1) + " b" * 2 + " " + "z" * 10_000) == ["b", "b"]


@pytest.mark.parametrize(
    ("word", "expected"), [("repositories", "repositori"), ("adds", "add"), ("日志", "日志")]
)
def test_english_words_are_stemmed_and_others_are_not(word: str, expected: str) -> None:
    assert stem(word) == expected
