"""From an agent's part to its side of the contract and its channels.

An agent is told its own links and nothing of the others': what the scenario calls ``utility`` holds its
private valuation, the public facts of its links, and the channels that it forwards for others.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.linear import Linear
from node.mechanisms.network.links import Link
from node.mechanisms.network.multicast import Multicast
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.rows import Group, Row
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import build
from node.protocols.network.restriction import among
from node.protocols.network.tables import Channel
from node.protocols.network.widths import GROUP_QUOTED, GROUP_WIDTH, QUOTED, width_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from node.part import Part

MECHANISMS = ("unicast", "multicast", "linear")


@dataclass(frozen=True, slots=True)
class Own:
    """What an agent plays with.

    Attributes:
        contract: its side of the mechanism.
        channels: those it is a member or a relay of, by name.
        widths, quoted: channel -> numbers of an entry, and of a quote.
        prints: own channel -> a fingerprint of its public facts, a whole number below 2^48.
        routes: own channel -> member -> that member's links or rows and its coefficients there; where the
            facts have them.
    """

    contract: Unicast | Multicast | Linear
    channels: Mapping[str, Channel]
    widths: Mapping[str, int]
    quoted: Mapping[str, int]
    prints: Mapping[str, float]
    routes: Mapping[str, Mapping[str, Mapping[str, float]]] | None


def contract_of(agent: str, rules: Mapping[str, Any], own: Mapping[str, Any]) -> Unicast | Multicast | Linear:
    """One agent's side of the mechanism.

    Args:
        agent: its id.
        rules: ``mechanism``; ``balance``: "weak", "strong" (chapters 1, 2), "equilibrium" or "everywhere"
            (chapter 3); ``eta``; ``zeta`` (1, 2); ``xi`` (2).
        own: ``valuation``, a spec for ``valuations.build``; ``links``: name -> ``capacity``,
            ``coefficients``, for multicast ``groups``; for linear ``rows``: name -> ``capacity``,
            ``coefficients``, ``floors``, ``groups`` (name -> members), and ``group`` (``name``, ``members``)
            or None, ``floor``, ``ceiling`` or None. With the rule "newton" links, rows and group have
            ``routes``, too (member -> link or row -> coefficient), but not in multicast.
    Raises:
        ValueError: for an unknown mechanism or balance, and for all that the mechanism refuses.
    """
    mechanism, balance = rules["mechanism"], rules["balance"]
    valuation = build(own["valuation"])
    if mechanism not in MECHANISMS:
        raise ValueError(f"unknown mechanism {mechanism!r}; expected one of {', '.join(MECHANISMS)}")
    if mechanism == "linear":
        rows = [
            Row(
                name,
                facts["capacity"],
                facts["coefficients"],
                facts["floors"],
                tuple(Group(k, tuple(members)) for k, members in facts["groups"].items()),
            )
            for name, facts in own["rows"].items()
        ]
        group = own["group"]
        return Linear(
            agent,
            valuation,
            rows,
            None if group is None else Group(group["name"], tuple(group["members"])),
            floor=own["floor"],
            ceiling=own["ceiling"],
            balance=balance,
            eta=rules["eta"],
        )
    if balance not in ("weak", "strong"):
        raise ValueError(f"{mechanism}: unknown balance {balance!r}; expected 'weak' or 'strong'")
    links = [
        Link(name, facts["capacity"], facts["coefficients"], facts.get("groups"))
        for name, facts in own["links"].items()
    ]
    strong, eta, zeta = balance == "strong", rules["eta"], rules["zeta"]
    if mechanism == "unicast":
        return Unicast(agent, valuation, links, strong=strong, eta=eta, zeta=zeta)
    return Multicast(agent, valuation, links, strong=strong, eta=eta, xi=rules["xi"], zeta=zeta)


def dynamics_of(rules: Mapping[str, Any]) -> Dynamics:
    """The price dynamics of ``rules["dynamics"]``: rule, kappa, gamma, start; beside these it has moves."""
    chosen = rules["dynamics"]
    return Dynamics(chosen["rule"], chosen["kappa"], chosen["gamma"], chosen["start"])


def own_of(part: Part, present: Collection[str] | None = None) -> Own:
    """What the agent of a part plays with.

    Args:
        part: what it was told.
        present: those that take part; None: all that its links name.
    Raises:
        ValueError: as ``contract_of``.
    """
    rules, own = part.contract, part.utility
    if present is not None:
        own = among(part.agent, rules, own, present)
    contract = contract_of(part.agent, rules, own)
    relays = {name: tuple(sorted(agents)) for name, agents in own["relays"].items()}
    channels: dict[str, Channel] = {}
    widths: dict[str, int] = {}
    prints: dict[str, float] = {}
    newton = rules["dynamics"]["rule"] == "newton"
    for name in contract.channels:
        widths[name] = width_of(rules["mechanism"], rules["dynamics"]["rule"])
        if isinstance(contract, Linear):
            if name in contract.rows:
                members, facts = contract.rows[name].carriers, own["rows"][name]
            else:
                assert contract.group is not None
                members, facts, widths[name] = contract.group.members, own["group"], GROUP_WIDTH + newton
        else:
            members, facts = contract.links[name].members, own["links"][name]
        channels[name] = Channel(name, members, relays.get(name, ()))
        prints[name] = fingerprint({"facts": facts, "relays": relays.get(name, ())})
    for name, facts in own["forwards"].items():
        channels[name] = Channel(name, tuple(sorted(facts["members"])), tuple(sorted(facts["relays"])))
        widths[name] = facts["width"]
    told = own["rows"] if isinstance(contract, Linear) else own["links"]
    if isinstance(contract, Linear) and contract.group is not None:
        told = {**told, contract.group.name: own["group"]}
    routes = {name: facts["routes"] for name, facts in told.items() if "routes" in facts}
    quoted = dict.fromkeys(channels, QUOTED[rules["mechanism"]])
    if isinstance(contract, Linear) and contract.group is not None:
        quoted[contract.group.name] = GROUP_QUOTED
    ordered = {name: channels[name] for name in sorted(channels)}
    return Own(contract, ordered, widths, quoted, prints, routes or None)


def fingerprint(facts: Any) -> float:
    """A whole number below 2^48 that is equal for equal facts, and differs otherwise with near certainty."""
    content = json.dumps(facts, sort_keys=True, allow_nan=False)
    return float(int.from_bytes(hashlib.sha256(content.encode()).digest()[:6], "big"))
