"""Run a scenario from Python: ``run`` for scripts, ``run_async`` for notebooks and tests."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.protocols.network.facts import MECHANISMS as NETWORK
from node.utilities import UtilityError
from runner import directory, record
from runner.consensus import ConsensusResult, judge_consensus
from runner.errors import RunFailed, UserError
from runner.network import NetworkResult, judge_network, with_record
from runner.result import RunResult, judge
from topologies import LoadedScenario, load_scenario

Watch = Callable[[str, dict[str, Any]], None]
Warn = Callable[[str], None]
Result = RunResult | ConsensusResult | NetworkResult


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a scenario.

    Attributes:
        out: the run's directory, which must not exist; None: ``runs/<run id>``.
        broker: URL of the broker to use; None: what the scenario says, else the embedded one.
        hosts: processes that carry the agents between them; None: one per agent.
        virtual: run in this process, over the virtual network, in virtual time.
        plot: draw the convergence plot, if the scenario wants one and matplotlib is there.
        watch: called with (agent, progress) while the run goes on.
        warn: called with what the user should know and the run survives.
    """

    out: Path | None = None
    broker: str | None = None
    hosts: int | None = None
    virtual: bool = False
    plot: bool = True
    watch: Watch = lambda agent, progress: None
    warn: Warn = lambda text: None


def run(
    source: str | Path | LoadedScenario,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    **options: Any,
) -> Result:
    """Run a scenario and wait for its end.

    Args:
        source: path of a scenario file, name of a bundled one, or a loaded scenario.
        overrides: ``dotted.key=value`` each, as for ``vicinal run --set``.
        seed: takes the place of the scenario's seed.
        options: the attributes of ``Options``.
    Returns:
        ``RunResult`` for allocations, ``ConsensusResult`` for consensus scenarios.
    Raises:
        topologies.ScenarioError, UserError: something asked for cannot be done.
        RunFailed: the run did not come to its end.
        RuntimeError: inside a running event loop; use ``await run_async(...)`` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run_async(source, overrides=overrides, seed=seed, **options))
    raise RuntimeError("an event loop is running here: use `await run_async(...)` instead of `run(...)`")


async def run_async(
    source: str | Path | LoadedScenario,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    **options: Any,
) -> Result:
    """The awaitable form of ``run``; cancelling it ends every process that it started."""
    chosen = Options(**{**options, "out": Path(options["out"]) if options.get("out") is not None else None})
    loaded = source if isinstance(source, LoadedScenario) else load_scenario(source, overrides, seed)
    if chosen.hosts is not None and not 1 <= chosen.hosts <= len(loaded.agents):
        raise UserError(f"hosts = {chosen.hosts}: expected 1 to {len(loaded.agents)}, the number of agents")
    run_id = directory.new_run_id(str(loaded.spec.name))
    run_dir = directory.create(chosen.out, run_id)
    broker = chosen.broker if chosen.broker is not None else loaded.spec.broker.url
    directory.describe(
        run_dir,
        loaded,
        run_id,
        {"virtual": chosen.virtual, "hosts": chosen.hosts, "own_broker": broker is None},
    )
    try:
        result = await _play(loaded, run_id, run_dir, broker, chosen)
    except UserError:
        shutil.rmtree(run_dir)  # nothing has run: the same command must work once its mistake is mended
        raise
    except BaseException as error:
        # Whatever it was, it is raised again; the record says that the run did not end.
        directory.write_json(run_dir / "failed.json", {"error": str(error) or type(error).__name__})
        raise
    return await asyncio.to_thread(_finish, loaded, result, run_dir, chosen)


async def _play(
    loaded: LoadedScenario, run_id: str, run_dir: Path, broker: str | None, chosen: Options
) -> Result:
    parts = loaded.parts(run_id)
    if chosen.virtual:
        from runner.virtual import run_virtual

        stop = threading.Event()
        playing = asyncio.create_task(
            asyncio.to_thread(
                run_virtual,
                parts,
                loaded.spec.seed,
                run_dir if loaded.spec.record.every else None,
                chosen.watch,
                faults=loaded.spec.faults,
                durable=loaded.spec.recovery.durable != "none",
                stopped=stop.is_set,
            )
        )
        try:
            reports, seconds = await asyncio.shield(playing)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, only asked; the interpreter would wait for it for ever.
            stop.set()
            await asyncio.wait({playing})
            playing.exception()
            raise
        return _judge(loaded, run_id, "virtual", reports, seconds, None, str(run_dir))
    from runner.launch import Settings, run_processes

    settings = Settings(
        chosen.hosts, broker, run_dir, chosen.watch, chosen.warn, import_path=loaded.import_path
    )
    reports, seconds, launched_at = await run_processes(loaded, parts, run_id, settings)
    return _judge(loaded, run_id, "processes", reports, seconds, launched_at, str(run_dir))


def _judge(loaded: LoadedScenario, *facts: Any) -> Result:
    if loaded.contract()["mechanism"] == "consensus":
        return judge_consensus(loaded, *facts)
    if loaded.contract()["mechanism"] in NETWORK:
        return judge_network(loaded, *facts)
    try:
        return judge(loaded, *facts)
    except UtilityError as error:
        raise RunFailed(
            f"the agents are done, but there is no optimum to hold them against: {error}"
        ) from error


def _finish(loaded: LoadedScenario, result: Result, run_dir: Path, chosen: Options) -> Result:
    """Judge and draw what was recorded; the result stands whether or not there is a record."""
    if loaded.spec.record.every:
        from runner import plot

        try:
            record.merge(run_dir)
            recorded = record.read(run_dir)
            wanted = chosen.plot and loaded.spec.record.plot and len(recorded)
            if isinstance(result, ConsensusResult):
                if wanted and not result.exact:
                    plot.draw_estimates(recorded, result, run_dir / "convergence.png")
            elif isinstance(result, NetworkResult):
                result = with_record(result, loaded, recorded) if len(recorded) else result
            elif len(recorded):
                result = result.with_observed_rate(plot.observed_rate(recorded, result.optimal_allocation))
                if wanted:
                    plot.draw_convergence(recorded, result, run_dir / "convergence.png")
        except (record.RecordError, plot.PlotUnavailable, OSError) as error:
            chosen.warn(str(error))
    directory.write_json(
        run_dir / "result.json", {**result.as_dict(), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    )
    return result
