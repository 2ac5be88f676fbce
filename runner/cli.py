"""The command line. Heavy imports happen inside the commands: ``vicinal --help`` answers at once."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import completion, streams
from runner.check import command as check
from runner.compose import command as compose
from runner.deviate import command as deviate
from runner.doctor import command as doctor
from runner.errors import Interrupted, RunFailed, UserError
from runner.figures import command as figures
from runner.help import Parser, add_examples
from runner.page import command as page
from runner.sweep import command as sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from rich.console import Console

EXIT_OK, EXIT_FAILED, EXIT_USER, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, run the command, return the exit code.

    0: done. 1: the run failed or did not keep its promise. 2: the user's mistake, or standard output that
    cannot be written. 130: Ctrl-C.
    """
    with streams.standard():
        code = EXIT_OK
        try:
            streams.flush()  # one that is closed is refused before the work, not after it
            try:
                code = _command(argv)
            finally:  # argparse ends the process by itself after --help
                streams.flush()
        except streams.OutputLost as error:
            return _say(f"standard output: {error}", EXIT_USER)
        except streams.ReaderLeft:
            pass  # the reader of our output (head, less) has left; that is not an error of anybody's
        return code


def _command(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
        return code
    except UserError as error:
        return _say(error, EXIT_USER)
    except RunFailed as error:
        return _say(error, EXIT_FAILED)
    except (Interrupted, KeyboardInterrupt) as error:
        return _say(str(error) or "interrupted", EXIT_INTERRUPTED)


def _say(error: object, code: int) -> int:
    sys.stderr.write(f"vicinal: {error}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="vicinal",
        description="Strategic agents that allocate by messages to their graph neighbours only, over MQTT.",
    )
    parser.add_argument("--version", action="version", version=f"vicinal {version('vicinal')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a scenario and judge its outcome", description=_RUN)
    _scenario_arguments(run)
    run.add_argument("more", metavar="SCENARIO", nargs="*", help="more of them, run one after another")
    run.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="run directory (default: runs/<run id>); of several one each in it",
    )
    run.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    run.add_argument(
        "--broker",
        metavar="URL",
        help="use this broker: mqtt://[USER:PASSWORD@]HOST[:PORT], mqtts:// for TLS",
    )
    _tls_arguments(run)
    run.add_argument("--hosts", type=int, metavar="H", help="H processes that carry the agents between them")
    run.add_argument("--virtual", action="store_true", help="one process, virtual network, virtual time")
    run.add_argument("--lockstep", action="store_true", help="one process, no network: for many agents")
    run.add_argument("--agents", action="store_true", help="also print every agent's allocation, price, tax")
    run.add_argument("--quiet", action="store_true", help="no progress display")
    run.add_argument(
        "--unguaranteed", action="store_true", help="play even if nothing proves that play converges"
    )
    run.set_defaults(command=_run)

    record = commands.add_parser(
        "record",
        help="record and judge a run whose agents others have started",
        description=_RECORD,
        epilog=_RECORD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _scenario_arguments(record)
    record.add_argument(
        "--access", type=Path, required=True, metavar="FILE", help="the run, the broker and two users, JSON"
    )
    record.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: RUNS/<run id>)")
    record.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="RUNS", help="where run directories are made"
    )
    record.add_argument("--ready", type=Path, metavar="FILE", help="made once everything is heard")
    record.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="S",
        help="give up after S seconds without any progress (default: 60)",
    )
    record.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    record.add_argument("--agents", action="store_true", help="also print what every agent gets and pays")
    record.add_argument("--quiet", action="store_true", help="no progress display")
    record.set_defaults(command=_record)

    _add(commands, "check", "judge a recorded run anew", check, check.main)
    compose_help = "write a scenario as a Docker compose project"
    _add(commands, "compose", compose_help, compose, _compose, scenario=True)
    _add(commands, "page", "show a run in a browser, live or replayed", page, _page)

    simulate = commands.add_parser("simulate", help="look for mistakes under storms", description=_SIMULATE)
    simulate.add_argument("scenario", metavar="SCENARIO", nargs="*", help="simulate these, not drawn ones")
    simulate.add_argument(
        "--seeds", default="0-99", metavar="A-B", help="seeds, both included (default 0-99)"
    )
    simulate.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (default 1)")
    simulate.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    simulate.add_argument("--json", action="store_true", help="print one JSON object")
    simulate.add_argument("--trace", action="store_true", help="print what was drawn and the trace hash")
    simulate.set_defaults(command=_simulate)

    reproduce = commands.add_parser("reproduce", help="recompute published figures", description=_REPRODUCE)
    reproduce.add_argument(
        "what", choices=("chapter4",), help="the thesis' chapter 4: Table 1, Figures 12-15"
    )
    reproduce.add_argument(
        "--seeds", default="0", metavar="A-B", help="instances (default 0; medians need 0-4)"
    )
    reproduce.add_argument("--quick", action="store_true", help="leave out the longest run")
    reproduce.add_argument("--over", choices=("broker",), help="one curve over the embedded broker instead")
    reproduce.add_argument("--from", type=Path, metavar="DIR", dest="from_", help="draw what DIR holds again")
    reproduce.add_argument("--out", type=Path, metavar="DIR", help="where to (default: runs/chapter4-<time>)")
    reproduce.add_argument("--jobs", type=int, default=2, metavar="J", help="processes (default 2)")
    reproduce.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    reproduce.add_argument("--quiet", action="store_true", help="no progress display")
    reproduce.set_defaults(command=_reproduce)

    _add(commands, "plot", "draw finished runs", figures, figures.main)
    deviating = _add(
        commands, "deviate", "what an agent gains or loses by lying", deviate, deviate.main, scenario=True
    )
    deviating.formatter_class = deviate.Help
    _add(commands, "sweep", "a grid of parameters and seeds, resumable", sweep, sweep.main, scenario=True)
    _add(commands, "doctor", "look whether this machine can run agents", doctor, _doctor)
    completing = partial(completion.main, parser=_parser)
    _add(commands, "completion", "print a script that completes what is typed", completion, completing)

    scenarios = commands.add_parser("scenarios", help="list the bundled scenarios")
    scenarios.set_defaults(command=_scenarios)

    show = commands.add_parser("show", help="print a scenario, resolved, with its graph drawn")
    _scenario_arguments(show)
    show.add_argument("--json", action="store_true", help="print the resolved scenario as JSON")
    show.set_defaults(command=_show)
    add_examples(parser)
    return parser


def _add(
    commands: Any,
    name: str,
    summary: str,
    module: Any,
    run: Callable[[argparse.Namespace], int],
    *,
    scenario: bool = False,
) -> argparse.ArgumentParser:
    """Add a command that has a module of its own, with DESCRIPTION, EXAMPLES and ``add_arguments``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=module.DESCRIPTION,
        epilog=module.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if scenario:
        _scenario_arguments(parser)
    module.add_arguments(parser)
    parser.set_defaults(command=run)
    return parser


_RUN = """Launch every agent of a scenario as a process of its own over an embedded MQTT broker, wait for the
agents to agree that they are done, and compare the outcome with what somebody who knows everything would
have chosen. The exit code is 0 only if the promised accuracy was reached."""


_RECORD = """Listen to a run whose agents were started by others, in containers or by hand, until each has
published its result; then judge it, print and exit like `vicinal run`. Takes no part in the run: its two
users at the broker may read and not write."""
_RECORD_EXAMPLES = """example, with the files that `vicinal compose` writes:
  vicinal record DIR/secrets/scenario.json --access DIR/secrets/recorder.json
"""


_SIMULATE = """Draw a network, a mechanism and a storm of faults from every seed, play it in virtual time, and
check that the result is that of a sequential run bit for bit, that nobody stops early, and that the run
ends once the faults have ceased. The exit code is 1 if a seed fails; the seed alone replays it."""


_REPRODUCE = """Let the project's own agents play the numerical section of the thesis' chapter 4 again, keep a
record, draw its figures from it, and print what was published, what came out and whether they agree. The exit
code is 1 if they differ where they are not known to."""


def _scenario_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", metavar="SCENARIO", help="a scenario file, or the name of a bundled one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override a key of the scenario: --set stopping.tolerance=1e-8 (may be repeated)",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="take the place of the scenario's seed")


def _tls_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ca", metavar="FILE", help="PEM: whom the certificate of a TLS broker must be signed by"
    )
    parser.add_argument("--cert", metavar="FILE", help="PEM: a client certificate to show to a TLS broker")
    parser.add_argument("--key", metavar="FILE", help="PEM: the private key of --cert")


def _load(arguments: argparse.Namespace) -> Any:
    from topologies import ScenarioError, load_scenario

    try:
        return load_scenario(arguments.scenario, arguments.overrides, arguments.seed)
    except ScenarioError as error:
        raise UserError(str(error)) from None


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from runner.api import run_async
    from runner.progress import Progress

    if arguments.more:
        from runner.several import run_each

        return run_each(arguments, _run, _say)
    if arguments.unguaranteed:
        arguments.overrides = [*arguments.overrides, "mechanism.unguaranteed=true"]
    loaded = _load(arguments)
    errors = Console(stderr=True)
    with Progress(errors, loaded.agents, quiet=arguments.quiet) as progress:
        running = run_async(
            loaded,
            out=arguments.out,
            broker=arguments.broker,
            ca=arguments.ca,
            cert=arguments.cert,
            key=arguments.key,
            hosts=arguments.hosts,
            virtual=arguments.virtual,
            lockstep=arguments.lockstep,
            watch=progress.update,
            warn=_warning(errors),
        )
        result = asyncio.run(_until_signal(running))
    return _print(result, arguments)


def _record(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from runner.observe import Access, Options, observe
    from runner.progress import Progress

    loaded = _load(arguments)
    access = Access.read(arguments.access)
    errors = Console(stderr=True)
    with Progress(errors, loaded.agents, quiet=arguments.quiet) as progress:
        options = Options(
            arguments.out,
            arguments.runs,
            arguments.ready,
            arguments.patience,
            progress.update,
            _warning(errors),
        )
        result = asyncio.run(_until_signal(observe(loaded, access, options)))
    return _print(result, arguments)


async def _until_signal(work: Coroutine[Any, Any, Any]) -> Any:
    """What ``work`` returns.

    Raises:
        Interrupted: if a signal asked for the end before.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    stopped_by: list[str] = []

    def stop(name: str) -> None:
        # The first request ends the run in order; a second one must not cut the clean-up short.
        if not stopped_by:
            stopped_by.append(name)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means what it says
            loop.add_signal_handler(number, stop, number.name)
    try:
        return await work
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        raise Interrupted(f"ended by {stopped_by[0]}; every process has been stopped") from None


def _warning(errors: Console) -> Callable[[str], None]:
    return lambda text: errors.print(f"warning: {text}", markup=False, highlight=False)


def _print(result: Any, arguments: argparse.Namespace) -> int:
    with contextlib.suppress(streams.ReaderLeft):  # whoever has read enough may still ask how it ended
        if arguments.json:
            sys.stdout.write(json.dumps(result.as_dict(), allow_nan=False) + "\n")
        else:
            from rich.console import Console

            from runner.table import print_result

            print_result(result, Console(), agents=arguments.agents)
        streams.flush()
    if not result.kept_promise:
        return _say(f"the promise was not kept: {result.verdict}", EXIT_FAILED)
    return EXIT_OK


def _compose(arguments: argparse.Namespace) -> int:
    return compose.compose(_load(arguments), arguments)


def _page(arguments: argparse.Namespace) -> int:
    return page.page(arguments, _until_signal)


def _doctor(arguments: argparse.Namespace) -> int:
    arguments.overrides, arguments.seed = [], None
    return doctor.main(arguments, _load(arguments) if arguments.scenario is not None else None)


def _simulate(arguments: argparse.Namespace) -> int:
    from runner.simulation.report import main as simulate

    return simulate(arguments)


def _reproduce(arguments: argparse.Namespace) -> int:
    from runner.reproduce.command import main as reproduce

    return reproduce(arguments)


def _scenarios(arguments: argparse.Namespace) -> int:
    from topologies import bundled

    rows = bundled()
    width = max(len(name) for name, _, _ in rows)
    for name, title, _ in rows:
        sys.stdout.write(f"{name:<{width}}  {title}\n")
    return EXIT_OK


def _show(arguments: argparse.Namespace) -> int:
    loaded = _load(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(loaded.resolved(), indent=2, allow_nan=False) + "\n")
        return EXIT_OK
    import shutil

    from runner.show import describe

    sys.stdout.write(describe(loaded, shutil.get_terminal_size((100, 24)).columns))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
