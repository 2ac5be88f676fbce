"""The figures of docs/errata-networks.md: printed and corrected formulas side by side, on small instances.

    python docs/checks/errata_networks.py [E1 E2 ...]

Formulas are written out here from the printed text and from the corrections; the project's contracts are used
where a whole game is needed (E1, E2, E5, E12), with the printed rule switched on or off.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

from node.mechanisms.network import checks, strategic
from node.mechanisms.network.links import Link
from node.mechanisms.network.multicast import Multicast, ring
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import gather, play
from node.mechanisms.network.takers import taker
from node.mechanisms.network.unicast import Unicast, limit
from node.mechanisms.network.valuations import AlphaFair, Exponential, Log, SquareRoot

NAMES = ("a1", "a2", "a3", "a4", "a5")
VALUES = dict(
    zip(NAMES, (Log(3.0), Exponential(4.0), SquareRoot(6.0), Log(4.0), AlphaFair(3.0, 2.0)), strict=True)
)


def tree(printed: bool) -> dict[str, Multicast]:
    """Two links, three groups."""
    of = {"a1": "A", "a2": "A", "a3": "B", "a4": "B", "a5": "C"}
    links = [
        Link("l1", 2.0, dict.fromkeys(NAMES, 1.0), of),
        Link("l2", 1.0, {"a1": 1.0, "a2": 1.5, "a3": 1.0, "a4": 1.0}, {i: of[i] for i in NAMES[:4]}),
    ]
    return {
        i: Multicast(i, v, [link for link in links if i in link.coefficients], printed=printed)
        for i, v in VALUES.items()
    }


def line(eta: float) -> dict[str, Unicast]:
    """Three links in a row."""
    links = [
        Link("l1", 3.0, {"a1": 1.0, "a2": 1.5, "a3": 1.0}),
        Link("l2", 2.0, {"a1": 1.0, "a3": 0.8, "a4": 1.0, "a5": 1.0}),
        Link("l3", 5.0, {"a1": 1.0, "a5": 2.0}),
    ]
    return {
        i: Unicast(i, v, [link for link in links if i in link.coefficients], eta=eta, strong=False)
        for i, v in VALUES.items()
    }


def e1() -> tuple[float, float]:
    """Largest gain of inflating q2 at the claimed multicast equilibrium, with strong balance."""
    gains = []
    for printed in (True, False):
        contracts = tree(printed)
        takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
        tables = next(itertools.islice(play(takers), 150, None)).tables
        every, best = strategic.limits(contracts, tables), 0.0
        for i, c in contracts.items():
            own, rest = {n: tables[n] for n in c.channels}, strategic.rest_of(c, every)
            now = strategic.payoff(c, own, rest)
            for name, link in c.links.items():
                if ring(c.groups[name], link, i)[0] == i:
                    continue
                for factor in np.linspace(0.0, 10.0, 101).tolist():
                    quotes = {n: tuple(t[i]) for n, t in own.items()}
                    y, q1, q2, *tail = quotes[name]
                    quotes[name] = (y, q1, q2 * factor, *tail)
                    best = max(best, strategic.payoff(c, own, rest, quotes) - now)
        gains.append(best)
    return gains[0], gains[1]


def e2() -> tuple[float, float]:
    """Largest gain at the claimed unicast equilibrium: eta = 3, which the text allows, and eta = 0.02."""
    gains = []
    for eta in (3.0, 0.02):
        contracts = line(eta)
        optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
        tables = gather(checks.equilibrium(contracts, optimum))
        gains.append(max(checks.deviations(contracts, tables).values()))
    return gains[0], gains[1]


def e3() -> tuple[float, float]:
    """|second difference of -zeta (rho - r)^2 - claimed second derivative|, zeta = 3: -2 and -2 zeta."""
    zeta, r, h = 3.0, 0.7, 1e-3

    def gain(rho: float) -> float:
        return -zeta * (rho - r) ** 2

    second = (gain(r + h) - 2 * gain(r) + gain(r - h)) / h**2
    return abs(second - -2.0), abs(second - -2.0 * zeta)


def e5() -> tuple[float, float]:
    """Jump of x_b as the demand of a second agent falls from 1e-12 to 0, and from 2e-12 to 1e-12."""
    link = Link("l", 2.0, {"a": 1.0, "b": 1.0})
    x = [limit(link, {"a": y, "b": 1.0}) for y in (0.0, 1e-12, 2e-12)]
    return abs(x[1] - x[0]), abs(x[2] - x[1])


def e4() -> tuple[float, float]:
    """Maxima beyond the first of a function of two variables whose only critical points are maxima; and the
    largest gain at the unicast equilibrium with an eta that the direct bound allows.

    The function is -(x^2 - 1)^2 - (x^2 y - x - 1)^2, with critical points (1, 2) and (-1, 0).
    """

    def f(at: np.ndarray) -> float:
        x, y = at
        return float(-((x**2 - 1) ** 2) - (x**2 * y - x - 1) ** 2)

    h, axes, maxima = 1e-4, np.eye(2), 0
    for at in (np.array([1.0, 2.0]), np.array([-1.0, 0.0])):
        slope = [(f(at + h * e) - f(at - h * e)) / (2 * h) for e in axes]
        curved = [
            [
                (f(at + h * (e + d)) - f(at + h * (e - d)) - f(at - h * (e - d)) + f(at - h * (e + d)))
                for d in axes
            ]
            for e in axes
        ]
        bent = np.linalg.eigvalsh(np.array(curved) / (4 * h * h)).max()
        maxima += max(map(abs, slope)) < 1e-6 and bent < -1e-3
    contracts = line(0.02)
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    contracts = line(checks.eta_bound(contracts, optimum))
    tables = gather(checks.equilibrium(contracts, optimum))
    return float(maxima - 1), max(checks.deviations(contracts, tables).values())


def e6() -> tuple[float, float]:
    """Tax of an agent that demands nothing where nobody does, with rho = 0: r = c/0 as printed, and r = 0."""
    link, names = Link("l", 2.0, {"a": 1.0, "b": 1.0}), ("a", "b")
    contracts = {i: Unicast(i, Log(1.0), [link]) for i in names}
    tables = {"l": dict.fromkeys(names, (0.0, 1.0, 0.0))}
    least = limit(link, dict.fromkeys(names, 0.0))
    c = contracts["a"]
    return c.zeta * (0.0 - least) ** 2 if least < 1e150 else float("inf"), c.share(
        tables, c.factor(least)
    ).tax


def e9() -> tuple[float, float]:
    """|dx_i/dy_i by differences - formula|: (3.40c) without and with its denominator."""
    y, a, c, theta, i, h = np.array([2.0, 3.0, 1.5]), np.array([1.0, 0.5, 2.0]), 3.0, 0.1, 1, 1e-6

    def x(y: np.ndarray) -> float:
        alpha = (c - a.sum() * theta) / (a @ (y - theta))
        return float(theta + alpha * (y[i] - theta))

    step = np.eye(3)[i] * h
    slope = (x(y + step) - x(y - step)) / (2 * h)
    total = a @ (y - theta)
    alpha = (c - a.sum() * theta) / total
    rest = total - a[i] * (y[i] - theta)
    return abs(alpha * rest - slope), abs(alpha * rest / total - slope)


def e12() -> tuple[float, float]:
    """|sum of taxes| / sum of |taxes| with balance off the equilibrium: demands outside C and inside."""
    from node.mechanisms.network.linear import Linear
    from node.mechanisms.network.rows import Row

    row = Row("r", 4.0, dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 0.02))
    contracts = {i: Linear(i, v, [row], floor=0.02, balance="everywhere", eta=0.1) for i, v in VALUES.items()}
    found = []
    for scale in (2.0, 1.0):
        table = {i: (0.2 * scale * (k + 1), k + 1.0) for k, i in enumerate(NAMES)}
        factor = contracts["a1"].factor(min(strategic.limits(contracts, {"r": table}).values()))
        total, size = checks.balance({i: c.share({"r": table}, factor) for i, c in contracts.items()})
        found.append(abs(total) / size)
    return found[0], found[1]


def e11() -> tuple[float, float]:
    """|sum of taxes| / sum of sizes on the first of five rows: redistribution with A_kl and with A_lk."""
    from node.mechanisms.network.balance import everywhere, powers

    rng = np.random.default_rng(0)
    matrix, y, p, eta = rng.uniform(0.5, 1.5, (5, 5)), rng.uniform(0.1, 0.5, 5), rng.uniform(1.0, 3.0, 5), 0.1
    capacity, found = 4.0, []
    slack = capacity - float(matrix[0] @ y)
    assert slack > 0.0
    for coefficients in (matrix[:, 0], matrix[0]):
        taxes = []
        for i in range(5):
            others = [j for j in range(5) if j != i]
            mean = p[others].mean()
            tax = matrix[0, i] * y[i] * mean + (p[i] - mean) ** 2 + eta * mean * p[i] * slack**2
            loads = [float(coefficients[j] * y[j]) for j in others]
            sums = powers([float(p[j]) for j in others], loads)
            taxes.append(tax - everywhere(5, sums, capacity, eta))
        found.append(abs(sum(taxes)) / sum(map(abs, taxes)))
    return found[0], found[1]


def e13() -> tuple[float, float]:
    """Distance from the optimum of a profile that nobody gains by leaving: a capped public good; refused."""
    from node.mechanisms.network.rows import Group, Row

    # Two agents, v = x - x^2, so x* = 0.5 below the cap of 1; demands of 10 each, all prices 0, no taxes.
    gains = []
    for mine in np.geomspace(0.01, 100.0, 200).tolist():
        x = min(1.0, 0.5 * (10.0 + mine))
        gains.append((x - x * x) - 0.0)  # at x = 1 everybody has 0
    off = 0.5 if max(gains) <= 0.0 else 0.0
    try:
        Row("cap", 1.0, {"a": 0.5, "b": 0.5}, {"a": 0.01, "b": 0.01}, (Group("g", ("a", "b")),))
    except ValueError:
        return off, 0.0  # such a row is refused, so there is nothing to be off from
    return off, off


ROWS = {
    "E1": ("multicast: gain of inflating the successor's price", e1),
    "E2": ("unicast: gain at the equilibrium, eta 3 and 0.02", e2),
    "E3": ("strong balance: error of the second derivative in rho", e3),
    "E4": ("maxima beyond one though all extrema are; gain under the bound", e4),
    "E5": ("allocation's jump where a second demand vanishes, and near by", e5),
    "E6": ("nobody demands: tax of an agent, r = c/0 and r = 0", e6),
    "E9": ("linear: error of dx/dy, (3.40c)", e9),
    "E11": ("balance off the equilibrium: |sum| / sizes, A_kl and A_lk", e11),
    "E12": ("balance off the equilibrium: |sum| / sum of sizes", e12),
    "E13": ("capped public good: an equilibrium's distance from the optimum", e13),
}


def main() -> None:
    """Print printed against corrected, for all or for those named."""
    for name in sys.argv[1:] or ROWS:
        words, check = ROWS[name]
        printed, corrected = check()
        sys.stdout.write(f"{name:4} {words:62} {printed:10.1e} {corrected:10.1e}\n")


if __name__ == "__main__":
    main()
