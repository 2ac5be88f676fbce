"""From pydantic's errors to messages in the words of the file format."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from topologies.errors import Problem, key_path, shown
from topologies.families import FAMILIES, GIVEN
from topologies.faults import EVENTS, Faults, LinkFaults, Storm
from topologies.generators import AnyGenerator
from topologies.model import (
    ConsensusEnvironment,
    ConsensusMechanism,
    Environment,
    Explicit,
    GraphFile,
    Mechanism,
    PublicEnvironment,
    Scenario,
    SummaryMechanism,
)
from topologies.nearest import did_you_mean
from topologies.network.reporting import locate_network
from topologies.network.sections import FromLinks, NetworkEnvironment, NetworkMechanism
from topologies.values import Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

Keys = tuple[str | int, ...]
_QUOTED = re.compile(r'"([a-z0-9-]+)"')

GENERATORS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["generator"].annotation)[0]: model for model in get_args(AnyGenerator)
}

# Tables whose keys depend on one of them: section -> the key, and its values with the model of each.
KINDS: dict[str, tuple[str, Mapping[str, type[BaseModel]]]] = {
    "environment": (
        "kind",
        {
            "private-goods": Environment,
            "public-goods": PublicEnvironment,
            "consensus": ConsensusEnvironment,
            "network": NetworkEnvironment,
        },
    ),
    "mechanism": (
        "name",
        {
            "private-goods": Mechanism,
            "public-goods": Mechanism,
            "summary": SummaryMechanism,
            "consensus": ConsensusMechanism,
            "unicast": NetworkMechanism,
            "multicast": NetworkMechanism,
            "linear": NetworkMechanism,
        },
    ),
    "utilities": ("family", FAMILIES),
}

SECTIONS: dict[str, type[BaseModel]] = {
    name: info.annotation
    for name, info in Scenario.model_fields.items()
    if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
} | {"faults": Faults}


def problems_of(error: ValidationError) -> list[Problem]:
    """One problem for each mistake that ``Scenario.model_validate`` found, misspelt keys first: what is
    missing is often missing because of them."""
    items = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    return [_problem(dict(item)) for item in items]


def _problem(item: dict[str, Any]) -> Problem:
    keys, model = locate(item["loc"])
    info = _field(keys, model)
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    expected = (info.description if info is not None else None) or item["msg"]
    got = "missing" if kind == "missing" else f"got {shown(value)}"
    if kind == "extra_forbidden":
        known = list(keys_of(model)) if model is not None else []
        got, expected = f"unknown key with value {shown(value)}", _one_of(known, str(keys[-1]))
    elif kind == "union_tag_invalid" and keys[0] in KINDS:
        key, models = KINDS[str(keys[0])]
        keys += (key,)
        got, expected = f"got {shown(context['tag'])}", _one_of(list(models), str(context["tag"]))
    elif kind == "union_tag_invalid":
        key, known = ("kind", list(EVENTS)) if keys[0] == "faults" else ("generator", list(GENERATORS))
        keys += (key,)
        got, expected = f"got {shown(context['tag'])}", _one_of(known, str(context["tag"]))
    elif kind == "union_tag_not_found" and keys[0] == "faults":
        keys += ("kind",)
        got, expected = "missing", _one_of(list(EVENTS), "")
    elif kind == "crossed":
        keys += (context["key"],)
        got = "missing" if context["value"] is None else f"got {shown(context['value'])}"
        expected = context["expected"]
    elif keys == ("broker", "url"):
        got = "got a text that is no broker URL"  # not repeated: it may hold a password
    if isinstance(value, str) and "did you mean" not in expected:
        # Descriptions quote the words that a key may be.
        expected += did_you_mean(value, _QUOTED.findall(expected))
    return Problem(key_path(keys), got, expected)


def _one_of(names: Sequence[str], seen: str) -> str:
    return f"one of {', '.join(names)}{did_you_mean(seen, names)}"


def locate(loc: Keys) -> tuple[Keys, type[BaseModel] | None]:
    """Turn pydantic's location into keys of the file, without the tags of its unions.

    Returns:
        The keys, and the model of the table that holds the key in question; None if there is no such table.
    """
    if loc and loc[-1] == "[key]":  # pydantic's mark for a wrong key of a table
        loc = loc[:-1]
    match loc:
        case ("topology", "generated", tag, *rest):
            return ("topology", *rest), GENERATORS.get(str(tag)) if rest else Scenario
        case ("topology", "generated" | "explicit" | "file" as tag, *rest):
            return ("topology", *rest), (Explicit if tag == "explicit" else GraphFile) if rest else Scenario
        case ("topology", "links", *rest):
            return ("topology", *rest), FromLinks if rest else Scenario
        case ("environment", "network", _, _, *_):
            return locate_network(loc)
        case ("environment", "consensus", "values", "drawn", "uniform", *rest) if rest:
            return ("environment", "values", "uniform", *rest), Uniform
        case ("environment", "consensus", "values", "drawn", *rest) if rest:
            return ("environment", "values", *rest), Uniform
        case ("environment", "consensus", "values", "given", *rest):
            return ("environment", "values", *rest), ConsensusEnvironment
        case ("environment" | "mechanism" as section, str() as tag, *rest) if tag in KINDS[section][1]:
            return (section, *rest), KINDS[section][1][tag] if rest else Scenario
        case ("utilities", str() as tag, *rest) if tag in FAMILIES:
            return _in_utilities(tag, tuple(rest))
        case ("faults", "event", int(), str() as tag, *rest) if tag in EVENTS:
            return ("faults", "event", loc[2], *rest), EVENTS[tag]
        case ("faults", "link", int(), _, *_):
            return loc, LinkFaults
        case ("faults", "storm", _, *_):
            return loc, Storm
        case (str() as section, _, *_) if section in SECTIONS:
            return loc, SECTIONS[section]
    return loc, Scenario


def _in_utilities(family: str, rest: Keys) -> tuple[Keys, type[BaseModel]]:
    """The same within the section of one family."""
    match rest:
        case ():
            return ("utilities",), Scenario
        case ("agents", _, _, *_):
            return ("utilities", *rest), GIVEN[family]
        case ("parameters", key, "uniform", *inner) if inner:
            return ("utilities", "parameters", key, *inner), Uniform
        case ("parameters", key, "uniform" | "fixed", *inner):
            return ("utilities", "parameters", key, *inner), FAMILIES[family]
        case (key, "uniform", *inner) if inner and key != "agents":
            return ("utilities", key, *inner), Uniform
        case (key, "uniform" | "fixed", *inner) if key != "agents":
            return ("utilities", key, *inner), FAMILIES[family]
    return ("utilities", *rest), FAMILIES[family]


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table as they stand in the file, with their fields."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def dotted_keys() -> list[str]:
    """Every key of the file format as ``--set`` takes it, ascending: of a table whose keys depend on one of
    them all that there are, of a table with names of the user's (agents, links) the table."""
    tables: dict[str, list[type[BaseModel]]] = {name: [model] for name, model in SECTIONS.items()}
    for name, (_, models) in KINDS.items():
        tables[name] = list(models.values())
    tables["topology"] = [*GENERATORS.values(), Explicit, GraphFile, FromLinks]
    found = {name for name in keys_of(Scenario) if name not in tables}
    for name, every in tables.items():
        found |= {f"{name}.{key}" for model in every for key in keys_of(model)}
    return sorted(found)


def _field(keys: Keys, model: type[BaseModel] | None) -> FieldInfo | None:
    """The field of ``model`` that the keys lead into or through."""
    fields = {} if model is None else keys_of(model)
    return next((fields[str(key)] for key in reversed(keys) if key in fields), None)
