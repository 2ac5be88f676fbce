"""What agents agree on before play: the same bits at all, the norm, and what happens without a guarantee."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from node.lockstep import run
from node.mechanisms import contraction, public_contraction
from node.mechanisms.contraction import BLOCK_NORM, MAXIMUM_NORM, NoGuarantee
from node.protocols.parameters import agree, foreseen
from node.utilities import build
from tests.node.instances import ETA, GRAPHS, forms, hears, random_graph, routes, step, thesis, tree
from tests.node.test_norms import literal_row

MODES = ("tuned", "eta", "proof", "explicit")


def utilities_of(instance):
    return {i: build(instance.spec(i)) for i in instance.agents}


def agreeing(graph, rules, utilities):
    network = routes(graph)
    return {i: agree(network[i], rules, utilities[i]) for i in network}


def certificates(graph, rules, utilities):
    return run(agreeing(graph, rules, utilities), hears(graph)).results


def rules_of(mechanism, parameters="tuned", **more):
    return {"mechanism": mechanism, "parameters": parameters, "eta": ETA, **more}


def seen(graph, rules, utilities):
    network = routes(graph)
    return foreseen([(network[i], utilities[i]) for i in sorted(graph)], rules)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("mode", MODES)
def test_everybody_agrees_on_the_true_bound_of_a_public_good(name, mode):
    graph = GRAPHS[name]
    instance, n = thesis(graph, 0), len(graph)
    rules = rules_of("public-goods", mode)
    if mode == "explicit":
        rules |= {"xi": 0.9999, "delta": 0.6 * ETA / n}
    got = certificates(graph, rules, utilities_of(instance))
    first = next(iter(got.values()))
    assert all(c == first for c in got.values())
    assert first.norm == MAXIMUM_NORM
    assert first.guaranteed
    assert 0 < first.bound < 1
    own = {i: Fraction(float(-2 * instance.theta[k, 0])) for k, i in enumerate(instance.agents)}
    rows = [
        float(literal_row(route, Fraction(first.xi), Fraction(first.delta), own[i]))
        for i, route in routes(graph).items()
    ]
    # What it certifies is true of the utilities there are.
    assert max(first.xi, *rows) <= first.bound * (1 + 1e-12)
    if mode == "tuned":
        assert first.delta == public_contraction.tuned_delta(n, float(max(own.values())))
    if mode == "eta":
        assert first.delta == public_contraction.tuned_delta(n, ETA)
    if mode == "explicit":
        assert (first.xi, first.delta) == (rules["xi"], rules["delta"])


@pytest.mark.parametrize("mechanism", ["private-goods", "public-goods"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("goods", [1, 2])
def test_what_they_agree_on_can_be_foreseen_bit_for_bit(mechanism, mode, goods):
    graph = GRAPHS["directed"]
    utilities = utilities_of(thesis(graph, 3, goods))
    delta = 0.55 * len(graph) * ETA if mechanism == "private-goods" else 0.6 * ETA / len(graph)
    rules = rules_of(mechanism, mode, **({"xi": 0.99999, "delta": delta} if mode == "explicit" else {}))
    got = certificates(graph, rules, utilities)
    # repr of a double is exact.
    assert {repr(certificate) for certificate in got.values()} == {repr(seen(graph, rules, utilities))}


@pytest.mark.parametrize("mechanism", ["private-goods", "public-goods"])
def test_one_utility_whose_goods_interact_makes_the_norm_the_block_norm_for_all(mechanism):
    graph = GRAPHS["er"]
    separable, mixed = utilities_of(thesis(graph, 1, 2, eta=2.0)), utilities_of(forms(graph, 1, 2, 0.7, 1.4))
    one = {**separable, "n03": mixed["n03"]}
    for utilities, norm in ((separable, MAXIMUM_NORM), (one, BLOCK_NORM), (mixed, BLOCK_NORM)):
        got = certificates(graph, rules_of(mechanism), utilities)
        assert {c.norm for c in got.values()} == {norm}
        assert len({repr(c) for c in got.values()}) == 1
        assert all(c.guaranteed for c in got.values())


def test_one_good_is_always_separable_and_costs_no_question():
    graph = tree(7)
    rounds = [
        run(agreeing(graph, rules_of("private-goods"), utilities_of(thesis(graph, 1, goods))), hears(graph))
        for goods in (1, 2)
    ]
    diameter = routes(graph)["n00"].diameter
    assert [r.rounds for r in rounds] == [3 * diameter, 4 * diameter]


def test_all_refuse_in_the_same_round_if_one_condition_number_is_too_large_for_the_block_norm():
    graph = GRAPHS["er"]
    n = len(graph)
    utilities = utilities_of(forms(graph, 1, 2, 0.7, 1.4))
    utilities["n03"] = utilities_of(forms(graph, 1, 2, 0.1, 0.1 * n))["n03"]
    rules = rules_of("private-goods")
    log = step(agreeing(graph, rules, utilities), hears(graph), sorted(graph))
    assert not log.results
    assert sorted(log.failed) == sorted(graph)
    assert len({k for k, _ in log.failed.values()}) == 1
    assert {type(error) for _, error in log.failed.values()} == {NoGuarantee}
    (text,) = {str(error) for _, error in log.failed.values()}
    assert BLOCK_NORM in text
    assert "--unguaranteed" in text


def test_with_unguaranteed_the_same_agents_play_and_know_that_nothing_is_proved():
    graph = GRAPHS["er"]
    n = len(graph)
    utilities = utilities_of(forms(graph, 1, 2, 0.1, 0.1 * n))
    rules = rules_of("private-goods", unguaranteed=True)
    first, *others = certificates(graph, rules, utilities).values()
    assert all(c == first for c in others)
    assert not first.guaranteed
    assert first.bound >= 1
    assert first.norm == BLOCK_NORM
    # xi is what it would be if goods did not meet.
    network = routes(graph)
    spans = {i: contraction.curvature_range(utilities[i].curvature) for i in network}
    eps = min(contraction.best_eps(network[i], first.delta, *spans[i]) for i in network)
    assert first.xi == 1 - eps


def test_a_guarantee_is_not_lost_by_not_insisting_on_it():
    graph = tree(7)
    utilities = utilities_of(thesis(graph, 1))
    plain = certificates(graph, rules_of("public-goods"), utilities)
    assert certificates(graph, rules_of("public-goods", unguaranteed=True), utilities) == plain


@pytest.mark.parametrize("mechanism", ["private-goods", "public-goods"])
def test_explicit_parameters_without_a_guarantee_name_the_bound(mechanism):
    graph = tree(7)
    utilities = utilities_of(thesis(graph, 0))
    rules = rules_of(mechanism, "explicit", xi=0.9, delta=0.01)
    with pytest.raises(NoGuarantee, match=r"xi = 0\.9, delta = 0\.01: the contraction bound is \d") as caught:
        seen(graph, rules, utilities)
    allowed = seen(graph, {**rules, "unguaranteed": True}, utilities)
    assert f"{allowed.bound:.9g}" in str(caught.value)
    assert (allowed.xi, allowed.delta) == (0.9, 0.01)
    with pytest.raises(NoGuarantee):
        certificates(graph, rules, utilities)


@pytest.mark.parametrize("xi", [1e-200, 1e-17, 1e-30])
def test_a_xi_by_which_nothing_can_be_decoded_is_refused(xi):
    graph = tree(7)
    rules = rules_of("private-goods", "explicit", xi=xi, delta=100.0, unguaranteed=True)
    with pytest.raises(ValueError, match=rf"xi = {xi}.* expected a xi nearer to 1"):
        seen(graph, rules, utilities_of(thesis(graph, 0)))


def test_no_eta_is_too_large_for_the_proof_to_end():
    """Below eps = 2^-60 xi is 1 in double precision: no guarantee, said by all in the same round."""
    graph = tree(7)
    rules = {"mechanism": "public-goods", "parameters": "proof", "eta": 1e10}
    log = step(agreeing(graph, rules, utilities_of(thesis(graph, 0))), hears(graph), sorted(graph))
    assert {type(error) for _, error in log.failed.values()} == {NoGuarantee}
    assert len({k for k, _ in log.failed.values()}) == 1


@pytest.mark.parametrize("mechanism", ["lottery", None])
def test_unknown_mechanism_is_named(mechanism):
    graph = tree(7)
    with pytest.raises(ValueError, match=f"unknown mechanism {mechanism!r}"):
        seen(graph, rules_of(mechanism), utilities_of(thesis(graph, 0)))


def test_curvature_of_a_public_utility_outside_the_public_range_is_named():
    graph = random_graph(5, 1, directed=True)
    rules = {"mechanism": "public-goods", "parameters": "tuned", "eta": 1.5}
    with pytest.raises(ValueError, match=r"agent n00: -v'' in \[.*expected inside \(1/eta, eta\)"):
        seen(graph, rules, utilities_of(thesis(graph, 0)))


def test_decoding_weights_of_the_certificate_are_the_largest():
    graph = GRAPHS["directed"]
    utilities = utilities_of(thesis(graph, 0))
    certificate = seen(graph, rules_of("public-goods"), utilities)
    weights = [contraction.weight_sum(route, 1 - certificate.xi) for route in routes(graph).values()]
    assert certificate.weight_sum == pytest.approx(float(np.max(weights)), rel=1e-12)
