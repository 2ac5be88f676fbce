"""What agents count, added up over all their lives: a process that was killed takes its counters with it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTERS = ("sent", "sent_bytes", "received", "received_bytes", "resent")


class Lives:
    """The newest account of every life of every agent.

    An account is what ``node.account.counts`` makes; it comes with progress, five times a second, and with a
    result. So of a life that was killed what it did after its last account, 0.2 s at most, is not known, and
    a life that was killed before its first account counts as one without any.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._restarts: Counter[str] = Counter()

    def heard(self, agent: str, account: Mapping[str, Any]) -> None:
        """Take in an account; counters only grow, so the newest of a life counts."""
        self._accounts.setdefault(agent, {})[account["incarnation"]] = account

    def restarted(self, agent: str) -> None:
        """The agent is started once more."""
        self._restarts[agent] += 1

    def total(self, agent: str) -> dict[str, Any]:
        """The counters of all lives together; ``restarts``: how many lives came after the first one;
        ``first_round_at``: when round 0 was complete for the first time."""
        accounts = list(self._accounts.get(agent, {}).values())
        rejected: Counter[str] = Counter()
        heard_from: Counter[str] = Counter()
        for account in accounts:
            rejected.update(account["rejected"])
            heard_from.update(account["heard_from"])
        first = [at for account in accounts if (at := account["first_round_at"]) is not None]
        return {
            **{name: sum(account[name] for account in accounts) for name in COUNTERS},
            "rejected": dict(rejected),
            "heard_from": dict(sorted(heard_from.items())),
            "first_round_at": min(first, default=None),
            "restarts": self._restarts[agent],
        }
