from __future__ import annotations

import pytest

from tests.libs.common.config.conftest import TIME, Read, Wrong

ALONE = f'server.health.listen = "127.0.0.1:9000"\n{TIME}'
VARIABLE = "NEXUS_MCP_METRICS_ENABLED"


@pytest.mark.parametrize(
    ("text", "said", "measured"),
    [
        (TIME, None, False),
        (ALONE, None, True),
        (f"server.metrics.enabled = true\n{TIME}", None, True),
        (f"server.metrics.enabled = false\n{ALONE}", None, False),
        (f"server.health.enabled = false\n{ALONE}", None, False),
        (TIME, "1", True),
        (TIME, "true", True),
        (ALONE, "false", False),
        (f"server.metrics.enabled = true\n{TIME}", "0", False),
        (ALONE, "", True),
    ],
)
def test_metrics_are_where_health_is_alone_or_where_somebody_says_so(
    read: Read, text: str, said: str | None, measured: bool
) -> None:
    assert read(text, env={} if said is None else {VARIABLE: said}).server.measured is measured


def test_a_variable_that_is_neither_yes_nor_no_is_told(wrong: Wrong) -> None:
    (line,) = wrong(TIME, env={VARIABLE: "maybe"})
    assert line == f'server.metrics.enabled: the variable {VARIABLE} is neither "true" nor "false"'
