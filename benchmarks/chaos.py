"""What real faults do: 31 processes, a real broker, signals and a proxy.

python -m benchmarks.chaos --what kill10|killall|broker|loss|flood|amnesia|partition|down|all [--repeats K]

Every repetition is compared with an undisturbed run, most with one in virtual time: allocation, taxes, prices
and rounds have to be equal to the last bit. One line of JSON a repetition, and one that sums up and says
which goals were reached. Exit code 1 if any repetition came to another result, 3 if all were right but a goal
of time or memory was missed. Faults are spread over the time that an undisturbed run takes on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from typing import TYPE_CHECKING, Any

from benchmarks import flooding, outages
from benchmarks.jobs import (
    AGENTS,
    BACK,
    LONGER,
    LONGEST,
    Observer,
    calm,
    events,
    facts,
    ignore,
    play,
    reference,
    struck,
)
from runner import RunFailed, chaos, launch

if TYPE_CHECKING:
    from collections.abc import Callable

# what -> the figure of a repetition -> the most it may be
GOALS: dict[str, dict[str, float]] = {
    "kill10": {},
    "killall": {},
    "broker": {"playing_again_after": 5.0},
    "loss": {"ratio_of_playing": 4.0},
    "flood": {"ratio": 1.5, "memory_grown_mib": 20.0},
    "amnesia": {"mean_off": 1e-9},
    "partition": {"after_it_healed": 10.0, "after_it_healed_virtual": 10.0},
    "down": {"killed_named_after": 3.0, "frozen_named_after": 3.0},
}


async def kill(number: int, durable: str, k: int) -> dict[str, Any]:
    """SIGKILL: some agents at random times, or all of them at once."""

    async def attempt(observer: Observer, until: float) -> dict[str, Any]:
        rng = random.Random(k)
        victims = [[name] for name in rng.sample(AGENTS, number)] if number < len(AGENTS) else [AGENTS]
        kills = [
            {"kind": "crash", "at": round(rng.uniform(0.0, until), 3), "agents": names, "down": 0.05}
            for names in victims
        ]
        durability = f"recovery.durable={durable}"
        result = await play(observer.watch, observer.warn, *LONGER, *BACK, durability, events(*kills))
        return {
            "same": facts(result) == await reference(*LONGER),
            "seconds": result.seconds,
            "killed": observer.killed,
            "warnings": [w for w in observer.warnings if "killed by signal" not in w],
        }

    return await struck(attempt, *LONGER)


async def kill_broker(k: int) -> dict[str, Any]:
    """kill -9 of the broker three times, once with its store deleted."""

    async def attempt(observer: Observer, until: float) -> dict[str, Any]:
        rng = random.Random(k)
        forget, (first, _) = rng.randrange(3), await calm(*LONGEST)
        times = [first + (until - first) / 3 * (n + rng.uniform(0.1, 0.9)) for n in range(3)]
        kills = [
            {"kind": "broker-kill", "at": round(at, 3), "down": 0.3, "forget": n == forget}
            for n, at in enumerate(times)
        ]
        real = launch.EmbeddedBroker.restart

        async def restart(self: Any, **how: Any) -> Any:
            address = await real(self, **how)
            observer.broker_is_back()
            return address

        launch.EmbeddedBroker.restart = restart  # type: ignore[method-assign]
        try:
            result = await play(observer.watch, observer.warn, *LONGEST, *BACK, events(*kills))
        finally:
            launch.EmbeddedBroker.restart = real  # type: ignore[method-assign]
        return {
            "same": facts(result) == await reference(*LONGEST) and len(observer.back) == 3,
            "seconds": result.seconds,
            "killed": len(observer.back),
            "playing_again_after": observer.again,
        }

    return await struck(attempt, *LONGEST)


async def lose(loss: float, both_ways: bool, k: int) -> dict[str, Any]:
    """PUBLISH packets dropped by the proxy, against a run through the proxy without."""
    still = await play(ignore, ignore, "faults.loss=1e-12", f"faults.seed={k}")
    counts: dict[str, int] = {}
    real = chaos.LinkWeather.__init__

    def upwards(self: Any, *how: Any) -> None:
        real(self, *how)
        self.upwards = both_ways

    real_close = chaos.Chaos.close

    async def close(self: Any) -> None:
        counts.update(self.proxy.counts)
        await real_close(self)

    chaos.LinkWeather.__init__, chaos.Chaos.close = upwards, close  # type: ignore[method-assign]
    try:
        result = await play(ignore, ignore, f"faults.loss={loss}", f"faults.seed={k}")
    finally:
        chaos.LinkWeather.__init__, chaos.Chaos.close = real, real_close  # type: ignore[method-assign]
    return {
        "same": facts(still) == facts(result) == await reference(),
        "seconds": result.seconds,
        "calm_seconds": still.seconds,
        "ratio": result.seconds / still.seconds,
        "ratio_of_playing": _playing(result) / _playing(still),
        "rounds": result.rounds,
        "dropped": counts["lost"] / (counts["lost"] + counts["passed"]),
        "copies_per_message": result.retransmissions / result.published,
    }


def _playing(result: Any) -> float:
    """Seconds from the first round to the last."""
    return float(result.seconds - (result.first_round_seconds or 0.0))


async def repetition(what: str, chosen: argparse.Namespace, k: int) -> dict[str, Any]:
    """The k-th repetition of what was chosen."""
    match what:
        case "kill10":
            return await kill(10, chosen.durable, k)
        case "killall":
            return await kill(len(AGENTS), chosen.durable, k)
        case "broker":
            return await kill_broker(k)
        case "loss":
            return await lose(chosen.loss, chosen.both_ways, k)
        case "amnesia":
            return await outages.amnesia(k)
        case "partition":
            return await outages.partition(chosen.seconds, k)
        case "down":
            return await outages.down(k)
        case _:
            return await flooding.flooded(chosen.seconds)


def figures(done: list[dict[str, Any]], name: str) -> list[float]:
    """All values of a figure; a repetition may have several, or none."""
    values = [each[name] for each in done if each.get(name) is not None]
    return [x for value in values for x in (value if isinstance(value, list) else [value])]


def repeat(what: str, chosen: argparse.Namespace, say: Callable[[str], None]) -> tuple[bool, bool]:
    """Repeat, print, sum up; whether every result was right, and whether every goal was reached."""
    done: list[dict[str, Any]] = []
    for k in range(chosen.repeats):
        try:
            done.append(asyncio.run(repetition(what, chosen, k)))
        except RunFailed as error:
            done.append({"same": False, "error": str(error)})
        say(json.dumps({"what": what, **done[-1]}))
    good = sum(each["same"] for each in done)
    summary: dict[str, Any] = {"what": what, "same": f"{good} of {len(done)}"}
    names = ("seconds", "ratio", *GOALS[what])
    for name in dict.fromkeys(names):
        if values := figures(done, name):
            summary[name] = {"median": statistics.median(values), "max": max(values)}
    reached = {
        name: max(figures(done, name), default=float("inf")) <= most for name, most in GOALS[what].items()
    }
    if what == "flood":
        reached["flooded_long_enough"] = all(each.get("flooded_long_enough") for each in done)
    say(json.dumps({**summary, "reached": reached}))
    return good == len(done), all(reached.values())


def main() -> int:
    """Measure what was chosen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=(*GOALS, "all"), required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--durable", choices=("none", "snapshot", "round"), default="snapshot")
    parser.add_argument("--loss", type=float, default=0.3)
    parser.add_argument("--both-ways", action="store_true", help="drop on the way to the broker as well")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="how long the flood and the partition last"
    )
    chosen = parser.parse_args()
    ended = [
        repeat(what, chosen, lambda line: print(line, flush=True))
        for what in (GOALS if chosen.what == "all" else (chosen.what,))
    ]
    if not all(right for right, _ in ended):
        return 1
    return 0 if all(reached for _, reached in ended) else 3


if __name__ == "__main__":
    sys.exit(main())
