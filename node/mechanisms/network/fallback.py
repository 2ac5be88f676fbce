"""Why the default dynamics converge: when the proved gap stops falling, proved steps take over for a while.

FAST-PADR has no proof. But every agent knows the same duality gap of every step, and so can all agents change
the rule in the same step without a word. As long as the gap is halved again and again nothing happens. If
that takes longer than ``PATIENCE`` price moves, all play ``proved`` steps until the gap is half of what it
was; then momentum gets another chance. The next time the gap has to fall to a quarter, then to a sixteenth,
and so on, the square of the part before: a rule that fails again and again is soon not asked any more.

Claim: under (A4) the gap comes as close to 0 as one likes, whatever the fast rule does. For proved steps are
projected gradient steps on the dual function, of length kappa/L with kappa <= 1 in the metric of fixed scales
G for which G - A diag(1/m) A^T is diagonally dominant, m_i the least curvature of v_i on [0, H_i]. If they
are played for ever, prices converge to a minimiser, demands, which are continuous in them, to x*, and under
(A4) the factor to 1, so the gap to 0: every call of the fallback comes to its end. So either calls go on for
ever, each with a gap of at most half of the one before, or from some step on the fast rule halves the gap
within its patience for ever.
"""

from __future__ import annotations

# Price moves without the gap halved. The most that was seen is 23: docs/networks.md.
PATIENCE = 200

State = tuple[bool, float, int, float]


class Fallback:
    """Decides from the common gap which rule all agents play; the same at every agent.

    Args:
        patience: price moves in which the fast rule has to halve the gap.

    Attributes:
        calm: whether proved steps are played.
    """

    def __init__(self, patience: int = PATIENCE) -> None:
        self.calm, self._patience = False, patience
        self._mark, self._since, self._part = 1e300, 0, 0.5

    def learn(self, gap: float, moves: int) -> bool:
        """Take in the gap of a step and the price moves that it took; whether to change the rule."""
        before = self.calm
        if self.calm and gap <= self._part * self._mark:
            self.calm, self._part = False, self._part**2
            self._mark, self._since = gap, 0
        elif not self.calm and gap <= 0.5 * self._mark:
            self._mark, self._since = gap, 0
        elif not self.calm:
            self._since += moves
            self.calm = self._since >= self._patience
        return self.calm != before

    def state(self) -> State:
        """Between two steps; plain values."""
        return (self.calm, self._mark, self._since, self._part)

    def restore(self, state: State) -> None:
        """Inverse of ``state``."""
        self.calm, self._mark, self._since, self._part = state
