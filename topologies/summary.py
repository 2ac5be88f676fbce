"""Summary scenarios: what their sections mean together, and what the graph must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.mechanisms.summary.variants import CAP
from topologies.errors import Invalid, Problem, shown
from topologies.model import PublicEnvironment, SummaryMechanism

if TYPE_CHECKING:
    import networkx as nx

    from topologies.model import Scenario


def check_rules(spec: Scenario) -> None:
    """Whether the sections of a summary scenario belong together.

    Raises:
        Invalid: naming the key that does not.
    """
    mechanism = spec.mechanism
    assert isinstance(mechanism, SummaryMechanism)
    if isinstance(spec.environment, PublicEnvironment) and mechanism.variant != "anchored":
        raise Invalid(
            Problem(
                "mechanism.variant",
                f"got {shown(mechanism.variant)}",
                '"anchored", because environment.kind = "public-goods"',
            )
        )


def check_graph(spec: Scenario, graph: nx.DiGraph, directed: bool) -> None:
    """Whether agents can build a tree on this graph and share weights on it.

    Raises:
        Invalid: for directed edges, and for a cap with which the weights of so few agents cannot sum to 1.
    """
    mechanism = spec.mechanism
    assert isinstance(mechanism, SummaryMechanism)
    if directed:
        raise Invalid(
            Problem(
                "topology",
                "has edges of one direction",
                "an undirected graph; the spanning tree of the summary mechanism carries sums both ways on "
                "every edge",
            )
        )
    if mechanism.cap is not None and mechanism.cap * len(graph) < 1:
        raise Invalid(
            Problem(
                "mechanism.cap",
                f"got {shown(mechanism.cap)} for {len(graph)} agents",
                f"at least 1/N = {1 / len(graph):.6g}: the weights have to sum to 1",
            )
        )


def contract(spec: Scenario, shared: dict[str, Any]) -> dict[str, Any]:
    """The part of the public rules that is the mechanism's own.

    Args:
        spec: the scenario.
        shared: the rules that all allocations have, which come behind the name.
    """
    mechanism = spec.mechanism
    assert isinstance(mechanism, SummaryMechanism)
    cap = {"cap": CAP if mechanism.cap is None else mechanism.cap}
    return {
        "mechanism": "summary",
        **shared,
        "variant": mechanism.variant,
        "parameters": mechanism.parameters,
        **(cap if mechanism.variant == "weighted" else {}),
        **({"delta": mechanism.delta} if mechanism.delta is not None else {}),
        **({"unguaranteed": True} if mechanism.unguaranteed else {}),
    }
