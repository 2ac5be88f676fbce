"""Every mistake gets one line with file, key path, the value seen and what is expected."""
# ruff: noqa: E501 (tables with one mistake a line)

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from topologies import ScenarioError, load_scenario
from topologies.families import FAMILIES, GIVEN
from topologies.generators import Section
from topologies.model import Explicit, GraphFile, Scenario
from topologies.reporting import GENERATORS, KINDS, SECTIONS, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

EDGES = '[["a", "b"], ["b", "c"], ["c", "d"]]'
NODES = 'nodes = ["a", "b", "c", "d"]'

# What is replaced in the small scenario, by what, and then: key, value seen, expectation.
MISTAKES = {
    "not connected": (', ["c", "d"]]', "]", "topology.edges", "no path between a and {d}", "a connected graph"),
    "not strongly connected": (
        EDGES, f"{EDGES}\ndirected = true",
        "topology.edges", "nothing that {a} says ever reaches b", "a strongly connected graph",
    ),
    "nobody hears an agent": (
        EDGES, '[["a", "b"], ["b", "a"], ["d", "b"], ["c", "b"], ["b", "c"]]\ndirected = true',
        "topology.edges", "nothing that {d} says ever reaches a", "a strongly connected graph",
    ),
    "two agents": (NODES, 'nodes = ["a", "b"]', "topology.nodes", "got 2 agents", "at least 3"),
    "duplicate id": (NODES, 'nodes = ["a", "b", "b"]', "topology.nodes", '"b" is given 2 times', "ids that differ"),
    "malformed id": (NODES, 'nodes = ["a/x", "b"]', "topology.nodes[0]", 'got "a/x"', "1 to 64 of the characters"),
    "edge to nowhere": ('["c", "d"]]', '["c", "z"]]', "topology.edges[2]", '["c", "z"], but "z" is not', "known ids"),
    "edge with one end": ('["c", "d"]]', '["c"]]', "topology.edges[2]", 'got ["c"]', "pairs [i, j]"),
    "self-loop": ('["c", "d"]]', '["c", "c"]]', "topology.edges[2]", '["c", "c"], a self-loop', "two different agents"),
    "edge given twice": (
        '["c", "d"]]', '["c", "d"], ["b", "a"]]',
        "topology.edges[3]", "the same edge as edges[0]", "directed = false an edge already goes both ways",
    ),
    "unknown agent": (
        "b = {", "bb = { theta = -1.0, sigma = 1.0 }\nb = {",
        "utilities.agents.bb", "no such agent", "one of a, b, c, d",
    ),
    "agent without utility": (
        "b = { theta = -0.5, sigma = 12.0 }", "", "utilities.agents", "nothing for b", "a table for every agent",
    ),
    "curvature too large": (
        "theta = -2.0", "theta = -2.5",
        "utilities.agents.c.theta", "theta = -2.5, a curvature -2 theta = 5.0", "between 1/eta = 0.2 and eta = 5.0",
    ),
    "curvature too small": (
        "theta = -2.0", "theta = -0.1",
        "utilities.agents.c.theta", "theta = -0.1, a curvature -2 theta = 0.2", "between 1/eta = 0.2 and eta = 5.0",
    ),
    "convex utility": ("theta = -2.0", "theta = 2.0", "utilities.agents.c.theta", "theta = 2.0", "a curvature"),
    "NaN parameter": ("theta = -2.0", "theta = nan", "utilities.agents.c.theta", "got nan", "a finite number"),
    "infinite parameter": ("sigma = 11.0", "sigma = -inf", "utilities.agents.c.sigma", "got -inf", "a finite number"),
    "NaN capacity": ("[4.0]", "[4.0, nan]", "environment.capacities[1]", "got nan", "finite numbers"),
    "huge integer": ("[4.0]", f"[1{'0' * 400}]", "environment.capacities[0]", "got 1000", "finite numbers"),
    "no goods": ("[4.0]", "[]", "environment.capacities", "got []", "at least one"),
    "number as text": ("eta = 5.0", 'eta = "5.0"', "environment.eta", 'got "5.0"', "a finite number > 1"),
    "truth value as number": ("eta = 5.0", "eta = true", "environment.eta", "got true", "a finite number > 1"),
    "eta too small": ("eta = 5.0", "eta = 1", "environment.eta", "got 1", "a finite number > 1"),
    "eta infinite": ("eta = 5.0", "eta = inf", "environment.eta", "got inf", "a finite number > 1"),
    "goods disagree": (
        "theta = -2.0", "theta = [-2.0, -2.0]", "utilities.agents.c.theta", "got 2 numbers", "1, one per good",
    ),
    "unknown key": ("eta = 5.0", "etta = 5.0", "environment.etta", "unknown key with value 5.0", "did you mean eta?"),
    "unknown section": ("[environment]", "[enviroment]", "enviroment", "unknown key", "did you mean environment?"),
    "unknown key of an agent": (
        "theta = -2.0", "theta = -2.0, rho = 1", "utilities.agents.c.rho", "unknown key", "one of theta, sigma",
    ),
    "missing key": ("capacities = [4.0]", "", "environment.capacities", "missing", "one per good"),
    "missing parameter": (", sigma = 11.0", "", "utilities.agents.c.sigma", "missing", "a finite number"),
    "no kind of topology": (f"{NODES}\nedges = {EDGES}", "", "topology", "got {}", "a table with `generator`"),
    "drawn and given": (
        "[utilities.agents]", "[utilities]\nseed = 3\n[utilities.agents]",
        "utilities.seed", "got 3", "no such key beside [utilities.agents]",
    ),
    "nothing to be relative to": ("[4.0]", "[0.0]", "stopping.scale", "missing", "a number > 0"),
    "no graph file": (
        f"{NODES}\nedges = {EDGES}", 'file = "gone.graphml"', "topology.file", 'got "gone.graphml"', "a graph file",
    ),
    "unknown graph format": (
        f"{NODES}\nedges = {EDGES}", 'file = "graph.png"', "topology.file", 'got "graph.png"', "a suffix out of",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "got", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_named(
    write: Callable[..., Path], old: str, new: str, key: str, got: str, expected: str
) -> None:
    path = write(old, new)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    lines = [line for line in str(caught.value).splitlines() if line.startswith(f"{path}: {key}: ")]
    assert len(lines) == 1, str(caught.value)
    seen, _, wanted = lines[0].partition("; expected ")
    assert got in seen
    assert expected in wanted


OVERRIDES = {
    "topology.agents=2": ("topology.agents: got 2 (from --set topology.agents)", "3 to 262144"),
    'topology.agents="31"': ('topology.agents: got "31"', "a number of agents"),
    "topology.agents=31.0": ("topology.agents: got 31.0", "a number of agents"),
    "topology.generator=binry-tree": ('topology.generator: got "binry-tree"', "did you mean binary-tree?"),
    "topology.p=0.3": ("topology.p: unknown key with value 0.3", "one of generator, agents"),
    "topology=3": ("topology: got 3", "a table with `generator`"),
    'topology={generator="erdos-renyi", agents=31}': ("topology.p: missing", "a probability in (0, 1]"),
    'topology={generator="erdos-renyi", agents=31, p=0.001}': (
        "topology.p: got 0.001",
        "more: this leaves 30 of 31",
    ),
    'topology={generator="erdos-renyi", agents=12, p=0.05}': (
        "none of the 200 graphs drawn with seeds 1 to 200 is connected",
        "parameters that make a connected graph likely",
    ),
    'topology={generator="directed-ring", agents=4, chords=9}': ("topology.chords: got 9", "at most 8"),
    'topology={generator="random-regular", agents=5, degree=3}': (
        "topology.degree: got 3",
        "an even product",
    ),
    'topology={generator="scale-free", agents=5, links=5}': (
        "topology.links: got 5",
        "fewer than agents = 5",
    ),
    'topology={generator="small-world", agents=5, neighbours=5, p=0.1}': (
        "topology.neighbours: got 5",
        "fewer than",
    ),
    'topology={generator="grid", rows=1, columns=2}': ("topology: got 2 agents", "at least 3"),
    "seed=-1": ("seed: got -1", "a whole number >= 0"),
    "name=a/b": ('name: got "a/b"', "1 to 64 of the characters"),
    "utilities.theta={uniform=[-13.0, -12.6]}": (
        "from which agent a00 drew theta = -12.",
        "between 1/eta = 0.04",
    ),
    "utilities.theta=0": ("gives agent a00 theta = 0.0", "between 1/eta = 0.04"),
    "utilities.theta=-30": ("gives agent a00 theta = -30.0", "between 1/eta = 0.04 and eta = 25.0"),
    "utilities.theta=[-1, -2]": ("utilities.theta: got 2 numbers", "1, one per good"),
    "utilities.theta={uniform=[-1, -2]}": ("utilities.theta.uniform: got [-1, -2]", "lo <= hi"),
    "utilities.theta={uniform=[-1, true]}": ("utilities.theta.uniform[1]: got true", "two finite numbers"),
    "utilities.theta={normal=[-1, 2]}": ("utilities.theta.normal: unknown key", "one of uniform"),
    "utilities.sigma=[]": ("utilities.sigma: got []", "a finite number"),
    'utilities={agents={"a b"={theta=-1, sigma=1}}}': ('utilities.agents."a b": got "a b"', "1 to 64 of the"),
    "utilities.family=cubic": (
        'utilities.family: got "cubic"',
        "one of quadratic, quadratic-form, log-cosh, custom",
    ),
    "utilities.family=log-cos": ('utilities.family: got "log-cos"', "did you mean log-cosh?"),
    "utilities.family=3": ("utilities.family: got ", "one of quadratic"),
    "utilities=3": ("utilities: got 3", "a table"),
    'environment={kind="public-good", features=1}': (
        'environment.kind: got "public-good"',
        "did you mean public-goods?",
    ),
    'environment={kind="public-goods", features=0}': ("environment.features: got 0", "a whole number >= 1"),
    'environment={kind="public-goods", features=-2}': ("environment.features: got -2", "a whole number >= 1"),
    'environment={kind="public-goods", features=1.0}': (
        "environment.features: got 1.0",
        "a whole number >= 1",
    ),
    'environment={kind="public-goods", features=1, eta=1}': ("environment.eta: got 1", "a finite number > 1"),
    'environment={kind="public-goods", capacities=[1.0]}': (
        "environment.capacities: unknown key with value [1.0]",
        "one of kind, features, eta",
    ),
    "environment.features=2": ("environment.features: unknown key", "one of kind, capacities, eta"),
    'environment={kind="public-goods", features=2, eta=25}': (
        'mechanism.name: got "private-goods"',
        '"public-goods", because environment.kind = "public-goods"',
    ),
    "mechanism.parameters=explicit": ("mechanism.xi: missing", 'mechanism.parameters = "explicit"'),
    "mechanism.delta=3": ("mechanism.delta: got 3.0", "no such key"),
    'mechanism={parameters="explicit", xi=1, delta=1}': ("mechanism.xi: got 1", "a number in (0, 1)"),
    'mechanism={parameters="explicit", xi=0.5, delta=nan}': (
        "mechanism.delta: got nan",
        "a finite number > 0",
    ),
    "learning.dynamics=rumour": ('learning.dynamics: got "rumour"', '"cournot"'),
    "learning.dynamics=my.module:": ('learning.dynamics: got "my.module:"', '"module:Class"'),
    "learning.dynamics=k-period": ("learning.k: missing", "a whole number >= 1"),
    'learning={dynamics="k-period", k=0}': ("learning.k: got 0", "a whole number >= 1"),
    'learning={dynamics="k-period", k=2.0}': ("learning.k: got 2.0", "a whole number >= 1"),
    "learning.k=3": ("learning.k: got 3", 'learning.dynamics = "cournot"'),
    "mechanism.unguaranteed=1": ("mechanism.unguaranteed: got 1", "true or false"),
    "mechanism.name=public-goods": (
        'mechanism.name: got "public-goods"',
        '"private-goods", because environment.kind = "private-goods"',
    ),
    "mechanism.name=lottery": ('mechanism.name: got "lottery"', "one of private-goods, public-goods"),
    "synchrony.mode=fre": ('synchrony.mode: got "fre"', '"rounds" or "free"'),
    "synchrony.tick=0.1": ("synchrony.tick: got 0.1", 'because synchrony.mode = "rounds"'),
    "synchrony={mode='free', tick=0}": ("synchrony.tick: got 0", "a number of seconds in (0, 3600]"),
    "stopping.tolerance=1": ("stopping.tolerance: got 1", "a number in (0, 1)"),
    "stopping.scale=0": ("stopping.scale: got 0", "a finite number > 0"),
    "stopping.max_rounds=0": ("stopping.max_rounds: got 0", "a whole number >= 1"),
    "broker.server=emqx": ('broker.server: got "emqx"', '"nats" or "mosquitto"'),
    "broker.port=70000": ("broker.port: got 70000", "0 to 65535"),
    "record.every=0.5": ("record.every: got 0.5", "a whole number >= 0"),
    "record.plot=1": ("record.plot: got 1", "true or false"),
    "record=[]": ("record: got []", "a table"),
    "foo.bar=1": ('foo: unknown key with value {"bar": 1}', "one of name, title"),
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_mistake_on_the_command_line_is_named(override: str) -> None:
    got, expected = OVERRIDES[override]
    with pytest.raises(ScenarioError) as caught:
        load_scenario("binary-tree-31", [override])
    line = str(caught.value).splitlines()[0]
    seen, _, wanted = line.partition("; expected ")
    assert got in seen
    assert expected in wanted


@pytest.mark.parametrize(
    "url", ["http://me:secret@host", "mqtt://:secret@", "mqtt://me:secret@h:x", "mqtt://h/secret"]
)
def test_a_wrong_broker_url_is_not_repeated_because_it_may_hold_a_password(url: str) -> None:
    with pytest.raises(ScenarioError, match=r"broker\.url: .*expected mqtt://") as caught:
        load_scenario("ring-12", [f"broker.url={url}"])
    assert "secret" not in str(caught.value)


def test_a_broker_url_in_the_wrong_place_is_shown_without_its_password() -> None:
    with pytest.raises(ScenarioError, match=r'broker: got "mqtt://\.\.\.@h"') as caught:
        load_scenario("ring-12", ["broker=mqtt://me:se@cret@h"])
    assert "cret" not in str(caught.value)


def test_the_seed_of_the_command_line_is_checked_like_that_of_the_file() -> None:
    with pytest.raises(ScenarioError, match=r"seed: got -3 \(from --seed\); expected a whole number >= 0"):
        load_scenario("ring-12", seed=-3)


@pytest.mark.parametrize("override", ["nokey", "=3", "a..b=3", "title.x=1"])
def test_an_override_that_is_none_is_refused(override: str) -> None:
    with pytest.raises(ScenarioError, match=f"--set {override}: "):
        load_scenario("ring-12", [override])


def test_a_line_break_in_an_override_smuggles_no_second_key_in() -> None:
    assert load_scenario("ring-12", ["title=1\nseed = 9"]).spec.title == "1\nseed = 9"


def test_several_mistakes_get_a_line_each(write: Callable[..., Path]) -> None:
    path = write("eta = 5.0", "eta = 0.5\ncolour = 3")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: environment.") for line in lines)


def test_many_agents_with_one_wrong_distribution_get_one_line() -> None:
    with pytest.raises(ScenarioError, match="and 30 more agents likewise") as caught:
        load_scenario("binary-tree-31", ["utilities.theta=-30"])
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_toml_is_named_with_line_column_and_text(write: Callable[..., Path]) -> None:
    path = write("eta = 5.0", "eta 5.0")
    with pytest.raises(ScenarioError, match=r"not TOML: .*at line 10, column 5.*'eta 5\.0'") as caught:
        load_scenario(path)
    assert str(path) in str(caught.value)


def test_a_toml_file_that_ends_too_early_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(ScenarioError, match="not TOML"):
        load_scenario(write(text="x = ["))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.toml", b"\xff\xfe", "not UTF-8"),
        ("x.json", b"{", "not JSON"),
        ("x.json", b"[1]", "expected a table"),
        ("x.json", b"[" * 100_000, "nested too deeply"),
        ("x.toml", b"", "topology: missing"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=said) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("source", ["binary-tre-31", "scenarios/binary-tree31.toml"])
def test_a_file_that_is_not_there_suggests_the_nearest_bundled_one(source: str) -> None:
    with pytest.raises(
        ScenarioError, match=f"{source}: no such file.*did you mean the bundled .*'binary-tree-31'"
    ):
        load_scenario(source)


def test_a_folder_or_an_impossible_name_is_no_scenario(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is a folder"):
        load_scenario(tmp_path)
    with pytest.raises(ScenarioError, match="expected a TOML file"):
        load_scenario("x" * 5000)


def test_every_key_of_the_format_says_what_it_expects() -> None:
    def tables(base: type[Section]) -> list[type[Section]]:
        return [base, *(model for sub in base.__subclasses__() for model in tables(sub))]

    assert GENERATORS
    assert SECTIONS
    silent = [
        f"{model.__name__}.{key}"
        for model in tables(Section)
        for key, info in model.model_fields.items()
        if info.description is None and key != "generator"
    ]
    assert silent == []


def test_the_reference_names_every_key_and_generator() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text("utf-8")
    kinds = [model for _, models in KINDS.values() for model in models.values()]
    tables = [
        Scenario,
        *SECTIONS.values(),
        *kinds,
        *GIVEN.values(),
        *GENERATORS.values(),
        Explicit,
        GraphFile,
    ]
    words = {*GENERATORS, *(key for table in tables for key in keys_of(table))}
    assert all(f'`"{family}"`' in text for family in FAMILIES)
    assert {
        word for word in words if not re.search(rf"[`\[.]{word}[`\].]|^{word} = ", text, re.MULTILINE)
    } == set()


# Summary mechanisms -------------------------------------------------------------------------------------

SUMMARY: dict[tuple[str, ...], tuple[str, str]] = {
    ("mechanism.variant=clever",): ('mechanism.variant: got "clever"', '"anchored"'),
    ("mechanism.cap=0.4",): ("mechanism.cap: got 0.4", 'mechanism.variant = "anchored"'),
    ("mechanism.variant=weighted", "mechanism.cap=0.5"): ("mechanism.cap: got 0.5", "in (0, 0.5)"),
    ("mechanism.variant=weighted", "mechanism.cap=0.02"): ("mechanism.cap: got 0.02 for 31 agents", "1/N"),
    ("mechanism.delta=2.0",): ("mechanism.delta: got 2.0", 'mechanism.parameters = "tuned"'),
    ("mechanism.parameters=explicit",): ("mechanism.delta: missing", 'mechanism.parameters = "explicit"'),
    ("mechanism.xi=0.9",): ("mechanism.xi: unknown key", "one of name, variant"),
    ("record.agents=0",): ("record.agents: got 0", ">= 1"),
    ('environment={kind="public-goods", features=1}', "mechanism.variant=plain"): (
        'mechanism.variant: got "plain"',
        'environment.kind = "public-goods"',
    ),
    ('environment={kind="public-goods", features=0}',): ("environment.features: got 0", ">= 1"),
    ('topology={generator="directed-ring", agents=31}',): (
        "topology: has edges of one direction",
        "an undirected graph; the spanning tree",
    ),
    ('topology={nodes=["a", "b", "c", "d"], edges=[["a", "b"], ["c", "d"]]}',): (
        "topology.edges: no path between a and {c, d}",
        "a connected graph",
    ),
    ("stopping.rule=windows",): ('stopping.rule: got "windows"', '"counters"'),
}


@pytest.mark.parametrize("overrides", SUMMARY, ids=lambda value: value[0])
def test_a_summary_scenario_that_cannot_be_is_refused_in_one_line(overrides: tuple[str, ...]) -> None:
    got, expected = SUMMARY[overrides]
    with pytest.raises(ScenarioError) as caught:
        load_scenario("summary-tree-31", list(overrides))
    (line,) = str(caught.value).splitlines()
    seen, _, wanted = line.partition("; expected ")
    assert got in re.sub(r" \(from --set [^)]*\)", "", seen)
    assert expected in wanted


MEANT = {
    "mechanism.parameters=tunned": 'mechanism.parameters: got "tunned" (from --set mechanism.parameters); '
    'expected "tuned", "eta", "proof" or "explicit" (did you mean tuned?)',
    "learning.dynamics=cournout": "(did you mean cournot?)",
    "learning.dynamics=fictitous": "(did you mean fictitious?)",
    "mechanism.name=sumary": "(did you mean summary?)",
    "synchrony.mode=Free": "(did you mean free?)",
    "broker.server=mosquito": "(did you mean mosquitto?)",
    "broker.client=gmqt": "(did you mean gmqtt?)",
    "recovery.durable=snapshots": "(did you mean snapshot?)",
    "stopping.tolerence=1e-8": "stopping.tolerence: unknown key with value 1e-08",
    "stoping.tolerance=1e-8": "(did you mean stopping?)",
    "topology.generator=gird": "(did you mean grid?)",
    "utilities={agents={a0={theta=-1, sigma=1}}}": "(did you mean a00?)",
    'topology={nodes=["bob", "eve", "kim"], edges=[["bob", "evi"]]}': "(did you mean eve?)",
}


@pytest.mark.parametrize(("override", "meant"), MEANT.items())
def test_the_nearest_valid_name_is_suggested(override: str, meant: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("binary-tree-31", [override])
    assert meant in str(caught.value)


def test_unknown_agents_and_nodes_of_networks_and_values_get_the_nearest() -> None:
    for scenario, override, meant in (
        ("network-abilene-18", 'environment.flows.f01={from="Houton", to="Atlanta"}', "Houston"),
        ("network-abilene-18", 'environment.valuations.families=["logg"]', "log"),
        ("network-corn-5", 'environment.valuations.agents.zz={family="log", w=1.0, s=1.0}', None),
        ("consensus-trimmed-12", "environment.values={a0=1.0}", "a00"),
    ):
        with pytest.raises(ScenarioError) as caught:
            load_scenario(scenario, [override])
        assert (f"(did you mean {meant}?)" in str(caught.value)) == (meant is not None), str(caught.value)


@pytest.mark.parametrize(
    ("name", "rule", "expected"),
    [
        ("consensus-minimum-ring-100", "windows", "no such key; minimum is exact after so many rounds"),
        ("consensus-ratio-tree-31", "proof", '"counters" or "windows"'),
    ],
)
def test_a_stopping_rule_that_a_primitive_does_not_have_is_refused(
    name: str, rule: str, expected: str
) -> None:
    said = f'stopping.rule: got "{rule}" (from --set stopping.rule); expected {expected}'
    with pytest.raises(ScenarioError, match=re.escape(said)):
        load_scenario(name, [f"stopping.rule={rule}"])
    load_scenario("consensus-ratio-tree-31", ["stopping.rule=windows"])


def test_consensus_has_no_beliefs_to_choose() -> None:
    with pytest.raises(
        ScenarioError, match=r'learning\.dynamics: got "fictitious" .*expected no such section'
    ):
        load_scenario("consensus-ratio-tree-31", ["learning.dynamics=fictitious"])
    load_scenario("consensus-ratio-tree-31", ["learning.dynamics=cournot"])
