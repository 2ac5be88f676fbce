"""The rows of a network run's table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.network import NetworkResult

# name, value, remark, whether it holds
Line = tuple[str, str, str, bool | None]


def outcome(result: NetworkResult) -> list[Line]:
    """What came out, against the planner's optimum."""
    missing = result.optimal_welfare - result.welfare
    shown = _reach(result.errors, 1e-2) if result.errors else ""
    return [
        (
            "allocation",
            f"{result.allocation_error:.1e} off",
            f"relative to the largest; promised {result.tolerance:.1e}",
            result.allocation_error <= result.tolerance,
        ),
        ("price", f"{result.price_error:.1e} off", "relative to the largest", None),
        (
            "welfare",
            f"{result.welfare:.9g}",
            f"{abs(missing):.1e} {'below' if missing >= 0 else 'above'} the optimum, in money",
            None,
        ),
        # Without the guard: the welfare that is missing may be larger by that, and often is.
        (
            "proved gap",
            f"{result.gap:.1e}",
            "the agents' bound on that; 1e-12 of shares is kept free besides",
            result.gap_holds,
        ),
        ("steps", f"{result.steps}", shown, None),
        (
            "accuracy",
            _accuracy(result),
            f"by the agents; prices {result.price_rule}",
            None,
        ),
    ]


def promises(result: NetworkResult) -> list[Line]:
    """What the mechanism promises, measured."""
    balance = abs(result.tax_sum) / result.tax_scale if result.tax_scale else abs(result.tax_sum)
    busiest = max(result.used, key=lambda name: result.used[name], default="-")
    return [
        (
            "overshoot",
            f"{result.overshoot:.1e}",
            f"of a capacity, any round; fullest at the end: {busiest}",
            result.overshoot == 0.0,
        ),
        (
            "sum of taxes",
            f"{result.tax_sum:.1e}",
            f"{balance:.1e} of the sum of |tax|; {result.balance} balance",
            result.balanced,
        ),
        (
            "worst payoff",
            f"{result.worst_payoff:.3g}",
            "of an agent, over staying away",
            result.rational if result.loss is not None else None,
        ),
        (
            "regret",
            f"{result.regret:.1e}",
            f"best one-shot deviation found, {_searched(result)}; {_kind(result)}",
            _left(result),
        ),
        *(
            [("lonely links", ", ".join(result.lonely), "fewer than two demand them: (A4) may fail", None)]
            if result.lonely
            else []
        ),
    ]


def _accuracy(result: NetworkResult) -> str:
    # Whoever gave up, or was ended by ``max_rounds``, has neither proved the accuracy nor come to rest.
    if result.proved:
        return "proved"
    return "not reached" if result.stopped_unsatisfied else "observed"


def _left(result: NetworkResult) -> bool | None:
    """Whether no agent has reason to leave. Nothing is said of play that did not come to rest: there its
    distance explains nearly every regret, and the row of the allocation has the cross."""
    if not result.steady:
        return False
    return None if result.temptation is None or result.stopped_unsatisfied else True


def _searched(result: NetworkResult) -> str:
    whole = len(result.allocation)
    return f"{whole} agents" if result.regret_agents == whole else f"{result.regret_agents} of {whole} agents"


def _kind(result: NetworkResult) -> str:
    if result.price_rule == "strategic":
        return "best responses: they do not converge"
    return "price-taking dynamics"


def _reach(errors: dict[int, float], tolerance: float) -> str:
    late = max((step for step, error in errors.items() if error >= tolerance), default=-1)
    return (
        f"never within {tolerance:g}"
        if late == max(errors)
        else f"after {late + 1} steps within {tolerance:g}"
    )
