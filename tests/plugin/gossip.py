"""A protocol in thirty lines, as a user would write it: who is the oldest?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Oldest:
    """What every agent knows at the end."""

    age: int
    name: str


def oldest(part, resume=None):
    """Flood the largest (age, name); right after as many rounds as the graph is wide."""
    from node.protocol import Say

    best, k = resume if resume is not None else ((part.utility["age"], part.agent), 0)
    while k < part.contract["rounds"]:
        heard = yield Say(best, kind="oldest", accepts=is_pair, snapshot=(best, k))
        best, k = max([best, *heard.said.values()]), k + 1
    return Oldest(*best)


def is_pair(body, src):
    """Whether a neighbour's words can be read."""
    return type(body) is tuple and len(body) == 2 and type(body[0]) is int and type(body[1]) is str
