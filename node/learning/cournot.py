"""Cournot best response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


class Cournot:
    """Respond to what was said last: m_n = beta(m_{n-1}). Nothing needs to be remembered."""

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """This round's messages themselves."""
        return said

    def state(self) -> tuple[()]:
        """Nothing."""
        return ()

    def restore(self, state: Any) -> None:
        """Nothing to restore."""
