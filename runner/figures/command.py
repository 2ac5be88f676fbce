"""The command line of ``vicinal plot``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError

if TYPE_CHECKING:
    import argparse

FORMATS = ("png", "svg")
DESCRIPTION = """Draw finished runs from their directories: one run with a line for each agent (how agents are
spread, if there are more than 60), or several runs with a line each and a legend. Colours differ in their
lightness and lines in their dashes: figures are legible to the colour-blind, and in grey."""
EXAMPLES = """examples:
  vicinal plot runs/RUN                                       # what the run has drawn of itself, again
  vicinal plot runs/RUN --what convergence,prices,taxes --out run.svg
  vicinal plot runs/A runs/B runs/C --out compared.png        # one figure, a legend
  vicinal plot runs/A runs/B --what messages                  # error over messages
  vicinal plot runs/RUN --what allocations --agents a00,a07   # two agents only
  vicinal plot runs/RUN --what graph --nodes prices
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``vicinal plot``."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run directory")
    parser.add_argument(
        "--what",
        action="append",
        metavar="WHAT,...",
        help="convergence, prices, allocations, taxes, residuals, messages, graph; of a network also loads, "
        "of a consensus estimates. A panel each (default: convergence and what belongs to it)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to (default: WHAT.png in RUN; of several runs, here)"
    )
    parser.add_argument("--format", metavar="png|svg", help="of the file (default: by its name, else png)")
    parser.add_argument("--agents", action="append", metavar="ID,...", help="only these agents' lines")
    parser.add_argument(
        "--nodes", default="allocations", metavar="WHAT", help="on the graph: allocations, prices or taxes"
    )


def main(arguments: argparse.Namespace) -> int:
    """Read the runs, draw, say where the figure is.

    Raises:
        UserError: for a run that cannot be read, a metric that is not known, a file that cannot be written;
            if matplotlib is missing.
    """
    from runner.figures import figure
    from runner.figures.canvas import PlotUnavailable
    from runner.figures.graph import VALUES
    from runner.figures.run import open_runs
    from topologies.nearest import did_you_mean

    kind = _format(arguments)
    what = _split(arguments.what)
    for name in what:
        figure.known(name)
    if arguments.nodes not in VALUES:
        expected = f"expected one of {', '.join(VALUES)}{did_you_mean(arguments.nodes, VALUES)}"
        raise UserError(f"--nodes {arguments.nodes}: {expected}")
    runs = open_runs(arguments.runs)
    if not what:
        what = list(figure.overview(runs[0])) if len(runs) == 1 else ["convergence"]
    out = arguments.out
    if out is None:
        name = "convergence" if not arguments.what else "-".join(what)
        out = (arguments.runs[0] if len(runs) == 1 else Path()) / f"{name}.{kind}"
    elif not out.suffix:
        out = out.with_name(f"{out.name}.{kind}")
    try:
        figure.draw(runs, what, out, agents=_split(arguments.agents), nodes=arguments.nodes)
    except PlotUnavailable as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}") from None
    sys.stdout.write(f"{out}\n")
    return 0


def _format(arguments: argparse.Namespace) -> str:
    """png or svg, as the option and the file's name say.

    Raises:
        UserError: if it is neither, or they contradict each other.
    """
    from topologies.nearest import did_you_mean

    suffix = arguments.out.suffix[1:].lower() if arguments.out is not None else ""
    for option, name in (("--format", arguments.format), ("--out", suffix)):
        if name and name not in FORMATS:
            where = arguments.out if option == "--out" else name
            raise UserError(f"{option} {where}: expected {' or '.join(FORMATS)}{did_you_mean(name, FORMATS)}")
    if arguments.format and suffix and arguments.format != suffix:
        raise UserError(
            f"--format {arguments.format}: {arguments.out} ends otherwise; expected one of the two"
        )
    return str(arguments.format or suffix or FORMATS[0])


def _split(given: list[str] | None) -> list[str]:
    """The names of an option that takes lists and may be repeated; each once, in the order given."""
    return list(
        dict.fromkeys(name.strip() for text in given or () for name in text.split(",") if name.strip())
    )
