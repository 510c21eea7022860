"""docs/observability.md has every metric, and none that does not exist."""

from __future__ import annotations

import pytest

from libs.common.meters import families
from libs.common.meters.registry import FAMILIES
from tests.docs.pages import rows, spans, text

assert families
ROWS = {
    spans(cells[0])[0]: cells
    for cells in rows(text("docs/observability.md"))
    if len(cells) == 5 and cells[2] in ("counter", "gauge", "histogram")
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_metric_has_its_row_with_its_type_and_its_labels(name: str) -> None:
    family = FAMILIES[name]
    cells = ROWS[family.exposed]
    labels = [label.replace(".", "_") for label in family.labels]
    assert (spans(cells[1]), cells[2], spans(cells[3])) == ([name], family.kind, labels)


def test_no_row_shows_a_metric_that_does_not_exist() -> None:
    assert set(ROWS) == {family.exposed for family in FAMILIES.values()}
