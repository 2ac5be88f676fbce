"""Laws about incentives: what an agent gets out of its own message, and where repeated answers lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.testing.equilibrium import jacobian, residual
from node.testing.instance import flat, unflat
from node.testing.report import Finding, Worst
from node.testing.search import Deviations, best_deviation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.numbers import Matrix, Vector
    from node.part import AgentId
    from node.testing.instance import Instance, Profile
    from node.testing.norms import Contraction

# Utilities are sums of numbers that cancel. A gain is relative to their size: this is far above rounding, and
# far below what a wrong sign, factor or term gives.
GAIN = 1e-9
# The Nash message comes from a solver that stops at 1e-12; decoding and demand may multiply that.
REST = 1e-9
# Directions are found from the whole matrix of second differences up to so many numbers in a message.
_SMALL = 40


def concave(instance: Instance) -> Finding:
    """u_i is concave in the own message: nowhere below its chords."""
    worst = Worst()
    for salt in range(2):
        profile = instance.random(100 + salt)
        for i in instance.some:
            search = Deviations(instance, i, profile, salt)
            for middle, half in _segments(search, profile[i]):
                points = [search.utility(middle + part * half) for part in (-1.0, 0.0, 1.0)]
                if not np.isfinite(points).all():
                    continue  # an end is no message
                sag = 0.5 * (points[0] + points[2]) - points[1]
                scale = max(1.0, *(abs(u) for u in points))
                worst.see(
                    sag / scale, f"{i} has {points[1]:.6g} half way between messages of more on average"
                )
    return worst.finding("concave", GAIN)


def _segments(search: Deviations, message: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
    """Middle and half of segments: of one number, at random, and along the least concave direction."""
    rng, size = search.rng, search.instance.size
    for cell in np.ndindex(message.shape):
        half = np.zeros(message.shape)
        half[cell] = size * 10 ** rng.uniform(-2, 0)
        yield message, half
    for _ in range(40):
        scale = size * 10 ** rng.uniform(-2, 1)
        yield rng.normal(0, size, message.shape), scale * rng.normal(size=message.shape)
    if message.size <= _SMALL:
        step = 0.1 * size
        cells = [unit.reshape(message.shape) for unit in step * np.eye(message.size)]
        here, single = search.utility(message), [search.utility(message + unit) for unit in cells]
        bends = np.array(
            [
                [search.utility(message + a + b) - single[j] - single[k] + here for k, b in enumerate(cells)]
                for j, a in enumerate(cells)
            ]
        )
        if np.isfinite(bends).all():
            top = np.linalg.eigh(0.5 * (bends + bends.T))[1][:, -1].reshape(message.shape)
            yield from ((message, scale * size * top) for scale in (0.1, 1.0))


def best_response(instance: Instance) -> Finding:
    """No message pays an agent more than its best response, whatever the others say."""
    worst = Worst()
    for salt, scale in ((110, 1.0), (111, 0.1)):
        profile = instance.random(salt, scale)
        for i in instance.some:
            gain, reason = best_deviation(instance, i, {**profile, i: instance.reply(i, profile)}, salt)
            worst.see(gain, f"{reason}, at random messages of the others")
    return worst.finding("best response is best", GAIN)


def fixed_point(instance: Instance) -> Finding:
    """At the Nash message everybody's best response is its message."""
    if instance.nash is None:
        return Finding("fixed point", float("nan"), REST, instance.found)
    worst = Worst()
    worst.see(residual(instance, instance.nash), f"{instance.found}: {_farthest(instance, instance.nash)}")
    return worst.finding("fixed point", REST)


def _farthest(instance: Instance, profile: Profile) -> str:
    off = {i: float(np.abs(instance.reply(i, profile) - profile[i]).max()) for i in instance.agents}
    agent = max(off, key=lambda i: off[i])
    return f"the best response of {agent} is {off[agent]:.3g} away from its message"


def no_deviation(instance: Instance) -> Finding:
    """At the Nash message nobody gains by any other message."""
    assert instance.nash is not None
    worst = Worst()
    for i in instance.some:
        gain, reason = best_deviation(instance, i, instance.nash, 120)
        worst.see(gain, f"{reason}, at the Nash message")
    return worst.finding("no profitable deviation", GAIN)


def contracts(instance: Instance) -> Finding:
    """A round of best responses brings no two profiles nearer by less than is claimed."""
    claim = instance.contraction
    assert claim is not None
    if not claim.bound < 1:
        return Finding("contraction", claim.bound, 1 - 1e-15, "a bound of 1 or more is no contraction")
    worst = Worst()
    for salt, scale in ((130, 1.0), (131, 0.1), (132, 5.0)):
        profile = instance.random(salt, scale)
        replies = instance.replies(profile)
        for words, step in _steps(instance, claim, profile, salt):
            moved = {i: profile[i] + step[i] for i in profile}
            if not all(instance.admissible(i, moved[i]) for i in instance.agents):
                continue
            before = claim.norm({i: moved[i] - profile[i] for i in profile})
            answers = instance.replies(moved)
            after = claim.norm({i: answers[i] - replies[i] for i in profile})
            worst.see(after / before, f"a distance of {before:.3g} becomes {after:.3g}, along {words}")
    return worst.finding("contraction", claim.bound * (1 + 1e-9))


def _steps(
    instance: Instance, claim: Contraction, profile: Profile, salt: int
) -> Iterator[tuple[str, dict[AgentId, Matrix]]]:
    """Differences of profiles: random ones, and for each number of a reply the one it answers most to."""
    rng = np.random.default_rng([instance.seed, 4, salt])
    weights = {i: claim.scale(i, message)[:, None] for i, message in profile.items()}
    for k in range(30):
        size = instance.size * 10 ** rng.uniform(-2, 0.5)
        step = {i: rng.normal(size=m.shape) * size * weights[i] for i, m in profile.items()}
        yield (
            "a random direction",
            {i: np.sign(s) * size * weights[i] if k % 2 else s for i, s in step.items()},
        )
    # One Jacobian: it is the dear part, and for quadratic utilities the same everywhere.
    slopes = jacobian(instance, profile) if salt == 130 else None
    if slopes is None:
        return
    scale = flat({i: np.broadcast_to(weights[i], m.shape) for i, m in profile.items()})
    goods = next(iter(profile.values())).shape[1]
    for k in range(len(slopes)):
        direction = scale * _steepest(slopes, k, goods, scale, claim.block)
        yield f"what number {k} of all answers most to", unflat(instance.size * direction, profile)


def _steepest(slopes: Matrix, k: int, goods: int, scale: Vector, block: bool) -> Vector:
    """The difference of unit norm, in units of the weights, to which row k answers most."""
    if not block:
        return np.where(slopes[k] < 0, -1.0, 1.0)
    # Rows of the message by their Euclidean length: u . sum_b J_b d_b is largest for d_b along J_b' u; a few
    # times over, with u along the sum that results.
    first = k - k % goods
    blocks = (slopes[first : first + goods] * scale).reshape(goods, -1, goods)
    direction = np.eye(goods)[k % goods]
    for _ in range(10):
        along = np.einsum("k,kbl->bl", direction, blocks)
        lengths = np.linalg.norm(along, axis=1, keepdims=True)
        along = np.divide(along, lengths, out=np.zeros_like(along), where=lengths > 0)
        answer = np.einsum("kbl,bl->k", blocks, along)
        if not (length := np.linalg.norm(answer)) > 0:
            break
        direction = answer / length
    return np.asarray(along.ravel())
