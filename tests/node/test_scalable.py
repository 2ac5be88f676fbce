"""The whole life of agents under a summary contract, in lockstep, against a planner (spec 04, section 3)."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from benchmarks.lossy import Lossy
from broker import codec
from node.environments import PrivateGoods, PublicGoods
from node.lockstep import run
from node.mechanisms.contraction import NoGuarantee
from node.part import Part
from node.protocol import Heard
from node.protocols.allocated import Allocated
from node.protocols.roles import roles
from node.protocols.scalable import scalable, scalable_freely
from node.utilities import build
from runner.testing import Network
from tests.node.instances import erdos_renyi, hears, named, random_graph, ring, step, tree
from tests.node.summary import spanning_tree
from tests.node.test_summary_contract import random_tree
from tests.twins import assert_goes_on_from_snapshots

VARIANTS = ("anchored", "weighted", "plain", "public")


def rules(variant="anchored", goods=1, tolerance=1e-6, scale=None, **more):
    public = variant == "public"
    shared = {"features": goods} if public else {"capacities": [12.0, -3.0, 5.0][:goods]}
    stopping = {"rule": "counters", "tolerance": tolerance, "scale": 1.0 if public and not scale else scale}
    if "max_rounds" in more:
        stopping["max_rounds"] = more.pop("max_rounds")
    return {
        "mechanism": "summary",
        **shared,
        "eta": 25.0,
        "variant": "anchored" if public else variant,
        "parameters": "tuned",
        **({"cap": 0.45} if variant == "weighted" else {}),
        "learning": "cournot",
        "stopping": stopping,
        **more,
    }


def quadratic(rng, goods):
    return {
        "family": "quadratic",
        "theta": rng.uniform(-1.5, -0.2, goods).tolist(),
        "sigma": rng.uniform(5, 20, goods).tolist(),
    }


def log_cosh(rng, goods):
    low = rng.uniform(0.3, 1.0, goods)
    return {
        "family": "log-cosh",
        "low": low.tolist(),
        "high": (low * rng.uniform(1, 3, goods)).tolist(),
        "sigma": rng.uniform(-5, 10, goods).tolist(),
        "centre": rng.uniform(-3, 3, goods).tolist(),
        "width": rng.uniform(0.3, 2, goods).tolist(),
    }


def form(rng, goods):
    q, _ = np.linalg.qr(rng.normal(size=(goods, goods)))
    h = q @ np.diag(rng.uniform(0.5, 2.0, goods)) @ q.T
    return {
        "family": "quadratic-form",
        "hessian": (-(h + h.T) / 2).tolist(),
        "sigma": rng.uniform(-5, 10, goods).tolist(),
    }


def parts(graph, contract, family=quadratic, seed=0, record_every=0):
    rng = np.random.default_rng(seed)
    goods = contract["features"] if "features" in contract else len(contract["capacities"])
    return {
        i: Part(i, "test", near, near, family(rng, goods), contract, record_every)
        for i, near in hears(graph).items()
    }


def played(all_parts, order=None):
    agents = sorted(all_parts) if order is None else order
    return run({i: scalable(all_parts[i]) for i in agents}, {i: p.hears for i, p in all_parts.items()})


def optimum(all_parts):
    contract = next(iter(all_parts.values())).contract
    utilities = {i: build(part.utility) for i, part in all_parts.items()}
    if "features" in contract:
        return PublicGoods(contract["features"], utilities).optimum()
    return PrivateGoods(contract["capacities"], utilities).optimum()


def check(graph, contract, family=quadratic, seed=0):
    """Accuracy, agreement, stopping: all that a run promises."""
    all_parts = parts(graph, contract, family, seed)
    got, best, stopping = played(all_parts), optimum(all_parts), contract["stopping"]
    scale = stopping["scale"] or max(map(abs, contract["capacities"])) / len(graph)
    for i, result in got.results.items():
        off = float(np.abs(np.array(result.allocation) - best.allocation[i]).max())
        assert off <= stopping["tolerance"] * scale
        assert result.satisfied
        assert result.guaranteed
    one = next(iter(got.results.values()))
    for key in ("agents", "diameter", "parameters", "bound", "norm", "play_rounds"):
        assert all(getattr(r, key) == getattr(one, key) for r in got.results.values())
    assert one.agents == len(graph)
    assert one.diameter == nx.diameter(spanning_tree(graph))
    assert 0 <= one.bound < 1
    return got


GRAPHS = {"tree": tree(15), "er": erdos_renyi(12, 0.3, 0), "ring": ring(9), "random": random_tree(14, 3)}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_its_promise(variant, graph):
    for seed, tolerance in ((0, 1e-3), (1, 1e-6)):
        check(GRAPHS[graph], rules(variant, tolerance=tolerance), seed=seed)


@pytest.mark.parametrize("family", [quadratic, log_cosh, form])
@pytest.mark.parametrize("variant", VARIANTS)
def test_several_goods_and_other_utilities_keep_it_too(variant, family):
    check(GRAPHS["tree"], rules(variant, goods=2), family, 2)


def test_goods_of_separable_quadratics_are_exact_after_diameter_plus_one_rounds_each():
    got = check(GRAPHS["er"], rules(goods=3, tolerance=1e-9), seed=1)
    one = got.results["n00"]
    assert one.bound == 0.0
    assert [name for name in one.parameters if name.startswith("delta")] == ["delta.0", "delta.1", "delta.2"]
    depth = nx.eccentricity(spanning_tree(GRAPHS["er"]), "n00")
    # The message after D + 1 rounds is exact, one round shows it, and stopping takes 2 depth more.
    assert one.play_rounds == one.diameter + 3 + 2 * depth


def test_one_utility_that_is_not_separable_makes_all_agents_treat_goods_together():
    graph, contract = GRAPHS["tree"], rules(goods=2)
    mixed = parts(graph, contract, quadratic, 1)
    mixed["n03"] = parts(graph, contract, form, 1)["n03"]
    got = played(mixed)
    assert 0 < got.results["n00"].bound < 1
    parameters = got.results["n00"].parameters
    assert parameters["delta.0"] == parameters["delta.1"]
    best = optimum(mixed)
    for i, result in got.results.items():
        np.testing.assert_allclose(result.allocation, best.allocation[i], rtol=0, atol=1e-6 * 12 / 15)


@pytest.mark.parametrize("variant", VARIANTS)
def test_prices_are_the_optimums_and_taxes_sum_to_zero(variant):
    all_parts = parts(GRAPHS["tree"], rules(variant, tolerance=1e-10), seed=3)
    got, best = played(all_parts).results, optimum(all_parts)
    for i, result in got.items():
        assert result.price == pytest.approx(best.prices[i].tolist(), rel=0, abs=1e-7)
    taxes = [r.tax for r in got.values()]
    assert abs(math.fsum(taxes)) <= 1e-8 * math.fsum(map(abs, taxes))


def test_parameters_from_eta_alone_do_not_depend_on_anybodys_utility():
    contract = rules(parameters="eta", tolerance=1e-3, eta=4.0)
    one, other = (check(GRAPHS["er"], contract, seed=seed).results["n00"] for seed in (1, 2))
    assert one.parameters == other.parameters
    assert one.parameters["delta"] == pytest.approx(12 * (4 + 1 / 4) / 2)
    assert one.parameters["largest_weight"] == pytest.approx(1 / 12)
    assert one.parameters["L"] == pytest.approx((4 - 1 / 4) / (4 + 1 / 4))


def test_contraction_of_the_run_is_at_most_what_is_certified():
    """Residuals of log-cosh utilities, from the record, in the norm at kappa = 1: by L over D rounds."""
    graph = GRAPHS["random"]
    all_parts = parts(graph, rules(tolerance=1e-9), log_cosh, 4)
    residuals = []

    def observe(k, says):
        if all(say.record and "residual" in say.record for say in says.values()):
            residuals.append(max(say.record["residual"] for say in says.values()))

    ended = run({i: scalable(p) for i, p in all_parts.items()}, hears(graph), observe)
    one = ended.results["n00"]
    worst = max(b / a for a, b in zip(residuals, residuals[one.diameter :], strict=False) if a > 1e-8)
    assert worst <= one.parameters["L"] * (1 + 1e-6)
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(residuals) if a > 1e-8)


def test_all_agents_leave_in_the_same_round_and_order_of_stepping_changes_no_bit():
    graph = GRAPHS["er"]
    all_parts = parts(graph, rules(), log_cosh, 1)
    agents = sorted(graph)
    one = played(all_parts)
    for seed in range(2):
        order = [agents[k] for k in np.random.default_rng(seed).permutation(len(agents))]
        log = step({i: scalable(all_parts[i]) for i in agents}, hears(graph), order)
        assert set(log.left.values()) == {one.rounds}
        assert {i: repr(r) for i, r in log.results.items()} == {i: repr(r) for i, r in one.results.items()}


def test_work_and_words_of_an_agent_do_not_grow_with_the_network():
    """The longest message of an agent of three neighbours, in bytes, on trees of 15 and of 511 agents."""
    longest = {}
    for n in (15, 511):
        graph = named(nx.full_rary_tree(2, n))
        all_parts = parts(graph, rules(), seed=1)
        size = [0]

        def observe(k, says, size=size):
            say = says["n03"]
            size[0] = max(size[0], len(codec.pack((say.body, dict(say.to)))))

        run({i: scalable(p) for i, p in all_parts.items()}, hears(graph), observe)
        longest[n] = size[0]
    assert longest[511] <= longest[15] + 40  # sums of more agents need a few more digits


def test_result_is_plain_data():
    got = played(parts(GRAPHS["tree"], rules())).results["n00"]
    assert Allocated(**asdict(got)) == got
    assert all(type(v) in (tuple, dict, str, int, float, bool, type(None)) for v in asdict(got).values())


def test_max_rounds_ends_play_unsatisfied_everywhere():
    got = played(parts(GRAPHS["tree"], rules(max_rounds=4)))
    assert {(r.play_rounds, r.satisfied) for r in got.results.values()} == {(4, False)}


@pytest.mark.parametrize("variant", ["anchored", "weighted"])
def test_a_snapshot_of_any_round_of_play_gives_the_very_say_again_and_the_same_end(variant):
    graph = GRAPHS["tree"]
    all_parts, listens = parts(graph, rules(variant, tolerance=1e-2), log_cosh, 1), hears(graph)
    expected = played(all_parts)
    protocols = {i: scalable(p) for i, p in all_parts.items()}
    says = {i: next(g) for i, g in protocols.items()}
    results, resumed = {}, 0
    for k in range(expected.rounds):
        for i in says:
            if k % 3 == 0 and says[i].snapshot is not None and protocols[i].gi_yieldfrom is None:
                protocols[i] = scalable(
                    all_parts[i], codec.unpack(codec.pack(copy.deepcopy(says[i].snapshot)))
                )
                again = next(protocols[i])
                assert codec.pack(again.body) == codec.pack(says[i].body)
                assert (again.kind, again.report) == (says[i].kind, says[i].report)
                says[i] = again
                resumed += 1
        later = {}
        for i in says:
            try:
                later[i] = protocols[i].send(Heard({j: says[j].body for j in listens[i]}))
            except StopIteration as stop:
                results[i] = stop.value
        says = later
    assert results == expected.results
    assert resumed > 5 * len(graph)


def test_accepts_is_set_in_every_round_and_accepts_what_is_said():
    graph = GRAPHS["er"]
    all_parts, listens = parts(graph, rules(goods=2), seed=1), hears(graph)
    protocols = {i: scalable(p) for i, p in all_parts.items()}
    says, kinds = {i: next(g) for i, g in protocols.items()}, set()
    while says:
        for i, say in says.items():
            kinds.add(say.kind)
            for j in listens[i]:
                heard = codec.unpack(codec.pack(says[j].body))
                assert say.accepts(heard, j)
            for wrong in (None, "nonsense", (), (None, None), (None,) * 5, ((), ()), (("a",), ("b",))):
                assert not say.accepts(wrong, listens[i][0])
        later = {}
        for i in says:
            try:
                later[i] = protocols[i].send(Heard({j: says[j].body for j in listens[i]}))
            except StopIteration:
                continue
        says = later
    assert kinds == {"tree", "roles", "play+tree-counters"}


def test_roles_that_contradict_the_tree_are_not_accepted():
    graph = GRAPHS["er"]
    from node.consensus.tree import tree_sum

    trees = run({i: tree_sum(i, (1.0,)) for i in graph}, hears(graph)).results
    says = {i: next(roles(i, trees[i])) for i in graph}
    for i, say in says.items():
        for j in graph[i]:
            near, carried = says[j].body
            assert say.accepts((near, carried), j)
            if i in near:
                assert not say.accepts((tuple(k for k in near if k != i), ()), j)
            else:
                assert not say.accepts((tuple(sorted((*near, i))), carried), j)
            if near:
                assert not say.accepts((near[::-1] + near[-1:], carried), j)
            assert not say.accepts((near, ("zz",)), j)
            if trees[i].parent == j:
                assert not say.accepts((near, tuple(k for k in carried if k != i)), j)


# Free mode ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "variant", "family"),
    [("tree", "anchored", log_cosh), ("er", "public", quadratic), ("random", "weighted", quadratic)],
)
def test_without_rounds_the_allocation_is_as_exact_as_promised_and_all_stop_together(graph, variant, family):
    """30 % loss, delays up to 20 ticks, one agent ten times slower."""
    given = parts(GRAPHS[graph], rules(variant, tolerance=1e-6), family, 1)
    best, slow = optimum(given), sorted(given)[3]
    ticking = {i: replace(part, tick=2.0 if i == slow else 0.2) for i, part in given.items()}

    def lossy(rng, *_):
        return () if rng.random() < 0.3 else (rng.uniform(0.0, 4.0),)

    net = Network(ticking, scalable_freely, 1, durable=False, fate=lossy)
    results = net.run()
    contract = rules(variant)
    scale = 1.0 if variant == "public" else max(map(abs, contract["capacities"])) / len(given)
    for i, result in results.items():
        off = float(np.abs(np.array(result.allocation) - best.allocation[i]).max())
        assert off <= 1e-6 * scale
        assert result.satisfied
    assert len({r.stopped for r in results.values()}) == 1
    assert set(net.rejected) <= {"duplicate", "overtaken"}


def test_a_snapshot_of_a_free_run_gives_the_same_say_and_the_same_life_after_it():
    graph = GRAPHS["tree"]
    given, listens = parts(graph, rules(tolerance=1e-3), log_cosh, 1), hears(graph)

    def fresh():
        return Lossy({i: scalable_freely(p) for i, p in given.items()}, listens, 0.2, 5, delay=2)

    def again(i, snapshot):
        return scalable_freely(given[i], snapshot)

    assert assert_goes_on_from_snapshots(fresh, again, every=40) > 10


def test_free_mode_refuses_dynamics_that_average():
    part = parts(GRAPHS["tree"], {**rules(), "learning": "fictitious"})["n00"]
    with pytest.raises(ValueError, match="free mode plays 'cournot' only"):
        scalable_freely(part)


@pytest.mark.parametrize(
    "dynamics", ["exponential", {"dynamics": "k-period", "k": 3}], ids=["exponential", "k-period"]
)
@pytest.mark.parametrize("variant", ["anchored", "weighted", "public"])
def test_dynamics_that_remember_keep_the_promise(variant, dynamics):
    check(GRAPHS["er"], rules(variant, tolerance=1e-4, learning=dynamics), log_cosh, 2)


# Refusals -----------------------------------------------------------------------------------------------


def refused(contract, text, error=ValueError, graph=GRAPHS["tree"], **more):
    with pytest.raises(error, match=text):
        played(parts(graph, contract, **more))


def test_a_price_scale_without_guarantee_is_refused_by_all_and_played_if_asked():
    contract = rules("plain", parameters="explicit", delta=1.0)
    refused(contract, "certificate L is", NoGuarantee)
    got = played(
        parts(
            GRAPHS["tree"],
            {**contract, "unguaranteed": True, "stopping": {**contract["stopping"], "max_rounds": 30}},
        )
    ).results
    assert {(r.guaranteed, r.satisfied, r.play_rounds) for r in got.values()} == {(False, False, 30)}
    assert got["n00"].bound > 1


def test_explicit_price_scale_is_certified_where_it_can_be():
    got = check(GRAPHS["tree"], rules(parameters="explicit", delta=20.0, tolerance=1e-4))
    assert got.results["n00"].parameters["delta"] == 20.0
    assert 0 < got.results["n00"].parameters["L"] < 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"variant": "summary"}, "unknown variant 'summary'"),
        ({"parameters": "proof"}, "unknown choice of parameters 'proof'"),
        ({"stopping": {"rule": "windows", "tolerance": 0.1, "scale": None}}, "unknown stopping rule"),
        ({"learning": "clairvoyance"}, "clairvoyance"),
        ({"variant": "weighted", "cap": 0.5}, "cap"),
        ({"variant": "weighted", "cap": 0.05}, "cap"),
        ({"eta": 1.2}, "eta"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_rules_are_named(change, text):
    refused({**rules(), **change}, text)


def test_public_goods_have_the_anchored_variant_only():
    refused({**rules("public"), "variant": "plain"}, "anchored")


def test_a_directed_graph_is_refused():
    graph = random_graph(6, 1, directed=True)
    i = next(i for i in sorted(graph) if set(graph.successors(i)) != set(graph.predecessors(i)))
    part = Part(
        i,
        "test",
        tuple(sorted(graph.successors(i))),
        tuple(sorted(graph.predecessors(i))),
        quadratic(np.random.default_rng(0), 1),
        rules(),
    )
    with pytest.raises(ValueError, match="both directions"):
        next(scalable(part))
