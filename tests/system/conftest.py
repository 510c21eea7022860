"""What the system tests share: one event loop for all, and the gateway's log beside a failure."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.system.gateway import Gateway


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A gateway that outlives the test cannot note its log on the failure itself."""
    report = yield
    if report.failed:
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        for value in fixtures.values():
            if isinstance(value, Gateway):
                report.sections.append(("gateway", value.tail()))
    return report
