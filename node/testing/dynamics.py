"""``check_learning``: a learning dynamic of one's own, put through the laws.

The laws are those of adaptive learning (thesis section 4.5): a belief lies within what was heard, and what
has long not been heard is forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from broker import codec
from node.learning.dynamics import OWN
from node.mechanisms.private_goods import PrivateGoods
from node.testing import samples
from node.testing.equilibrium import find_nash
from node.testing.instance import Instance, flat, same_bits
from node.testing.report import Finding, Report, Worst
from node.utilities import Quadratic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from node.learning import Learning
    from node.mechanisms.contract import Contract
    from node.numbers import Matrix
    from node.part import AgentId
    from node.testing.instance import Build, Hears
    from node.utilities import Utility

Said = dict["AgentId", "Matrix"]

# The own message and those of two neighbours, which differ in shape, as on a tree.
_SHAPES = {OWN: (2, 2), "n01": (4, 2), "n02": (3, 2)}
_BURN_IN = 7
# How much of an old belief, or of the distance to the Nash message, may be left in the end. In 400 rounds an
# average of everything, the slowest of the usual dynamics, keeps 7/407 of what it believed.
_LEFT = 0.05


def _draws(seed: int, rounds: int) -> list[Said]:
    rng = np.random.default_rng([seed, 5])
    return [{j: rng.normal(0, 10, shape) for j, shape in _SHAPES.items()} for _ in range(rounds)]


def _copied(said: Mapping[AgentId, Matrix]) -> Said:
    return {j: np.array(message) for j, message in said.items()}


def _same(one: Mapping[AgentId, Matrix], other: Mapping[AgentId, Matrix]) -> bool:
    return sorted(one) == sorted(other) and all(same_bits(one[j], other[j]) for j in one)


def _beliefs(learning: Learning, history: list[Said]) -> list[Said]:
    """What is believed after each round; copied, since a dynamic may hand out its own memory."""
    return [_copied(learning.update(_copied(said))) for said in history]


def well_formed(make: Callable[[], Learning], seed: int) -> Finding:
    """A belief has a message for each agent heard, float64, finite, of the shape that was heard."""
    worst, learning = Worst(), make()
    for k, said in enumerate(_draws(seed, _BURN_IN)):
        belief = learning.update(_copied(said))
        if sorted(belief) != sorted(said):
            worst.count(f"round {k}: beliefs about {sorted(belief)}, heard {sorted(said)}")
            continue
        for j, message in belief.items():
            good = isinstance(message, np.ndarray) and message.dtype == np.float64
            if not good or message.shape != said[j].shape or not np.isfinite(message).all():
                worst.count(
                    f"round {k}: the belief about {j!r} is {message!r}, heard an array {said[j].shape}"
                )
    return worst.finding("well formed", 0)


def deterministic(make: Callable[[], Learning], seed: int) -> Finding:
    """Beliefs are a function of what was heard: the same bits for a second one, with others about."""
    worst, history = Worst(), _draws(seed, _BURN_IN)
    expected = _beliefs(make(), history)
    one, other = make(), make()
    for k, (said, noise) in enumerate(zip(history, _draws(seed + 1, _BURN_IN), strict=True)):
        belief = _copied(one.update(_copied(said)))
        other.update(noise)
        if not _same(belief, expected[k]):
            worst.count(f"round {k}: another belief after the same messages; does it share memory?")
    return worst.finding("deterministic", 0)


def untouched(make: Callable[[], Learning], seed: int) -> Finding:
    """What is heard is read, never written, in this round or a later one."""
    worst, learning, history = Worst(), make(), _draws(seed, _BURN_IN)
    handed = [_copied(said) for said in history]
    for said in handed:
        learning.update(said)
    for k, (said, before) in enumerate(zip(handed, history, strict=True)):
        if not _same(said, before):
            worst.count(f"the messages of round {k} were written to")
    return worst.finding("messages untouched", 0)


def within_hull(make: Callable[[], Learning], seed: int) -> Finding:
    """The belief about a neighbour is in the convex hull of its messages so far, along 300 directions."""
    worst, learning, history = Worst(), make(), _draws(seed, _BURN_IN)
    rng = np.random.default_rng([seed, 6])
    for k, said in enumerate(history):
        belief = learning.update(_copied(said))
        for j, message in belief.items():
            heard = np.array([past[j].ravel() for past in history[: k + 1]])
            directions = np.vstack([np.eye(message.size), rng.normal(size=(300, message.size))])
            values, at = heard @ directions.T, directions @ np.asarray(message).ravel()
            outside = np.maximum(at - values.max(axis=0), values.min(axis=0) - at).max()
            worst.see(
                float(outside) / float(np.abs(heard).max()),
                f"round {k}: the belief about {j} is {outside:.3g} outside of all that it said",
            )
    return worst.finding("within what was heard", 1e-12)


def adaptive(make: Callable[[], Learning], seed: int, rounds: int) -> Finding:
    """When a neighbour says the same again and again, it is believed in the end."""
    worst, learning = Worst(), make()
    for said in _draws(seed, _BURN_IN):
        belief = learning.update(said)
    constant = _draws(seed + 2, 1)[0]
    first = {j: float(np.abs(belief[j] - constant[j]).max()) for j in constant}
    for _ in range(rounds):
        belief = learning.update(_copied(constant))
    for j, before in first.items():
        left = float(np.abs(belief[j] - constant[j]).max()) / before
        worst.see(left, f"{rounds} rounds after {j!r} changed its mind, {left:.3g} of the old belief is left")
    return worst.finding("adaptive", _LEFT)


def bounds_memory(make: Callable[[], Learning], seed: int, rounds: int) -> Finding:
    """``spread`` bounds how far beliefs get from what an agent said last, if it says that ever after."""
    worst, history = Worst(), _draws(seed, 2 * _BURN_IN)
    for k in range(1, len(history) + 1):
        learning = make()
        for said in history[:k]:
            learning.update(_copied(said))
        spread = {j: learning.spread(j) for j in said}
        for _ in range(min(rounds, 30)):
            belief = learning.update(_copied(said))
            for j, promised in spread.items():
                off = float(np.abs(belief[j] - said[j]).max())
                # 1e-9: averages are rounded, and some are kept as sums of many rounds.
                excess = off - promised - 1e-9 * float(np.abs(said[j]).max())
                worst.see(
                    excess if promised >= 0 else float("inf"),
                    f"round {k}: spread is {promised:.3g} for {j!r}, and a later belief is off by {off:.3g}",
                )
    return worst.finding("spread", 0)


def restores(make: Callable[[], Learning], seed: int) -> Finding:
    """A state is plain values, and a fresh dynamic that is given it goes on with the same bits."""
    worst, history = Worst(), _draws(seed, 3 * _BURN_IN)
    expected = _beliefs(make(), history)
    learning = make()
    for k, said in enumerate(history):
        state = learning.state()
        if state is None:
            worst.count(f"round {k}: the state is None, which stands for no snapshot")
        packed = codec.pack(state)
        learning.update(_copied(said))
        fresh = make()
        fresh.restore(codec.unpack(packed))
        if not _same(_beliefs(fresh, history[k : k + 3])[-1], expected[min(k + 2, len(history) - 1)]):
            worst.count(f"restored after {k} rounds, it believes otherwise than one that never stopped")
    return worst.finding("snapshot and restore", 0)


def converges(make: Callable[[], Learning], play: Instance, rounds: int) -> Finding:
    """Best responses to these beliefs come near the Nash message."""
    assert play.nash is not None
    learnings = {i: make() for i in play.agents}
    profile = play.opening()
    start = distance = float(np.abs(flat(profile) - flat(play.nash)).max())
    for _ in range(rounds):
        said = {
            i: {OWN: profile[i].copy(), **{j: profile[j].copy() for j in play.hears[i]}} for i in play.agents
        }
        beliefs = {i: learnings[i].update(said[i]) for i in play.agents}
        profile = {
            i: play.contracts[i].best_response(play.contracts[i].view(beliefs[i])) for i in play.agents
        }
        distance = float(np.abs(flat(profile) - flat(play.nash)).max())
    left = distance / start
    worst = Worst()
    worst.see(left, f"after {rounds} rounds of play {left:.3g} of the distance to the Nash message is left")
    return worst.finding("converges", _LEFT)


def _three_agents(hears: Hears, utilities: Mapping[AgentId, Utility]) -> dict[AgentId, Contract[Any]]:
    """Private goods at delta = (N-1) a with the same curvature 1/a for all: contracts by one half."""
    routes = samples.routes(hears)
    a = 1.0 / float(next(iter(utilities.values())).curvature[0][0])
    return {
        i: PrivateGoods(routes[i], hears[i], utilities[i], [5.0], 0.99, (len(hears) - 1) * a) for i in hears
    }


LAWS = (
    "well formed",
    "deterministic",
    "messages untouched",
    "within what was heard",
    "adaptive",
    "spread",
    "snapshot and restore",
    "converges",
)


def check_learning(
    make: Callable[[], Learning],
    *,
    build: Build = _three_agents,
    hears: Hears | None = None,
    utilities: Mapping[AgentId, Utility] | None = None,
    rounds: int = 400,
    without: Collection[str] = (),
    seed: int = 0,
) -> Report:
    """Put a learning dynamic through the laws.

    Args:
        make: gives a fresh one, without memory.
        build: makes the contracts on which it is played, as for ``check_mechanism``.
        hears, utilities: their instance; by default three agents on a ring with equal curvatures.
        rounds: in which an old belief has to be forgotten, and after which play has to be near the Nash
            message: within a twentieth.
        without: laws that are not claimed, such as "within what was heard" for dynamics that extrapolate.
        seed: the report is a function of it and of the other arguments.
    Raises:
        ValueError: for an unknown law in ``without``, or contracts without a Nash message.
    """
    if unknown := set(without) - set(LAWS):
        raise ValueError(f"unknown laws {sorted(unknown)}; expected some of {list(LAWS)}")
    hears = samples.ring(3) if hears is None else hears
    if utilities is None:
        utilities = {
            i: Quadratic(np.array([-0.5]), np.array([10.0 + k])) for k, i in enumerate(sorted(hears))
        }
    play = Instance(build, hears, utilities, None, None, seed, None, build(hears, utilities))
    nash, how = find_nash(play)
    if nash is None:
        raise ValueError(f"the contracts have no Nash message to converge to: {how}")
    play = replace(play, nash=nash, found=how)
    laws: dict[str, Callable[[], Finding]] = {
        "well formed": lambda: well_formed(make, seed),
        "deterministic": lambda: deterministic(make, seed),
        "messages untouched": lambda: untouched(make, seed),
        "within what was heard": lambda: within_hull(make, seed),
        "adaptive": lambda: adaptive(make, seed, rounds),
        "spread": lambda: bounds_memory(make, seed, rounds),
        "snapshot and restore": lambda: restores(make, seed),
        "converges": lambda: converges(make, play, rounds),
    }
    findings: list[Finding] = []
    for law, check in laws.items():
        malformed = bool(findings) and findings[0].broken
        if law in without or malformed:
            findings.append(
                Finding(law, None, 0, "beliefs are not well formed" if malformed else "not claimed")
            )
        else:
            findings.append(check())
    return Report(f"{type(make()).__name__}, seed {seed}", tuple(findings))
