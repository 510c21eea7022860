"""Filters, detail, tools named outright, what is offered when nothing matches; for callers who see parts."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from libs.common.codec import encode, raw
from libs.common.errors import NULL
from libs.common.identity import Principal
from libs.common.messages.calls import SearchTools
from libs.common.messages.catalog import Listing
from libs.common.messages.search import ToolsFound, Why
from libs.common.policy import Policy, Rule, Rules
from services.indexer.catalog import Catalog
from services.indexer.finder import Finder
from services.indexer.index import Index, hybrid

READS, WRITES = {"readOnlyHint": True}, {"readOnlyHint": False}
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
LONG = "Show the history of commits. " + "It goes back to the first one. " * 20


def tool(name: str, description: str = "", **more: Any) -> Raw:
    return raw({"name": name, "description": description, "inputSchema": SCHEMA, **more})


LOG = tool(
    "log",
    LONG,
    title="History",
    annotations=READS,
    outputSchema={"type": "object"},
    execution={"taskSupport": "optional"},
)
LISTINGS = (
    Listing("git", "1", (LOG, tool("commit", "Record changes as commits", annotations=WRITES))),
    Listing("hub", "2", (tool("list_issues", "List the issues of a repository"), tool("odd"))),
    Listing("vault", "3", (tool("open_safe", "Open the safe with issues", annotations=READS),)),
)
GUARDED = Policy(
    {
        "vault": Rules(Rule(frozenset({"ops"}))),
        "hub": Rules(tools={"list_issues": Rule(deny=frozenset({"guests"}))}),
    }
)
ANN = Principal("ann", groups=("dev",))
OPS = Principal("olga", groups=("ops",))
GUEST = Principal("gus", groups=("guests",))


@pytest.fixture
def catalog() -> Catalog:
    catalog = Catalog(frozenset({"git", "hub", "vault", "late"}), Index())
    for listing in LISTINGS:
        catalog.update(listing.server, listing)
    return catalog


@pytest.fixture
def finder(catalog: Catalog) -> Finder:
    return Finder(catalog, GUARDED)


def find(finder: Finder, query: str, principal: Principal = ANN, **more: Any) -> ToolsFound:
    return finder.find(SearchTools(9e9, query, principal=principal, **more))


def names(found: ToolsFound) -> list[str]:
    return [hit.name for hit in found.hits]


def test_a_summary_has_the_schema_of_the_arguments_and_says_why(finder: Finder) -> None:
    (hit,) = find(finder, "history of comits").hits[:1]
    assert (hit.name, hit.description, hit.server, hit.title) == ("git__log", LONG, "git", "History")
    assert (hit.input_schema, hit.annotations) == (raw(SCHEMA), raw(READS))
    assert (hit.output_schema, hit.execution) == (NULL, NULL)
    assert hit.why == Why(("history", "comits"), {"comits": "commits"})


def test_a_tool_without_a_word_of_the_query_is_called_related() -> None:
    catalog = Catalog(frozenset({"meteo"}), hybrid())
    catalog.update("meteo", Listing("meteo", "1", (tool("get_forecast", "Weather of the next days"),)))
    (hit,) = find(Finder(catalog, Policy()), "will it rain").hits
    assert hit.why == Why(related=True)


def test_all_of_a_tool_has_its_output_schema_and_execution_too(finder: Finder) -> None:
    (hit,) = find(finder, "history", detail="full").hits
    assert (hit.output_schema, hit.execution) == (raw({"type": "object"}), raw({"taskSupport": "optional"}))
    assert (hit.description, hit.title, hit.annotations) == (LONG, "History", raw(READS))


def test_names_alone_have_one_line_and_nothing_else(finder: Finder) -> None:
    (hit,) = find(finder, "history", detail="names").hits
    assert (hit.name, hit.description) == ("git__log", "Show the history of commits.")
    assert (hit.input_schema, hit.server, hit.title, hit.annotations, hit.why) == (NULL, "", "", NULL, None)


@pytest.mark.parametrize(
    ("description", "line"),
    [
        ("", ""),
        ("  \n Two\n lines", "Two"),
        ("See v1.2 of it. More.", "See v1.2 of it."),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
    ],
)
def test_the_line_of_a_name_is_its_first_sentence_cut(
    catalog: Catalog, finder: Finder, description: str, line: str
) -> None:
    catalog.update("late", Listing("late", "4", (tool("zebra", description),)))
    (hit,) = find(finder, "zebra", detail="names").hits
    assert hit.description == line


def test_a_tool_that_is_too_large_is_a_line_among_others_and_whole_by_its_name(
    catalog: Catalog, finder: Finder
) -> None:
    huge = tool("zebra", "Stripes of commits. " + "x" * 100_000)
    catalog.update("late", Listing("late", "4", (huge,)))
    hits = {hit.name: hit for hit in find(finder, "zebra commits").hits}
    assert hits["late__zebra"].description == "Stripes of commits."
    assert hits["late__zebra"].input_schema == NULL
    assert hits["git__log"].input_schema == raw(SCHEMA)
    (whole,) = find(finder, "late__zebra").hits
    assert len(whole.description) > 100_000


def test_an_answer_has_a_bound_and_the_best_have_the_room(catalog: Catalog, finder: Finder) -> None:
    large = tuple(tool(f"zebra{n}", f"zebra {'y' * 60_000}") for n in range(50))
    catalog.update("late", Listing("late", "4", large))
    hits = find(finder, "zebra", server="late", limit=50, detail="full").hits
    whole = [hit.input_schema != NULL for hit in hits]
    assert (len(hits), whole) == (50, [True] * 8 + [False] * 42)
    assert len(encode(hits)) < 600_000


def test_a_server_finds_its_own_tools_alone(finder: Finder) -> None:
    assert set(names(find(finder, "commits issues"))) == {"git__log", "git__commit", "hub__list_issues"}
    assert names(find(finder, "commits issues", server="hub")) == ["hub__list_issues"]


def test_read_only_finds_what_its_server_says_only_reads(finder: Finder) -> None:
    assert names(find(finder, "commits issues", read_only=True)) == ["git__log"]
    assert names(find(finder, "commits issues", OPS, read_only=True, server="vault")) == ["vault__open_safe"]


@pytest.mark.parametrize("annotations", [None, [], "read", {"readOnlyHint": "true"}, {"readOnlyHint": 1}])
def test_only_true_itself_makes_a_tool_read_only(
    catalog: Catalog, finder: Finder, annotations: object
) -> None:
    catalog.update("late", Listing("late", "4", (tool("zebra", annotations=annotations),)))
    assert names(find(finder, "zebra")) == ["late__zebra"]
    assert names(find(finder, "zebra", read_only=True)) == []


def test_a_server_that_lists_anew_changes_what_is_read_only(catalog: Catalog, finder: Finder) -> None:
    for said, found in ((READS, ["late__zebra"]), (WRITES, []), (READS, ["late__zebra"])):
        catalog.update("late", Listing("late", "4", (tool("zebra", annotations=said),)))
        assert names(find(finder, "zebra", read_only=True)) == found
    catalog.update("late", None)
    assert names(find(finder, "zebra", read_only=True)) == []


@pytest.mark.parametrize("query", ["git__log", " git__log ", "`git__log`", '"git__log"'])
def test_an_exact_name_gets_that_tool_alone_with_all_there_is(finder: Finder, query: str) -> None:
    (hit,) = find(finder, query).hits
    assert (hit.name, hit.score) == ("git__log", 1.0)
    assert hit.output_schema == raw({"type": "object"})
    assert hit.why == Why(("git__log",))


def test_an_exact_name_gets_the_detail_that_is_asked_for(finder: Finder) -> None:
    (hit,) = find(finder, "git__log", detail="names").hits
    assert (hit.name, hit.input_schema) == ("git__log", NULL)
    assert names(find(finder, "", keywords=("git__log",))) == ["git__log"]


def test_an_exact_name_outside_the_filters_is_not_found_by_name(finder: Finder) -> None:
    assert "git__commit" not in names(find(finder, "git__commit", read_only=True))
    assert "git__commit" not in names(find(finder, "git__commit", server="hub"))


def test_an_exact_name_that_the_caller_may_not_see_is_nothing(finder: Finder) -> None:
    assert names(find(finder, "vault__open_safe", OPS)) == ["vault__open_safe"]
    hidden, unknown = find(finder, "vault__open_safe"), find(finder, "cellar__open_safe")
    assert hidden == unknown
    assert "vault" not in str(hidden)


def test_filters_that_leave_nothing_tell_what_they_keep_out(finder: Finder) -> None:
    found = find(finder, "history", server="hub")
    assert (found.hits, found.elsewhere) == ((), ("git__log",))
    assert find(finder, "issues", read_only=True).elsewhere == ("hub__list_issues",)


def test_nothing_found_offers_near_names_and_servers(finder: Finder) -> None:
    found = find(finder, "qqqq gi__lgo")
    assert (found.hits, found.nearest) == ((), ("git__log",))
    assert find(finder, "hu zzzz").servers == ("hub",)
    assert find(finder, "zzzzzz").servers == ("git", "hub", "late")


@pytest.mark.parametrize("server", ["vault", "valt", "nowhere", "git#1", "#", "vault#3"])
def test_a_server_that_the_caller_may_not_see_is_as_unknown_as_any_other(finder: Finder, server: str) -> None:
    found = find(finder, "safe", server=server)
    assert found.stranger
    assert found == ToolsFound(stranger=True, servers=("git", "hub", "late"))


def test_an_unknown_server_offers_the_nearest_that_the_caller_may_see(finder: Finder) -> None:
    assert find(finder, "safe", server="gti") == ToolsFound(stranger=True, servers=("git",))
    assert find(finder, "safe", OPS, server="valt") == ToolsFound(stranger=True, servers=("vault",))


def test_a_server_that_has_listed_nothing_is_no_stranger(finder: Finder) -> None:
    found = find(finder, "history", server="late")
    assert not found.stranger
    assert found.elsewhere == ("git__log",)


def test_a_server_is_known_by_one_tool_that_the_caller_may_see() -> None:
    rules = Rules(Rule(frozenset({"ops"})), {"open_safe": Rule(frozenset({"dev"}))})
    catalog = Catalog(frozenset({"vault"}), Index())
    catalog.update("vault", Listing("vault", "1", (tool("open_safe"), tool("close_safe"))))
    finder = Finder(catalog, Policy({"vault": rules}))
    assert names(find(finder, "safe", server="vault")) == ["vault__open_safe"]
    assert find(finder, "safe", GUEST, server="vault") == ToolsFound(stranger=True)


@pytest.mark.parametrize(
    "query", ["safe", "issues", "opne safe", "vault__open_saf", "vault", "hub__list_issue", "zzzz", "list"]
)
@pytest.mark.parametrize("filters", [{}, {"read_only": True}, {"detail": "full"}, {"server": "hub"}])
def test_nothing_hidden_is_shown_offered_or_counted(
    finder: Finder, query: str, filters: dict[str, Any]
) -> None:
    told = str(find(finder, query, GUEST, **filters)) + str(finder.near(query, GUEST))
    assert "vault" not in told
    assert "list_issues" not in told


def test_a_list_of_the_callers_own_takes_the_place_of_the_one_for_everybody(finder: Finder) -> None:
    mine = Listing(
        "git", "mine", (tool("log", "Show my own commits", annotations=READS), tool("secret_notes"))
    )
    more: dict[str, Any] = {"digests": {"git": "mine"}, "listings": (mine,)}
    assert names(find(finder, "commits", **more)) == ["git__log"]
    assert find(finder, "git__log", **more).hits[0].description == "Show my own commits"
    assert names(find(finder, "notes", server="git", **more)) == ["git__secret_notes"]
    assert "secret" not in str(find(finder, "git__secret_notes", server="git"))
    assert "secret" not in str(find(finder, "git__secret_note"))
