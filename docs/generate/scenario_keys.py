"""The reference of the scenario file, from the pydantic models that read it: every key of every table.

A model says type, range and default of a key and, in its description, what is expected there, in the words of
the message about a wrong value. What the key is for is said by ``meanings``.
"""

from __future__ import annotations

import enum
import json
import re
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import annotated_types as limits
from meanings import meaning
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from topologies.generators import Section
from topologies.model import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """# Scenario file: every key

Generated from the models that read scenario files. [Scenario files](../scenarios.md) explains them with
examples, and [network mechanisms](../networks.md#scenarios) those of networks. What is "expected" is said in
the words with which a wrong value is refused.

"""
_OBVIOUS = {"", "a table", "true or false"}  # what the column of types says
_LEFT_OUT = {"kind", "generator", "name", "family"}  # the key that tells the variants of a table apart


@dataclass(frozen=True)
class Table:
    """One table of the file.

    Attributes:
        header: as it is written in a file, ``[topology]`` or ``[[faults.event]]``.
        models: the variants that it has; most tables have one.
    """

    header: str
    models: tuple[type[Section], ...]


def tables() -> list[Table]:
    """All tables of a scenario file, each before those inside it, in the order of the models."""
    return [Table("top level", (Scenario,)), *_below(Scenario, "")]


def _below(model: type[Section], prefix: str) -> Iterator[Table]:
    for key, field in model.model_fields.items():
        inside = tuple(dict.fromkeys(_sections(_annotation(field))))
        if not inside or inside[0].__name__ == "Uniform":
            continue
        name = prefix + (field.alias or key)
        shape = _outer(_annotation(field))
        if shape is tuple:
            header = f"[[{name}]]"
        elif shape is dict:
            name += ".ID"
            header = f"[{name}]"
        else:
            header = f"[{name}]"
        yield Table(header, inside)
        for one in inside:
            yield from _below(one, f"{name}.")


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "\n".join(_table(table) for table in _merged(tables()))


def _merged(found: list[Table]) -> list[Table]:
    """Tables of one header together: ``[utilities.agents.ID]`` is inside every family."""
    by_header: dict[str, tuple[type[Section], ...]] = {}
    for table in found:
        by_header[table.header] = tuple(dict.fromkeys((*by_header.get(table.header, ()), *table.models)))
    return [Table(header, models) for header, models in by_header.items()]


def _table(table: Table) -> str:
    title = table.header if table.header == "top level" else f"`{table.header}`"
    parts = [f"## {title[0].upper()}{title[1:]}\n"]
    for model in table.models:
        if len(table.models) > 1:
            parts.append(f"### {_variant(model)}\n")
        parts.append(f"{_prose(model)}\n")
        if rows := _rows(model):
            parts.append(
                "| key | type | range | default | |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
            )
    return "\n".join(parts)


def _variant(model: type[Section]) -> str:
    """What a table has to say to be of this variant; its keys, if it says so by having them."""
    for key in ("generator", "kind", "family", "name"):
        if key in model.model_fields and get_origin(model.model_fields[key].annotation) is Literal:
            values = " or ".join(f'"{value}"' for value in get_args(model.model_fields[key].annotation))
            return f"`{key} = {values}`"
    return "with " + ", ".join(f"`{key}`" for key, field in model.model_fields.items() if field.is_required())


def _prose(model: type[Section]) -> str:
    doc = " ".join((model.__doc__ or "").split())
    return re.sub(r" \((spec|docs/)[^)]*\)", "", doc).replace("``", "`")


def _rows(model: type[Section]) -> list[str]:
    rows = []
    for key, field in model.model_fields.items():
        if (
            key in _LEFT_OUT
            and get_origin(field.annotation) is Literal
            and len(get_args(field.annotation)) == 1
        ):
            continue
        annotation = _annotation(field)
        purpose = meaning(tuple(base.__name__ for base in model.__mro__), key)
        said = described(field)
        expected = f"*Expected:* {_escaped(said)}" if said not in _OBVIOUS else ""
        text = "<br>".join(part for part in (_escaped(purpose), expected) if part)
        cells = (f"`{field.alias or key}`", _type(annotation), _range(field), _default(field), text)
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def described(field: FieldInfo) -> str:
    """What is expected, said at the field or at the type that it is made of."""
    if field.description:
        return field.description
    for note in _notes(field):
        if isinstance(note, FieldInfo) and note.description:
            return note.description
    return ""


def _annotation(field: FieldInfo) -> Any:
    """The type of a field without None."""
    options = [option for option in _options(field.annotation) if option is not type(None)]
    return options[0] if len(options) == 1 else typing.Union[tuple(options)]  # noqa: UP007 - built at run time


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is typing.Annotated else annotation


def _outer(annotation: Any) -> Any:
    bare = _bare(annotation)
    return get_origin(bare) or bare


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _notes(field: FieldInfo) -> list[Any]:
    """All that is said about a field's values, at the field or inside ``X | None``."""
    notes = list(field.metadata)
    for option in _options(field.annotation):
        if get_origin(option) is typing.Annotated:
            for note in get_args(option)[1:]:
                notes += [note, *note.metadata] if isinstance(note, FieldInfo) else [note]
    return notes


class Word(enum.StrEnum):
    """Types as a reader of TOML calls them."""

    TABLE = "table"
    LIST = "list"
    TEXT = "text"
    FLAG = "true or false"
    WHOLE = "whole number"
    NUMBER = "number"
    ANY = "any"


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{value}"`' for value in get_args(annotation))
    bare = _bare(annotation)
    if len(_options(bare)) > 1:
        return " or ".join(dict.fromkeys(_type(option) for option in _options(bare)))
    origin = get_origin(bare) or bare
    if origin is bare and isinstance(bare, type) and issubclass(bare, Section):
        return Word.TABLE
    words = {dict: Word.TABLE, tuple: Word.LIST, list: Word.LIST, bool: Word.FLAG, int: Word.WHOLE}
    return (words | {float: Word.NUMBER, str: Word.TEXT}).get(origin, Word.ANY)


def _range(field: FieldInfo) -> str:
    low = high = ""
    more = []
    for note in _notes(field):
        match note:
            case limits.Ge(ge):
                low = f"[{ge}"
            case limits.Gt(gt):
                low = f"({gt}"
            case limits.Le(le):
                high = f"{le}]"
            case limits.Lt(lt):
                high = f"{lt})"
            case limits.MinLen(least):
                more.append(f"at least {least} long")
            case _:
                continue
    if low and high:
        return f"{low}, {high}"
    if low:
        more.insert(0, ("≥ " if low[0] == "[" else "> ") + low[1:])
    if high:
        more.insert(0, ("≤ " if high[-1] == "]" else "< ") + high[:-1])
    return ", ".join(dict.fromkeys(more))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, Section):
        value = value.model_dump(mode="json", exclude_none=True)
        if field.default_factory is not None:
            return "all defaults"
    if value in ((), {}):
        return "empty"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
