"""Two networks of free-running agents that must not differ: in one, agents go on from their snapshots."""

from __future__ import annotations

from broker import codec


def assert_goes_on_from_snapshots(fresh, again, every):
    """A network whose agents are replaced by ones from their snapshots ends as its untouched twin does.

    Args:
        fresh: makes the network, a ``benchmarks.lossy.Lossy``, the same each time.
        again: (agent, snapshot) -> its protocol.
        every: ticks from one replacement to the next.
    Returns:
        How many agents were replaced.
    """
    net, twin, cuts = fresh(), fresh(), 0
    while len(twin.results) < len(twin.says):
        if net.ticks % every == every - 1:
            for i, say in net.says.items():
                if i not in net.results and say.snapshot is not None:
                    protocol = again(i, codec.unpack(codec.pack(say.snapshot)))
                    first = next(protocol)
                    assert codec.pack(first.body) == codec.pack(say.body)
                    assert (dict(first.to), first.kind, first.report) == (dict(say.to), say.kind, say.report)
                    net.protocols[i], net.says[i] = protocol, first
                    cuts += 1
        net.step()
        twin.step()
    assert net.results == twin.results
    return cuts
