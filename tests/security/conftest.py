"""Edges with an entrance, for every test of this folder."""

from __future__ import annotations

import pytest

from tests.services.edge.auth.issuer import Issuer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()
