"""What a sweep plays: values of scenario keys times seeds, checked before anything runs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.errors import UserError
from topologies import ScenarioError, load_scenario
from topologies.model import Explicit, GraphFile, Scenario
from topologies.nearest import did_you_mean
from topologies.network.sections import FromLinks
from topologies.overrides import parse_value
from topologies.reporting import GENERATORS, KINDS, SECTIONS, keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from topologies import LoadedScenario

# More runs than anybody waits for are a typing error.
MOST_CELLS = 1_000_000
# Combinations tried before a value is said to fit none of the others.
TRIES = 64

Grid = dict[str, tuple[str, ...]]  # key -> its values, as text


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep.

    Attributes:
        values: (key, value as text), in the order of the grid.
        seed: the scenario's.
    """

    values: tuple[tuple[str, str], ...]
    seed: int

    @property
    def overrides(self) -> tuple[str, ...]:
        """As ``load_scenario`` takes them."""
        return tuple(f"{key}={value}" for key, value in self.values)


def read_grid(options: Sequence[str]) -> Grid:
    """Read ``key=v1,v2,...`` options. Commas inside brackets, braces and quotes belong to a value.

    Raises:
        UserError: naming the option that cannot be read, or the key that is none, with the nearest one.
    """
    grid: Grid = {}
    known = known_keys()
    for option in options:
        key, equals, text = option.partition("=")
        key = ".".join(part.strip() for part in key.split("."))
        values = tuple(dict.fromkeys(value.strip() for value in _split(text)))
        if not equals or not key or not all(values):
            raise UserError(f"--grid {option}: expected key=value,value,..., as in environment.eta=10.0,25.0")
        if key == "seed":
            raise UserError("--grid seed: seeds have an option of their own; expected --seeds A-B")
        if ".".join(key.split(".")[:2]) not in known:
            hint = did_you_mean(key, known) or did_you_mean(key.rpartition(".")[2], known)
            raise UserError(f"--grid {key}: no key of a scenario; expected one as in docs/scenarios.md{hint}")
        if key in grid:
            raise UserError(f"--grid {key}: given twice; expected all its values in one option")
        grid[key] = values
    return grid


def known_keys() -> set[str]:
    """``section.key`` of every section of the file format, in whatever form, and the sections themselves."""
    models: dict[str, list[type[BaseModel]]] = {name: [model] for name, model in SECTIONS.items()}
    for name, (_, kinds) in KINDS.items():
        models.setdefault(name, []).extend(kinds.values())
    models["topology"] = [*GENERATORS.values(), Explicit, GraphFile, FromLinks]
    known = set(Scenario.model_fields)
    for name, forms in models.items():
        known |= {f"{name}.{key}" for form in forms for key in keys_of(form)}
    return known


def _split(text: str) -> list[str]:
    """At the commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for k, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:k])
            start = k + 1
    return [*parts, text[start:]]


def combinations(grid: Grid) -> list[tuple[tuple[str, str], ...]]:
    """Every choice of one value a key; the last key varies fastest."""
    return [tuple(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def cells(grid: Grid, seeds: Sequence[int]) -> list[Cell]:
    """All runs: combination by combination, seeds ascending.

    Raises:
        UserError: if there are too many.
    """
    count = len(seeds)
    for values in grid.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise UserError(f"{count:,} runs; expected {MOST_CELLS:,} at most")
    return [Cell(values, seed) for values in combinations(grid) for seed in seeds]


def check(source: str, overrides: Sequence[str], grid: Grid, seed: int) -> LoadedScenario:
    """Whether every value of the grid fits some combination of the others; what does not is a mistake.

    Combinations that cannot be are no mistake: they are found when it is their turn, and recorded.

    Returns:
        A combination that can be.
    Raises:
        UserError: with what the scenario says about a value that never fits.
    """
    good: LoadedScenario | None = None
    tried: dict[tuple[tuple[str, str], ...], LoadedScenario | str] = {}
    for key, value in [(k, v) for k, values in grid.items() for v in values] or [("", "")]:
        first = ""
        for combination in itertools.islice(_with(grid, key, value), TRIES):
            if combination not in tried:
                tried[combination] = _load(source, overrides, Cell(combination, seed))
            found = tried[combination]
            if not isinstance(found, str):
                good = good or found
                break
            first = first or found
        else:
            raise UserError(first.replace("(from --set ", "(from --grid "))
    assert good is not None
    return good


def _with(grid: Mapping[str, tuple[str, ...]], key: str, value: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Every combination with this value."""
    own = [(value,) if k == key else values for k, values in grid.items()]
    for values in itertools.product(*own):
        yield tuple(zip(grid, values, strict=True))


def _load(source: str, overrides: Sequence[str], cell: Cell) -> LoadedScenario | str:
    try:
        return load_scenario(source, [*overrides, *cell.overrides], cell.seed)
    except ScenarioError as error:
        return str(error)


def typed(grid: Grid) -> dict[str, dict[str, float | int | str]]:
    """Key -> value as text -> what stands for it in a table: numbers if all of a key's are, else text."""
    table: dict[str, dict[str, float | int | str]] = {}
    for key, values in grid.items():
        parsed = [parse_value(value) for value in values]
        if all(type(v) is int for v in parsed):
            table[key] = dict(zip(values, parsed, strict=True))
        elif all(type(v) in (int, float) for v in parsed):
            table[key] = {value: float(v) for value, v in zip(values, parsed, strict=True)}
        else:
            table[key] = {
                value: v if isinstance(v, str) else value for value, v in zip(values, parsed, strict=True)
            }
    return table
