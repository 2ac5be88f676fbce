"""Launch, watch and judge runs; take no part in the protocol.

>>> from runner import run
>>> result = run("topologies/binary-tree-31.toml")  # doctest: +SKIP

The names below load what they need on first use, so that ``vicinal --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api import run as run
    from runner.api import run_async as run_async
    from runner.errors import RunFailed as RunFailed
    from runner.errors import UserError as UserError
    from runner.result import RunResult as RunResult

_HOME = {
    "RunFailed": "runner.errors",
    "RunResult": "runner.result",
    "UserError": "runner.errors",
    "run": "runner.api",
    "run_async": "runner.api",
}

__all__ = ["RunFailed", "RunResult", "UserError", "run", "run_async"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
