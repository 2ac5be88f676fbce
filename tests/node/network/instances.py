"""Small instances of the network mechanisms, one a kind, and random unicast networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network.linear import Linear
from node.mechanisms.network.links import Link
from node.mechanisms.network.multicast import Multicast
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.rows import Group, Row
from node.mechanisms.network.takers import taker
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import AlphaFair, Exponential, Log, Quadratic, SquareRoot

if TYPE_CHECKING:
    from typing import Any

    from node.mechanisms.network.taker import Taker
    from node.mechanisms.network.valuations import Valuation

FIVE = tuple(f"a{k}" for k in range(1, 6))
VALUES: dict[str, Valuation] = dict(
    zip(
        FIVE,
        (Log(3.0), Exponential(4.0), SquareRoot(6.0), Log(4.0), AlphaFair(3.0, 2.0)),
        strict=True,
    )
)


def corn(**rules: Any) -> dict[str, Unicast]:
    """One link of capacity 4, five agents, four families."""
    link = Link("corn", 4.0, dict.fromkeys(FIVE, 1.0))
    return {i: Unicast(i, v, [link], **rules) for i, v in VALUES.items()}


def published_corn(**rules: Any) -> dict[str, Unicast]:
    """One link of capacity 1, found by searching round numbers with which the published figures come out
    (spec of chapters 1-3, sections 5, 5b and 6); the data of the published instance are not known."""
    link = Link("corn", 1.0, dict.fromkeys(FIVE, 1.0))
    values = (Log(2.0, 0.3), Log(1.0, 0.1), Log(0.8, 0.05), Exponential(1.2, 0.3), SquareRoot(3.0, 0.2))
    return {i: Unicast(i, v, [link], **rules) for i, v in zip(FIVE, values, strict=True)}


def line(**rules: Any) -> dict[str, Unicast]:
    """Three links in a row, unequal coefficients; flows over one, two or all of them."""
    links = [
        Link("l1", 3.0, {"a1": 1.0, "a2": 1.5, "a3": 1.0}),
        Link("l2", 2.0, {"a1": 1.0, "a3": 0.8, "a4": 1.0, "a5": 1.0}),
        Link("l3", 5.0, {"a1": 1.0, "a5": 2.0}),
    ]
    return {
        i: Unicast(i, v, [link for link in links if i in link.coefficients], **rules)
        for i, v in VALUES.items()
    }


def tree(**rules: Any) -> dict[str, Multicast]:
    """Two links, three groups of two, two and one receiver."""
    of = {"a1": "A", "a2": "A", "a3": "B", "a4": "B", "a5": "C"}
    links = [
        Link("l1", 2.0, dict.fromkeys(FIVE, 1.0), of),
        Link("l2", 1.0, {"a1": 1.0, "a2": 1.5, "a3": 1.0, "a4": 1.0}, {i: of[i] for i in FIVE[:4]}),
    ]
    return {
        i: Multicast(i, v, [link for link in links if i in link.coefficients], **rules)
        for i, v in VALUES.items()
    }


def five(**rules: Any) -> dict[str, Linear]:
    """One row of five agents, one of them with a quadratic utility."""
    row = Row("row", 4.0, {i: 1.0 + 0.3 * k for k, i in enumerate(FIVE)}, dict.fromkeys(FIVE, 0.001))
    values = {**VALUES, "a2": Quadratic(-1.0, 4.0), "a5": AlphaFair(6.0, 2.0)}
    return {i: Linear(i, v, [row], floor=0.001, **rules) for i, v in values.items()}


def local_goods(**rules: Any) -> dict[str, Linear]:
    """Three agents share a public good of which one wants little; two single agents."""
    group = Group("g", ("a1", "a2", "a3"))
    floors = dict.fromkeys(FIVE, 0.01)
    rows = [
        Row("r1", 3.0, {"a1": 0.5, "a2": 0.3, "a3": 0.2, "a4": 1.0, "a5": 2.0}, floors, (group,)),
        Row("r2", 2.0, {"a4": 1.0, "a5": 1.0, "a2": 1.0}, floors, (group,)),
    ]
    values = {**VALUES, "a2": Quadratic(-1.0, 1.0), "a5": AlphaFair(6.0, 2.0)}
    return {
        i: Linear(i, v, rows, group if i in group.members else None, floor=0.01, **rules)
        for i, v in values.items()
    }


def random_unicast(seed: int, **rules: Any) -> dict[str, Unicast]:
    """Up to 12 flows over up to 6 links, three families; every link has at least two flows."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(4, 13)), int(rng.integers(1, 7))
    names = [f"f{k:02d}" for k in range(n)]
    on = rng.random((m, n)) < 0.4
    for row in on:
        while row.sum() < 2:
            row[rng.integers(n)] = True
    for k in range(n):
        if not on[:, k].any():
            on[rng.integers(m), k] = True
    links = [
        Link(
            f"l{q}",
            float(rng.uniform(0.5, 5.0)),
            {names[k]: float(rng.uniform(0.5, 2.0)) for k in range(n) if on[q, k]},
        )
        for q in range(m)
    ]
    families = (Log, Exponential, SquareRoot)
    return {
        i: Unicast(
            i,
            families[int(rng.integers(3))](float(rng.uniform(1.0, 5.0)), float(rng.uniform(0.5, 2.0))),
            [link for link in links if i in link.coefficients],
            **rules,
        )
        for i in names
    }


def random_linear(seed: int, **rules: Any) -> dict[str, Linear]:
    """Up to 10 agents under up to 4 rows, in up to two groups of two to four, some of whose coefficients are
    negative. Four families, one of which falls for large amounts."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(5, 11)), int(rng.integers(1, 5))
    names, floor = [f"a{k:02d}" for k in range(n)], 1e-3
    groups, at = list[Group](), 0
    for k in range(int(rng.integers(0, 3))):
        size = min(int(rng.integers(2, 5)), n - 2 - at)
        if size >= 2:
            groups.append(Group(f"g{k}", tuple(names[at : at + size])))
            at += size
    of = {i: group for group in groups for i in group.members}
    units = [group.members for group in groups] + [(i,) for i in names if i not in of]
    on = rng.random((m, len(units))) < 0.5
    for line in on:
        while line.sum() < 2:
            line[rng.integers(len(units))] = True
    for k in range(len(units)):
        on[rng.integers(m), k] |= not on[:, k].any()
    rows = []
    for q in range(m):
        coefficients = {}
        for k in np.flatnonzero(on[q]):
            for j in units[k]:
                coefficients[j] = float(rng.uniform(0.5, 2.0))
            if len(units[k]) > 1:
                coefficients[units[k][0]] = float(rng.uniform(-0.4, -0.1))
        grouped = tuple(group for group in groups if set(group.members) & set(coefficients))
        rows.append(
            Row(f"r{q}", float(rng.uniform(1.0, 5.0)), coefficients, dict.fromkeys(names, floor), grouped)
        )
    families = (Log, Exponential, SquareRoot)
    found = {}
    for i in names:
        kind, w, s = int(rng.integers(4)), float(rng.uniform(3.0, 8.0)), float(rng.uniform(0.3, 1.0))
        value = families[kind](w, s) if kind < 3 else Quadratic(-s, w)
        own = [row for row in rows if i in row.carriers]
        found[i] = Linear(i, value, own, of.get(i), floor=floor, **rules)
    return found


def random_multicast(seed: int, **rules: Any) -> dict[str, Multicast]:
    """Up to 10 receivers in two to four groups on up to 5 links, three families; two groups on every link."""
    rng = np.random.default_rng(seed)
    n, m, k = int(rng.integers(4, 11)), int(rng.integers(1, 6)), int(rng.integers(2, 5))
    names = [f"m{q:02d}" for q in range(n)]
    of = {i: f"g{q % k}" for q, i in enumerate(names)}
    on = rng.random((m, n)) < 0.5
    for line in on:
        while len({of[names[q]] for q in np.flatnonzero(line)}) < 2:
            line[rng.integers(n)] = True
    for q in range(n):
        on[rng.integers(m), q] |= not on[:, q].any()
    links = []
    for q in range(m):
        weights = {names[j]: float(rng.uniform(0.5, 2.0)) for j in np.flatnonzero(on[q])}
        links.append(Link(f"l{q}", float(rng.uniform(0.5, 5.0)), weights, {i: of[i] for i in weights}))
    families = (Log, Exponential, SquareRoot)
    return {
        i: Multicast(
            i,
            families[int(rng.integers(3))](float(rng.uniform(1.0, 5.0)), float(rng.uniform(0.5, 2.0))),
            [link for link in links if i in link.coefficients],
            **rules,
        )
        for i in names
    }


def newton_takers(contracts: dict[str, Any]) -> dict[str, Taker]:
    """Agents whose prices move by Newton, told each other's constraints."""
    every = {name: link for c in contracts.values() for name, link in _channels(c).items()}
    routes = {
        i: {name: link.coefficients[i] for name, link in every.items() if i in link.coefficients}
        for i in contracts
    }
    found = {}
    for i, c in contracts.items():
        told = {name: {j: routes[j] for j in _members(link)} for name, link in _channels(c).items()}
        if isinstance(c, Linear) and c.group is not None:
            told[c.group.name] = {j: routes[j] for j in c.group.members}
        found[i] = taker(c, Dynamics("newton"), told)
    return found


def _channels(contract: Any) -> dict[str, Any]:
    return contract.rows if isinstance(contract, Linear) else contract.links


def _members(link: Any) -> Any:
    return link.carriers if isinstance(link, Row) else link.members
