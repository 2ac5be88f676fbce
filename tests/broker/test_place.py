"""A broker's files are put where there is room for them, and first where no disk can be full."""

from __future__ import annotations

import os
import re
import stat

import pytest

from broker import place
from broker.transport import BrokerError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders for the place in memory and for the one on disk."""
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    monkeypatch.setattr(place, "MEMORY", memory)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    return memory, disk


@pytest.fixture
def free(monkeypatch):
    """Bytes that are free in a place, by its path; the others have as much as they have."""
    free = {}

    class Room:
        f_frsize = 1

        def __init__(self, left):
            self.f_bavail = left

    real = os.statvfs
    monkeypatch.setattr(
        os, "statvfs", lambda path: Room(free[path.parent]) if path.parent in free else real(path)
    )
    return free


def test_memory_goes_before_the_disk_and_nobody_else_may_look(places):
    made = place.make()
    assert made.parent == places[0]
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert list(made.iterdir()) == []


def test_system_without_a_folder_in_memory_uses_the_one_for_temporary_files(places):
    places[0].rmdir()
    assert place.make().parent == places[1]


def test_memory_without_room_is_left_alone(places, free):
    free[places[0]] = place.ROOM - 1
    assert place.make().parent == places[1]
    assert list(places[0].iterdir()) == []


def test_place_that_failed_is_tried_last(places, free):
    assert place.make(places[0]).parent == places[1]
    free[places[1]] = 0
    assert place.make(places[0]).parent == places[0]


def test_no_place_at_all_names_each_and_why_not(places, free, monkeypatch):
    free[places[0]] = 123_456
    monkeypatch.setattr("tempfile.tempdir", str(places[1] / "absent"))
    said = (
        f"{places[0]}: 0.1 MB free; {places[1]}/absent: No such file or directory; expected .*TMPDIR.* 16 MB"
    )
    with pytest.raises(BrokerError, match=said):
        place.make()


def test_temporary_files_that_have_no_folder_are_named(places, monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/full']")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    assert place.make().parent == places[0]
    places[0].joinpath(os.listdir(places[0])[0]).rmdir()
    places[0].rmdir()
    with pytest.raises(BrokerError, match=re.escape("['/full'] (TMPDIR)")):
        place.make()
