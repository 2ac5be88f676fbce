"""A scenario in words and with its graph drawn, for ``vicinal show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topologies import draw

if TYPE_CHECKING:
    from topologies import LoadedScenario

# Longer lists say nothing on a screen; ``--json`` has them all.
_UTILITIES_SHOWN = 40
_PRIVATE = {
    "private-goods": "[utilities]  private; v(x) = sum over goods of theta x^2 + sigma x",
    "consensus": "[environment.values]  private",
}


def describe(loaded: LoadedScenario, width: int = 100) -> str:
    """The resolved scenario section by section, everybody's utility, and the graph."""
    resolved = loaded.resolved()
    lines = [
        str(resolved["name"]),
        str(resolved.get("title", "")),
        f"{loaded.path}",
        f"hash {loaded.hash[:16]}",
    ]
    lines = [line for line in lines if line]
    if "values" in resolved["environment"]:
        del resolved["environment"]["values"]  # shown agent by agent below
    for section in (
        "environment",
        "mechanism",
        "learning",
        "synchrony",
        "stopping",
        "broker",
        "recovery",
        "record",
    ):
        lines += ["", f"[{section}]", *_entries(resolved[section])]
    lines += ["", _PRIVATE[loaded.contract()["mechanism"]]]
    for agent in loaded.agents[:_UTILITIES_SHOWN]:
        own = [
            f"{key} {_numbers(value)}" for key, value in loaded.utilities[agent].items() if key != "family"
        ]
        lines.append(f"  {agent}  {'  '.join(own)}")
    if len(loaded.agents) > _UTILITIES_SHOWN:
        lines.append(f"  ... and {len(loaded.agents) - _UTILITIES_SHOWN} more (--json prints all)")
    return "\n".join([*lines, "", draw(loaded.graph, loaded.directed, width=width), ""])


def _entries(section: dict[str, Any]) -> list[str]:
    return [f"  {key} = {value}" for key, value in section.items()]


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:9.4f}" for value in values)
