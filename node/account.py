"""What an agent tells of itself as plain data: how far it is, what came of it, and what it took."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from node.agent import Agent


def progress(agent: Agent) -> dict[str, Any]:
    """Where an agent stands, for whoever watches."""
    return {
        "state": agent.state,
        "round": agent.round,
        "kind": agent.conversation.kind,
        "free": agent.free,
        "record": agent.telemetry.latest,
        "waiting_for": agent.waiting_for()[:5],
        "suspects": agent.suspects(),
        "absent": dict(sorted(agent.neighbours.absent.items())),
        "not_durable": agent.memory.failure,
        "epoch": agent.epoch,
        **counts(agent),
    }


def counts(agent: Agent) -> dict[str, Any]:
    """What an agent has counted in this life."""
    traffic = agent.traffic
    return {
        "incarnation": agent.incarnation,
        "sent": traffic.sent,
        "sent_bytes": traffic.sent_bytes,
        "received": traffic.received,
        "received_bytes": traffic.received_bytes,
        "resent": traffic.resent,
        "heard_from": dict(traffic.heard_from),
        "rejected": dict(agent.rejected),
        "restarted_by": dict(sorted(agent.restarts.by.items())),
        "first_round_at": agent.first_round_at,
    }


def describe(agent: Agent) -> dict[str, Any]:
    """An agent's result, among whom it was found, and what it took, as plain data."""
    result = None if agent.result is None else asdict(agent.result)
    return {
        "agent": agent.id,
        "result": result,
        "component_size": None if result is None else result.get("agents"),
        "stranded": agent.conversation.stranded,
        "rounds": agent.round + 1,
        "epoch": agent.epoch,
        "neighbours": agent.peers,
        "absent": dict(sorted(agent.neighbours.absent.items())),
        "replayed": agent.conversation.replayed,
        "not_durable": agent.memory.failure,
        **counts(agent),
    }
