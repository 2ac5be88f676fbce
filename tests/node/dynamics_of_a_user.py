"""Learning dynamics as a user might bring them along, right ones and wrong ones."""

from __future__ import annotations

import numpy as np


class Halfway:
    """Respond to the mean of the last two messages: k-period with k = 2, written anew."""

    def __init__(self):
        self.before, self.now = {}, {}

    def update(self, said):
        self.before, self.now = self.now or said, dict(said)
        return {j: (m + self.before[j]) / 2 for j, m in said.items()}

    def spread(self, agent):
        return float(np.abs(self.before[agent] - self.now[agent]).max())

    def state(self):
        return self.now

    def restore(self, state):
        self.now = dict(state)


class Forgetful:
    """Lacks ``restore`` and ``spread``."""

    def update(self, said):
        return said

    def state(self):
        return ()


class Demanding:
    """Cannot be made without an argument."""

    def __init__(self, patience):
        self.patience = patience
