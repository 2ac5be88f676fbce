"""The reference of the command line, from the parsers themselves."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """# Commands

Generated from the command itself: what `vicinal --help` and `vicinal COMMAND --help` print.
[Running things](../running.md) explains what the options do and when to use them.

Exit codes: 0, done; 1, the run failed or did not keep its promise; 2, a mistake of the user's; 130, Ctrl-C.

"""


def page() -> str:
    """The page as Markdown, a section a command, in the order in which ``--help`` lists them."""
    from runner import cli

    # argparse fits its text to the terminal.
    columns, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "96"
    try:
        sections = [
            f"## vicinal {name}\n\n```text\n{parser.format_help().strip()}\n```\n"
            if name
            else f"```text\n{parser.format_help().strip()}\n```\n"
            for name, parser in parsers(cli._parser())
        ]
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return _HEAD + "\n".join(sections)


def parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser itself, under an empty name, and that of every command."""
    yield "", parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()
