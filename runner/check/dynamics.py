"""How fast residuals shrank round after round, against the certificate found anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runner.check.lines import CONTRACTION, Line, inapplicable, measured, unchecked
from runner.check.rebuilt import rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.check.evidence import Evidence
    from runner.check.rebuilt import Profile, Rebuilt

# A factor of two residuals is exact to some digits of the smaller one, which is itself a difference.
DIGITS = 1e-6
# Pairs of rounds are compared for so many rounds at most, spread over the record.
ROUNDS = 600


def contraction(evidence: Evidence, rebuilt: Rebuilt, profile: Profile) -> Line:
    """No two recorded rounds are farther apart in residual than the certificate allows.

    Under best response to the last round the residuals of all agents together are |beta(m) - m|, and
    |beta(beta(m)) - beta(m)| <= L |beta(m) - m|. So the law holds for every pair of rounds, not just on
    average. Residuals that rounding explains prove nothing and are left out.
    """
    if flaw := _certificate(evidence, rebuilt):
        reason = "the agents' certificate against that of the scenario, bit for bit"
        return measured(CONTRACTION, math.nan, rebuilt.factor, reason, flaw)
    if not rebuilt.guaranteed:
        return inapplicable(
            CONTRACTION, f"nothing is guaranteed: the bound is {rebuilt.bound:.6g}, not below 1"
        )
    if evidence.free:
        return inapplicable(CONTRACTION, "the bound is for rounds; in free mode agents tick, each on its own")
    if evidence.rules["learning"] != "cournot":
        return inapplicable(
            CONTRACTION,
            "the bound is for best response to the last round; agents that remember more contract over "
            "longer "
            "stretches, at a rate that is not claimed",
        )
    missing = evidence.missing_rounds()
    if missing and (rebuilt.settled is None or not len(evidence.record)):
        # The factor is one of the largest residual of all: that of some may well grow.
        return unchecked(CONTRACTION, missing)
    rounds, values = evidence.complete("residual")
    if rounds.size < 2:
        return unchecked(
            CONTRACTION, f"{rounds.size} rounds in which all residuals were recorded; two are needed"
        )
    residuals = values.max(axis=(1, 2))
    # Messages are no larger on the way than this: they begin at zero and approach the last ones.
    noise = 4.0 * rounding(rebuilt, profile) + 1e-300
    if rebuilt.settled is not None:
        return _settled(rounds, residuals, noise, rebuilt.settled, missing)
    rate, pair = _worst(rounds, residuals, noise, rebuilt.constant, rebuilt.factor)
    first, last = _telling(rounds, residuals, noise)
    words = f"rounds {pair[0]} to {pair[1]}" if pair else "none"
    mean = f", {_mean(rounds, residuals, first, last):.6g} on the whole" if last > first else ""
    constant = "" if rebuilt.constant == 1.0 else f" up to a constant of {rebuilt.constant:.3g} between norms"
    return measured(
        CONTRACTION,
        rate,
        rebuilt.factor * (1.0 + DIGITS),
        f"the largest factor a round between two recorded rounds ({words}){constant}{mean}; at most the "
        "bound, "
        f"{rebuilt.norm}",
    )


def _certificate(evidence: Evidence, rebuilt: Rebuilt) -> str | None:
    """What is wrong with the constants that agents say they have agreed on."""
    expected = {
        "parameters": rebuilt.parameters,
        "bound": rebuilt.bound,
        "norm": rebuilt.norm,
        "guaranteed": rebuilt.guaranteed,
    }
    for agent, result in evidence.results.items():
        for key, wanted in expected.items():
            if result.get(key) != wanted:
                return f"agent {agent} reports {key} = {result.get(key)!r}; the scenario gives {wanted!r}"
    return None


def _telling(rounds: NDArray[np.int64], residuals: NDArray[np.float64], noise: float) -> tuple[int, int]:
    """Indices of the first and the last round whose residual is no rounding."""
    above = np.flatnonzero(residuals > noise)
    return (int(above[0]), int(above[-1])) if above.size else (0, 0)


def _mean(rounds: NDArray[np.int64], residuals: NDArray[np.float64], first: int, last: int) -> float:
    return float((residuals[last] / residuals[first]) ** (1.0 / (rounds[last] - rounds[first])))


def _worst(
    rounds: NDArray[np.int64], residuals: NDArray[np.float64], noise: float, constant: float, factor: float
) -> tuple[float, tuple[int, int] | None]:
    """The largest (r_t / (constant r_s))^(1/(t-s)) over pairs s < t, and where; 0 if there is none."""
    # Neighbouring rounds say all if the constant is 1; otherwise distant pairs say more.
    if constant == 1.0:
        s, t = np.arange(rounds.size - 1), np.arange(1, rounds.size)
    else:
        some = np.unique(np.linspace(0, rounds.size - 1, min(rounds.size, ROUNDS)).astype(np.int64))
        s, t = (some[k] for k in np.triu_indices(some.size, 1))
    # What rounding adds to the later residual is not the earlier one's.
    later = residuals[t] - noise
    telling = (residuals[s] > noise) & (later > 0.0)
    s, t, later = s[telling], t[telling], later[telling]
    if not s.size:
        return 0.0, None
    rates = (later / (constant * residuals[s])) ** (1.0 / (rounds[t] - rounds[s]))
    worst = int(rates.argmax())
    return float(rates[worst]), (int(rounds[s[worst]]), int(rounds[t[worst]]))


def _settled(
    rounds: NDArray[np.int64], residuals: NDArray[np.float64], noise: float, after: int, missing: str | None
) -> Line:
    """A factor of 0: after so many rounds of play messages are exact, and stay so."""
    late = rounds >= rounds[0] + after
    largest = float(residuals[late].max(initial=0.0))
    flaw = None if late.any() else f"the record ends before round {after} of play"
    return measured(
        CONTRACTION,
        largest,
        noise,
        f"the bound is 0: the largest residual after {after} rounds of play, which the diameter of the "
        "tree asks "
        f"for{'; ' + missing if missing else ''}; at most what rounding explains",
        flaw,
    )
