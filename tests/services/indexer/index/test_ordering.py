"""Which tool comes first, and which does not come at all."""

from __future__ import annotations

import pytest

from tests.services.indexer.index.catalogue import ADDER, EVERY, FAILING, document, found, index


@pytest.mark.parametrize(
    "text", ["adder", "ADDER", "math adder", "together", "First", "numbers", "add numbers"]
)
def test_a_word_of_the_name_the_server_the_description_or_an_argument_finds_the_tool(text: str) -> None:
    assert found(index(), text)[0] == "adder"


@pytest.mark.parametrize("text", ["add", "adds", "adding"])
def test_a_word_finds_its_other_inflections(text: str) -> None:
    made = index(
        [document("a", "sum", "Adds two numbers together"), document("b", "other", "Something else")]
    )
    assert found(made, text) == ["sum"]


def test_the_exact_form_of_a_word_ranks_above_another_inflection() -> None:
    made = index(
        [document("a", "first", "Reports every run"), document("a", "second", "Reports every running")]
    )
    assert found(made, "running") == ["second", "first"]
    assert found(made, "run") == ["first", "second"]


@pytest.mark.parametrize("text", ["nonexistent", "zzz qqq"])
def test_words_that_occur_nowhere_find_nothing(text: str) -> None:
    assert found(index(), text) == []


def test_a_word_that_is_only_in_the_title_finds_the_tool() -> None:
    assert found(index(), "abacus") == ["calculator"]


def test_an_enum_value_finds_the_tool() -> None:
    assert found(index(), "multiply") == ["calculator"]


def test_an_argument_name_finds_the_tool() -> None:
    assert found(index(), "operation") == ["calculator"]


@pytest.mark.parametrize("text", ["string", "object", "properties", "type", "number required", "enum"])
def test_words_of_json_schema_itself_find_nothing(text: str) -> None:
    assert "calculator" not in found(index(), text)


@pytest.mark.parametrize("text", ["string", "object", "properties", "type"])
def test_words_of_json_schema_find_a_tool_whose_author_wrote_them(text: str) -> None:
    made = index([*EVERY, document("x", "caster", f"Casts a {text}")])
    assert found(made, text) == ["caster"]


def test_two_words_rank_both_tools_the_one_with_the_rarer_name_first() -> None:
    assert set(found(index([ADDER, FAILING]), "adder failing")) == {"adder", "failing_tool"}
    assert found(index([ADDER, FAILING]), "adder failing")[0] == "adder"


def test_the_name_outweighs_the_description_and_that_an_argument() -> None:
    schema = {"properties": {"invoice": {"type": "string"}}}
    made = index(
        [
            document("c", "third", "Something", schema=schema),
            document("b", "second", "Handles the invoice of a customer"),
            document("a", "invoice", "Something"),
        ]
    )
    assert found(made, "the invoice") == ["invoice", "second", "third"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("createPullRequest", "create pull request"),
        ("create-pull-request", "pull requests"),
        ("HTTPServerStart", "start http server"),
        ("list_userIDs", "user ids"),
        ("createS3Bucket", "s3 bucket"),
        ("oauth2_token", "oauth token"),
        ("getIPAddress", "ip address"),
        ("key_vault", "vault key"),
        ("GitHubIssue", "github issue"),
    ],
)
def test_identifiers_are_found_by_their_parts(name: str, text: str) -> None:
    made = index([*EVERY, document("x", name, "Nothing here")])
    assert found(made, text)[0] == name


def test_words_written_apart_find_them_written_as_one() -> None:
    made = index([*EVERY, document("azure", "keyvault_secret", "Secrets")])
    assert found(made, "key vault")[0] == "keyvault_secret"


def test_a_shared_kind_of_verb_decides_between_siblings() -> None:
    made = index([document("tracker", "issue_create", "Issues"), document("tracker", "issue_get", "Issues")])
    assert found(made, "show issue") == ["issue_get", "issue_create"]
    assert found(made, "new issue") == ["issue_create", "issue_get"]


def test_what_a_tool_says_it_is_not_for_hardly_counts() -> None:
    made = index(
        [
            document("a", "alpha", "Reads files. Do not use this to search the archive"),
            document("b", "beta", "Reads tapes. Also able to search the archive"),
        ]
    )
    assert found(made, "search the archive") == ["beta", "alpha"]


def test_equal_scores_are_ordered_by_name() -> None:
    made = index([document(server, "ping", "Checks a host") for server in ("c", "a", "b")])
    assert [match.name for match in made.search("host check", limit=3)] == ["a__ping", "b__ping", "c__ping"]
    assert [match.name for match in made.search("host check", limit=2)] == ["a__ping", "b__ping"]


def test_scores_fall_from_at_most_one_and_the_words_that_matched_are_named() -> None:
    matches = index().search("add two numbers with an error", limit=10)
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    assert matches[0].matched == ("add", "two", "numbers")
    assert matches[1].matched == ("error",)


def test_the_limit_is_kept() -> None:
    made = index([document("s", f"tool{place}", "Sends mail") for place in range(30)])
    assert len(made.search("mail", limit=7)) == 7
    assert made.search("mail", limit=0) == []
    assert len(made.search("mail", limit=10**9)) == 30


def test_what_only_changes_things_is_not_meant_by_who_wants_to_see_them() -> None:
    made = index([document("a", "setting_delete", "Setting"), document("b", "setting_facts", "Setting")])
    assert found(made, "setting") == ["setting_delete", "setting_facts"]
    assert found(made, "see a setting") == ["setting_delete", "setting_facts"]
    assert found(made, "show a setting") == ["setting_facts", "setting_delete"]
    assert found(made, "remove a setting") == ["setting_delete", "setting_facts"]
