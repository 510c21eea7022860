from __future__ import annotations

import time

import pytest

from services.edge.template import PARTS_MAX, URI_MAX, matches, weight


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("file:///x", "file:///x"),
        ("file:///{name}", "file:///a.txt"),
        ("test://{id}/data", "test://7/data"),
        ("db://{table}/{row}", "db://a/b"),
        ("x://{+path}", "x://a/b/c"),
        ("x://{+path}/end", "x://a/b/end"),
        ("x://a{/rest}", "x://a"),
        ("x://a{/rest*}", "x://a/b/c"),
        ("x://a{?q,r}", "x://a?q=1&r=2"),
        ("x://a{?q}", "x://a"),
        ("x://a{#part}", "x://a#b"),
        ("{scheme}://{host}", "https://h"),
        ("{a}{b}", "ab"),
        ("{a}", "a"),
        ("", ""),
    ],
)
def test_a_uri_matches_the_template_it_may_come_from(template: str, uri: str) -> None:
    assert matches(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("file:///x", "file:///y"),
        ("file:///x", "file:///xy"),
        ("file:///{name}", "file:///a/b"),
        ("file:///{name}", "file:///"),
        ("test://{id}/data", "test:///data"),
        ("test://{id}/data", "test://7/date"),
        ("x://{+path}", "x://"),
        ("x://{+path}/end", "x://a/b/ending"),
        ("{a}{b}", "a"),
        ("{a}", ""),
        ("", "x"),
        ("x" * 3000, "x" * 3000),
        ("{a}" * (PARTS_MAX + 1), "a" * 99),
    ],
)
def test_another_uri_does_not(template: str, uri: str) -> None:
    assert not matches(template, uri)


def test_the_more_literal_template_weighs_more() -> None:
    assert weight("zoo://{id}/food") > weight("zoo://{+path}") > weight("{+all}") == 0


def test_no_template_takes_long() -> None:
    begun = time.process_time()
    assert not matches("{+a}a{b}" * (PARTS_MAX // 3) + "!", "a" * URI_MAX)
    assert time.process_time() - begun < 1
