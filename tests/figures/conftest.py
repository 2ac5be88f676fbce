"""One finished run of every kind, played once in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner import run

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    "private": ("star-9", (), {"lockstep": True}),
    "two-goods": ("bundles-12", (), {"lockstep": True}),
    "public": ("public-tree-31", ("topology.agents=7",), {"lockstep": True}),
    "summary": ("summary-tree-1023", ("topology.agents=127", "record.agents=70"), {"lockstep": True}),
    "network": ("network-microgrid-7", (), {"lockstep": True}),
    "multicast": ("network-multicast-9", ("stopping.tolerance=1e-2",), {"lockstep": True, "plot": True}),
    "consensus": ("consensus-ratio-er-31", ("topology.agents=12",), {"lockstep": True}),
    "exact": ("consensus-minimum-ring-100", ("topology.agents=12",), {"lockstep": True}),
    "counted": ("consensus-tree-path-31", ("topology.agents=7",), {"lockstep": True}),
    "unrecorded": ("consensus-minimum-ring-100", ("topology.agents=5", "record.every=0"), {"lockstep": True}),
    "apart": (
        "consensus-ratio-er-31",
        (
            'topology={generator="path", agents=7}',
            "stopping.tolerance=1e-6",
            'faults.event=[{kind="leave", agents=["a03"], at=0.3}]',
        ),
        {"virtual": True},
    ),
    "directed": ("directed-8", (), {"lockstep": True}),
    "left": (
        "star-9",
        ("recovery.on_down=continue", 'faults.event=[{kind="leave", agents=["a03"], at=0.5}]'),
        {"virtual": True},
    ),
    "free": ("star-9", ("synchrony.mode=free", "topology.agents=5"), {"virtual": True}),
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> its run directory; nobody may change one."""
    folder = tmp_path_factory.mktemp("figures")
    for kind, (scenario, overrides, options) in KINDS.items():
        run(scenario, overrides=overrides, out=folder / kind, **{"plot": False, **options})
    return {kind: folder / kind for kind in KINDS}
