"""Utilities and learning dynamics of the user's own: the class is imported, made and tried out before a
run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node import learning
from node.imports import extend_path, resolve
from node.utilities import Custom, UtilityError
from topologies.curvature import inside, rule
from topologies.errors import Invalid, Problem, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies.families import CustomFamily


def utilities(
    section: CustomFamily, arguments: Mapping[str, Mapping[str, Any]], goods: int, eta: float, folder: Path
) -> dict[str, dict[str, Any]]:
    """Agent -> ``{"family": "custom", "class": ..., "goods": K, "parameters": {...}}``.

    Args:
        section: names the class.
        arguments: agent -> the class's arguments.
        goods: K.
        eta: curvatures must lie strictly inside (1/eta, eta).
        folder: the scenario's; modules are imported from there, too.
    Raises:
        Invalid: if the class cannot be imported or made, or fails when it is tried out at x = 0.
    """
    extend_path([str(folder.resolve())])
    try:
        resolve(section.class_)
    except ValueError as error:
        raise Invalid(_problem("utilities.class", str(error))) from None
    _check_origin("utilities.class", section.class_, folder)
    specs, problems = {}, []
    for agent, own in arguments.items():
        key = "utilities.parameters" if section.agents is None else f"utilities.agents.{agent}"
        try:
            utility = Custom.make(section.class_, own, goods)
            utility.probe()
        except (ValueError, UtilityError) as error:
            problems.append(_problem(key, f"agent {agent}: {error}"))
        except Exception as error:
            # Of the user's code: an agent would end with it, and whoever wrote it wants to know its kind.
            text = f"agent {agent}: {section.class_} raised {type(error).__name__}: {error}"
            problems.append(Problem(key, text, "a utility that can be evaluated everywhere"))
        else:
            lowest, highest = (
                float(bound) for bound in (utility.curvature[0].min(), utility.curvature[1].max())
            )
            if not (inside(lowest, eta) and inside(highest, eta)):
                text = f"agent {agent}: {section.class_} declares curvatures from {lowest!r} to {highest!r}"
                problems.append(Problem(key, text, rule(eta)))
        specs[agent] = {"family": "custom", "class": section.class_, "goods": goods, "parameters": dict(own)}
    if problems and section.agents is None:  # one section is to blame for all
        more = f" (and {len(problems) - 1} more agents likewise)" if len(problems) > 1 else ""
        problems = [Problem(problems[0].key, f"{problems[0].got}{more}", problems[0].expected)]
    if problems:
        raise Invalid(*problems)
    return specs


def check_dynamics(name: str, folder: Path) -> None:
    """Whether ``module:Class`` is a learning dynamic that can be imported and made.

    Args:
        name: as in ``learning.dynamics``.
        folder: the scenario's; modules are imported from there, too.
    Raises:
        Invalid: if it is not.
    """
    extend_path([str(folder.resolve())])
    try:
        learning.build(name)
    except ValueError as error:
        raise Invalid(_problem("learning.dynamics", str(error))) from None
    _check_origin("learning.dynamics", name, folder)


def _check_origin(key: str, name: str, folder: Path) -> None:
    """Whether the module is the scenario's own, if the scenario has one of that name.

    One of the same name from an installed package comes before it, one from another scenario's folder came.

    Raises:
        Invalid: naming both.
    """
    top = name.partition(":")[0].partition(".")[0]
    own = next((p for p in (folder / f"{top}.py", folder / top / "__init__.py") if p.is_file()), None)
    found = getattr(sys.modules.get(top), "__file__", None) or "built in"
    if own is not None and (found == "built in" or Path(found).resolve() != own.resolve()):
        raise Invalid(
            Problem(
                key,
                f"got {shown(name)}, and the module {top} that Python has is {found}, not {own}",
                "a module name that nothing else has",
            )
        )


def _problem(key: str, text: str) -> Problem:
    """An error's text, whose last part is what was expected."""
    got, _, expected = text.rpartition("; expected ")
    page = "utilities" if key.startswith("utilities") else "learning"
    return Problem(key, got or text, expected if got else f"a class as docs/{page}.md describes it")
