"""What a contract is: message space, allocation, price, tax and best response, from one agent's side.

A contract knows its agent's utility and the public rules, and reads its neighbours' messages, nothing else.
Messages are float64 arrays of K (goods) or P (features) columns. ``node.protocols.play`` plays any contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.numbers import Matrix, Vector
    from node.part import AgentId
    from node.utilities import Utility

View = TypeVar("View")

# Under this key an agent remembers its own messages beside its neighbours'. No agent's id is empty.
OWN: AgentId = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contract gives and takes at one profile of messages.

    Attributes:
        allocation: x_i, shape (K,).
        price: p_i, shape (K,), money per unit.
        tax: t_i, money paid by the agent (negative: received).
    """

    allocation: Vector
    price: Vector
    tax: float


class Contract(Protocol[View]):
    """One agent's side of a mechanism.

    The best response must depend on the neighbours' messages alone, so that ``view`` is computed once a round
    and both ``outcome`` and ``best_response`` read it.
    """

    @property
    def utility(self) -> Utility:
        """The agent's private valuation."""

    def opening(self) -> Matrix:
        """The first message."""
        ...

    def accepts(self, body: Any, src: AgentId) -> bool:
        """Whether a body is a message that neighbour ``src`` could say under this contract."""
        ...

    def view(self, said: Mapping[AgentId, Matrix]) -> View:
        """What is read out of the messages of all neighbours; nothing of the own message enters."""
        ...

    def best_response(self, view: View) -> Matrix:
        """The unique message that maximises v_i(x_i) - t_i against the neighbours'."""
        ...

    def outcome(self, message: Matrix, view: View) -> Outcome:
        """Allocation, price and tax when this agent says ``message`` against the neighbours' messages."""
        ...

    def residual(self, reply: Matrix, message: Matrix, view: View) -> float:
        """How far the own message is from the best response, in the norm in which the dynamics contract.

        All agents' residuals together must be the norm of beta(m) - m.

        Args:
            reply: the best response.
            message: what was said.
            view: of the messages said in the same round.
        """
        ...

    def size(self, message: Matrix) -> float:
        """The size of a message in the same norm."""
        ...

    def spread(self, remembered: Callable[[AgentId], float]) -> float:
        """For dynamics that remember: a bound, in the same norm, on how far what is remembered of messages is
        from the newest ones. All agents' bounds together must cover every number of every message.

        Args:
            remembered: for an agent it hears, or ``OWN``, max |.| over the numbers of all its remembered
                messages less the newest.
        """
        ...
