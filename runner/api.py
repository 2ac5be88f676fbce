"""Run a scenario from Python: ``run`` for scripts, ``run_async`` for notebooks and tests."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.transport import parse_url
from node.protocols.network.facts import MECHANISMS as NETWORK
from node.utilities import UtilityError
from runner import accounts, directory, guarantee, record
from runner.components import Roll
from runner.consensus import ConsensusResult, judge_consensus
from runner.errors import RunFailed, UserError
from runner.facts import Ended
from runner.figures.measures import observed_rate
from runner.network import NetworkResult, judge_network
from runner.network_record import with_record
from runner.result import RunResult, judge
from topologies import LoadedScenario, load_scenario

if TYPE_CHECKING:
    from broker.transport import Address

Watch = Callable[[str, dict[str, Any]], None]
Warn = Callable[[str], None]
Result = RunResult | ConsensusResult | NetworkResult

# A driver with delays takes about 300 microseconds an agent and round, one in lockstep a tenth of that: from
# here on a round of the virtual network takes a second and more.
LOCKSTEP_FROM = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a scenario.

    Attributes:
        out: the run's directory, which must not exist; None: ``runs/<run id>``.
        broker: URL of the broker to use; None: what the scenario says, else the embedded one.
        ca, cert, key: PEM files for a broker over TLS: the authority of its certificate, a client certificate
            and its private key; None: what the scenario says.
        hosts: processes that carry the agents between them; None: one per agent.
        virtual: run in this process, over the virtual network, in virtual time. From ``LOCKSTEP_FROM``
            agents on, and with nothing that could befall them, in lockstep.
        lockstep: run in this process, all agents in turn, without any network; the outcome is the same.
        plot: draw the convergence plot, if the scenario wants one and matplotlib is there.
        watch: called with (agent, progress) while the run goes on.
        warn: called with what the user should know and the run survives.
    """

    out: Path | None = None
    broker: str | None = None
    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    hosts: int | None = None
    virtual: bool = False
    lockstep: bool = False
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
    _check_place(chosen)
    broker, lockstep = broker_of(loaded, chosen), _in_lockstep(loaded, chosen)
    radius = guarantee.require(loaded, chosen.warn)
    run_id = directory.new_run_id(str(loaded.spec.name))
    run_dir = directory.create(chosen.out, run_id)
    try:
        result = await _carry(loaded, run_id, run_dir, broker, chosen, lockstep=lockstep)
        if isinstance(result, RunResult):
            result = replace(result, spectral_radius=radius)
        return await asyncio.to_thread(finish, loaded, result, run_dir, chosen)
    finally:
        directory.conclude(run_dir)


async def _carry(
    loaded: LoadedScenario,
    run_id: str,
    run_dir: Path,
    broker: Address | None,
    chosen: Options,
    *,
    lockstep: bool,
) -> Result:
    """Play as asked; whatever ends it leaves its trace in the run's directory."""
    asked = {
        "virtual": chosen.virtual,
        "lockstep": lockstep,
        "hosts": chosen.hosts,
        "own_broker": broker is None,
    }
    try:
        directory.describe(run_dir, loaded, run_id, asked)
        directory.announce(run_dir)
        if lockstep or chosen.virtual:
            return await _play_here(loaded, run_id, run_dir, chosen, lockstep=lockstep)
        return await _play(loaded, run_id, run_dir, broker, chosen)
    except UserError:
        shutil.rmtree(run_dir)  # nothing has run: the same command must work once its mistake is mended
        raise
    except BaseException as error:
        # Whatever it was, it is raised again; the record says that the run did not end.
        try:
            directory.write_json(run_dir / "failed.json", {"error": _why(error)})
        except OSError as unwritten:  # of a disk that is full, say; the error itself counts
            chosen.warn(f"not on file: {unwritten}")
        raise


def broker_of(loaded: LoadedScenario, chosen: Options) -> Address | None:
    """The broker that is asked for, by the options before the scenario; None: the embedded one.

    Raises:
        UserError: if it is no URL, or asks for a certificate and not for TLS.
    """
    spec = loaded.spec.broker
    url = chosen.broker if chosen.broker is not None else spec.url
    # Options are relative to where the user stands, a scenario's paths to the scenario.
    folder = loaded.path.parent
    files: dict[str, str | None] = {}
    for name in ("ca", "cert", "key"):
        option, written = getattr(chosen, name), getattr(spec, name)
        files[name] = str(option) if option is not None else str(folder / written) if written else None
    if url is None:
        for name, path in files.items():
            if path is not None:
                raise UserError(
                    f"{name} = {path}: the embedded broker speaks no TLS; expected a broker's URL"
                )
        return None
    try:
        return parse_url(url, ca=files["ca"], cert=files["cert"], key=files["key"])
    except ValueError as error:
        raise UserError(str(error)) from None


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "ended from outside before it was done: Ctrl-C, a signal, or a caller that cancelled it"
    return str(error) or type(error).__name__


def _check_place(chosen: Options) -> None:
    """Whether what says over which processes and broker to play goes with playing in this one.

    Raises:
        UserError: naming the options that contradict each other.
    """
    if not (chosen.virtual or chosen.lockstep):
        return
    here = "--lockstep" if chosen.lockstep else "--virtual"
    for name in ("hosts", "broker", "ca", "cert", "key"):
        if (given := getattr(chosen, name)) is not None:
            # The URL may hold a password.
            shown = f"--{name}" if name == "broker" else f"--{name} {given}"
            raise UserError(
                f"{shown}: {here} plays in one process without a broker; expected only one of the two"
            )


def _in_lockstep(loaded: LoadedScenario, chosen: Options) -> bool:
    """Whether a run needs no network to come out as it does.

    Raises:
        UserError: if it was asked for and cannot be.
    """
    spec = loaded.spec
    calm = spec.faults is None and spec.synchrony.mode == "rounds"
    if chosen.lockstep and not calm:
        why = "[faults]" if spec.faults is not None else f'synchrony.mode = "{spec.synchrony.mode}"'
        raise UserError(f"--lockstep: there is no network for {why} of {loaded.path}; expected --virtual")
    return chosen.lockstep or (chosen.virtual and calm and len(loaded.agents) >= LOCKSTEP_FROM)


async def _play_here(
    loaded: LoadedScenario, run_id: str, run_dir: Path, chosen: Options, *, lockstep: bool
) -> Result:
    """Play in a thread of this process, that signals are still answered."""
    parts, stop, roll = loaded.parts(run_id), threading.Event(), Roll()
    record_in = run_dir if loaded.spec.record.every else None
    play: Callable[[], tuple[dict[str, dict[str, Any]], float]]
    if lockstep:
        from runner.stepped import run_stepped

        play = partial(run_stepped, parts, record_in, chosen.watch, stopped=stop.is_set)
    else:
        from runner.journal import Journal
        from runner.virtual import run_virtual

        play = partial(
            run_virtual,
            parts,
            loaded.spec.seed,
            record_in,
            chosen.watch,
            faults=loaded.spec.faults,
            durable=loaded.spec.recovery.durable != "none",
            stopped=stop.is_set,
            warn=chosen.warn,
            roll=roll,
            happens=Journal(run_dir, chosen.warn).virtual_fault,
        )
    playing = asyncio.create_task(asyncio.to_thread(play))
    try:
        reports, seconds = await asyncio.shield(playing)
    except asyncio.CancelledError:
        # A thread cannot be cancelled, only asked; the interpreter would wait for it for ever.
        stop.set()
        await asyncio.wait({playing})
        playing.exception()
        raise
    mode = "lockstep" if lockstep else "virtual"
    return judged(loaded, Ended(run_id, mode, reports, seconds, None, str(run_dir), roll), chosen.warn)


async def _play(
    loaded: LoadedScenario, run_id: str, run_dir: Path, broker: Address | None, chosen: Options
) -> Result:
    """Play in processes, over a broker."""
    parts = loaded.parts(run_id)
    from runner.launch import Settings, run_processes

    roll = Roll()
    settings = Settings(
        chosen.hosts, broker, run_dir, chosen.watch, chosen.warn, import_path=loaded.import_path, roll=roll
    )
    reports, seconds, launched_at = await run_processes(loaded, parts, run_id, settings)
    ended = Ended(run_id, "processes", reports, seconds, launched_at, str(run_dir), roll)
    return judged(loaded, ended, chosen.warn)


def judged(loaded: LoadedScenario, ended: Ended, warn: Warn) -> Result:
    """Hold what the agents report against what somebody who knows everything would say.

    Before that it is put on file, for whoever judges the run anew: ``vicinal check``.

    Args:
        loaded: the scenario.
        ended: the run.
        warn: called if the reports cannot be put on file.
    Raises:
        RunFailed: if the accounts contradict each other, or cannot be judged.
    """
    if ended.run_dir is not None:
        try:
            accounts.write(Path(ended.run_dir), ended.reports)
        except OSError as error:
            warn(f"what the agents report is not on file: {error}")
    if loaded.contract()["mechanism"] == "consensus":
        return judge_consensus(loaded, ended)
    if loaded.contract()["mechanism"] in NETWORK:
        return judge_network(loaded, ended)
    try:
        return judge(loaded, ended)
    except UtilityError as error:
        raise RunFailed(
            f"the agents are done, but there is no optimum to hold them against: {error}"
        ) from error


def finish(loaded: LoadedScenario, result: Result, run_dir: Path, chosen: Options) -> Result:
    """Judge and draw what was recorded; the result stands whether or not there is a record."""
    if loaded.spec.record.every:
        from runner.figures.canvas import PlotUnavailable

        try:
            record.merge(run_dir)
            recorded = record.read(run_dir)
            result = _with_record(result, loaded, recorded)
            if chosen.plot and loaded.spec.record.plot and len(recorded):
                from runner.figures.figure import draw_overview
                from runner.figures.run import Run

                run = Run(result.scenario, result, recorded, loaded)
                draw_overview(run, run_dir / "convergence.png")
        except (record.RecordError, PlotUnavailable, OSError) as error:
            chosen.warn(str(error))
    finished = {"finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    try:
        directory.write_json(run_dir / "result.json", {**result.as_dict(), **finished})
    except OSError as error:
        chosen.warn(f"the result is not on file: {error}")
    return result


def _with_record(result: Result, loaded: LoadedScenario, recorded: record.Record) -> Result:
    """The result with what only the record shows."""
    if isinstance(result, ConsensusResult):
        return result.with_convergence(recorded)
    if not len(recorded):
        return result
    if isinstance(result, NetworkResult):
        return with_record(result, loaded, recorded)
    if result.synchrony == "rounds":
        return result.with_observed_rate(observed_rate(recorded, result.optimal_allocation))
    return result
