"""Laws of both full-table contracts, against spec 04 sections 1 and 2 written down literally.

What only private goods promise is in a file of its own.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from node.mechanisms import private_goods, public_goods
from node.mechanisms.proxies import equilibrium_message
from node.mechanisms.public_goods import PublicGoods
from node.utilities import build
from tests.node.instances import GRAPHS, Forms, one_way_ring, tree
from tests.node.literal import EXACT, LiteralPublic
from tests.node.setting import ROUNDING, XI, Setting, deviations

MIXED = ("er", "directed", "one-way ring with chords")
CASES = [
    *(("public", name, goods, True) for name, goods in itertools.product(GRAPHS, (1, 2))),
    *(("public", name, goods, False) for name, goods in itertools.product(MIXED, (2, 3))),
    *(("private", name, goods, True) for name, goods in itertools.product(GRAPHS, (1, 2))),
    *(("private", name, goods, False) for name, goods in itertools.product(MIXED, (2, 3))),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}{'' if c[3] else '-forms'}")
def setting(request):
    kind, name, goods, separable = request.param
    return Setting(kind, GRAPHS[name], goods, separable)


def test_utilities_in_question_do_interact():
    assert isinstance(Setting("public", GRAPHS["er"], 2, False).utilities, Forms)
    assert not build(Setting("public", GRAPHS["er"], 3, False).utilities.spec("n00")).separable


def test_outcome_is_the_formulas_of_the_spec(setting):
    for seed in range(3):
        messages = setting.random(seed)
        profile = setting.literal.read(messages)
        size = sum(np.abs(m).max() for m in messages.values()) / XI ** len(setting.agents)
        for i in setting.agents:
            got = setting.outcome(i, messages)
            x, p = setting.literal.allocation(i, profile), setting.literal.price(i, profile)
            price_size = setting.price_size(size)
            np.testing.assert_allclose(got.allocation, x, rtol=0, atol=ROUNDING * size)
            np.testing.assert_allclose(got.price, p, rtol=0, atol=ROUNDING * price_size)
            tax = setting.literal.tax(i, profile)
            assert got.tax == pytest.approx(tax, rel=0, abs=ROUNDING * size * max(size, price_size))
            assert got.allocation.shape == got.price.shape == (setting.goods,)


def test_gradient_of_the_own_utility_vanishes_at_the_best_response(setting):
    messages = setting.random(11)
    profile = setting.exact.read(messages)
    for i in setting.agents[::2]:
        reply = setting.respond(i, messages)
        for at in np.ndindex(reply.shape):
            up, down = reply.copy(), reply.copy()
            # u_i has degree two, so a difference over any step gives the gradient; this one keeps sums exact.
            up[at] += 1024.0
            down[at] -= 1024.0
            width = EXACT(up[at]) - EXACT(down[at])
            slope = setting.exact.utility_of(i, up, profile) - setting.exact.utility_of(i, down, profile)
            # Curvature (at most 25 + 2) times the rounding of numbers of size 1e4, and of the two steps.
            assert abs(float(slope / width)) <= 1e-9


def test_hessian_of_the_own_utility_is_negative_definite(setting):
    messages = setting.random(12)
    profile = setting.exact.read(messages)
    i = setting.agents[1]
    shape = messages[i].shape
    cells = list(np.ndindex(shape))

    def utility(*moved):
        own = np.zeros(shape)
        for cell in moved:
            own[cell] += 1.0
        return setting.exact.utility_of(i, own, profile)

    origin, single = utility(), {cell: utility(cell) for cell in cells}
    hessian = np.zeros((len(cells), len(cells)))
    for (k, a), (j, b) in itertools.combinations_with_replacement(enumerate(cells), 2):
        hessian[k, j] = hessian[j, k] = float(utility(a, b) - single[a] - single[b] + origin)
    assert np.linalg.eigvalsh(hessian).max() < 0


def test_best_response_beats_every_random_deviation(setting):
    messages = setting.random(13)
    profile = setting.exact.read(messages)
    i = setting.agents[-1]
    reply = setting.respond(i, messages)
    best = setting.exact.utility_of(i, reply, profile)
    for step in deviations(reply.shape, 60):
        assert setting.exact.utility_of(i, reply + step, profile) < best


def test_nash_message_in_closed_form_is_that_of_the_spec(setting):
    x, p = setting.optimum()
    if setting.kind == "private":
        demands = private_goods.equilibrium_demands(x, p[0], setting.c, setting.delta)
    else:
        demands = public_goods.equilibrium_demands(x[0], p, setting.delta)
    for i, expected in setting.nash().items():
        got = equilibrium_message(setting.routes[i], demands, setting.xi)
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13 * np.abs(expected).max())


def test_nash_message_is_a_fixed_point_of_the_best_response(setting):
    nash = setting.nash()
    size = max(np.abs(m).max() for m in nash.values())
    for i in setting.agents:
        np.testing.assert_allclose(setting.respond(i, nash), nash[i], rtol=0, atol=1e-12 * size)


def test_nash_outcome_is_the_optimum_at_its_prices_and_taxes_balance(setting):
    nash = setting.nash()
    x, p = setting.optimum()
    got = [setting.outcome(i, nash) for i in setting.agents]
    size = max(np.abs(m).max() for m in nash.values())
    for k, outcome in enumerate(got):
        np.testing.assert_allclose(outcome.allocation, x[k], rtol=0, atol=1e-12 * size)
        # A price of the public good is delta N times a demand.
        np.testing.assert_allclose(outcome.price, p[k], rtol=0, atol=1e-11 * size * max(1.0, setting.delta))
        due = float(p[k] @ (x[k] - np.array(setting.c) / len(got)))
        assert outcome.tax == pytest.approx(due, rel=0, abs=1e-10 * size)
    money = sum(float(np.abs(p[k]) @ np.abs(x[k])) for k in range(len(got)))
    assert abs(math.fsum(outcome.tax for outcome in got)) <= 1e-11 * max(1.0, money) * len(got)


def test_nobody_gains_by_600_random_deviations_from_the_nash_message(setting):
    nash = setting.nash()
    profile = setting.literal.read(nash)
    size = max(np.abs(m).max() for m in nash.values())
    for k, i in enumerate(setting.agents):
        steps = np.array(list(deviations(nash[i].shape, 600, seed=k)))
        at_rest = setting.many(i, nash[i][None], nash)[0]
        assert at_rest == pytest.approx(setting.literal.utility(i, profile), rel=1e-12)
        # The Nash message is rounded, and so is u_i, a sum of terms of the size of v_i and t_i.
        slack = 1e-13 * (abs(at_rest) + size**2)
        assert (setting.many(i, nash[i] + steps, nash) < at_rest + slack).all()


def test_price_does_not_depend_on_the_own_message(setting):
    messages = setting.random(16)
    for i in setting.agents:
        prices = {
            setting.contracts[i].outcome(own, setting.view(i, messages)).price.tobytes()
            for own in (messages[i], 0 * messages[i], messages[i] + 1e6)
        }
        assert len(prices) == 1


def test_outcome_and_best_response_depend_on_neighbours_messages_only(setting):
    messages, noise = setting.random(17), setting.random(18)
    for i in setting.agents:
        near = {i, *setting.hears[i]}
        scrambled = {j: messages[j] if j in near else noise[j] for j in setting.agents}
        profile = setting.literal.read(scrambled)
        got = setting.outcome(i, messages)
        size = sum(np.abs(m).max() for m in messages.values()) / XI ** len(setting.agents)
        np.testing.assert_allclose(
            got.allocation, setting.literal.allocation(i, profile), rtol=0, atol=ROUNDING * size
        )
        tax = setting.literal.tax(i, profile)
        assert got.tax == pytest.approx(tax, rel=0, abs=ROUNDING * size * max(size, setting.price_size(size)))
        assert setting.respond(i, scrambled).tobytes() == setting.respond(i, messages).tobytes()


# Erratum E1 ---------------------------------------------------------------------------------------------


def rest_point(contracts, listens, rounds=6000):
    """Where repeated best response comes to rest."""
    messages = {i: contract.opening() for i, contract in contracts.items()}
    for _ in range(rounds):
        views = {i: contracts[i].view({j: messages[j] for j in listens[i]}) for i in contracts}
        following = {i: contracts[i].best_response(views[i]) for i in contracts}
        if all(np.array_equal(following[i], messages[i]) for i in contracts):
            break
        messages = following
    return {i: contracts[i].outcome(messages[i], contracts[i].view({j: messages[j] for j in listens[i]}))
            for i in contracts}  # fmt: skip


@pytest.mark.parametrize(("kind", "off"), [("private", 1e-5), ("public", 1e-3)])
def test_with_the_printed_exponents_the_outcome_is_not_the_optimum_on_a_directed_graph(kind, off):
    """(4.16b), (4.26a), (4.26b) divide by xi where the own demand has come back over g_i hops."""
    setting = Setting(kind, one_way_ring(6, ((0, 2), (3, 0))), 1, True, xi=0.99)
    assert max(route.echo for route in setting.routes.values()) >= 3
    x, _ = setting.optimum()
    right = rest_point(setting.contracts, setting.hears)
    for contract in setting.contracts.values():
        contract._echo = 1.0 / setting.xi
    printed = rest_point(setting.contracts, setting.hears)
    error = {
        name: max(float(np.abs(got[i].allocation - x[k]).max()) for k, i in enumerate(setting.agents))
        for name, got in (("right", right), ("printed", printed))
    }
    assert error["right"] <= 1e-10
    assert error["printed"] > off


def test_on_undirected_graphs_the_printed_exponents_are_right():
    setting = Setting("public", tree(7), 1, True)
    printed = LiteralPublic(tree(7), setting.utilities, XI, setting.delta, printed=True)
    assert printed.g == setting.literal.g


# Bad values ---------------------------------------------------------------------------------------------


def test_public_utility_of_other_features_is_refused():
    setting = Setting("public", tree(7), 2, True)
    with pytest.raises(ValueError, match="utility of 2 features, expected 3"):
        PublicGoods(setting.routes["n00"], setting.hears["n00"], setting.utility("n00"), 3, XI, 1.0)


@pytest.mark.parametrize(("xi", "delta"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, math.inf), (0.5, -1.0)])
def test_public_parameters_out_of_range_are_refused(xi, delta):
    setting = Setting("public", tree(7), 1, True)
    with pytest.raises(ValueError, match=rf"xi = {xi!r}, delta = {delta!r}"):
        PublicGoods(setting.routes["n00"], setting.hears["n00"], setting.utility("n00"), 1, xi, delta)
