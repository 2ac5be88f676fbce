"""What the agents agree on before play, against section 4 literally and against play itself."""

from __future__ import annotations

import networkx as nx
import pytest

from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.protocols.parameters import foreseen
from node.testing import Contraction, check_mechanism, samples
from node.testing.mechanisms import LAWS
from tests.spec import contracts
from tests.spec.model import Net, binary_tree, erdos_renyi, strong_digraph, thesis
from tests.spec.test_table import proof, row_y

ETA = 26.0  # curvatures of ``thesis`` lie in [1/25, 25]
GRAPHS = {
    "tree": binary_tree(15),
    "er": erdos_renyi(12, 0.3, 2),
    "one-way ring": nx.DiGraph([(i, (i + 1) % 6) for i in range(6)]),
    "directed": strong_digraph(9, 0.1, 2),
}
MODES = ("tuned", "eta", "proof")


def hears_of(net):
    return {contracts.name(i): tuple(map(contracts.name, net.near[i])) for i in range(net.size)}


def agreed(net, utilities, kind, **rules):
    routes = samples.routes(hears_of(net))
    rules = {"mechanism": f"{kind}-goods", "eta": ETA, "unguaranteed": False, **rules}
    return foreseen([(routes[i], utilities[i]) for i in sorted(routes)], rules)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["private", "public"])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_bound_is_that_of_section_4(name, kind, mode):
    net, v = Net(GRAPHS[name]), thesis(len(GRAPHS[name]), 3)
    utilities = {contracts.name(i): contracts.One(v, i) for i in range(net.size)}
    got = agreed(net, utilities, kind, parameters=mode)
    rows = []
    for i in range(net.size):
        h = float(v.curvature[0][i])
        ends = (h, h) if mode == "tuned" else (1 / ETA, ETA)
        rows += [row_y(net, i, kind, got.xi, got.delta, 1 / e if kind == "private" else e) for e in ends]
    # S_i - (N-1) is of order 1 - xi >= 1e-5 and the literal sum rounds to 1e-16 N.
    assert got.bound == pytest.approx(max(got.xi, *rows), rel=1e-9)
    assert got.bound < 1


@pytest.mark.parametrize("kind", ["private", "public"])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_procedure_of_the_proof_is_that_of_section_4(name, kind):
    net, v = Net(GRAPHS[name]), thesis(len(GRAPHS[name]), 3)
    utilities = {contracts.name(i): contracts.One(v, i) for i in range(net.size)}
    got = agreed(net, utilities, kind, parameters="proof", eta=25.0 * (1 + 1e-9))
    eps, delta = proof(net, kind)
    assert 1 - got.xi == pytest.approx(eps, rel=1e-9)
    assert got.delta == pytest.approx(delta, rel=1e-8)


def build(kind, certificate):
    def make(hears, utilities):
        routes, goods = samples.routes(hears), next(iter(utilities.values())).goods
        xi, delta = certificate.xi, certificate.delta
        if kind == "private":
            c = [5.0, -3.0][:goods]
            return {i: PrivateGoods(routes[i], hears[i], u, c, xi, delta) for i, u in utilities.items()}
        return {i: PublicGoods(routes[i], hears[i], u, goods, xi, delta) for i, u in utilities.items()}

    return make


UTILITIES = {
    "quadratic": lambda hears: samples.quadratics(hears, 2, eta=5.0),
    "bent": lambda hears: samples.bent(hears, 2),
    "woven": lambda hears: samples.woven(hears, eta=1.4),
}


@pytest.mark.parametrize("utilities", UTILITIES)
@pytest.mark.parametrize("kind", ["private", "public"])
@pytest.mark.parametrize("hears", [samples.binary_tree(5), samples.one_way_ring(4)], ids=["tree", "one-way"])
def test_play_keeps_the_bound_in_the_norm_that_the_certificate_names(hears, kind, utilities):
    drawn = UTILITIES[utilities](hears)
    if utilities == "woven" and len(hears) < 5:
        drawn = samples.woven(hears, eta=1.2)  # a_high / a_low has to be below N - 1
    routes = samples.routes(hears)
    rules = {"mechanism": f"{kind}-goods", "eta": 6.0, "parameters": "tuned", "unguaranteed": False}
    certificate = foreseen([(routes[i], drawn[i]) for i in sorted(hears)], rules)
    claim = Contraction(certificate.bound, block=utilities == "woven")
    others = set(LAWS) - {"well formed", "contraction"}
    report = check_mechanism(build(kind, certificate), hears, drawn, contraction=claim, without=others)
    report.raise_if_broken()
    # Rows of q attain xi, which is what the bound is at the best xi.
    assert report["contraction"].number == pytest.approx(certificate.bound, rel=1e-6)
