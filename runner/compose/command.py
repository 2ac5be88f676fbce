"""The command line of ``vicinal compose``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner.page.command import PORT as PAGE_PORT

if TYPE_CHECKING:
    import argparse

    from topologies import LoadedScenario

DESCRIPTION = """Write a scenario as a Docker compose project: Mosquitto with TLS, a user and permissions for
each agent from the graph, a container for each agent (or host), and a recorder that judges the run. Called
again for the same folder it makes new secrets: passwords, keys and a run id. Certificates are signed by an
authority made for the project, whose private key is not kept."""
EXAMPLES = """examples:
  vicinal compose star-9 --out star                    # one container per agent
  vicinal compose binary-tree-31 --out tree --hosts 2  # two that carry them between them
  vicinal compose star-9 --out star --guest password   # `vicinal run --broker` may use the broker, too
  vicinal compose star-9 --out star --page             # and a page at http://127.0.0.1:8230/
  cd star && docker compose up --exit-code-from recorder

The images are built once, in a checkout: make images. With --build CHECKOUT compose does it itself.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, besides those of every command that reads a scenario."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the project's folder")
    parser.add_argument(
        "--hosts", type=int, metavar="H", help="H containers that carry the agents between them"
    )
    parser.add_argument(
        "--build", metavar="CHECKOUT", help="build the images from this checkout; a path relative to DIR"
    )
    parser.add_argument(
        "--images",
        default="vicinal",
        metavar="NAME",
        help="images NAME-agent and NAME-recorder (default: vicinal)",
    )
    parser.add_argument(
        "--guest",
        choices=("password", "certificate"),
        help="publish port 8884 of the broker here, for a user who may use all topics but this run's",
    )
    parser.add_argument(
        "--page", action="store_true", help="and a page that shows the run, published on this machine only"
    )
    parser.add_argument(
        "--days",
        type=int,
        default=365,
        metavar="D",
        help="the certificates are valid for D days (default: 365)",
    )


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")


def compose(loaded: LoadedScenario, arguments: argparse.Namespace) -> int:
    """Write the project and say how to go on."""
    from runner.compose.project import Wishes, write

    project = write(
        loaded,
        Wishes(
            arguments.out,
            arguments.hosts,
            arguments.build,
            arguments.images,
            arguments.guest,
            arguments.days,
            arguments.page,
        ),
        _warn,
    )
    carried = f"{len(loaded.agents)} agents in {len(project.plan.seats)} containers"
    others = ", a broker, a recorder and a page" if arguments.page else ", a broker and a recorder"
    sys.stdout.write(
        f"{project.out}: {carried}{others}; run {project.run}\n"
        f"    cd {project.out} && docker compose up --exit-code-from recorder\n"
    )
    if arguments.page:
        sys.stdout.write(f"    http://127.0.0.1:{PAGE_PORT}/ shows the run while it goes on\n")
    return 0
