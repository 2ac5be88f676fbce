"""Cournot best response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


class Cournot:
    """Respond to what was said last: m_n = beta(m_{n-1}), thesis section 5.

    An adaptive best-response dynamic with a past of one round; nothing needs to be remembered. Nothing is
    averaged, so it is the same rule for every utility.
    """

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """This round's messages themselves."""
        return said

    def spread(self, agent: AgentId) -> float:
        """0: nothing is remembered but the newest message."""
        return 0.0

    def state(self) -> tuple[()]:
        """Nothing."""
        return ()

    def restore(self, state: Any) -> None:
        """Nothing to restore."""
