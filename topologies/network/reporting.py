"""Where a mistake in a network scenario is: pydantic's location in the words of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topologies.network.sections import (
    Backbone,
    Flow,
    LinkSection,
    NetworkEnvironment,
    Valuations,
    ValuationSection,
)
from topologies.values import Uniform

if TYPE_CHECKING:
    from pydantic import BaseModel

Keys = tuple[str | int, ...]


def locate_network(loc: Keys) -> tuple[Keys, type[BaseModel]]:
    """The keys of a location that starts with environment, network; and the model of the table it is in."""
    match loc:
        case (_, _, "links", name, *rest) if rest:
            return ("environment", "links", name, *rest), LinkSection
        case (_, _, "flows", name, *rest) if rest:
            return ("environment", "flows", name, *rest), Flow
        case (_, _, "backbone", *rest) if rest:
            return ("environment", "backbone", *rest), Backbone
        case (_, _, "valuations", "agents", name, *rest) if rest:
            return ("environment", "valuations", "agents", name, *rest), ValuationSection
        case (_, _, "valuations", key, "drawn", "uniform", *rest):
            return ("environment", "valuations", key, "uniform", *rest), Uniform
        case (_, _, "valuations", key, "drawn" | "fixed", *rest):
            return ("environment", "valuations", key, *rest), Valuations
        case (_, _, "valuations", *rest) if rest:
            return ("environment", "valuations", *rest), Valuations
    return ("environment", *loc[2:]), NetworkEnvironment
