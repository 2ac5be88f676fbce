"""What an agent must not forget: enough to come back, after any crash, as the agent that it was.

A store holds a snapshot (of the protocol, at the start of some round), the previous round's words (which
neighbours may still need), and the log of what was heard in every round since. The driver appends to the
log before it sends anything that depends on it. Nothing else is needed: a protocol is deterministic.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from broker import codec
from broker.codec import Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = 2
_HEAD = struct.Struct("<II")  # length, crc32
# A log entry holds one round's messages, each at most codec.SIZE_LIMIT.
ENTRY_LIMIT = 1 << 28


class StoreMismatch(OSError):
    """What is stored belongs to another run, agent, version or to other rules.

    To an agent that is one more way in which its store cannot be used: it says so and goes on without, and
    what is not its own stays as it is.
    """


@dataclass(slots=True)
class Saved:
    """What a store gave back.

    Attributes:
        epoch: the computation it belongs to.
        round: the round in which the snapshot's words are said; the log starts there.
        snapshot: packed, for ``protocol(resume=...)``; None: a fresh start, in round 0.
        previous: the packed words of the round before, or None.
        telemetry: what was measured until then and may not be on file yet (``Telemetry.state``), or None.
        newest: free mode: the newest payload of each neighbour heard by then.
        absent: neighbours that the computation is played without.
        log: the payloads heard in each round since, one tuple a round; in free mode those that had become
            newest at each tick since.
    """

    epoch: int = 0
    round: int = 0
    snapshot: bytes | None = None
    previous: bytes | None = None
    telemetry: bytes | None = None
    newest: tuple[bytes, ...] = ()
    absent: tuple[str, ...] = ()
    log: list[tuple[bytes, ...]] = field(default_factory=list)


class Store(Protocol):
    """Where one agent keeps what it must not forget. A call returns when it is as durable as promised.

    Raises (every method): OSError if it cannot be; the driver then says so and goes on without.
    """

    def load(self) -> tuple[int, Saved | None]:
        """(incarnation of the last life or -1, what it left or None if nothing, or nothing readable)."""

    def begin(self, incarnation: int) -> None:
        """A life begins; a later ``load`` tells which."""

    def reset(self, saved: Saved) -> None:
        """Replace everything by a snapshot with an empty log."""

    def append(self, heard: Sequence[bytes]) -> None:
        """Add one round's messages to the log."""


class MemoryStore:
    """Survives the agent but not the process: for tests and the virtual network."""

    def __init__(self) -> None:
        self.incarnation = -1
        self.saved: Saved | None = None

    def load(self) -> tuple[int, Saved | None]:
        """See ``Store``."""
        return self.incarnation, self.saved

    def begin(self, incarnation: int) -> None:
        """See ``Store``."""
        self.incarnation = incarnation

    def reset(self, saved: Saved) -> None:
        """See ``Store``."""
        self.saved = replace(saved, log=[])

    def append(self, heard: Sequence[bytes]) -> None:
        """See ``Store``."""
        assert self.saved is not None
        self.saved.log.append(tuple(heard))


class DiskStore:
    """Survives the process and, with ``sync``, the machine. Three small files in a folder of its own.

    Args:
        directory: made at the first write, mode 0700.
        identity: run, agent and rules; a store of anything else is refused.
        sync: whether every log entry is on the disk (fdatasync) before ``append`` returns. Without it the
            log survives the death of the process, but not that of the machine.
    """

    def __init__(self, directory: Path, identity: str, *, sync: bool) -> None:
        self.directory, self.identity, self.sync = directory, identity, sync
        self._log = -1

    def load(self) -> tuple[int, Saved | None]:
        """See ``Store``.

        Raises:
            StoreMismatch: if the files are another run's, agent's or version's, naming both; an OSError.
        """
        life = self._read("life")
        incarnation = life[0] if life is not None and type(life[0]) is int else -1
        saved = self._saved()
        if saved is not None:
            saved.log = self._read_log(saved)
        return incarnation, saved

    def begin(self, incarnation: int) -> None:
        """See ``Store``."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write("life", (incarnation,))

    def reset(self, saved: Saved) -> None:
        """See ``Store``. A crash at any instant leaves the old state or the new one."""
        # The log names the snapshot it continues: an old log beside a new snapshot is known for what it is.
        where, words = (saved.epoch, saved.round), (saved.snapshot, saved.previous)
        self._write("snapshot", (*where, *words, saved.telemetry, saved.newest, saved.absent))
        self._open_log(saved, fresh=True)

    def append(self, heard: Sequence[bytes]) -> None:
        """See ``Store``."""
        if self._log < 0:
            saved = self._saved()
            assert saved is not None, "append before any reset"
            self._open_log(saved, fresh=False)
        _write_all(self._log, _entry(tuple(heard)))
        if self.sync:
            _datasync(self._log)

    def close(self) -> None:
        """Let go of the files."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _saved(self) -> Saved | None:
        values = self._read("snapshot")
        match values:
            case (
                int(epoch),
                int(round_),
                (bytes() | None) as snapshot,
                (bytes() | None) as previous,
                (bytes() | None) as telemetry,
                tuple() as newest,
                tuple() as absent,
            ) if all(type(n) is bytes for n in newest) and all(type(j) is str for j in absent):
                return Saved(epoch, round_, snapshot, previous, telemetry, newest, absent)
            case _:
                return None

    def _read(self, name: str) -> tuple[Any, ...] | None:
        """The content of one of the small files; None if missing, torn or corrupt."""
        try:
            data = (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None
        entries, _ = _entries(data)
        if len(entries) != 1 or len(entries[0]) != 3:
            return None
        version, identity, content = entries[0]
        if version != VERSION or identity != self.identity:
            raise StoreMismatch(
                f"{self.directory / name} holds version {version!r} of {identity!r}, "
                f"expected version {VERSION} of {self.identity!r}; it is refused and left as it is"
            )
        return content if type(content) is tuple else None

    def _write(self, name: str, content: tuple[Any, ...]) -> None:
        """Replace a small file; after a crash it is the old one or the new one, whole."""
        path, temporary = self.directory / name, self.directory / f"{name}.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(fd, _entry((VERSION, self.identity, content)))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _open_log(self, saved: Saved, *, fresh: bool) -> None:
        self.close()
        path = self.directory / "log"
        if not fresh:
            # Cut a torn tail off, or what is appended behind it could not be read.
            entries, whole = _entries(path.read_bytes()) if path.exists() else ([], 0)
            fresh = not entries or entries[0] != (VERSION, saved.epoch, saved.round)
            if not fresh:
                os.truncate(path, whole)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if fresh else 0)
        self._log = os.open(path, flags, 0o600)
        if fresh:
            _write_all(self._log, _entry((VERSION, saved.epoch, saved.round)))
            if self.sync:
                _datasync(self._log)

    def _read_log(self, saved: Saved) -> list[tuple[bytes, ...]]:
        try:
            entries, _ = _entries((self.directory / "log").read_bytes())
        except FileNotFoundError:
            return []
        if not entries or entries[0] != (VERSION, saved.epoch, saved.round):
            return []  # the log of the snapshot before
        return [entry for entry in entries[1:] if all(type(payload) is bytes for payload in entry)]


def _entry(content: tuple[Any, ...]) -> bytes:
    data = codec.pack(content)
    return _HEAD.pack(len(data), zlib.crc32(data)) + data


def _entries(data: bytes) -> tuple[list[tuple[Any, ...]], int]:
    """The whole entries at the start of a file, and how many bytes they take."""
    entries, start = [], 0
    while start + _HEAD.size <= len(data):
        length, check = _HEAD.unpack_from(data, start)
        body = data[start + _HEAD.size : start + _HEAD.size + length]
        if length > ENTRY_LIMIT or len(body) < length or zlib.crc32(body) != check:
            break
        try:
            content = codec.unpack(body, limit=ENTRY_LIMIT)
        except Malformed:
            break
        if type(content) is not tuple:
            break
        entries.append(content)
        start += _HEAD.size + length
    return entries, start


# macOS has no fdatasync, and its fsync stops at the disk's own cache: enough for the death of a process.
_datasync = getattr(os, "fdatasync", os.fsync)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
