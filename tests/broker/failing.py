"""A server whose store cannot be written beyond a few kB, as with a full disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import embedded

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

REASON = "file too large"


def spoil(monkeypatch: pytest.MonkeyPatch, folder: Path, servers: int = 1) -> None:
    """Let the nats-servers started next write files of 4 kB only (8 kB with some shells).

    Args:
        folder: for the program that limits it.
        servers: how many of them; those after it are whole.
    """
    real = embedded.find_server
    program = folder / "limited-server"
    program.write_text(f'#!/bin/sh\nulimit -f 8\nexec "{real("nats")}" "$@"\n')
    program.chmod(0o700)
    left = [str(program)] * servers
    monkeypatch.setattr(embedded, "find_server", lambda server: left.pop() if left else real(server))
