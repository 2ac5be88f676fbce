"""``python -m node CONTROL FD...``: the process from which the hosts of a run are forked.

(``python -m node --part FILE`` is one host by itself, without a runner: see ``node.standalone``.)

It imports what every agent needs once, forks one host per descriptor in milliseconds each, and then watches:
it reports each exit on CONTROL as a line of JSON, forks a host again when CONTROL brings its number with a
new descriptor and, when CONTROL closes because the runner has gone, ends every host by its process id. It
holds no part of any agent: those go from the runner to the hosts' own sockets, which it hands on unread.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# So long may a host take to say goodbye after SIGTERM.
GRACE = 3.0
_HANDLED = {signal.SIGTERM, signal.SIGCHLD}


def main(control_fd: int, host_fds: list[int]) -> int:
    """Fork the hosts and watch over them. Returns the exit code."""
    # Everything heavy, once, before the first fork.
    import node.protocols.registry  # noqa: F401
    from node import process

    control = socket.socket(fileno=control_fd)
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    children: dict[int, int] = {}
    waiting = dict(enumerate(host_fds))

    def fork(index: int) -> None:
        fd = waiting.pop(index)
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)  # until the child has handlers of its own
        pid = os.fork()
        if pid == 0:
            for other in (wake, waker, *waiting.values()):
                os.close(other)
            control.close()
            os._exit(_be_host(process.main, fd))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.close(fd)
        children[pid] = index
        _tell(control, {"type": "forked", "host": index, "pid": pid})

    for index in list(waiting):
        fork(index)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: control.shutdown(socket.SHUT_RD))
    while True:
        # A child may have ended before the handler was there, so look first and wait afterwards.
        _reap(children, control)
        ready, _, _ = select.select([control.fileno(), wake], [], [], 1.0)
        if wake in ready:
            os.read(wake, 4096)
        if control.fileno() in ready:
            indices, fds = _asked(control)
            if not indices:
                return _end(children, control)
            waiting.update(zip(indices, fds, strict=True))
            for index in indices:
                fork(index)


def _be_host(play: Callable[[socket.socket], int], fd: int) -> int:
    # The fork server's handlers are not the host's. Ctrl-C in a terminal is the runner's to handle; it closes
    # our socket, which ends us in good order.
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
    try:
        return play(socket.socket(fileno=fd))
    except BaseException:
        # The last boundary before os._exit, which prints nothing by itself.
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _reap(children: dict[int, int], control: socket.socket) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        index = children.pop(pid)
        _tell(
            control,
            {"type": "exited", "host": index, "pid": pid, "code": os.waitstatus_to_exitcode(status)},
        )


def _end(children: dict[int, int], control: socket.socket) -> int:
    """The runner has gone: the hosts have seen it too and are leaving; make sure of it."""
    deadline = time.monotonic() + GRACE
    while children and time.monotonic() < deadline:
        _reap(children, control)
        time.sleep(0.02)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    while children:
        _reap(children, control)
        time.sleep(0.005)
    return 0


def _asked(control: socket.socket) -> tuple[list[int], list[int]]:
    """The hosts to fork again and their descriptors; none if the runner has gone."""
    try:
        data, fds, _, _ = socket.recv_fds(control, 4096, 64)
    except ConnectionError:
        return [], []
    return [int(line) for line in data.split()], list(fds)


def _tell(control: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # the runner has gone; nobody is left to tell
        control.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    if sys.argv[1:2] != [] and sys.argv[1].startswith("-"):
        from node import standalone

        sys.exit(standalone.main(sys.argv[1:]))
    sys.exit(main(int(sys.argv[1]), [int(fd) for fd in sys.argv[2:]]))
