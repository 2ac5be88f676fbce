"""A scenario in words and with its graph drawn, for ``vicinal show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.guarantee import NETWORK, outlook, robust, summary_outlook
from topologies import draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies import LoadedScenario

# Longer lists say nothing on a screen; ``--json`` has them all.
_UTILITIES_SHOWN = 40
# What larger networks will agree on takes seconds to compute.
_CERTIFIED = 200
_PRIVATE = {
    "quadratic": "[utilities]  private; v(x) = sum over goods of theta x^2 + sigma x",
    "quadratic-form": "[utilities]  private; v(x) = x'Hx/2 + sigma'x, H the Hessian, row by row",
    "log-cosh": "[utilities]  private; v(x) = sum over goods of sigma x - low x^2/2"
    " - (high - low) width^2 log cosh((x - centre)/width)",
    "custom": "[utilities]  private; arguments of {}",
    "value": "[environment.values]  private",
    "network": "[environment.valuations]  private, and the links that each agent is told of",
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
    lines += _certificate(loaded)
    first = loaded.utilities[loaded.agents[0]]
    lines += ["", _PRIVATE[first["family"]].format(first.get("class"))]
    for agent in loaded.agents[:_UTILITIES_SHOWN]:
        utility = loaded.utilities[agent]
        own = utility.get(
            "parameters",
            _network(utility) or {key: value for key, value in utility.items() if key != "family"},
        )
        lines.append(f"  {agent}  {'  '.join(f'{key} {_value(value)}' for key, value in own.items())}")
    if len(loaded.agents) > _UTILITIES_SHOWN:
        lines.append(f"  ... and {len(loaded.agents) - _UTILITIES_SHOWN} more (--json prints all)")
    return "\n".join([*lines, "", draw(loaded.graph, loaded.directed, width=width), ""])


def _network(utility: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of an agent on a network; empty for any other."""
    if utility["family"] != "network":
        return {}
    links = utility["rows"] if "rows" in utility else utility["links"]
    return {**utility["valuation"], "on": ", ".join(links)}


def _certificate(loaded: LoadedScenario) -> list[str]:
    """What the agents will agree on before they play, of a network what a search says about its equilibrium;
    nothing for mechanisms without such a certificate."""
    if (text := robust(loaded)) is not None:
        return ["", f"[certificate]  {text}"]
    mechanism = loaded.contract()["mechanism"]
    if mechanism in NETWORK:
        from runner import equilibrium  # late: it takes the planner of networks

        problem = equilibrium.found(loaded)
        good = (
            f"of {len(loaded.agents)} agents none is found that gains by leaving it or loses by taking part"
        )
        return ["", f"[equilibrium]  {f'none to play: {problem}' if problem is not None else good}"]
    summary = mechanism == "summary"
    if not summary and len(loaded.agents) > _CERTIFIED:
        return []
    try:
        if summary:
            terms = summary_outlook(loaded)
            facts = {"delta": _value(terms.delta.tolist()).strip(), "L": terms.limit}
            return [
                "",
                "[certificate]  what the agents will find out before they play",
                *_entries({**facts, "guaranteed": terms.limit < 1.0}),
            ]
        seen = outlook(loaded)
    except ValueError as error:
        return ["", f"[certificate]  none: {error}"]
    if seen is None:
        return []
    agreed = seen.certificate
    lines = ["", "[certificate]  what the agents will find out before they play"]
    lines += _entries({"xi": agreed.xi, "delta": agreed.delta, "contraction_bound": agreed.bound})
    lines += _entries({"norm": agreed.norm, "guaranteed": agreed.guaranteed})
    if seen.spectral_radius is not None:
        lines += _entries({"spectral_radius": f"{seen.spectral_radius}  (of the Jacobian; no norm bound)"})
    return lines


def _entries(section: dict[str, Any]) -> list[str]:
    return [f"  {key} = {value}" for key, value in section.items()]


def _value(value: Any) -> str:
    """A number or a list of them in columns, a matrix row by row, anything else as it is."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "; ".join(map(_value, value))
    if isinstance(value, list):
        return " ".join(map(_value, value))
    return f"{value:9.4f}" if isinstance(value, float) else str(value)
