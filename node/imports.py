"""What a user brings along, named ``module:name``."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def extend_path(folders: Iterable[str]) -> None:
    """Import from these folders, too.

    Behind all others, so that a file there never hides an installed package. Only where a list names folders
    that are on the path already, as that of a test process does, all stand as they do in the list.
    """
    later: str | None = None
    for folder in reversed(tuple(folders)):
        place = len(sys.path) if later is None else sys.path.index(later)
        if folder not in sys.path:
            sys.path.insert(place, folder)
        elif sys.path.index(folder) > place:
            sys.path.remove(folder)
            sys.path.insert(place, folder)
        later = folder


def resolve(name: str) -> Any:
    """What ``module:name`` means.

    Raises:
        ValueError: if there is no such module or nothing of that name in it; says where the module lies.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"{name!r}: names no module or nothing in it; expected module:name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The module itself, or one that it imports.
        raise ValueError(
            f"{name!r}: {error}; expected a module in the scenario's folder or on the path"
        ) from None
    except Exception as error:
        raise ValueError(
            f"{name!r}: importing it raised {type(error).__name__}: {error}; expected a module without errors"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        where = getattr(module, "__file__", None) or "built in"
        raise ValueError(
            f"{name!r}: not in the module {module_name} ({where}); expected one of its names"
        ) from None
