"""The command ``vicinal completion``: a script with which bash or zsh completes what is typed.

The script is made from the parser of the command line by shtab and holds everything it needs: the shell does
not start Python to complete a word. It has to be made again when commands or bundled scenarios have changed.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SHELLS = ("bash", "zsh")
DESCRIPTION = """Print a script that makes the shell complete commands, options, files, bundled scenarios,
metrics and keys of --set."""
EXAMPLES = """examples:
  source <(vicinal completion bash)                     # for this shell; in ~/.bashrc for all
  vicinal completion zsh > ~/.zfunc/_vicinal            # a folder of $fpath, before compinit
"""

# What an argument takes, by the word that stands for it in the help.
_FILES = ("FILE",)
_FOLDERS = ("DIR", "RUN", "RUNS", "CHECKOUT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``vicinal completion``."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def main(arguments: argparse.Namespace, parser: Callable[[], argparse.ArgumentParser]) -> int:
    """Print the script for a shell.

    Args:
        arguments: ``shell``.
        parser: makes the parser that is to be completed.
    Raises:
        UserError: if shtab is missing.
    """
    try:
        import shtab
    except ImportError:
        raise UserError("no completion: shtab is missing; pip install shtab") from None
    whole = parser()
    words = _words()
    for action in _actions(whole):
        kind = _kind(action, words)
        if kind is not None:
            action.complete = {  # type: ignore[attr-defined]
                "file": shtab.FILE,
                "folder": shtab.DIRECTORY,
            }.get(kind) or dict.fromkeys(SHELLS, f"_vicinal_{kind}")
    preamble: Any = {"bash": _bash(words), "zsh": _zsh(words)}  # shtab's own type does not know this form
    script = shtab.complete(whole, arguments.shell, preamble=preamble)
    sys.stdout.write(script)
    return 0


def _words() -> dict[str, Sequence[str]]:
    """Kind of argument -> the words that it may be, or begin with."""
    from runner.figures.figure import WHAT
    from runner.figures.graph import VALUES
    from topologies import bundled
    from topologies.reporting import dotted_keys

    return {
        "scenario": [name for name, _, _ in bundled()],
        "key": dotted_keys(),
        "metric": WHAT,
        "value": VALUES,
        "format": ("png", "svg"),
    }


def _kind(action: argparse.Action, words: Mapping[str, Sequence[str]]) -> str | None:
    """What an argument takes: a kind of word, a ``file``, a ``folder``, or nobody knows."""
    if action.metavar == "SCENARIO":
        return "scenario"
    if action.metavar == "KEY=VALUE":
        return "key"
    if action.dest == "what" and action.choices is None:
        return "metric"
    if action.dest == "nodes":
        return "value"
    if action.dest == "format" and action.choices is None:
        return "format"
    if action.metavar in _FILES:
        return "file"
    return "folder" if action.metavar in _FOLDERS else None


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments, those of commands and of their commands included."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                action.choices[listed.dest].description = listed.help  # one line, for zsh's list of commands
            for command in action.choices.values():
                yield from _actions(command)


def _bash(words: Mapping[str, Sequence[str]]) -> str:
    """Functions that print what the word $1 may become; of a list with commas, its last member."""
    functions = []
    for kind, known in words.items():
        lines = [f'  compgen -W "{" ".join(known)}" -- "$1"']
        if kind == "scenario":
            lines += ['  compgen -f -X "!*.toml" -- "$1"', '  compgen -d -- "$1"']
        if kind == "metric":
            lines = [
                '  local done=""',
                '  [[ "$1" == *,* ]] && done="${1%,*},"',
                f'  compgen -P "$done" -W "{" ".join(known)}" -- "${{1##*,}}"',
            ]
        functions.append("\n".join([f"_vicinal_{kind}() {{", *lines, "}"]))
    return "\n".join(functions)


def _zsh(words: Mapping[str, Sequence[str]]) -> str:
    functions = []
    for kind, known in words.items():
        line = f"  compadd -- {' '.join(known)}"
        if kind == "scenario":
            line = f"  compadd -- {' '.join(known)}\n  _files -g '*.(toml|json)'"
        if kind == "metric":
            line = f"  _values -s , {kind} {' '.join(known)}"
        if kind == "key":
            line = f"  compadd -S = -- {' '.join(known)}"
        functions.append(f"_vicinal_{kind}() {{\n{line}\n}}")
    return "\n".join(functions)
