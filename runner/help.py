"""What the command line says about itself: examples of every command, and what an unknown word meant."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from topologies.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FIRST = """examples:
  vicinal doctor                     # can this machine do it?
  vicinal scenarios                  # what there is to run
  vicinal run star-9                 # nine processes, an MQTT broker, one allocation
  vicinal plot runs/RUN              # how it came about
  vicinal COMMAND --help
"""
# Of the commands whose modules do not have their own.
EXAMPLES: Mapping[str, str] = {
    "run": """examples:
  vicinal run binary-tree-31                                # 31 processes over an embedded broker
  vicinal run binary-tree-31 --hosts 2                      # two processes
  vicinal run binary-tree-31 --virtual --seed 7             # one process, virtual time
  vicinal run star-9 --set stopping.tolerance=1e-9 --json
  vicinal run star-9 --set topology.agents=12 --out runs/star-12 --agents
  vicinal run my-scenario.toml --broker mqtts://broker.example.org --ca ca.pem
""",
    "show": """examples:
  vicinal show directed-8
  vicinal show my-scenario.toml --set environment.eta=10.0 --json
""",
    "scenarios": """examples:
  vicinal scenarios
  vicinal scenarios | grep network
""",
    "simulate": """examples:
  vicinal simulate --seeds 0-99 --jobs 2      # a hundred networks, each under a storm of its own
  vicinal simulate --seeds 42-42 --trace      # one again, with what was drawn
  vicinal simulate star-9 --seeds 0-9         # one scenario, ten storms
""",
    "reproduce": """examples:
  vicinal reproduce chapter4 --quick                            # without the longest run
  vicinal reproduce chapter4 --seeds 0-4 --out runs/chapter4    # medians of five instances
  vicinal reproduce chapter4 --from runs/chapter4               # drawn again, nothing played
""",
}


class Parser(argparse.ArgumentParser):
    """A parser that suggests the command, choice or option that was meant."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Values like ``--sizes -1:1:5`` and ``-1,0,1`` begin with a number, too; no option of ours does.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        """End with the usage and one line; exit code 2."""
        choice = re.search(r"invalid choice: '?([^' ]+)'? \(choose from (.*)\)", message)
        if choice is not None:
            message += did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
        elif message.startswith("unrecognized arguments:"):
            known = {option for parser in _all(self) for option in parser._option_string_actions}
            odd = [word.partition("=")[0] for word in message.split() if word.startswith("--")]
            # An option that exists is one of another command, and what was meant is not itself.
            message += did_you_mean(odd[0], known) if odd and odd[0] not in known else ""
        super().error(message)


def _all(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _all(command)


def add_examples(parser: argparse.ArgumentParser) -> None:
    """Put examples below the help of the program and of every command that has none of its own."""
    for each in _all(parser):
        examples = FIRST if each is parser else EXAMPLES.get(each.prog.split()[-1])
        if each.epilog is None and examples is not None:
            each.epilog, each.formatter_class = examples, argparse.RawDescriptionHelpFormatter
