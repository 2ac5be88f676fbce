"""The figures of docs/errata.md: printed and corrected formulas, side by side, on one small instance.

    python docs/checks/errata.py

Seven agents on a one-way ring with two chords, one good, capacity 5, quadratic utilities. The edge i -> j
means that i listens to j. Nothing but numpy and networkx is used, so that this is a second account of the
formulas and not a run of the code under ``node/``.
"""

from __future__ import annotations

import sys

import networkx as nx
import numpy as np

N, C, XI, DELTA = 7, 5.0, 0.95, 40.0
GRAPH = nx.DiGraph([*((i, (i + 1) % N) for i in range(N)), (0, 3), (4, 1)])
RNG = np.random.default_rng(1)
THETA, SIGMA = RNG.uniform(-2.0, -0.5, N), RNG.uniform(10.0, 20.0, N)

D = dict(nx.all_pairs_shortest_path_length(GRAPH))
HEARS = {i: sorted(GRAPH.successors(i)) for i in range(N)}
OTHERS = {i: [r for r in range(N) if r != i] for i in range(N)}
HOP = {i: {r: next(j for j in HEARS[i] if D[j][r] == D[i][r] - 1) for r in OTHERS[i]} for i in range(N)}
for me in range(N):
    HOP[me][me] = min(HEARS[me], key=lambda j, me=me: (D[j][me], j))
ECHO = {i: D[HOP[i][i]][i] for i in range(N)}

# The planner: 2 theta_i x_i + sigma_i = lambda for all i, sum x = c.
A = -0.5 / THETA
LAMBDA = ((A * SIGMA).sum() - C) / A.sum()
X = A * (SIGMA - LAMBDA)


def nash(c: float) -> tuple[np.ndarray, np.ndarray]:
    """(y, q) of (4.48) and (4.44); c = 0 is (4.48) as printed."""
    y = (N - 1) / N * (X - c / N) + DELTA * LAMBDA / N
    q = np.array([[XI ** (1 if r == i else D[i][r]) * y[r] for r in range(N)] for i in range(N)])
    return y, q


def decoded(i: int, q: np.ndarray, echo: int) -> tuple[float, float]:
    """(Z_i^i, S_i) from the neighbours' proxies."""
    s = sum(q[HOP[i][r]][r] / XI ** max(1, D[i][r] - 1) for r in OTHERS[i])
    return q[HOP[i][i]][i] / XI**echo, s


def response(i: int, q: np.ndarray, c: float, echo: int) -> float:
    """y_i of (4.63); c = 0 is (4.63) as printed."""
    z, s = decoded(i, q, echo)
    return s / (N - 1) - c / N + ((z + s) / DELTA - SIGMA[i]) / (2 * THETA[i])


def squares(i: int, y: np.ndarray, q: np.ndarray, last: list[int]) -> float:
    """The three quadratic terms of (4.16a); ``last`` is what the last sum runs over."""
    first = (q[i][i] - XI * y[i]) ** 2 + sum((q[i][r] - XI * y[r]) ** 2 for r in HEARS[i])
    return float(first + sum((q[i][r] - XI * q[HOP[i][r]][r]) ** 2 for r in last))


def main() -> None:
    """Print printed against corrected, worst agent each."""
    y, q = nash(C)
    rows = []

    def price_error(echo: dict[int, int]) -> float:
        return max(abs(sum(decoded(i, q, echo[i])) / DELTA - LAMBDA) for i in range(N)) / LAMBDA

    rows.append(("E1 |price - lambda*| / lambda*", price_error(dict.fromkeys(ECHO, 1)), price_error(ECHO)))
    far = {i: [r for r in OTHERS[i] if r not in HEARS[i]] for i in range(N)}
    rows.append(
        (
            "E2 quadratic taxes at the equilibrium",
            max(squares(i, y, q, HEARS[i]) for i in range(N)),
            max(squares(i, y, q, far[i]) for i in range(N)),
        )
    )
    rows.append(
        (
            "E3 |response - message| at the equilibrium",
            max(abs(response(i, q, 0.0, ECHO[i]) - y[i]) for i in range(N)),
            max(abs(response(i, q, C, ECHO[i]) - y[i]) for i in range(N)),
        )
    )
    y0, q0 = nash(0.0)
    rows.append(
        (
            "E4 |response - message| at the closed form",
            max(abs(response(i, q0, C, ECHO[i]) - y0[i]) for i in range(N)),
            max(abs(response(i, q, C, ECHO[i]) - y[i]) for i in range(N)),
        )
    )
    sys.stdout.write(f"g_i = {[ECHO[i] for i in range(N)]}, c/N = {C / N:.4f}, lambda* = {LAMBDA:.4f}\n")
    sys.stdout.write(f"{'':44} {'printed':>9} {'corrected':>9}\n")
    for name, printed, corrected in rows:
        sys.stdout.write(f"{name:44} {printed:9.1e} {corrected:9.1e}\n")


if __name__ == "__main__":
    main()
