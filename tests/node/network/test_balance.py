"""Eight power sums against the double sums of the thesis."""

from __future__ import annotations

import numpy as np
import pytest

from node.mechanisms.network import balance
from tests.node.network.literal import off_equilibrium


@pytest.mark.parametrize("n", [5, 6, 9])
def test_eight_power_sums_equal_the_literal_double_sums(n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        p, z = rng.uniform(0, 5, n).tolist(), rng.uniform(0, 2, n).tolist()
        c, eta = float(rng.uniform(1, 10)), float(rng.uniform(0.01, 10))
        for i in range(n):
            others = [j for j in range(n) if j != i]
            sums = balance.powers([p[j] for j in others], [z[j] for j in others])
            found = balance.everywhere(n, sums, c, eta)
            scale = abs(off_equilibrium(p, z, i, c, eta)) + eta * c**2 * sum(p) ** 2
            assert abs(found - off_equilibrium(p, z, i, c, eta)) <= 1e-13 * scale


def test_the_shares_at_the_equilibrium_are_those_of_the_thesis():
    p, z = [1.0, 2.0, 4.0], [0.5, 0.25, 1.0]
    n, mean = 4, sum(p) / 3
    literal = sum(zj * (mean - pj / (n - 1)) for zj, pj in zip(z, p, strict=True)) / (n - 2)
    worth = sum(zj * pj for zj, pj in zip(z, p, strict=True))
    assert balance.at_equilibrium(3, sum(p), sum(z), worth) == pytest.approx(literal, rel=1e-14)
    assert balance.at_equilibrium(1, 3.0, 0.5, 1.5) == 1.5


def test_four_others_are_needed_off_the_equilibrium():
    with pytest.raises(ValueError, match="needs 5 agents on a row, got 4"):
        balance.everywhere(4, [3.0] * 8, 1.0, 0.1)
