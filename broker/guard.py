"""A process of its own that keeps a server from outliving its owner. Standard library only, starts in 15 ms.

    python -I -S guard.py DIRECTORY COMMAND...

Starts COMMAND with its output in DIRECTORY/log and tells the owner on standard output: ``pid N``, or
``error TEXT`` if it cannot be started, and ``exit CODE`` (negative: killed by that signal) when it has ended.
When standard input ends, because the owner closed it or died however suddenly, the server is stopped and
DIRECTORY removed.

The owner's own ``finally`` cannot do this: nothing runs in a process that was killed with SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

# A server that has not ended so many seconds after SIGTERM is killed.
GRACE = 3.0


def main(directory: str, command: list[str]) -> None:
    """Start the server, watch it and the owner, clean up."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _noted)
    pid = 0
    try:
        pid = _start(command, os.path.join(directory, "log"))
        _tell(f"pid {pid}")
        while pid:
            ready, _, _ = select.select([0, wake], [], [])
            asked = 0 in ready or bool(set(_signals(wake)) - {signal.SIGCHLD})
            code = _stop(pid, wake) if asked else _ended(pid)
            if code is not None:
                pid = 0
                _tell(f"exit {code}")
        while os.read(0, 64):  # the log stays until the owner has had the time to read it
            pass
    except OSError as error:
        _tell(f"error {command[0]}: {error.strerror}")
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        _remove(directory)


def _start(command: list[str], log: str) -> int:
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )


def _stop(pid: int, wake: int) -> int:
    os.kill(pid, signal.SIGTERM)
    while (code := _ended(pid)) is None:
        if not select.select([wake], [], [], GRACE)[0]:
            os.kill(pid, signal.SIGKILL)
        _signals(wake)
    return code


def _ended(pid: int) -> int | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def _signals(wake: int) -> bytes:
    try:
        return os.read(wake, 64)
    except BlockingIOError:
        return b""


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # a dead owner needs no telling
        os.write(1, f"{line}\n".encode())


def _remove(directory: str) -> None:
    # The owner may be removing the same files.
    for path, folders, files in os.walk(directory, topdown=False):
        for name in files:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(path, name))
        for name in folders:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(path, name))
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def _noted(number: int, frame: object) -> None:
    """Handle a signal by not ignoring it: the wakeup descriptor carries its number to the loop."""


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
