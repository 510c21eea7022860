from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from libs.common import subjects
from libs.common.grants import ROLES, user_grant
from tests.docs.pages import ROOT, rows, section, spans, text

PAGE = text("ARCHITECTURE.md")
BUS = section(PAGE, "The bus")
SUBJECTS = {spans(cells[0])[0]: cells for cells in rows(BUS) if cells[0].startswith("`nexus.v1.")}
PACKAGES = [
    "libs/common",
    "libs/cli",
    "services/edge",
    "services/router",
    "services/connector",
    "services/indexer",
    "services/auditor",
]


def _built() -> set[str]:
    """Every subject the code can build, its parameters in angle brackets."""
    functions = [each for _, each in inspect.getmembers(subjects, inspect.isfunction)]
    own = [each for each in functions if each.__module__ == subjects.__name__]
    constants = [value for name, value in vars(subjects).items() if name.isupper()]
    return set(filter(_is_subject, [*map(_shown, own), *constants]))


def _shown(build: object) -> str:
    names = list(inspect.signature(build).parameters)  # type: ignore[arg-type]  # a function of the module
    subject: str = build(*names)  # type: ignore[operator]  # the same
    head = subject.split(".")[: -len(names)]
    return ".".join([*head, *(f"<{name}>" for name in names)])


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and value.startswith("nexus.v1.") and not value.endswith(".>")


def test_every_subject_has_its_row_and_no_row_lies() -> None:
    assert set(SUBJECTS) == _built()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_who_may_publish_and_subscribe_is_what_is_granted(subject: str) -> None:
    pattern = subject.replace("<noun>.<past>", ">")
    pattern = pattern if "<" not in pattern else f"{pattern.rpartition('.')[0]}.*"
    _, publish, subscribe, _ = SUBJECTS[subject]
    assert _roles(publish) == {role for role in ROLES if pattern in user_grant(role).publish}
    assert _roles(subscribe) == {role for role in ROLES if pattern in user_grant(role).subscribe}


def _roles(cell: str) -> set[str]:
    return set() if cell == "–" else set(cell.split(", "))


@pytest.mark.parametrize("role", ROLES)
def test_every_bucket_is_described_with_its_owner(role: str) -> None:
    owned = {spans(cells[0])[0] for cells in rows(BUS) if cells[0].startswith("`nexus-") and cells[2] == role}
    creates = "$JS.API.STREAM.CREATE.KV_"
    granted = {each.removeprefix(creates) for each in user_grant(role).publish if each.startswith(creates)}
    assert owned == granted


@pytest.mark.parametrize("package", PACKAGES)
def test_the_code_map_has_every_module_and_no_other(package: str) -> None:
    mapped = [name for cells in rows(section(PAGE, f"`{package}`")) for name in spans(cells[0])]
    folder = ROOT / package
    modules = {_module(path, folder) for path in folder.rglob("*.py") if path.stem != "__init__"}
    assert set(mapped) == modules
    assert len(mapped) == len(set(mapped))


def _module(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder).with_suffix(""))


def test_the_files_that_are_named_exist() -> None:
    named = {span for span in spans(PAGE) if span.startswith(("libs/", "services/", "tests/", "deploy/"))}
    missing = {each for each in named if not (ROOT / each).exists()}
    assert missing == set()
