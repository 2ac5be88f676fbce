"""Variants of FAST-PADR's step that were tried to beat it, in matrix form, on unicast instances.

    python docs/checks/network_variants.py

Price moves from price 1 until max |x - x*| / max x* stays below 1e-2, 1e-4, 1e-6; of the random networks of
tests/node/network/instances.py the median and the worst to 1e-6. "-" is more than 400.

    fast         as it is played: row sums of H = A diag(1/|v''|) A^T over links in use, a restart per link
    newton       the diagonal of H alone
    jacobi       weighted row sums D_l = sum_m H_lm w_m / w_l with w = H_ll^(-1/2)
    secant       D_l = -change of the excess / change of the price, kept between H_ll and the row sum
    neighbours   a link restarts when the links that share an agent with it turn back on the whole
    one restart  all links restart together; needs a sum over the network in every move
    kappa 1.3    a step longer than the bound
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

    def announce(self) -> np.ndarray:
        """z."""
        t, self.counter = self.counter, 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * self.counter**2))
        return np.maximum(0.0, self.price + (t - 1.0) / self.counter * (self.price - self.before))


def move(links: Links, z: np.ndarray, y: np.ndarray, spread: np.ndarray, variant: str) -> None:
    """One price move of a variant."""
    excess = links.rows @ y - links.capacities
    hessian = (links.rows * spread) @ links.rows.T
    diagonal, used = np.diag(hessian), (z > 0.0) | links.busy
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


VARIANTS = ("fast", "newton", "jacobi", "secant", "neighbours", "one restart", "kappa 1.3")


def rounds(contracts: dict, variant: str) -> list[int]:
    """Moves to 1e-2, 1e-4, 1e-6."""
    agents = sorted(contracts)
    named = {name: link for c in contracts.values() for name, link in c.links.items()}
    rows = np.array([[named[n].coefficients.get(i, 0.0) for i in agents] for n in sorted(named)])
    links = Links(rows, np.array([named[n].capacity for n in sorted(named)]))
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    best = np.array([optimum.allocation[i] for i in agents])
    values, most = [contracts[i].valuation for i in agents], [contracts[i].highest for i in agents]
    late = [0, 0, 0]
    for k in range(LIMIT):
        z = links.announce()
        prices = (rows.T @ z).tolist()
        y = np.array([demand(v, p, 0.0, top) for v, p, top in zip(values, prices, most, strict=True)])
        x = y * (links.capacities / np.maximum(rows @ y, 1e-300)).min()
        off = np.abs(x - best).max() / best.max()
        late = [k + 1 if off >= t else n for n, t in zip(late, (1e-2, 1e-4, 1e-6), strict=True)]
        if off < 1e-9:
            break
        spread = np.array([1.0 / v.curvature(a) for v, a in zip(values, y.tolist(), strict=True)])
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
