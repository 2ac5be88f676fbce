"""Standard output and standard error of a command, and what becomes of it when they cannot be written.

What a command prints is its answer: that it cannot be said is an error, told in a line. What it says on
standard error is said beside the work: when that cannot be heard the work goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


# No OSErrors, which libraries take for their own: rich ends the process, argparse says nothing.
class OutputLost(Exception):
    """Standard output cannot be written; the text says why."""


class ReaderLeft(Exception):
    """Nobody reads standard output any more."""


@contextlib.contextmanager
def standard() -> Iterator[None]:
    """While it lasts, what cannot be written to standard output is an ``OutputLost``, or a ``ReaderLeft``
    if a pipe was closed; and what cannot be written to standard error is lost.
    """
    output, errors = cast("TextIO | None", sys.stdout), cast("TextIO | None", sys.stderr)
    with contextlib.ExitStack() as stack:
        if errors is None:
            errors = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        stack.callback(setattr, sys, "stderr", sys.stderr)
        sys.stderr = cast("TextIO", _Forgiving(errors))
        if output is not None:
            stack.callback(setattr, sys, "stdout", sys.stdout)
            sys.stdout = cast("TextIO", _Telling(output))
        yield


def flush() -> None:
    """Write what standard output still holds, here, where a failure can be named: at its end the interpreter
    could only print a traceback.

    Raises:
        OutputLost, ReaderLeft: if it cannot be written.
    """
    if cast("TextIO | None", sys.stdout) is None:
        raise OutputLost("it is closed")
    sys.stdout.flush()


def _let_go(stream: TextIO) -> None:
    """What a stream still holds goes nowhere: at its end that would fail again, and nobody could catch it."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: no file behind it, as in a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)


class _Stream:
    """A text stream that does something about errors of writing; anything else is as before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """What cannot be written now is not tried again."""
        _let_go(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Forgiving(_Stream):
    """Loses what it cannot write."""


class _Telling(_Stream):
    """Tells what has failed."""

    def _failed(self, error: OSError) -> None:
        super()._failed(error)
        if isinstance(error, BrokenPipeError):
            raise ReaderLeft from error
        raise OutputLost(error.strerror or str(error)) from error
