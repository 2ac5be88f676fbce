"""Real faults, and the same proof as in ``tests.processes`` that nothing outlives its test."""

from __future__ import annotations

import sys

import pytest

from tests.broker.conftest import Client
from tests.processes.conftest import _adoption, _no_process_outlives_its_test, spy
from tests.processes.stage import strike_in_rounds

__all__ = ["Client", "_adoption", "_no_process_outlives_its_test", "spy"]


@pytest.fixture(autouse=True)
def _in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """``at`` of every fault is a round."""
    strike_in_rounds(monkeypatch)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All but the pure tests start processes and need Linux's process table."""
    for item in items:
        path = item.path.as_posix()
        if "tests/chaos" in path and "test_packets" not in path:
            item.add_marker(pytest.mark.broker)
            item.add_marker(pytest.mark.processes)
            if not sys.platform.startswith("linux"):
                item.add_marker(pytest.mark.skip(reason="reads /proc"))
