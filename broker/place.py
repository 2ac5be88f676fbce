"""Where a server of one's own keeps its files: in memory if the system has a folder for that, else on disk.

A broker keeps a few hundred bytes an agent for those who come later. They must outlive its death and no more
than the run, so they need no disk; and a run must not stop because somebody else has filled the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from broker.transport import BrokerError

# Linux keeps it in memory, up to half of what the machine has. macOS has nothing like it.
MEMORY = Path("/dev/shm")
# Bytes that must be free. The retained messages of 1,023 agents take 0.4 MB; a nats-server removes outdated
# ones a few MB at a time, and was seen with up to 4.6 MB (docs/checks/broker_store.py). Its log keeps up to
# 8 MB.
ROOM = 16_000_000


def make(avoid: Path | None = None) -> Path:
    """Make a directory that nobody else may enter (mode 0700), in the first place that has room for it.

    Args:
        avoid: a place that failed before; tried last.
    Raises:
        BrokerError: if there is no such place; naming each and what is wrong with it.
    """
    wrong = []
    for place in sorted(_places(), key=lambda place: place == avoid):
        try:
            return _made(place)
        except OSError as error:
            wrong.append(f"{place}: {error.strerror or error}")
    raise BrokerError(
        f"no place for the broker's files: {'; '.join(wrong)}; "
        f"expected a folder for temporary files (TMPDIR) that can be written, with {ROOM / 1e6:g} MB free"
    )


def _places() -> list[Path]:
    places = [MEMORY] if MEMORY.is_dir() else []
    try:
        return [*places, Path(tempfile.gettempdir())]
    except OSError as error:  # it has tried to write in several
        if places:
            return places
        raise BrokerError(f"no place for the broker's files: {error.strerror or error} (TMPDIR)") from None


def _made(place: Path) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="vicinal-broker-", dir=place))
    try:
        # What counts is whether it can be written, which the numbers of a file system do not say for sure.
        probe = directory / "probe"
        probe.write_bytes(bytes(4096))
        probe.unlink()
        room = os.statvfs(directory)
        if (free := room.f_bavail * room.f_frsize) < ROOM:
            raise OSError(f"{free / 1e6:.1f} MB free")
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory
