"""What agents get back so that the taxes of chapter 3 add up to zero (spec, section 3).

Every share is computed from the others' quotes alone, so nobody can move its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def at_equilibrium(others: int, prices: float, loads: float, worth: float) -> float:
    """f_i of (3.26): the agent's part of what the others pay on a row, for balance where prices are equal.

    Args:
        others: how many there are on the row, at least one.
        prices, loads, worth: sums of p_j, z_j = A_j y_j and p_j z_j over them.
    """
    if others == 1:
        return loads * prices
    return (prices * loads - worth) / (others * (others - 1))


def powers(prices: Sequence[float], loads: Sequence[float]) -> tuple[float, ...]:
    """The eight sums of ``everywhere``, correctly rounded.

    Args:
        prices, loads: p_j and z_j of all but the agent, in the same order.
    """
    pairs = list(zip(prices, loads, strict=True))
    return (
        math.fsum(prices),
        math.fsum(p * p for p in prices),
        math.fsum(loads),
        math.fsum(z * z for z in loads),
        math.fsum(p * z for p, z in pairs),
        math.fsum(p * p * z for p, z in pairs),
        math.fsum(p * z * z for p, z in pairs),
        math.fsum((p * z) ** 2 for p, z in pairs),
    )


def everywhere(n: int, sums: Sequence[float], capacity: float, eta: float) -> float:
    """f_i of (3.28)-(3.29): balance at every profile whose demands are feasible, from eight power sums.

    The literal double and quadruple sums are tested to be equal; this form costs O(N) instead of O(N^4).

    Args:
        n: how many agents are on the row, at least five.
        sums: of p, p^2, z, z^2, p z, p^2 z, p z^2 and (p z)^2 over all but the agent, z_j = A_j y_j.
        capacity: c of the row.
        eta: of the tax.
    Raises:
        ValueError: for fewer than five; the coefficients 1/(N-4) do not exist then.
    """
    if n < 5:
        raise ValueError(f"balance off the equilibrium needs 5 agents on a row, got {n}")
    p1, p2, z1, z2, pz, ppz, pzz, ppzz = sums

    first = (p1 * z1 - pz) / ((n - 1) * (n - 2))
    second = n / ((n - 1) ** 2 * (n - 2)) * ((n - 1) * p2 - p1 * p1)
    two_prices = 0.5 * (p1 * p1 - p2)  # sum over pairs of p_j p_k
    constant = 2.0 * capacity**2 * two_prices / ((n - 1) * (n - 2))
    # F: sums of z^2 - 2 c z, weighted by 1, p and p^2.
    f, fp, fpp = z2 - 2 * capacity * z1, pzz - 2 * capacity * pz, ppzz - 2 * capacity * ppz
    inside = p1 * fp - fpp
    outside = two_prices * f - inside
    squares = 2.0 / (n - 1) * (outside / (n - 3) + inside / (n - 2))
    # Products z_j z_k with two, one or none of their agents among the two whose prices are multiplied.
    both = 0.5 * (pz * pz - ppzz)
    one = p1 * z1 * pz - p1 * pzz - z1 * ppz + 2.0 * ppzz - pz * pz
    none = two_prices * 0.5 * (z1 * z1 - z2) - one - both
    products = 4.0 / (n - 1) * (none / (n - 4) + one / (n - 3) + both / (n - 2))
    return first + second + eta * (constant + squares + products)
