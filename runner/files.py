"""Files: complete or not there, whenever their writer is killed; JSON, or the mistake is named."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

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


def read_json(path: Path, what: str) -> Any:
    """What a file that the user names holds.

    Args:
        path: of the file.
        what: it is, for the message.
    Raises:
        UserError: in one line naming the file, if it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{what} {path}: not JSON: {error}") from None
