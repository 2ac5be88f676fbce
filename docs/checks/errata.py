"""The figures of docs/errata.md: printed and corrected formulas, side by side, on small instances.

    python docs/checks/errata.py

Nothing but numpy and networkx is used, so that this is a second account of the formulas and not a run of
the code under ``node/``. The edge i -> j means that i listens to j. E1 to E4, E7, E8 and E14: seven agents
on a one-way ring with two chords, one good, capacity 5, quadratic utilities. The others say what they are
about.
"""

from __future__ import annotations

import sys

import networkx as nx
import numpy as np

N, C, XI = 7, 5.0, 0.95
PRIVATE, PUBLIC = 40.0, 0.35  # delta
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
ONE = dict.fromkeys(ECHO, 1)  # the exponent as printed

# The planner of private goods: 2 theta_i x_i + sigma_i = lambda for all i, sum x = c.
A = -0.5 / THETA
LAMBDA = ((A * SIGMA).sum() - C) / A.sum()
X = A * (SIGMA - LAMBDA)
# The planner of a public good: sum of 2 theta_i x + sigma_i = 0.
LEVEL = -SIGMA.sum() / (2 * THETA.sum())
MU = 2 * THETA * LEVEL + SIGMA


def proxies(y: np.ndarray) -> np.ndarray:
    """q of (4.44), (4.55)."""
    return np.array([[XI ** (1 if r == i else D[i][r]) * y[r] for r in range(N)] for i in range(N)])


def private_nash(c: float) -> np.ndarray:
    """y of (4.48); c = 0 is (4.48) as printed."""
    return np.asarray((N - 1) / N * (X - c / N) + PRIVATE * LAMBDA / N)


def public_nash() -> np.ndarray:
    """y of (4.59)."""
    return np.asarray(LEVEL + MU / (PUBLIC * N))


def decoded(i: int, q: np.ndarray, echo: dict[int, int]) -> tuple[float, float]:
    """(Z_i^i, S_i) from the neighbours' proxies."""
    s = sum(q[HOP[i][r]][r] / XI ** max(1, D[i][r] - 1) for r in OTHERS[i])
    return q[HOP[i][i]][i] / XI ** echo[i], s


def private_response(i: int, q: np.ndarray, c: float, echo: dict[int, int]) -> float:
    """y_i of (4.63); c = 0 is (4.63) as printed."""
    z, s = decoded(i, q, echo)
    return float(s / (N - 1) - c / N + ((z + s) / PRIVATE - SIGMA[i]) / (2 * THETA[i]))


def public_response(i: int, q: np.ndarray, echo: dict[int, int]) -> float:
    """The solution y_i of (4.74b)."""
    z, s = decoded(i, q, echo)
    p = PUBLIC * ((N - 1) * z - s)
    # (2 theta (y + s)/N + sigma - p)/N + delta xi^2 (z - y) = 0
    return float(
        ((2 * THETA[i] * s / N + SIGMA[i] - p) / N + PUBLIC * XI**2 * z)
        / (PUBLIC * XI**2 - 2 * THETA[i] / N**2)
    )


def at_rest(response, echo: dict[int, int]) -> np.ndarray:
    """The allocation where everybody's response is what it says; responses are affine in y."""
    origin = np.array([response(i, proxies(np.zeros(N)), echo) for i in range(N)])
    slopes = np.array([[response(i, proxies(e), echo) for i in range(N)] - origin for e in np.eye(N)]).T
    y = np.linalg.solve(np.eye(N) - slopes, origin)
    s = np.array([decoded(i, proxies(y), echo)[1] for i in range(N)])
    return y - s / (N - 1) + C / N if response is _private else (y + s) / N


def _private(i: int, q: np.ndarray, echo: dict[int, int]) -> float:
    return private_response(i, q, C, echo)


def squares(i: int, y: np.ndarray, q: np.ndarray, last: list[int]) -> float:
    """The three quadratic terms of (4.16a); ``last`` is what the last sum runs over."""
    first = (q[i][i] - XI * y[i]) ** 2 + sum((q[i][r] - XI * y[r]) ** 2 for r in HEARS[i])
    return float(first + sum((q[i][r] - XI * q[HOP[i][r]][r]) ** 2 for r in last))


def errata_of_the_contracts() -> None:
    """E1 to E4: what should be 0, printed and corrected, worst agent each."""
    y, public = private_nash(C), public_nash()
    q = proxies(y)
    far = {i: [r for r in OTHERS[i] if r not in HEARS[i]] for i in range(N)}
    y0 = private_nash(0.0)

    def price_error(echo: dict[int, int]) -> float:
        return max(abs(sum(decoded(i, q, echo)) / PRIVATE - LAMBDA) for i in range(N)) / LAMBDA

    def off(responses: list[float], said: np.ndarray) -> float:
        return float(np.abs(np.array(responses) - said).max())

    rows = [
        ("E1 |price - lambda*| / lambda*, private", price_error(ONE), price_error(ECHO)),
        *(
            (
                f"E1 allocation at rest, |x - x*| / max |x*|, {name}",
                *(
                    float(np.abs(at_rest(rule, echo) - best).max() / np.abs(best).max())
                    for echo in (ONE, ECHO)
                ),
            )
            for name, rule, best in (("private", _private, X), ("public", public_response, np.full(N, LEVEL)))
        ),
        (
            "E1 |response - message| at the equilibrium, public",
            *(
                off([public_response(i, proxies(public), echo) for i in range(N)], public)
                for echo in (ONE, ECHO)
            ),
        ),
        (
            "E2 quadratic taxes at the equilibrium",
            max(squares(i, y, q, HEARS[i]) for i in range(N)),
            max(squares(i, y, q, far[i]) for i in range(N)),
        ),
        (
            "E3 |response - message| at the equilibrium",
            *(off([private_response(i, q, c, ECHO) for i in range(N)], y) for c in (0.0, C)),
        ),
        (
            "E4 |response - message| at the closed form",
            off([private_response(i, proxies(y0), C, ECHO) for i in range(N)], y0),
            off([private_response(i, q, C, ECHO) for i in range(N)], y),
        ),
    ]
    say(f"g_i = {[ECHO[i] for i in range(N)]}, c/N = {C / N:.4f}, lambda* = {LAMBDA:.4f}, x* = {LEVEL:.4f}")
    say(f"{'should be 0':56} {'printed':>9} {'corrected':>9}")
    for name, printed, corrected in rows:
        say(f"{name:56} {printed:9.1e} {corrected:9.1e}")


def errata_of_the_summary_mechanism() -> None:
    """E5, E6 on a random tree; E12 on a binary tree, a path and a star of 31."""
    tree = nx.random_labeled_tree(12, seed=3)
    y = RNG.normal(size=12)
    hop = {
        i: {k: path[1] for k, path in nx.single_source_shortest_path(tree, i).items() if k != i} for i in tree
    }
    behind = {(i, j): sum(y[k] for k in hop[i] if hop[i][k] == j) for i in tree for j in tree[i]}
    missing = sum(k not in tree[j] for i in tree for j in tree[i] for k in tree[i] if k != i)
    off = max(abs(n - y[j] - sum(behind[j, k] for k in tree[j] if k != i)) for (i, j), n in behind.items())
    say(f"E5 printed: n_j^k for {missing} k that are no neighbours of j; corrected: off by {off:.1e}")

    sets = [
        ({k for k in hop[i] if hop[i][k] != j}, {k for k in hop[j] if hop[j][k] == i}, i)
        for i in tree
        for j in tree[i]
    ]
    printed, right = sum(a == b for a, b, _ in sets), sum(a | {i} == b for a, b, i in sets)
    say(f"E6 A = B on {printed} of {len(sets)} edges as printed, on {right} with i counted in A")

    # The curvatures a_i = -1/v_i'' of thesis section 5.2, eta = 25.
    a = -0.5 / np.random.default_rng(0).uniform(-12.5, -0.02, 31)
    graphs = {"binary tree": nx.full_rary_tree(2, 31), "path": nx.path_graph(31), "star": nx.star_graph(30)}
    for name, graph in graphs.items():
        radii = [summary_radius(graph, a, delta) for delta in (1.0, 1.02 * 31 * 25.0 / 2)]
        say(f"E12 spectral radius on a {name}: {radii[0]:.2f} at delta = 1, {radii[1]:.6f} at 1.02 N eta/2")


def summary_radius(graph: nx.Graph, a: np.ndarray, delta: float) -> float:
    """Spectral radius of best response of the mechanism of section 3.2, with price scale delta."""
    n = len(graph)
    chosen = {i: min(graph[i]) for i in graph}  # phi(i)
    cells = [("y", i) for i in graph] + [("n", i, j) for i in graph for j in graph[i]]
    cells += [("q", chosen[i], i) for i in graph]
    place = {cell: k for k, cell in enumerate(cells)}
    jacobian = np.zeros((len(cells), len(cells)))
    for i in graph:
        total = np.zeros(len(cells))
        for j in graph[i]:
            row = np.zeros(len(cells))
            row[place["y", j]] = 1.0
            for k in graph[j]:
                if k != i:
                    row[place["n", j, k]] = 1.0
            jacobian[place["n", i, j]] = row
            total += row
        price = total.copy()
        price[place["q", chosen[i], i]] += 1.0
        jacobian[place["y", i]] = total / (n - 1) - a[i] / delta * price
        jacobian[place["q", chosen[i], i], place["y", i]] = 1.0
    return float(np.abs(np.linalg.eigvals(jacobian)).max())


def errata_of_the_proofs() -> None:
    """E7 to E10, E13, E14."""
    i, delta, n = 0, 60.0, N
    s = sum(XI ** -max(1, D[i][r] - 1) for r in OTHERS[i])
    echo = XI ** -ECHO[i]

    def row(a: float) -> float:
        return s * abs(1 / (n - 1) - a / delta) + echo * a / delta

    # (4.65) less 1 against (4.67): left less right, times (N-1)/delta/(N-1).
    x = 1.5  # v'' = 2 theta is constant, v' = 2 theta x + sigma is not
    wrong = []
    for inverse in (-1 / (2 * THETA[i] * x + SIGMA[i]), -1 / (2 * THETA[i])):
        identity = (inverse * (echo - s) - delta / (n - 1) * (n - 1 - s)) / delta
        wrong.append(abs(identity - (row(-1 / (2 * THETA[i])) - 1)))
    say(f"E7 (4.67) against (4.65): off by {wrong[0]:.1e} with -1/v', by {wrong[1]:.1e} with -1/v''")

    # (4.76), first line: the derivative of y_i with respect to q_{n(i,i)}^i, by a difference.
    q = proxies(public_nash())
    up = q.copy()
    up[HOP[i][i]][i] += 1.0
    slope = public_response(i, up, ECHO) - public_response(i, q, ECHO)
    line = (PUBLIC * (N - 1) / (N * XI ** ECHO[i]) - PUBLIC * XI ** (2 - ECHO[i])) / (
        2 * THETA[i] / N**2 - PUBLIC * XI**2
    )
    say(f"E8 derivative with respect to q_n(i,i)^i {slope:.9f}; first line of (4.76), with g_i {line:.9f}")

    inverse = np.array([[-1.0, -0.9], [-0.9, -1.0]])  # of the Hessian, K = 2, N = 4, xi -> 1
    for scale in (3.0, 10.0, 100.0):
        passed, own = np.eye(2) / 3 + inverse / scale, inverse / scale
        sums = 3 * np.abs(passed).sum(axis=1) + np.abs(own).sum(axis=1)
        radius = np.abs(np.linalg.eigvals(_complete(passed, own))).max()
        say(f"E9 row sum {sums.max():.3f}, spectral radius {radius:.3f} at delta = {scale:g}; (4.1) holds")

    a = 0.7
    for scale in (2.0, 5.0, 20.0):
        total = 1 / XI * abs(1.0 - a / scale) + 1 / XI * a / scale
        radius = np.abs(
            np.linalg.eigvals(_complete(np.array([[1 - a / scale]]), np.array([[-a / scale]]), 2))
        ).max()
        say(f"E10 N = 2: row sum {total:.6f} = 1/xi, spectral radius {radius:.3f} at delta = {scale:g}")

    left, right = row(delta / (n - 1) * 0.999), row(delta / (n - 1) * 1.001)
    kink = row(delta / (n - 1))
    say(f"E13 L_i at a = 0.999, 1, 1.001 delta/(N-1): {left:.5f}, {kink:.5f}, {right:.5f}: falls, then rises")

    up = (q := proxies(private_nash(C))).copy()
    up[HOP[i][i]][i] += 1.0
    slope = private_response(i, up, C, ECHO) - private_response(i, q, C, ECHO)
    say(f"E14 derivative of the private y_i with respect to q_n(i,i)^i: {slope:.4f}")


def _complete(passed: np.ndarray, own: np.ndarray, n: int = 4) -> np.ndarray:
    """The linear part of y_i(t+1) = passed sum of y_r(t) + own y_i(t-1): all listen to all, xi -> 1."""
    k = len(passed)
    now = np.kron(np.ones((n, n)) - np.eye(n), passed)
    before = np.kron(np.eye(n), own)
    return np.block([[now, before], [np.eye(n * k), np.zeros((n * k, n * k))]])


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Print everything."""
    errata_of_the_contracts()
    errata_of_the_summary_mechanism()
    errata_of_the_proofs()


if __name__ == "__main__":
    main()
