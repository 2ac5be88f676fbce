"""Record and judge a run whose agents were started by others: ``vicinal record``.

It takes no part: the agents stop by themselves and publish what came of them; this end hears it, with users
that may read and not write, and holds it against the scenario like ``vicinal run``.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker import tls, topics
from broker.transport import Address, BrokerError
from node.connection import Connection
from runner import api, directory, guarantee
from runner.errors import RunFailed, UserError
from runner.facts import Ended
from runner.files import read_json
from runner.launch import STALL_TIMEOUT
from runner.result import RunResult
from runner.scribe import Scribe
from runner.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True)
class Access:
    """The run to be judged, and how to hear it.

    Attributes:
        run: its id.
        client: which MQTT client library.
        place: where the broker is, an ``Address.place``.
        recorder, judge: credentials of the two connections: user, password, client_id.
        observer: likewise of a page that looks on; None: nobody is told how.
    """

    run: str
    client: Any
    place: dict[str, Any]
    recorder: dict[str, str]
    judge: dict[str, str]
    observer: dict[str, str] | None = None

    @classmethod
    def read(cls, path: Path) -> Access:
        """Read an access file, as ``vicinal compose`` writes it.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        data = read_json(path, "access file")
        try:
            run, client, place = data["run"], data["client"], data["broker"]
            access = cls(run, client, place, data["recorder"], data["judge"], data.get("observer"))
            Address.at(access.place, None, None)
            users = (access.recorder, access.judge, access.observer)
            for user in (user for user in users if user is not None):
                _ = user["user"], user["password"], user["client_id"]
        except (KeyError, TypeError) as error:
            raise UserError(
                f"access file {path}: {error!r}; expected what `vicinal compose` writes to recorder.json"
            ) from None
        return access


@dataclass(frozen=True, slots=True)
class Options:
    """How to record and judge.

    Attributes:
        out: the run's directory, which must not exist; None: ``<runs>/<run id>``, or with a number behind.
        runs: where run directories are made.
        ready: a file to be made once everything is heard, for a health check; None makes none.
        patience: seconds without any progress after which the run is given up.
        watch, warn: as in ``runner.api.Options``.
    """

    out: Path | None = None
    runs: Path = Path("runs")
    ready: Path | None = None
    patience: float = STALL_TIMEOUT
    watch: Callable[[str, dict[str, Any]], None] = lambda agent, progress: None
    warn: Callable[[str], None] = lambda text: None


async def observe(loaded: LoadedScenario, access: Access, options: Options) -> api.Result:
    """Record a run until every agent has given its result, and judge it.

    Raises:
        UserError: if it cannot be heard: no broker, a certificate, a password, a directory that exists.
        RunFailed: if an agent could not go on, is lost, or nothing is heard for too long.
    """
    address = Address.at(access.place, access.judge["user"], access.judge["password"])
    try:
        if address.tls:
            tls.context(address)
    except BrokerError as error:
        raise UserError(str(error)) from None
    radius = guarantee.require(loaded, options.warn)
    out = options.out if options.out is not None else _unused(options.runs, access.run)
    run_dir = directory.create(out, access.run)
    try:
        directory.describe(run_dir, loaded, access.run, {"observed": True})
        look = {"client": access.client, "broker": access.place, "observer": access.observer}
        directory.announce(run_dir, **(look if access.observer is not None else {}))
        result = await _judged(loaded, access, address, run_dir, options)
        if isinstance(result, RunResult):
            result = replace(result, spectral_radius=radius)
        return await asyncio.to_thread(api.finish, loaded, result, run_dir, api.Options(warn=options.warn))
    finally:
        directory.conclude(run_dir)


async def _judged(
    loaded: LoadedScenario, access: Access, address: Address, run_dir: Path, options: Options
) -> api.Result:
    """Hear the run to its end and judge it; a failure leaves its trace in the run's directory."""
    try:
        reports, seconds = await _hear(loaded, access, address, run_dir, options)
        try:
            ended = Ended(access.run, "observed", reports, seconds, run_dir=str(run_dir))
            return api.judged(loaded, ended, options.warn)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RunFailed(f"what the agents report cannot be judged: {error!r}") from error
    except UserError:
        shutil.rmtree(run_dir)  # nothing was heard: the same command must work once its mistake is mended
        raise
    except BaseException as error:
        # Whatever it was, it is raised again; the record says that the run did not end.
        directory.write_json(run_dir / "failed.json", {"error": str(error) or type(error).__name__})
        raise


async def _hear(
    loaded: LoadedScenario, access: Access, address: Address, run_dir: Path, options: Options
) -> tuple[dict[str, dict[str, Any]], float]:
    """The report of every agent, and the seconds from being ready to the last one."""
    ended = asyncio.Event()
    watch = Watch(loaded.parts(access.run), options.watch, options.warn, ended.set)
    async with AsyncExitStack() as stack:
        if loaded.spec.record.every:
            config = {
                "run": access.run,
                "directory": str(run_dir),
                "client": access.client,
                **access.recorder,
                "place": access.place,
                "agents": sorted(loaded.recorded),
            }
            scribe = Scribe(config, options.warn, restart=loaded.spec.recovery.restart)
            stack.push_async_callback(scribe.stop)
        else:
            scribe = None
        connection = Connection(access.client, address, access.judge["client_id"], watch.receive)
        stack.push_async_callback(connection.close)
        opened = asyncio.Event()
        heard = [topics.all_reports(access.run), topics.all_status(access.run)]
        keeping = asyncio.create_task(connection.keep(heard, opened.set), name="judge")
        stack.push_async_callback(_cancelled, keeping)
        opening = asyncio.create_task(opened.wait(), name="opened")
        stack.push_async_callback(_cancelled, opening)
        await asyncio.wait({keeping, opening}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            raise UserError(str(keeping.exception()))
        if scribe is not None:
            await scribe.start()
        if options.ready is not None:
            try:
                options.ready.touch()
            except OSError as error:
                raise UserError(f"ready file {options.ready}: {error.strerror}") from None
        since = watch.moved = time.monotonic()
        try:
            await _until(ended, keeping, watch, options.patience)
        except asyncio.CancelledError:
            if words := watch.dead():
                # Whoever ends us may do so because of that.
                raise RunFailed(words) from None
            raise
        if watch.failure is not None:
            raise watch.failure
        seconds = time.monotonic() - since
    if watch.rejected:
        dropped = ", ".join(f"{count} {kind}" for kind, count in sorted(watch.rejected.items()))
        options.warn(f"the judge dropped messages: {dropped}")
    return watch.reports, seconds


async def _until(ended: asyncio.Event, keeping: asyncio.Task[None], watch: Watch, patience: float) -> None:
    """Wait until the run has ended.

    Raises:
        RunFailed: if nothing is heard for too long, or the broker does not let us listen any more.
    """
    ending = asyncio.create_task(ended.wait(), name="ended")
    try:
        while not ended.is_set():
            await asyncio.wait({ending, keeping}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                raise RunFailed(f"the judge lost the broker: {keeping.exception()}")
            if time.monotonic() - watch.moved > patience:
                raise RunFailed(f"no progress for {patience:g} s: {watch.stuck()}")
    finally:
        await _cancelled(ending)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _unused(folder: Path, run: str) -> Path:
    """A directory that is not there: containers that are started again record the same run again."""
    number, out = 1, folder / run
    while out.exists():
        number += 1
        out = folder / f"{run}-{number}"
    return out
