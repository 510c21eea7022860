"""Tools asked for by name."""

from __future__ import annotations

from benchmarks.search.corpus import Catalogue
from tests.services.indexer.index.catalogue import document, index


def test_every_exact_name_of_a_thousand_tools_comes_first() -> None:
    catalogue = Catalogue(1_000)
    tools = [tool for each in catalogue.servers for tool in each]
    made = index(tools)
    assert len(made) == 1_000
    assert [made.search(tool.name, limit=1)[0].name for tool in tools] == [tool.name for tool in tools]
    assert made.search(tools[5].name, limit=1)[0].score == 1.0


def test_a_bare_tool_name_puts_all_tools_of_that_name_first_by_name() -> None:
    made = index(
        [
            document("b", "get_issue"),
            document("a", "get_issue"),
            document("get", "issue", "get issue get issue"),
        ]
    )
    assert [match.name for match in made.search("get_issue", limit=3)] == [
        "a__get_issue",
        "b__get_issue",
        "get__issue",
    ]


def test_case_quotes_and_spaces_around_a_name_do_not_matter() -> None:
    made = index(
        [document("GitHub", "createIssue"), document("x", "create", "github issue create createissue")]
    )
    for text in ("github__createissue", " `GitHub__createIssue`\n", '"CREATEISSUE"'):
        assert made.search(text, limit=1)[0].name == "GitHub__createIssue"


def test_an_exposed_name_inside_a_sentence_comes_first() -> None:
    made = index(
        [document("tracker", "ping"), document("x", "report", "Files a report about tools people use")]
    )
    assert made.search("please use tracker__ping, to file a report", limit=1)[0].name == "tracker__ping"


def test_a_tool_called_by_stop_words_is_found_by_them() -> None:
    made = index([document("s", "who_am_i"), document("s", "other", "Who am I to say")])
    assert made.search("who am i", limit=1)[0].tool == "who_am_i"


def test_misspelt_names_are_answered_with_the_closest() -> None:
    made = index([document("github", tool) for tool in ("create_issue", "close_issue", "list_repositories")])
    assert made.nearest("github__creat_isue")[0] == "github__create_issue"
    assert made.nearest("list_repositores") == ["github__list_repositories"]
    assert made.nearest("gitlab__close_issue")[0] == "github__close_issue"
    assert made.nearest("GITHUB__CREATE_ISSUE")[0] == "github__create_issue"


def test_closest_names_are_ordered_by_name_when_equally_close() -> None:
    made = index([document(server, "ping") for server in ("c", "a", "b", "d")])
    assert made.nearest("pin") == ["a__ping", "b__ping", "c__ping"]
    assert made.nearest("pin", limit=2) == ["a__ping", "b__ping"]


def test_nothing_is_close_to_nonsense() -> None:
    made = index()
    for text in ("", "   ", "zzzzzzzz", "__", "\x00", "a" * 100_000):
        assert made.nearest(text) == []
    assert made.nearest("adder", limit=0) == []


def test_a_misspelt_name_is_found_among_the_first_five_of_a_thousand() -> None:
    tools = [tool for each in Catalogue(1_000).servers for tool in each]
    made = index(tools)
    for tool in tools[::10]:
        slipped = tool.name[:-3] + tool.name[-2:]
        assert tool.name in [match.name for match in made.search(slipped, limit=5)]


def test_a_hidden_tool_is_not_found_by_its_misspelt_name() -> None:
    made = index([document("git", "create_issue", "Opens an issue")])
    assert made.search("git__create_isue", limit=5)[0].tool == "create_issue"
    assert made.search("git__create_isue", limit=5, visible=lambda server, tool: False) == []


def test_a_slip_in_the_server_does_not_lead_to_the_same_tool_of_others() -> None:
    made = index(
        [document(server, "get") for server in ("apple", "weather", "tickets", "zebra", "music", "mail")]
    )
    assert made.search("weatther__get", limit=1)[0].name == "weather__get"
    assert made.search("get__weather", limit=1)[0].name == "weather__get"
