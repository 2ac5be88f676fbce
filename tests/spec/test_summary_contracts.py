"""The summary mechanism as the project has it, against the literal one, with the agents' own parameters."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from node import lockstep
from node.consensus.tree import convergecast
from node.mechanisms.summary import Anchored, AnchoredPublic, Echoed, contribution, terms
from node.mechanisms.summary.weights import most_capped
from node.protocols.roles import roles
from node.testing import Common, Contraction, Shares, check_mechanism
from tests.spec import contracts, game
from tests.spec.literal_summary import AnchoredPrivate, Summary, Weighted
from tests.spec.model import Quadratics, Tree, binary_tree, random_tree, rotated, thesis
from tests.spec.test_summary import VARIANTS, C, limit, log_cosh, make, norm_weights, ranges, solution

GRAPHS = {
    "random": random_tree(9, 1),
    "path": nx.path_graph(6),
    "star": nx.star_graph(6),
    "binary": binary_tree(15),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4), ordering="sorted"),
    "dense": nx.gnp_random_graph(10, 0.5, seed=1),
}
CAP = 0.45


def rules(kind):
    return {"variant": kind.split()[0], "cap": CAP}


def known(v, kind, i):
    """Bounds on k for each good: of -Hess v for public goods, of its inverse for private ones."""
    low, high = contracts.One(v, i).curvature
    return (low, high) if kind == "anchored public" else (1 / high, 1 / low)


def hears_of(graph):
    return {contracts.name(i): [contracts.name(j) for j in sorted(graph[i])] for i in sorted(graph)}


def lives(graph, v, kind):
    """Everybody's (tree, place, contribution), by the agents' own protocols."""

    def life(i):
        me = contracts.name(i)
        own = contribution(*known(v, kind, i), contracts.One(v, i).separable)
        tree = yield from convergecast(me, own.sums, own.maxima, own.middles, most_capped(CAP))
        place = yield from roles(me, tree)
        return tree, place, own

    return lockstep.run({contracts.name(i): life(i) for i in sorted(graph)}, hears_of(graph)).results


def pair(graph, v, kind):
    """The literal mechanism on the tree that the agents built; the project's contracts; their parameters."""
    found = lives(graph, v, kind)
    names = sorted(found)
    n, public = len(names), kind == "anchored public"
    spanning = nx.Graph()
    spanning.add_nodes_from(range(n))
    for i, me in enumerate(names):
        spanning.add_edges_from((i, names.index(child)) for child in found[me][0].children)
    tree = Tree(spanning, [names.index(found[me][1].echo) for me in names])
    literal = make(kind, tree, v, CAP)
    cls = {
        "plain": Echoed,
        "weighted": Echoed,
        "anchored private": Anchored,
        "anchored public": AnchoredPublic,
    }
    agreed = {me: terms(found[me][0], found[me][2], rules(kind), public) for me in names}
    share = literal.c / n
    mine = {me: cls[kind](found[me][1], contracts.One(v, i), agreed[me], share) for i, me in enumerate(names)}
    return literal, mine, agreed


UTILITIES = {
    "quadratic": lambda n, kind: thesis(n, 3),
    "bent": lambda n, kind: log_cosh(n, 3, 3.0, kind),
}


@pytest.fixture(params=[(k, g, u) for k in VARIANTS for g in GRAPHS for u in UTILITIES], ids="-".join)
def instance(request):
    kind, graph, utilities = request.param
    network = GRAPHS[graph]
    return (kind, hears_of(network), *pair(network, UTILITIES[utilities](len(network), kind), kind))


def test_contracts_are_the_literal_ones(instance):
    _, hears, literal, mine, _ = instance
    for seed in range(2):
        contracts.compare(literal, mine, hears, literal.random(np.random.default_rng(seed), 20.0))


def test_weights_price_scale_and_bound_are_those_of_the_literal_choice(instance):
    kind, _, literal, _, agreed = instance
    w = literal.w if isinstance(literal, Weighted) else np.full(literal.size, 1 / literal.size)
    low, high = ranges(literal.v, kind)
    L = max(limit(literal, i, end[i]) for i in range(literal.size) for end in (low, high))
    for i, (_, mine) in enumerate(sorted(agreed.items())):
        np.testing.assert_allclose(mine.weight, w[i], rtol=1e-13)
        np.testing.assert_allclose(mine.rest, 1 - w[i], rtol=1e-13)
        np.testing.assert_allclose(mine.delta, literal.delta, rtol=1e-13)
        # A bound on L from network-wide numbers; it may be above the literal one, never below.
        assert mine.limit >= L - 1e-14
        assert mine.limit < 1 or L >= 1


def residual_of(mine, hears, said):
    result = 0.0
    for me, contract in mine.items():
        view = contract.view({j: said[j] for j in hears[me]})
        result = max(result, contract.residual(contract.best_response(view), said[me], view))
    return result


def unit(literal):
    """The project's norm over the literal one's: its plain contract has weights 1/N, and y N/(N-1) times as
    large, where the proof in section 3 has weights 1."""
    n = literal.size
    return 1.0 if isinstance(literal, Weighted) else n**2 / (n - 1)


def test_all_residuals_together_are_the_weighted_norm_of_response_minus_message(instance):
    """At kappa = 1; so that each number of the profile is looked after by somebody."""
    _, hears, literal, mine, _ = instance
    weights = norm_weights(literal, 1.0)
    for seed in range(3):
        m = literal.random(np.random.default_rng(seed), 10.0)
        off = [
            (np.abs(a - b)[:, 0] / w).max()
            for a, b, w in zip(literal.best_response(m), m, weights, strict=True)
        ]
        got = residual_of(mine, hears, contracts.messages(literal, m))
        assert got == pytest.approx(unit(literal) * max(off), rel=1e-11)


def test_the_residual_promises_the_allocation(instance):
    """|x - x*| <= amplification times the residual: of 30 profiles, and of the worst one if all is linear."""
    _, hears, literal, mine, agreed = instance
    x, _, nash = solution(literal)
    factor = next(iter(agreed.values())).amplification
    rng = np.random.default_rng(5)
    for k in range(30):
        step, shape = 10 ** rng.uniform(-4, 1), rng.choice([-1.0, 1.0], 3)
        m = tuple(
            part + step * (shape[j] if k % 3 == 0 else rng.normal(size=part.shape))
            for j, part in enumerate(nash)
        )
        off = np.abs(literal.allocation(m) - x).max()
        assert off <= factor * residual_of(mine, hears, contracts.messages(literal, m)) * (1 + 1e-9)
    if isinstance(literal.v, Quadratics):
        # x - x* = X (m - m*) and beta(m) - m = (J - 1)(m - m*), so the worst x for residuals below 1 is a
        # row sum of X (J - 1)^-1 with the weights of the norm.
        size = game.flat(literal.zero()).size
        rest = literal.allocation(literal.zero())
        X = np.array([(literal.allocation(game.unflat(literal, e)) - rest)[:, 0] for e in np.eye(size)]).T
        weights = np.concatenate(norm_weights(literal, 1.0)) / unit(literal)
        worst = (np.abs(X @ np.linalg.inv(game.jacobian(literal) - np.eye(size))) * weights).sum(axis=1).max()
        assert worst <= factor * (1 + 1e-9)
        assert worst > factor / 5  # and the promise is not idle


@pytest.mark.parametrize("kind", VARIANTS[2:])
def test_two_goods_that_do_not_separate(kind):
    for graph in (GRAPHS["random"], GRAPHS["dense"]):
        v = rotated(len(graph), 2, 0.5, 2.0, 1)
        literal, mine, _ = pair(graph, v, kind)
        contracts.compare(literal, mine, hears_of(graph), literal.random(np.random.default_rng(1), 20.0))


def test_the_comparison_tells_variants_apart():
    graph = GRAPHS["random"]
    v = thesis(len(graph), 3)
    literal, _, _ = pair(graph, v, "anchored private")
    _, other, _ = pair(graph, v, "weighted")
    with pytest.raises(AssertionError, match=r"best response|x_|p_|t_"):
        contracts.compare(literal, other, hears_of(graph), literal.random(np.random.default_rng(0), 20.0))
    assert isinstance(literal, AnchoredPrivate)
    assert not isinstance(Summary(literal.tree, v, 1.0, C[1]), Weighted)


def kit(graph, v, kind):
    """Arguments of ``check_mechanism``, with the bound that the agents' certificate promises in its norm."""
    literal, _, agreed = pair(graph, v, kind)
    L = next(iter(agreed.values())).limit
    claim = None
    if 0 < L < 1:
        D = literal.tree.diameter
        kappa = L ** (-1 / D)
        y, n, q = norm_weights(literal, kappa)
        profile = tuple(part[:, None] for part in (y, n, q))
        weights = {i: rows[:, 0] for i, rows in contracts.messages(literal, profile).items()}
        claim = Contraction(L ** (1 / D), weights)
    goods = v.s.shape[1]
    return {
        "build": lambda hears, utilities: pair(graph, v, kind)[1],
        "hears": {i: tuple(near) for i, near in hears_of(graph).items()},
        "utilities": {contracts.name(i): contracts.One(v, i) for i in range(len(graph))},
        "problem": Common(goods) if kind == "anchored public" else Shares(literal.c.tolist()),
        "contraction": claim,
    }


@pytest.mark.parametrize(("name", "utilities"), [("random", "quadratic"), ("grid", "bent")])
@pytest.mark.parametrize("kind", VARIANTS)
def test_every_variant_keeps_all_laws(kind, name, utilities):
    graph = GRAPHS[name]
    check_mechanism(**kit(graph, UTILITIES[utilities](len(graph), kind), kind)).raise_if_broken()


@pytest.mark.parametrize("kind", VARIANTS[2:])
def test_two_goods_that_do_not_separate_keep_all_laws(kind):
    graph = GRAPHS["path"]
    arguments = kit(graph, rotated(len(graph), 2, 0.5, 2.0, 1), kind)
    check_mechanism(**arguments | {"contraction": None}).raise_if_broken()
