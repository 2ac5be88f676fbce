"""Files that are complete or not there, whenever their writer is killed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def complete(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Where to write a file, which takes the place of ``path`` when the block is left in good order.

    Raises:
        OSError: if it cannot.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong is told already
            temporary.unlink()
        raise
