"""The summary mechanism as the project has it, against the literal one, with the agents' own parameters."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from node.mechanisms.summary import Anchored, AnchoredPublic, Echoed, contribution, terms
from node.mechanisms.summary.weights import most_capped
from node.protocols.roles import roles

from node import lockstep
from node.consensus.tree import convergecast
from tests.spec import contracts
from tests.spec.literal_summary import AnchoredPrivate, Summary, Weighted
from tests.spec.model import Tree, binary_tree, random_tree, rotated, thesis
from tests.spec.test_summary import VARIANTS, C, limit, log_cosh, make, ranges, solution

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
        assert mine.limit >= L * (1 - 1e-12)
        assert mine.limit < 1 or L >= 1


def test_the_residual_promises_the_allocation(instance):
    """|x - x*| <= amplification times the residual, in the project's own norm; tried at random profiles."""
    _, hears, literal, mine, agreed = instance
    x, _, nash = solution(literal)
    rng = np.random.default_rng(5)
    worst = 0.0
    for k in range(30):
        step, shape = 10 ** rng.uniform(-4, 1), rng.choice([-1.0, 1.0], 3)
        m = tuple(
            part + step * (shape[j] if k % 3 == 0 else rng.normal(size=part.shape))
            for j, part in enumerate(nash)
        )
        said = contracts.messages(literal, m)
        residual = 0.0
        for me, contract in mine.items():
            view = contract.view({j: said[j] for j in hears[me]})
            residual = max(residual, contract.residual(contract.best_response(view), said[me], view))
        off = np.abs(literal.allocation(m) - x).max()
        factor = next(iter(agreed.values())).amplification
        worst = max(worst, off / (factor * residual))
    assert worst <= 1 + 1e-9


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
