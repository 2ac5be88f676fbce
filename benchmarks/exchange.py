"""The work that agent runtimes are compared on: every agent sends 33 float64 to its neighbours each round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part

NUMBERS = 33


@dataclass(frozen=True)
class Exchanged:
    """Proof that the messages were read: the mean of what was heard last."""

    mean: float


def exchange(part: Part, resume: None = None) -> Generator[Say, Heard, Exchanged]:
    """Average with the neighbours for ``part.contract["rounds"]`` rounds."""
    x = np.full(NUMBERS, float(len(part.agent)))
    for _ in range(part.contract["rounds"]):
        heard = yield Say(x, kind="exchange", accepts=_accepts)
        x = sum(heard.said.values(), x) / (1 + len(heard.said))
    return Exchanged(float(x.mean()))


def _accepts(body: object, src: str) -> bool:
    return type(body) is np.ndarray and body.shape == (NUMBERS,)
