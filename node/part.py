"""An agent's own part of a scenario: all that it is told, and nothing of anybody else's.

Parts travel from the runner to the process of their agent and nowhere else. They are plain data, so that
an agent starts without the libraries that read scenario files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

AgentId = str


@dataclass(frozen=True, slots=True)
class Part:
    """What one agent knows when it starts.

    Attributes:
        agent: its own id.
        run: id of the run, first level of every topic.
        hears: ids of the agents it listens to, ascending.
        heard_by: ids of the agents that listen to it, ascending. Equal to ``hears`` on undirected graphs.
        utility: its private utility: ``{"family": ..., parameters}``; see ``node.utilities.build``.
        contract: the public rules, the same at every agent: mechanism, its parameters, learning, stopping.
        record_every: rounds between two rows of telemetry; 0 for none.
        tick: free-running mode: seconds between two ticks of this agent; None: it keeps rounds.
        on_down: what to do about a neighbour that is down: ``wait`` for it, or ``continue`` without it.
        grace: seconds for which a neighbour must seem away to be down.
        absent: neighbours that this computation is played without, ascending; not in ``hears`` and
            ``heard_by``. With ``on_down = "wait"`` they have said that they leave for good.
    """

    agent: AgentId
    run: str
    hears: tuple[AgentId, ...]
    heard_by: tuple[AgentId, ...]
    utility: Mapping[str, Any]
    contract: Mapping[str, Any]
    record_every: int = 1
    tick: float | None = None
    on_down: str = "wait"
    grace: float = 10.0
    absent: tuple[AgentId, ...] = ()

    @property
    def free(self) -> bool:
        """Whether agents run freely, each on ticks of its own, instead of keeping rounds."""
        return self.tick is not None

    def digest(self) -> str:
        """Fingerprint of the public rules; neighbours whose digests differ refuse to play each other.

        How fast an agent ticks is its own affair, and for how long it bears silence; whether it keeps rounds
        and whether it goes on without others is not.
        """
        rules = json.dumps(self.contract, sort_keys=True)
        rules += " free" if self.free else ""
        rules += " continue" if self.on_down == "continue" else ""
        return hashlib.sha256(rules.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-able data; ``Part.from_dict`` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Part:
        """Rebuild a part from ``as_dict``.

        Raises:
            ValueError: naming unknown or missing keys.
        """
        names = {f.name: f.default is not MISSING for f in fields(cls)}
        unknown = set(data) - set(names)
        missing = {name for name, optional in names.items() if not optional and name not in data}
        if unknown or missing:
            raise ValueError(f"part: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}")
        ids = ("hears", "heard_by", "absent")
        return cls(**{**data, **{name: tuple(data[name]) for name in ids if name in data}})
