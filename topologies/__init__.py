"""What to run: the scenario file format, graph generators, and the bundled scenarios.

The names below load their modules on first use: reading a scenario needs pydantic and networkx, listing
the bundled ones or printing the help of the command line does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topologies.catalog import bundled as bundled
    from topologies.drawing import draw as draw
    from topologies.errors import ScenarioError as ScenarioError
    from topologies.model import Scenario as Scenario
    from topologies.scenario import LoadedScenario as LoadedScenario
    from topologies.scenario import load_scenario as load_scenario

_HOME = {
    "LoadedScenario": "topologies.scenario",
    "Scenario": "topologies.model",
    "ScenarioError": "topologies.errors",
    "bundled": "topologies.catalog",
    "draw": "topologies.drawing",
    "load_scenario": "topologies.scenario",
}

__all__ = ["LoadedScenario", "Scenario", "ScenarioError", "bundled", "draw", "load_scenario"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
