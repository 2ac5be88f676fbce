"""Learning dynamics: what an agent believes its neighbours will say, after what it heard.

The belief is a profile of messages, and the agent's next message is its best response to it. All dynamics
here are *adaptive best-response dynamics* (thesis Definition 5.1, after Healy and Mathevet): no belief is
further from the equilibrium than the furthest message of some finite past, and that past moves on. If best
response contracts, every dynamic of this class converges to the unique Nash equilibrium (Fact 5.3).
Beliefs are formed of neighbours' messages only, so what travels does not change with the dynamic; only the
agent's own memory does.

**Where averaging beliefs is exact.** The thesis defines k-period best response and fictitious play by the
*distribution* of past messages: maximise the expected utility. For quadratic v the gradient of u_i is
affine in the others' messages, so its mean is its value at the mean, and the best response to the
distribution is the best response to the average message. For any other v it is not: there the dynamics of
this package are the ones that respond to the average, which is a different rule. It belongs to the class
as well, since an average of messages is no further from the equilibrium than the furthest of them, in
every norm; so it converges to the same equilibrium.

All agents start from the same opening message m_0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from node.mechanisms.contract import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


__all__ = ["OWN", "Learning"]


class Learning(Protocol):
    """Beliefs about the neighbours' next messages. What is remembered of one agent depends on that agent's
    messages alone, and is never changed in place: snapshots hold on to it."""

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """Take in this round's messages; return the messages to respond to.

        Args:
            said: what each neighbour said, and under ``OWN`` what the agent said itself.
        Returns:
            A belief for every key of ``said``; ``said`` itself if nothing before it counts.
        """
        ...

    def spread(self, agent: AgentId) -> float:
        """How far what is remembered of an agent is from its newest message at most: max |.| over all
        numbers.

        If everything remembered is within some distance of the equilibrium, then so are all beliefs to come
        and, since best response contracts, all messages to come.
        """
        ...

    def state(self) -> Any:
        """All that ``restore`` needs, as plain values; never None."""
        ...

    def restore(self, state: Any) -> None:
        """Go back to a state that ``state`` returned."""
        ...
