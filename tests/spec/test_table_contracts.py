"""Private and public goods as the project has them, against the literal mechanisms, on random profiles."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.testing import samples
from tests.spec import contracts
from tests.spec.literal_table import Private, Public
from tests.spec.model import LogCosh, Net, binary_tree, rotated, strong_digraph, thesis

C = {1: np.array([5.0]), 2: np.array([5.0, -3.0])}
GRAPHS = {
    "tree": binary_tree(7),
    "ring": nx.cycle_graph(5),
    "complete": nx.complete_graph(4),
    "one-way ring": nx.DiGraph([(i, (i + 1) % 6) for i in range(6)]),
    "directed": strong_digraph(8, 0.1, 0),
    "directed 12": strong_digraph(12, 0.05, 3),
}


def bent(n, goods):
    rng = np.random.default_rng([n, goods])
    low = rng.uniform(0.3, 2, (n, goods))
    return LogCosh(low, low * rng.uniform(1.5, 4, (n, goods)), rng.uniform(-3, 3, (n, goods)))


UTILITIES = {
    "one good": lambda n: thesis(n, 2),
    "two goods": lambda n: thesis(n, 2, 2),
    "woven": lambda n: rotated(n, 2, 0.5, 2.0, 1),
    "bent": lambda n: bent(n, 2),
}


@pytest.fixture(params=GRAPHS)
def net(request):
    return Net(GRAPHS[request.param])


@pytest.fixture(params=UTILITIES)
def v(request, net):
    return UTILITIES[request.param](net.size)


def compare(literal, make, seed):
    net = literal.net
    hears = {contracts.name(i): tuple(map(contracts.name, net.near[i])) for i in range(net.size)}
    routes = samples.routes(hears)
    mine = {i: make(routes[i], hears[i], contracts.One(literal.v, k)) for k, i in enumerate(sorted(hears))}
    contracts.compare(literal, mine, hears, literal.random(np.random.default_rng(seed), 20.0))


@pytest.mark.parametrize("seed", range(2))
def test_private_goods_are_the_literal_ones(net, v, seed):
    c = C[v.s.shape[1]]
    literal = Private(net, v, 0.95, 40.0, c=c)
    compare(literal, lambda r, h, u: PrivateGoods(r, h, u, c.tolist(), 0.95, 40.0), seed)


@pytest.mark.parametrize("seed", range(2))
def test_public_goods_are_the_literal_ones(net, v, seed):
    literal = Public(net, v, 0.95, 0.7)
    compare(literal, lambda r, h, u: PublicGoods(r, h, u, u.goods, 0.95, 0.7), seed)


def test_the_comparison_tells_the_printed_form_from_the_corrected_one():
    net = Net(GRAPHS["directed"])
    literal = Private(net, thesis(net.size, 2), 0.95, 40.0, printed=True, c=C[1])
    with pytest.raises(AssertionError, match="best response"):
        compare(literal, lambda r, h, u: PrivateGoods(r, h, u, [5.0], 0.95, 40.0), 0)
