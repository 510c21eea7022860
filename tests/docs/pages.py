"""The documentation as data: pages, tables, code blocks, links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHELLS = ("bash", "console")

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


def text(name: str) -> str:
    """A page, by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def blocks(*languages: str) -> list[tuple[str, str]]:
    """(page, code) of every fenced block in one of `languages`."""
    return [
        (str(page.relative_to(ROOT)), code)
        for page in PAGES
        for language, code in _BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def links(page: Path) -> list[str]:
    """Targets within the repository, without their fragments."""
    found = _LINK.findall(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    return [
        target.partition("#")[0] for target in found if "://" not in target and not target.startswith("#")
    ]


def rows(markdown: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("| ")
    ]


def section(markdown: str, title: str) -> str:
    """What stands under a heading, to the next heading of any level."""
    return re.split(r"^#+ ", markdown.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def spans(markdown: str) -> list[str]:
    """What stands between single backticks."""
    return _SPAN.findall(_BLOCK.sub("", markdown))


def commands(program: str) -> list[tuple[str, str]]:
    """(page, command line) of every line in a shell block that begins with `program`."""
    return [
        (page, line.removeprefix("$ "))
        for page, code in blocks(*SHELLS)
        for line in code.splitlines()
        if line.removeprefix("$ ").split(" ")[0] == program
    ]
