"""What is kept of a step that is over."""

from __future__ import annotations

import copy
import dataclasses

from node.mechanisms.network.contract import Share
from node.mechanisms.network.taker import Claim
from node.mechanisms.network.valuations import Log
from node.protocols.network.played import Played, judged, packed_step, restored
from tests.node.network import instances


def test_a_step_comes_back_from_a_snapshot_with_the_claim_that_was_made():
    contract = copy.copy(instances.corn()["a1"])
    contract.valuation = Log(7.0)  # of one who lies about it
    # Claims are of the allocation before the guard, which is not the one that is used.
    claim = Claim(contract.valuation, 2.0, 0.7, contract.highest, 0.5000000000005)
    step = Played(Share(0.5, 0.1), 0.6, {"corn": (0.6, 2.0, 1.0, 1.0, 0.3)}, 0.9, claim, 0.01, 1e-12)
    known = judged(step, 0.25, True)
    assert known == dataclasses.replace(step, gap=0.25, proved=True)
    back = restored(contract, (3, "kept", packed_step(known), packed_step(None)))
    assert back == (3, "kept", known, None)
