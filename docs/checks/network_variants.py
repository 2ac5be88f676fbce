"""Variants of FAST-PADR's step that were tried to beat it, in matrix form, on unicast instances.

    python docs/checks/network_variants.py

Price moves from price 1 until max |x - x*| / max x* stays below 1e-2, 1e-4, 1e-6; of the random networks of
tests/node/network/instances.py the median and the worst to 1e-6. "-" is more than 400.

    padr         row sums of H = A diag(1/|v''|) A^T over all links, no momentum
    fast         as it is played: row sums over links in use, a restart per link
    newton       the diagonal of H alone
    jacobi       weighted row sums D_l = sum_m H_lm w_m / w_l with w = H_ll^(-1/2)
    secant       D_l = -change of the excess / change of the price, kept between H_ll and the row sum
    neighbours   a link restarts when the links that share an agent with it turn back on the whole
    one restart  all links restart together; needs a sum over the network in every move
    kappa 1.3    a step longer than the bound
    whole H      projected Newton with all of H, known to everybody, and the dual value, with backtracking

Of "whole H": agents whose demand is clipped do not react, so they count with a part of their 1/|v''| only,
0.05 at best. A move is kept if the dual value falls by a tenth of what the model says; else the part grows
fourfold up to 1, and then H is doubled. For some multiple the model bounds the dual function, so every point
is left after finitely many trials, with a sufficient decrease: all limit points are minimisers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.valuations import demand
from node.protocols.network.facts import contract_of
from tests.node.network import instances
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 400
SEEDS = (1, 2, 3, 4, 7, 8, 11, 12, 14, 16, 17, 18)


@dataclass
class Links:
    """Prices of all links and what the variants remember."""

    rows: np.ndarray
    capacities: np.ndarray
    price: np.ndarray = field(init=False)
    before: np.ndarray = field(init=False)
    counter: np.ndarray = field(init=False)
    busy: np.ndarray = field(init=False)
    last: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self) -> None:
        n = len(self.capacities)
        self.price, self.before, self.counter = np.ones(n), np.ones(n), np.ones(n)
        self.busy = np.ones(n, bool)

    def announce(self, variant: str) -> np.ndarray:
        """z."""
        if variant == "padr":
            return self.price
        t, self.counter = self.counter, 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self.counter**2))
        return np.maximum(0.0, self.price + (t - 1.0) / self.counter * (self.price - self.before))


def move(links: Links, z: np.ndarray, y: np.ndarray, spread: np.ndarray, variant: str) -> None:
    """One price move of a variant."""
    excess = links.rows @ y - links.capacities
    hessian = (links.rows * spread) @ links.rows.T
    diagonal, used = np.diag(hessian), (z > 0.0) | links.busy | (variant == "padr")
    weights = diagonal**-0.5 if variant == "jacobi" else np.ones(len(z))
    scale = np.maximum((hessian * used) @ weights / weights, diagonal)
    if variant == "newton":
        scale = diagonal
    if variant == "secant" and links.last is not None:
        dz, de = z - links.last[0], links.last[1] - excess
        ratio = np.divide(de, dz, out=scale.copy(), where=np.abs(dz) > 1e-14)
        scale = np.clip(ratio, diagonal, scale)
    kappa = 1.3 if variant == "kappa 1.3" else 1.0
    new = np.maximum(0.0, z + kappa * excess / scale)
    turned = (new - z) * (new - links.price) * scale
    if variant == "one restart":
        turned = np.full(len(z), turned.sum())
    elif variant == "neighbours":
        turned = (hessian > 0.0) @ turned
    links.counter = np.where(turned < 0.0, 1.0, links.counter)
    links.busy, links.last = excess > 0.0, (z, excess)
    links.before, links.price = links.price, new


def model(hessian: np.ndarray, excess: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, float]:
    """The point >= 0 that minimises the quadratic model of the dual at z, by active sets; its decrease."""
    free = (z > 0.0) | (excess > 0.0)
    d = np.zeros(len(z))
    for _ in range(100):
        d = np.where(free, 0.0, -z)
        right = (excess - hessian @ d)[free]
        d[free] = np.linalg.solve(hessian[np.ix_(free, free)], right)
        below, wanted = free & (z + d < -1e-15), ~free & (hessian @ d - excess < -1e-13)
        if below.any():
            free = free & ~below
        elif wanted.any():
            free = free | wanted
        else:
            break
    return np.maximum(0.0, z + d), float(excess @ d - 0.5 * d @ hessian @ d)


class Newton:
    """The points of "whole H": ``next`` takes the newest one's facts and gives the next."""

    def __init__(self) -> None:
        self.part, self.times, self.promised, self.kept = 0.05, 1.0, 0.0, None

    def next(self, rows: np.ndarray, value: float, facts: tuple[np.ndarray, ...]) -> np.ndarray:
        """facts: z, excess, 1/|v''|, whether the demand is clipped."""
        if self.kept is None or value <= self.kept[0] - 0.1 * self.promised:
            self.kept, self.part, self.times = (value, facts), max(0.05, 0.5 * self.part), 1.0
        elif self.part < 1.0:
            self.part = min(1.0, 4.0 * self.part)
        else:
            self.times *= 2.0
        z, excess, spread, clipped = self.kept[1]
        hessian = self.times * (rows * np.where(clipped, self.part * spread, spread)) @ rows.T
        hessian += 1e-9 * np.diag((rows * spread * rows).sum(axis=1))
        found, self.promised = model(hessian, excess, z)
        return found


VARIANTS = ("padr", "fast", "newton", "jacobi", "secant", "neighbours", "one restart", "kappa 1.3", "whole H")


def rounds(contracts: dict, variant: str, limit: int = LIMIT) -> list[int]:
    """Moves to 1e-2, 1e-4, 1e-6, of so many at most."""
    agents = sorted(contracts)
    named = {name: link for c in contracts.values() for name, link in c.links.items()}
    rows = np.array([[named[n].coefficients.get(i, 0.0) for i in agents] for n in sorted(named)])
    links = Links(rows, np.array([named[n].capacity for n in sorted(named)]))
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    best = np.array([optimum.allocation[i] for i in agents])
    values, most = [contracts[i].valuation for i in agents], [contracts[i].highest for i in agents]
    late, newton, z = [0, 0, 0], Newton(), np.ones(len(rows))
    for k in range(limit):
        z = z if variant == "whole H" else links.announce(variant)
        prices = (rows.T @ z).tolist()
        y = np.array([demand(v, p, 0.0, top) for v, p, top in zip(values, prices, most, strict=True)])
        x = y * (links.capacities / np.maximum(rows @ y, 1e-300)).min()
        off = np.abs(x - best).max() / best.max()
        late = [k + 1 if off >= t else n for n, t in zip(late, (1e-2, 1e-4, 1e-6), strict=True)]
        if off < 1e-9:
            break
        spread = np.array([1.0 / v.curvature(a) for v, a in zip(values, y.tolist(), strict=True)])
        if variant == "whole H":
            value = sum(v.value(a) for v, a in zip(values, y.tolist(), strict=True)) - (rows.T @ z) @ y
            facts = (z, rows @ y - links.capacities, spread, (y <= 0.0) | (y >= np.array(most)))
            z = newton.next(rows, float(value + z @ links.capacities), facts)
        else:
            move(links, z, y, spread, variant)
    return late


def cases() -> Iterator[tuple[str, Callable[[], dict]]]:
    """Name and contracts of every instance."""
    for name in ("corn-5", "abilene-18", "nsfnet-24"):
        loaded = load_scenario(f"network-{name}")
        rules = loaded.contract()
        yield (
            name,
            lambda rules=rules, loaded=loaded: {
                i: contract_of(i, rules, own) for i, own in loaded.utilities.items()
            },
        )
    for seed in SEEDS:
        yield f"random {seed}", lambda seed=seed: instances.random_unicast(seed)


def main() -> None:
    """Print the table."""
    found = {name: {v: rounds(make(), v) for v in VARIANTS} for name, make in cases()}
    known = [name for name in found if not name.startswith("random")]
    sys.stdout.write(
        f"| step | {' | '.join(known)} | random, median | worst |\n|{'---|' * (len(known) + 3)}\n"
    )
    for v in VARIANTS:
        ends = [row[v][2] for name, row in found.items() if name not in known]
        shown = ["/".join(str(n) if n < LIMIT else "-" for n in found[name][v]) for name in known]
        worst = str(max(ends)) if max(ends) < LIMIT else "-"
        sys.stdout.write(f"| {v} | {' | '.join(shown)} | {median(ends):g} | {worst} |\n")


if __name__ == "__main__":
    main()
