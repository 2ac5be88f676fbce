"""What an agent of a network mechanism is told, restricted to those that take part.

The result is what ``topologies.network`` would have told it of the same links without the others, the floor
being what it is: a link has the same capacity for fewer users, a group that has one member left is none, and
a link that one agent is left on is dropped if the agent's other links keep it below the capacity anyhow
(spec of chapters 1-3, section 0). Whether what comes out is a game the contract says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from node.protocols.network.widths import width_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Facts = dict[str, Any]


def among(agent: str, rules: Mapping[str, Any], own: Mapping[str, Any], present: Collection[str]) -> Facts:
    """What the agent is told with only these taking part; see ``facts.contract_of`` for the form.

    Args:
        agent: it; one of ``present``.
        rules: the public ones.
        own: what it was told.
        present: ids of all that take part.
    """
    there = frozenset(present)
    kept = dict(own)
    if "rows" in own:
        restricted = {name: _row(facts, there) for name, facts in own["rows"].items()}
        rows = {name: row for name, row in restricted.items() if agent in row["floors"]}
        group = own["group"]
        if group is not None:
            group = {**_routes(group, there), "members": _those(group["members"], there)}
        kept["group"] = group if group is not None and len(group["members"]) > 1 else None
        grouped = kept["group"] is not None
        kept["rows"] = rows if grouped else _without_idle(agent, rules, rows, own["ceiling"])
        channels: Collection[str] = {*kept["rows"], *([kept["group"]["name"]] if grouped else [])}
    else:
        links = {name: _link(facts, there) for name, facts in own["links"].items()}
        kept["links"] = _without_idle(agent, rules, links, None)
        channels = kept["links"]
    kept["relays"] = {
        name: _those(relays, there) for name, relays in own["relays"].items() if name in channels
    }
    forwards = {name: _forward(facts, there) for name, facts in own["forwards"].items()}
    if "rows" in own:
        # It was in some rows only because somebody of its group was, and may be a relay of them.
        for name, row in restricted.items():
            if name not in rows and agent in own["relays"][name]:
                forwards[name] = {
                    "members": sorted(row["floors"]),
                    "relays": _those(own["relays"][name], there),
                    "width": width_of(rules["mechanism"], rules["dynamics"]["rule"]),
                    "users": list(row["coefficients"]),
                    "groups": row["groups"],
                }
    kept["forwards"] = {name: facts for name, facts in forwards.items() if facts["members"]}
    return kept


def _those(ids: Collection[str], there: Collection[str]) -> list[str]:
    return [i for i in ids if i in there]


def _of(values: Mapping[str, Any], there: Collection[str]) -> dict[str, Any]:
    return {i: value for i, value in values.items() if i in there}


def _routes(facts: Mapping[str, Any], there: Collection[str]) -> Facts:
    return {**facts, "routes": _of(facts["routes"], there)} if "routes" in facts else dict(facts)


def _link(facts: Mapping[str, Any], there: Collection[str]) -> Facts:
    kept = {**_routes(facts, there), "coefficients": _of(facts["coefficients"], there)}
    if "groups" in facts:
        kept["groups"] = _of(facts["groups"], there)
    return kept


def _row(facts: Mapping[str, Any], there: Collection[str]) -> Facts:
    coefficients = _of(facts["coefficients"], there)
    groups, carriers = _carriers(coefficients, facts["groups"], there)
    return {
        **_routes(facts, carriers),
        "coefficients": coefficients,
        "floors": _of(facts["floors"], carriers),
        "groups": groups,
    }


def _forward(facts: Mapping[str, Any], there: Collection[str]) -> Facts:
    """A channel that the agent is only a relay of. It must know who its members are as they do: they agree on
    the first one."""
    kept = {**facts, "relays": _those(facts["relays"], there), "members": _those(facts["members"], there)}
    if "users" in facts:
        kept["users"] = _those(facts["users"], there)
        kept["groups"], carriers = _carriers(kept["users"], facts["groups"], there)
        kept["members"] = _those(facts["members"], carriers)
    return kept


def _carriers(
    users: Collection[str], groups: Mapping[str, Collection[str]], there: Collection[str]
) -> tuple[dict[str, list[str]], set[str]]:
    """The groups that a row still concerns, and its carriers: those with a coefficient, and the other members
    of their groups."""
    left = {name: _those(members, there) for name, members in groups.items()}
    kept = {
        name: members
        for name, members in left.items()
        if len(members) > 1 and not set(users).isdisjoint(members)
    }
    return kept, {*users, *(i for members in kept.values() for i in members)}


def _without_idle(
    agent: str, rules: Mapping[str, Any], links: Mapping[str, Facts], ceiling: float | None
) -> dict[str, Facts]:
    """Without the links that the agent alone is left on and that cannot bind.

    With Newton's prices others know of them by the agent's routes, and multicast counts groups: there they
    stay, and the contract refuses them.
    """
    if rules["dynamics"]["rule"] == "newton" or rules["mechanism"] == "multicast":
        return dict(links)
    alone = {name for name, facts in links.items() if set(facts["coefficients"]) == {agent}}
    most = min(
        (
            facts["capacity"] / a
            for name, facts in links.items()
            if name not in alone and (a := facts["coefficients"].get(agent, 0.0)) > 0.0
        ),
        default=math.inf,
    )
    most = min(most, math.inf if ceiling is None else ceiling)
    return {
        name: facts
        for name, facts in links.items()
        if name not in alone or facts["coefficients"][agent] * most > facts["capacity"]
    }
