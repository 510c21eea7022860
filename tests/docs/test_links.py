from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.docs.pages import PAGES, ROOT, links, names, text


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_relative_link_resolves(page: object) -> None:
    path = next(each for each in PAGES if each == page)
    missing = [target for target in links(path) if not (path.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [page for page in names(PAGES) if page.startswith("docs/")])
def test_every_page_is_reached_from_the_readme_or_the_architecture(page: str) -> None:
    entrances = [ROOT / "README.md", ROOT / "ARCHITECTURE.md"]
    reached = {(ROOT / target).resolve() for entrance in entrances for target in links(entrance)}
    path = ROOT / page
    assert path in reached or path.parent in reached


def test_the_picture_tells_its_content_to_those_who_cannot_see_it() -> None:
    picture = ET.fromstring(text("docs/pictures/nexus.svg"))
    said = {child.tag.rpartition("}")[2]: child.text or "" for child in picture}
    assert said["title"]
    assert said["desc"]
