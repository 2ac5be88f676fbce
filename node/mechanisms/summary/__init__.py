"""The summary mechanism on a spanning tree (spec of chapter 4, section 3): places, weights and contracts."""

from __future__ import annotations

from node.mechanisms.summary.contracts import Anchored, AnchoredPublic, Echoed, Summary, View
from node.mechanisms.summary.place import Layout, Place
from node.mechanisms.summary.weights import Contribution, Terms, contribution, terms

__all__ = [
    "Anchored",
    "AnchoredPublic",
    "Contribution",
    "Echoed",
    "Layout",
    "Place",
    "Summary",
    "Terms",
    "View",
    "contribution",
    "terms",
]
