"""Fixtures every test may use: the event loop, free ports, a real bus."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
