"""A process of its own that keeps a server from outliving its owner. Standard library only, starts in 15 ms.

    python -I -S guard.py DIRECTORY COMMAND...

Starts COMMAND with its output in DIRECTORY/log, of which the last few MB are kept, and tells the owner on
standard output: ``pid N``, or ``error TEXT`` if it cannot be started; ``unstored TEXT`` when the server says
that it cannot write what it is to keep; and ``exit CODE`` (negative: killed by that signal) when it has
ended. When standard input ends, because the owner closed it or died however suddenly, the server is stopped
and DIRECTORY removed.

The output comes through a pipe: that a disk is full must be heard though it leaves no room for a log.

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
# Bytes after which a log becomes the log before, and that is removed: it may be in memory, and a user who
# publishes what it may not has a line written each time.
LOG_LIMIT = 4_000_000
# A nats-server's own lines on a store that fails, after process id and time; a client's begin with its
# address, and quote what it sent.
_UNSTORED = (b"[ERR] JetStream failed to store ", b"[WRN] Filesystem permission denied while writing ")
_LONGEST = 100_000  # bytes of a line that is looked at


class Log:
    """What the server prints: into a file, and looked through for what the owner has to know.

    Attributes:
        source, sink: descriptors of the pipe; the server writes into the sink.
    """

    def __init__(self, path: str) -> None:
        self._path, self._size, self._rest = path, 0, b""
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)

    def drain(self) -> bool:
        """Take what is there; whether more may come."""
        try:
            while text := os.read(self.source, 65536):
                self._keep(text)
                *lines, self._rest = (self._rest + text).split(b"\n")
                self._rest = self._rest[:_LONGEST]
                for line in lines:
                    said = line.split(b" ", 3)[-1]
                    if said.startswith(_UNSTORED):
                        _tell("unstored " + said.decode(errors="replace")[:1000])
        except BlockingIOError:
            return True
        return False

    def _keep(self, text: bytes) -> None:
        with contextlib.suppress(OSError):  # no room: the server must not wait for it
            if self._size > LOG_LIMIT:
                os.replace(self._path, f"{self._path}.before")
                self._size = 0
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                self._size += os.write(file, text)
            finally:
                os.close(file)


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
        log = Log(os.path.join(directory, "log"))
        pid = _start(command, log.sink)
        os.close(log.sink)
        _tell(f"pid {pid}")
        speaks = True
        while pid:
            ready, _, _ = select.select([0, wake, log.source] if speaks else [0, wake], [], [])
            if log.source in ready:
                speaks = log.drain()
            asked = 0 in ready or bool(set(_signals(wake)) - {signal.SIGCHLD})
            code = _stop(pid, wake) if asked else _ended(pid)
            if code is not None:
                pid = 0
                log.drain()
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


def _start(command: list[str], output: int) -> int:
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
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
