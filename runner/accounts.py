"""What every agent reported at the end of a run, on file beside the record: ``accounts.jsonl``.

A line of JSON an agent, ids ascending: what ``node.account.describe`` says of it, before anybody has judged
it. Whoever judges the run anew reads this and the record, and not the verdict of the run on itself.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.files import complete

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "accounts.jsonl"
# What is judged of an account, with its type.
_NEEDED: Mapping[str, type] = {
    "agent": str,
    "result": dict,
    "rounds": int,
    "received": int,
    "heard_from": dict,
    "rejected": dict,
}


def write(directory: Path, reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the accounts of all agents: all of them or, if that fails, none.

    A number that is not finite, such as a residual that was never computed, becomes null.

    Raises:
        OSError: if they cannot be written.
    """
    with complete(directory / NAME) as temporary, temporary.open("w", encoding="utf-8") as file:
        for agent in sorted(reports):
            file.write(json.dumps(_finite(reports[agent]), allow_nan=False) + "\n")


def read(directory: Path, agents: Sequence[str], *, some: bool = False) -> dict[str, dict[str, Any]]:
    """The account of every agent, ids ascending.

    Args:
        directory: of the run.
        agents: whose accounts there must be.
        some: whether some may be missing, or be of an agent that ended without a result: these are left out.
    Raises:
        UserError: naming the file, the line or the agent, and what is wrong.
    """
    path = directory / NAME
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected what every agent reported") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; expected a line of JSON an agent") from None
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            account = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number}: not JSON: {error}") from None
        if some and isinstance(account, dict) and account.get("result", ()) is None:
            continue
        if not isinstance(account, dict) or not all(
            isinstance(account.get(name), kind) for name, kind in _NEEDED.items()
        ):
            raise UserError(f"{path}: line {number}: expected an account with {', '.join(_NEEDED)}")
        found[account["agent"]] = account
    if set(found) != set(agents) and not (some and set(found) <= set(agents)):
        missing, strange = sorted(set(agents) - set(found)), sorted(set(found) - set(agents))
        seen = (
            f"nothing of {', '.join(missing[:5])}" if missing else f"an account of {', '.join(strange[:5])}"
        )
        raise UserError(f"{path}: {seen}; expected one line for each of the {len(agents)} agents")
    return {agent: found[agent] for agent in sorted(found)}


def _finite(value: Any) -> Any:
    """The same with null in place of what JSON has no number for."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
