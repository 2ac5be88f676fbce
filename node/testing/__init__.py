"""The conformance kit: mechanisms, learning dynamics and utilities of one's own, put through the laws.

In a test of one's own:

    def test_my_mechanism_keeps_the_laws():
        report = check_mechanism(build, ring(5), quadratics(ring(5)), Shares([5.0]))
        report.raise_if_broken()

Every check is seeded and needs no network. docs/conformance.md has a worked example.
"""

from __future__ import annotations

from node.testing.dynamics import check_learning
from node.testing.mechanisms import check_mechanism
from node.testing.norms import Contraction
from node.testing.problems import Common, Problem, Shares
from node.testing.report import BrokenLaw, Finding, Report
from node.testing.valuations import check_utility

__all__ = [
    "BrokenLaw",
    "Common",
    "Contraction",
    "Finding",
    "Problem",
    "Report",
    "Shares",
    "check_learning",
    "check_mechanism",
    "check_utility",
]
