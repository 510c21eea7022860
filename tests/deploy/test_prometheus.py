"""The alerts and the dashboard: every expression can be parsed, and every name in it is one of ours."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser as promql
import pytest

from libs.common.meters.registry import FAMILIES

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = (PROMETHEUS / "rules.yml").read_text(encoding="utf-8")
ALERTS = re.findall(r"- alert: (\w+)\n +expr: (.+)", RULES)
DASHBOARD = json.loads((ROOT / "deploy/grafana/nexus.json").read_text(encoding="utf-8"))
PANELS = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
]
PARTS = ("_bucket", "_sum", "_count")
SOURCE = {"service", "worker", "le", "job", "instance"}
PROMTOOL = shutil.which("promtool")


def selectors(expression: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Every selector below an expression."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    for part in ("expr", "lhs", "rhs", "vs", "vector_selector", "args"):
        below = getattr(expression, part, None)
        for each in below if isinstance(below, list) else [below]:
            if each is not None:
                yield from selectors(each)


def known() -> dict[str, set[str]]:
    """The names that Prometheus stores, with their labels."""
    names = {"up": set[str]()}
    for family in FAMILIES.values():
        labels = {label.replace(".", "_") for label in family.labels}
        parts = PARTS if family.kind == "histogram" else ("",)
        names |= {f"{family.exposed}{part}": labels for part in parts}
    return names


@pytest.mark.parametrize(("where", "text"), [*ALERTS, *PANELS])
def test_every_name_and_label_in_an_expression_is_ours(where: str, text: str) -> None:
    said = text.replace("$__rate_interval", "5m").replace("$server", ".*")
    found = list(selectors(promql.parse(said)))
    assert found
    names = known()
    labels = set[str]().union(*(names[each.name or ""] for each in found)) | SOURCE
    used = {matcher.name for each in found for matcher in each.matchers.matchers}
    grouped = {name.strip() for group in re.findall(r"by \(([^)]*)\)", said) for name in group.split(",")}
    assert used | grouped <= labels


def test_every_alert_is_tested_to_be_silent_and_to_fire() -> None:
    tests = (ROOT / "tests/deploy/alerts.yml").read_text(encoding="utf-8")
    for name, _ in ALERTS:
        assert f"alertname: {name} }}" in tests
        assert f'alertname="{name}"' in tests


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing_wrong_and_the_alerts_fire_when_they_should() -> None:
    for arguments in (
        ("check", "config", str(PROMETHEUS / "prometheus.yml")),
        ("test", "rules", str(ROOT / "tests/deploy/alerts.yml")),
    ):
        ended = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr
