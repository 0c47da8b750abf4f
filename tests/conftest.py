"""What all tests share: the marks ``root``, ``long`` and ``vm``, and what Hypothesis minds."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from requirement import unmet

# A machine that stands still for a moment makes neither a test slow nor its examples.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take minutes too")
    parser.addoption("--vm", action="store_true", help="run the tests in virtual machines too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = [mark for mark in ("long", "vm") if not config.getoption(f"--{mark}")]
    deselected = {item for item in items if any(map(item.get_closest_marker, unwanted))}
    if deselected:
        config.hook.pytest_deselected(items=list(deselected))
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(autouse=True)
def _privileges(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        unmet("root")
