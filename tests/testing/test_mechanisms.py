"""The laws of mechanisms: the private goods mechanism keeps all, and each mutant breaks its own, alone."""

from __future__ import annotations

import numpy as np
import pytest

from node.mechanisms.private_goods import PrivateGoods
from node.testing import BrokenLaw, Contraction, Shares, check_mechanism, samples
from node.testing.equilibrium import find_nash
from node.testing.instance import Instance
from node.testing.mechanisms import LAWS
from tests.testing import mutants
from tests.testing.mutants import CAPACITY, builder

ONE_WAY = samples.one_way_ring(4)
TREE = samples.binary_tree(5)


def instance(build, hears, goods=1, seed=0):
    utilities = samples.quadratics(hears, goods, eta=5.0, seed=seed)
    problem = Shares([CAPACITY, -3.0][:goods])
    found = Instance(build, hears, utilities, problem, None, seed, None, build(hears, utilities))
    return found, find_nash(found)[0]


def check(contract, hears=TREE, goods=1, **options):
    build = options.pop("build", builder(contract))
    utilities = samples.quadratics(hears, goods, eta=5.0)
    return check_mechanism(build, hears, utilities, Shares([CAPACITY, -3.0][:goods]), **options)


@pytest.mark.parametrize("goods", [1, 2])
@pytest.mark.parametrize(
    "hears",
    [TREE, samples.ring(5), samples.star(4), samples.complete(3), ONE_WAY],
    ids=["tree", "ring", "star", "complete", "one-way"],
)
def test_private_goods_keep_all_laws(hears, goods):
    report = check(PrivateGoods, hears, goods)
    report.raise_if_broken()
    assert report.unchecked == ("contraction",)


BROKEN = {
    # contract: what it breaks
    mutants.TaxIsAnArray: {"well formed"},
    mutants.PriceHasTwoAxes: {"well formed"},
    mutants.ReplyIsCutShort: {"well formed"},
    mutants.Dice: {"deterministic"},
    mutants.Counts: {"deterministic"},
    mutants.WritesIntoWhatItHears: {"messages untouched"},
    mutants.WritesIntoItsMessage: {"messages untouched"},
    mutants.SpendsItsView: {"messages untouched"},
    mutants.RefusesZeros: {"accepts its own messages"},
    mutants.AcceptsAnything: {"refuses other bodies"},
    mutants.AcceptsAnyNumberType: {"refuses other bodies"},
    mutants.RaisesOnOddBodies: {"refuses other bodies"},
    mutants.ReadsAStranger: {"distributed"},
    mutants.ReadsItsOwnMessage: {"distributed"},
    mutants.SharesABoard: {"distributed"},
    mutants.RemembersItsMessage: {"distributed"},
    mutants.ShowsAnOwnPrice: {"own price"},
    mutants.Ripples: {"concave"},
    mutants.LooksAtDemandOnly: {"residual"},
    mutants.NeverAtRest: {"residual"},
    mutants.SizeIsASquare: {"residual"},
    mutants.TrustsItsMemory: {"spread"},
    mutants.AsksForAStranger: {"spread"},
    mutants.SpreadIsASquare: {"spread"},
    mutants.Fee: {"budget balance"},
    mutants.Tribute: {"individual rationality"},
    mutants.EqualSplit: {"efficient"},
}


@pytest.mark.parametrize("contract", BROKEN, ids=lambda contract: contract.__name__)
def test_a_mutant_breaks_its_law_and_no_other(contract):
    assert set(check(contract).broken) == BROKEN[contract]


def test_reading_past_the_messages_is_told_from_not_being_deterministic():
    assert check(mutants.SharesABoard)["deterministic"].number == 0
    assert check(mutants.Dice).unchecked == ("distributed", "contraction")


def test_a_best_response_that_is_right_at_rest_only_is_caught_by_random_messages_of_the_others():
    _, nash = instance(builder(xi=0.99), TREE)

    def build(hears, utilities):
        built = builder(mutants.Hesitates, xi=0.99)(hears, utilities)
        for i, contract in built.items():
            contract.nash = nash[i]
        return built

    report = check(None, build=build, nash=nash)
    assert report.broken == ("best response is best",)


def test_a_prize_at_the_nash_message_only_is_caught_there():
    honest, nash = instance(builder(), TREE)

    def build(hears, utilities):
        built = builder(mutants.PaysForSilence)(hears, utilities)
        for i, contract in built.items():
            contract.quiet_at = honest.view(i, nash)
        return built

    report = check(None, build=build, nash=nash)
    assert report.broken == ("no profitable deviation",)
    assert "1e+06 " in report["no profitable deviation"].reason
    assert "the opening" in report["no profitable deviation"].reason  # which is zeros


def test_a_nash_message_that_is_wrong_where_nobody_reads_is_no_fixed_point():
    _, nash = instance(builder(), TREE)
    # n03 is a leaf: nobody decodes its proxy of n04, so that neither outcome nor other replies move.
    wrong = {**nash, "n03": nash["n03"].copy()}
    wrong["n03"][1 + 4] += 1e-6
    report = check(PrivateGoods, nash=wrong)
    assert report.broken == ("fixed point", "residual")  # one and the same thing, at a given Nash message
    assert "n03" in report["fixed point"].reason


@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_a_given_nash_message_that_is_wrong_is_found_out(wrong):
    _, nash = instance(builder(), TREE)
    assert "fixed point" in check(PrivateGoods, nash={**nash, "n00": nash["n00"] + wrong}).broken


def test_handing_out_more_than_there_is_is_not_feasible():
    report = check(PrivateGoods, build=builder(capacity=CAPACITY + 1))
    assert report.broken == ("feasible",)


def certificate(hears, xi, goods=1):
    """The bound of spec section 4 for curvatures known exactly, in the maximum norm, K = 1."""
    routes, utilities = samples.routes(hears), samples.quadratics(hears, goods, eta=5.0)
    a = {i: float(1 / u.curvature[0][0]) for i, u in utilities.items()}
    n, delta = len(hears), 1.02 * len(hears) * max(a.values()) / 2
    rows = [
        (xi ** -r.exponents()).sum() * abs(1 / (n - 1) - a[i] / delta) + xi**-r.echo * a[i] / delta
        for i, r in routes.items()
    ]
    return max(xi, *map(float, rows))


@pytest.mark.parametrize("hears", [TREE, ONE_WAY], ids=["tree", "one-way"])
def test_the_proved_bound_is_kept_and_met_and_a_smaller_one_is_refuted(hears):
    bound = certificate(hears, 0.995)
    assert bound < 1
    build = builder(xi=0.995)
    report = check(None, hears, build=build, contraction=Contraction(bound))
    report.raise_if_broken()
    # The worst direction is found, so that the measured number is the bound itself.
    assert report["contraction"].number == pytest.approx(bound, rel=1e-9)
    report = check(None, hears, build=build, contraction=Contraction(bound * (1 - 1e-6)))
    assert report.broken == ("contraction",)


def test_too_small_a_price_scale_does_not_contract():
    report = check(None, build=builder(xi=0.995, margin=0.9), contraction=Contraction(0.9999))
    assert report.broken == ("contraction",)


def test_a_bound_of_one_is_no_claim_of_contraction():
    assert check(PrivateGoods, contraction=Contraction(1.0)).broken == ("contraction",)


def test_weights_of_the_norm_are_used():
    """In the norm that divides q_i^r by xi^d(i,r), rows of q sum to 1 and rows of y do not see xi."""
    xi, routes = 0.9, samples.routes(TREE)
    agents = sorted(TREE)
    weights = {i: np.array([1.0, *(xi ** max(1, routes[i].distance[r]) for r in agents)]) for i in agents}
    report = check(None, build=builder(xi=xi), contraction=Contraction(1 - 1e-12, weights))
    assert report["contraction"].number == pytest.approx(1.0, rel=1e-9)
    plain = check(None, build=builder(xi=xi), contraction=Contraction(1 - 1e-12))
    assert plain["contraction"].number > 1.02


def test_block_norm_of_two_goods_is_measured_in_its_worst_direction():
    """Two goods of equal curvature: blocks are multiples of one, so both norms have the same factor."""
    numbers = []
    for block in (False, True):
        claim = Contraction(0.99999, block=block)
        numbers.append(check(None, goods=2, build=builder(xi=0.995), contraction=claim)["contraction"].number)
    # With separable quadratics every block is diagonal; the worse good alone attains the Euclidean norm.
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-9)


# Errata and other mistakes that break several laws -------------------------------------------------------


def test_e1_exponent_one_is_caught_on_a_directed_graph_and_harmless_on_an_undirected_one():
    assert check(mutants.EchoOfOne, ONE_WAY).broken == ("efficient", "budget balance")
    assert check(mutants.EchoOfOne, TREE).broken == ()


def test_e3_missing_share_is_caught_with_and_without_the_nash_message():
    assert "best response is best" in check(mutants.NoEqualShare).broken
    nash = instance(builder(), TREE)[1]
    assert check(mutants.NoEqualShare, nash=nash).broken == (
        "best response is best",
        "fixed point",
        "residual",
    )


def test_flipped_signs_of_the_tax_are_caught():
    assert set(check(mutants.RewardsWrongProxies).broken) == {
        "concave",
        "best response is best",
        "no profitable deviation",
    }
    broken = check(mutants.PaysForDemand).broken
    assert {"best response is best", "no profitable deviation"} <= set(broken)
    assert "concave" not in broken


def test_a_price_that_contains_the_own_message_is_caught():
    broken = set(check(mutants.PaysAnOwnPrice).broken)
    assert {"own price", "best response is best", "no profitable deviation"} <= broken


def test_a_price_taking_market_is_not_strategy_proof():
    report = check(mutants.PriceTakersMarket, samples.complete(4))
    assert {"own price", "best response is best", "no profitable deviation"} <= set(report.broken)
    assert "efficient" not in report.broken


def test_a_discount_for_one_is_neither_efficient_nor_paid_for():
    assert check(mutants.Favourite).broken == ("efficient", "budget balance")


# The kit itself ------------------------------------------------------------------------------------------


def test_the_report_is_an_assertion_with_the_whole_table():
    report = check(mutants.Fee)
    with pytest.raises(BrokenLaw, match="budget balance") as error:
        report.raise_if_broken()
    assert isinstance(error.value, AssertionError)
    text = str(error.value)
    assert text == str(report)
    assert "1 of 17 laws broken" in text
    assert all(law in text for law in LAWS)
    assert "taxes sum to 0.05" in text


def test_the_report_is_a_function_of_its_arguments():
    reports = [str(check(mutants.PriceTaking, seed=seed)) for seed in (0, 0, 1)]
    assert reports[0] == reports[1] != reports[2]


def test_a_law_that_is_not_claimed_is_not_checked():
    report = check(mutants.Fee, without=["budget balance"])
    report.raise_if_broken()
    assert set(report.unchecked) == {"budget balance", "contraction"}
    with pytest.raises(ValueError, match="kindness"):
        check(PrivateGoods, without=["kindness"])
    with pytest.raises(KeyError, match="kindness"):
        _ = report["kindness"]


def test_without_a_problem_welfare_is_not_judged():
    utilities = samples.quadratics(TREE, eta=5.0)
    report = check_mechanism(builder(), TREE, utilities)
    assert set(report.unchecked) == {"feasible", "efficient", "individual rationality", "contraction"}


def test_contracts_of_other_agents_are_refused():
    with pytest.raises(ValueError, match="n04"):
        check_mechanism(builder(), samples.binary_tree(3), samples.quadratics(TREE), Shares([5.0]))


def test_an_equilibrium_that_play_does_not_find_is_solved_for():
    """delta far below N a / 2: best responses diverge, Newton's method does not care."""
    found, nash = instance(builder(margin=0.2), TREE)
    _, how = find_nash(found)
    assert how == "Newton's method"
    assert nash is not None
    check(None, build=builder(margin=0.2)).raise_if_broken()


def test_no_equilibrium_is_reported_as_such():
    class Chases(mutants.EqualSplit):
        def best_response(self, view):
            return 1.0 + sum(view) / len(view)

    report = check(Chases)
    assert "fixed point" in report.broken
    assert "neither" in report["fixed point"].reason
    assert {"efficient", "no profitable deviation", "budget balance"} <= set(report.unchecked)


def test_messages_from_a_space_of_its_own_need_a_draw():
    class Positive(mutants.EqualSplit):
        """Messages of at least 0; saying 0 is best."""

        def accepts(self, body, src):
            return super().accepts(body, src) and bool((body >= 0).all())

    with pytest.raises(ValueError, match="draw"):
        check(Positive)
    report = check(Positive, draw=lambda agent, rng: rng.uniform(0, 3, (1, 1)))
    assert report.broken == ("efficient",)


def test_a_contract_that_cannot_be_played_is_told_what_it_lacks():
    class Lacks(mutants.Mutant):
        residual = spread = None

    report = check(Lacks)
    assert report.broken == ("residual", "spread")
    assert "no method residual" in report["residual"].reason


def test_what_a_contract_raises_is_not_hidden():
    class Raises(mutants.Mutant):
        def outcome(self, message, view):
            raise ZeroDivisionError("of my own")

    with pytest.raises(ZeroDivisionError, match="of my own"):
        check(Raises)
