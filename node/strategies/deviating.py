"""Which protocol an agent plays if it may have a strategy: the protocol of a run with deviators in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from node.protocols.allocate import allocate
from node.protocols.network.facts import MECHANISMS as NETWORK
from node.protocols.network.life import network
from node.protocols.registry import protocol_of as honest
from node.protocols.scalable import scalable
from node.strategies import build
from node.strategies.answers import answering
from node.strategies.takers import behaving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.part import Part
    from node.protocol import Protocol
    from node.strategies import Strategy

# Where a part says so: beside the private utility, for it is nobody else's business.
KEY = "strategy"


def with_strategy(part: Part, spec: Mapping[str, Any]) -> Part:
    """The same part, of an agent that plays a strategy (see ``node.strategies.build``)."""
    return replace(part, utility={**part.utility, KEY: dict(spec)})


def protocol_of(part: Part, resume: Any = None) -> Protocol:
    """As ``node.protocols.registry.protocol_of``; with the strategy that the part names, if it names one.

    Raises:
        ValueError: as ``node.strategies.build`` and ``deviating``.
    """
    if KEY not in part.utility:
        return honest(part, resume)
    own = dict(part.utility)
    spec = own.pop(KEY)
    return deviating(replace(part, utility=own), build(spec), resume)


def deviating(part: Part, strategy: Strategy, resume: Any = None) -> Protocol:
    """The life of an agent that plays a strategy.

    Raises:
        ValueError: for a mechanism without strategies, and in free mode.
    """
    mechanism = part.contract.get("mechanism")
    if part.free:
        raise ValueError("strategies are played in rounds; expected no free-running agents")
    match mechanism:
        case "private-goods" | "public-goods":
            return allocate(part, resume, answering(part.agent, strategy))
        case "summary":
            return scalable(part, resume, answering(part.agent, strategy))
        case str() if mechanism in NETWORK:
            return network(part, resume, behave=behaving(strategy))
    raise ValueError(f"no strategies for the mechanism {mechanism!r}; expected one that allocates")
