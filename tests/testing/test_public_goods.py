"""The public goods mechanism keeps all laws, as do both with utilities of other kinds."""

from __future__ import annotations

import pytest

from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.testing import Common, Shares, check_mechanism, samples

GRAPHS = {
    "tree": samples.binary_tree(5),
    "star": samples.star(4),
    "one-way": samples.one_way_ring(4),
}
UTILITIES = {
    "quadratic": lambda hears: samples.quadratics(hears, eta=5.0),
    "bent": lambda hears: samples.bent(hears, 2),
    "woven": lambda hears: samples.woven(hears),
}


def public(hears, utilities):
    """delta is 1.02 h_hi / (2 N), as the tuned parameters have it."""
    routes = samples.routes(hears)
    delta = 1.02 * max(float(u.curvature[1].max()) for u in utilities.values()) / (2 * len(hears))
    return {i: PublicGoods(routes[i], hears[i], u, u.goods, 0.95, delta) for i, u in utilities.items()}


def private(hears, utilities):
    routes = samples.routes(hears)
    a = max(float(1 / u.curvature[0].min()) for u in utilities.values())
    delta, c = 1.02 * len(hears) * a / 2, [5.0, -3.0]
    return {i: PrivateGoods(routes[i], hears[i], u, c[: u.goods], 0.95, delta) for i, u in utilities.items()}


@pytest.mark.parametrize("utilities", UTILITIES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_public_goods_keep_all_laws(graph, utilities):
    hears = GRAPHS[graph]
    drawn = UTILITIES[utilities](hears)
    goods = next(iter(drawn.values())).goods
    check_mechanism(public, hears, drawn, Common(goods)).raise_if_broken()


@pytest.mark.parametrize("utilities", ["bent", "woven"])
@pytest.mark.parametrize("graph", ["tree", "one-way"])
def test_private_goods_keep_all_laws_whatever_the_utilities(graph, utilities):
    hears = GRAPHS[graph]
    drawn = UTILITIES[utilities](hears)
    check_mechanism(private, hears, drawn, Shares([5.0, -3.0])).raise_if_broken()


def test_the_fifth_term_is_what_anchors_the_public_response():
    """Without it the best response is no maximiser any more, and the tax is concave still."""

    class WithoutFifthTerm(PublicGoods):
        def outcome(self, message, view):
            got = super().outcome(message, view)
            term = self.delta / 2 * float(((self.xi * view.own - self.xi * message[0]) ** 2).sum())
            return type(got)(got.allocation, got.price, got.tax - term)

    def build(hears, utilities):
        honest = public(hears, utilities)
        routes = samples.routes(hears)
        return {
            i: WithoutFifthTerm(routes[i], hears[i], utilities[i], 1, 0.95, honest[i].delta) for i in hears
        }

    hears = GRAPHS["tree"]
    report = check_mechanism(build, hears, UTILITIES["quadratic"](hears), Common(1))
    assert report.broken == ("best response is best",)
