"""Second accounts of the formulas, written from the thesis and not from the code."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from node.mechanisms.network.unicast import Unicast


def off_equilibrium(p: Sequence[float], z: Sequence[float], i: int, c: float, eta: float) -> float:
    """f_i of (3.28) and (3.29) as double sums over the others, with z_k for A_lk y_k."""
    n = len(p)
    others = [j for j in range(n) if j != i]
    pbar = sum(p[j] for j in others) / (n - 1)
    f1 = sum(z[j] * (pbar - p[j] / (n - 1)) for j in others) / (n - 2)
    pairs = list(itertools.combinations(others, 2))
    f2 = n / ((n - 1) ** 2 * (n - 2)) * sum((p[k] - p[m]) ** 2 for k, m in pairs)
    f3a = 2 * c**2 / ((n - 1) * (n - 2)) * sum(p[k] * p[m] for k, m in pairs)

    def phi(k: int) -> float:
        return z[k] ** 2 - 2 * c * z[k]

    f3b = 0.0
    for j, q in pairs:
        f3b += sum(p[j] * p[q] * phi(k) for k in others if k not in (j, q)) / (n - 3)
        f3b += (p[j] * p[q] * phi(j) + p[j] * p[q] * phi(q)) / (n - 2)
    f3b *= 2 / (n - 1)
    f3c = 0.0
    for j, q in pairs:
        for k, s in pairs:
            common = len({j, q} & {k, s})
            f3c += p[j] * p[q] * z[k] * z[s] / (n - 4 + common)
    f3c *= 4 / (n - 1)
    return f1 + f2 + eta * (f3a + f3b + f3c)


def matrices(contracts: Mapping[str, Unicast]) -> tuple[np.ndarray, np.ndarray]:
    """(A, c) of a unicast problem; rows by link, columns by agent, both ascending."""
    links = {name: link for c in contracts.values() for name, link in c.links.items()}
    agents, names = sorted(contracts), sorted(links)
    matrix = np.array([[links[name].coefficients.get(i, 0.0) for i in agents] for name in names])
    return matrix, np.array([links[name].capacity for name in names])


def common_factor(a: np.ndarray, c: np.ndarray, y: np.ndarray) -> float:
    """r of (1.8)."""
    limits = []
    for row, capacity in zip(a, c, strict=True):
        asking = np.flatnonzero((row > 0) & (y > 0))
        if len(asking) > 1:
            limits.append(capacity / (row @ y))
        elif len(asking) == 1:
            limits.append(capacity / (row[asking[0]] * (y[asking[0]] + 1)))
    return min(limits, default=0.0)


def unicast_rounds(contracts: Mapping[str, Unicast], fast: bool) -> Iterator[np.ndarray]:
    """Allocations of PADR, or FAST-PADR without its safeguard, as matrix formulas (spec, sections 5, 5b)."""
    a, c = matrices(contracts)
    agents = sorted(contracts)
    values = [contracts[i].valuation for i in agents]
    high = np.array([(c[a[:, k] > 0] / a[a[:, k] > 0, k]).min() for k in range(len(agents))])
    p, old = np.ones(len(c)), np.ones(len(c))
    t, busy = np.ones(len(c)), np.ones(len(c), dtype=bool)
    while True:
        z = p
        if fast:
            t1 = (1 + np.sqrt(1 + 4 * t**2)) / 2
            z = np.maximum(0, p + (t - 1) / t1 * (p - old))
            t = t1
        price = a.T @ z
        y = np.array([demand(v, q, 0.0, h) for v, q, h in zip(values, price.tolist(), high, strict=True)])
        yield y * common_factor(a, c, y)
        spread = 1 / np.array([v.curvature(float(x)) for v, x in zip(values, y, strict=True)])
        excess = a @ y - c
        used = (z > 0) | busy if fast else np.ones(len(c), dtype=bool)
        count = (a * used[:, None]).sum(axis=0)
        scale = a @ (count * spread)
        if fast:
            scale = np.maximum(scale, a**2 @ spread)
        new = np.maximum(0, z + excess / scale)
        t = np.where((new - z) * (new - p) < 0, 1.0, t)
        busy, old, p = excess > 0, p, new
