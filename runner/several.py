"""Several scenarios, one run after another, and what came of each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import RunFailed, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORDS = {0: "kept its promise", 1: "failed, or broke its promise", 2: "was refused"}


def run_each(
    arguments: argparse.Namespace,
    run: Callable[[argparse.Namespace], int],
    say: Callable[[object, int], int],
) -> int:
    """Run ``arguments.scenario`` and all of ``arguments.more``, each with all options.

    With ``--out DIR`` a run's directory is ``DIR/<name of the scenario>``. One that fails or is refused does
    not keep the others from running.

    Args:
        arguments: of ``vicinal run``.
        run: plays one of them and returns its exit code.
        say: writes an error and returns the code that it is given.
    Returns:
        The largest exit code.
    Raises:
        UserError: before the first run, if two of them would have the same directory.
    """
    names = [arguments.scenario, *arguments.more]
    ends = [Path(name).stem for name in names]
    if arguments.out is not None and len(set(ends)) < len(ends):
        twice = next(end for end in ends if ends.count(end) > 1)
        raise UserError(f"--out {arguments.out}: two scenarios are called {twice}; expected different names")
    codes = []
    for name, end in zip(names, ends, strict=True):
        out = None if arguments.out is None else arguments.out / end
        one = argparse.Namespace(**{**vars(arguments), "scenario": name, "more": [], "out": out})
        try:
            codes.append(run(one))
        except UserError as error:
            codes.append(say(error, 2))
        except RunFailed as error:
            codes.append(say(error, 1))
    if not arguments.json:
        sys.stdout.write(summary(names, codes))
    return max(codes)


def summary(names: Sequence[str], codes: Sequence[int]) -> str:
    """A line a scenario: its name, and how it ended."""
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {WORDS[code]}\n" for name, code in zip(names, codes, strict=True)]
    return f"\n{len(names)} scenarios\n{''.join(lines)}"
