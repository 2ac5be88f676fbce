"""One instance of a full-table contract: what is under test, and the same written down literally."""

from __future__ import annotations

import math

import numpy as np

from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.utilities import build
from tests.node.instances import forms, hears, routes, thesis
from tests.node.literal import EXACT, Literal, LiteralPublic

# Sums of at most N = 8 decoded proxies, each over xi^e with xi^-e <= 4.
ROUNDING = 1e-13
XI = 0.875
CAPACITIES = [5.0, -3.0, 2.0]


class Setting:
    """One instance: the contracts under test, and the literal ones in floats and in fractions."""

    def __init__(self, kind, graph, goods, separable, seed=0, xi=XI):
        self.kind, self.graph, self.goods, self.xi = kind, graph, goods, xi
        self.agents = tuple(sorted(graph))
        n = len(self.agents)
        self.utilities = thesis(graph, seed, goods) if separable else forms(graph, seed, goods, 0.5, 12.0)
        self.c = CAPACITIES[:goods] if kind == "private" else [0.0] * goods
        self.routes, self.hears = routes(graph), hears(graph)
        if kind == "private":
            # Beyond N a / 2, where plain best response contracts, for the largest of the curvatures a = 1/h.
            largest = float((-1 / (2 * self.utilities.theta)).max()) if separable else 2.0
            self.delta = 1.02 * n * largest / 2
            self.contracts = {
                i: PrivateGoods(self.routes[i], self.hears[i], self.utility(i), self.c, xi, self.delta)
                for i in self.agents
            }
            self.literal, self.exact = (
                Literal(graph, self.utilities, self.c, xi, self.delta, number) for number in (float, EXACT)
            )
        else:
            self.delta = 1.02 * 25.0 / (2 * n)
            self.contracts = {
                i: PublicGoods(self.routes[i], self.hears[i], self.utility(i), goods, xi, self.delta)
                for i in self.agents
            }
            self.literal, self.exact = (
                LiteralPublic(graph, self.utilities, xi, self.delta, number) for number in (float, EXACT)
            )

    def utility(self, i):
        return build(self.utilities.spec(i))

    def random(self, seed, size=50.0):
        rng = np.random.default_rng([seed, 1])
        return {i: rng.normal(0, size, (len(self.agents) + 1, self.goods)) for i in self.agents}

    def view(self, i, messages):
        return self.contracts[i].view({j: messages[j] for j in self.hears[i]})

    def respond(self, i, messages):
        return self.contracts[i].best_response(self.view(i, messages))

    def outcome(self, i, messages):
        return self.contracts[i].outcome(messages[i], self.view(i, messages))

    def price_size(self, size):
        """How large prices may be where messages, decoded, are of a size: they are demands times a factor."""
        return size * (len(self.agents) * self.delta if self.kind == "public" else 1.0 / self.delta)

    def optimum(self):
        """x_i* and p_i* of all agents, shape (N, K) each."""
        if self.kind == "private":
            x, multiplier = self.utilities.optimum(self.c)
            return x, np.broadcast_to(multiplier, x.shape)
        x, prices = self.utilities.public_optimum()
        return np.broadcast_to(x, prices.shape), prices

    def nash(self):
        x, p = self.optimum()
        return self.literal.nash(x, p[0]) if self.kind == "private" else self.literal.nash(x[0], p)

    def many(self, i, own, messages):
        """u_i for many own messages at once, shape (M, N+1, K), the others' as they are."""
        m, lit = self.literal.read(messages), self.literal
        s, z, p = (np.array(v) for v in (lit.others(i, m), lit.decoded(i, i, m), lit.price(i, m)))
        n, xi = len(self.agents), self.xi
        hessian, sigma = np.array(lit.hessian[i]), np.array(lit.sigma[i])
        targets = []
        for r in self.agents:
            heard = m[r].y if r in lit.neighbours[i] else m[lit.n[i][r]].q[r]
            targets.append([xi * v for v in heard])
        off = own[:, 1:] - np.array(targets)
        me = self.agents.index(i)
        off[:, me] = own[:, 1 + me] - xi * own[:, 0]
        share = np.array(self.c) / n
        x = own[:, 0] - s / (n - 1) + share if self.kind == "private" else (own[:, 0] + s) / n
        value = 0.5 * np.einsum("mk,kl,ml->m", x, hessian, x) + x @ sigma
        tax = (x - share) @ p + np.square(off).sum(axis=(1, 2))
        if self.kind == "public":
            tax = tax + self.delta / 2 * np.square(xi * z - xi * own[:, 0]).sum(axis=1)
        return value - tax


def deviations(shape, count, seed=0):
    """Random deviations of y, of single proxies and of everything, of sizes 1e-3 to 30."""
    rng = np.random.default_rng([seed, 2])
    for k in range(count):
        step = rng.normal(size=shape) * 10 ** rng.uniform(-3, math.log10(30))
        if k % 3 == 0:
            step[1:] = 0.0
        elif k % 3 == 1:
            keep = int(rng.integers(1, shape[0]))
            step[[row for row in range(shape[0]) if row != keep]] = 0.0
        yield step
