"""What is known of a run before it starts: the certificate, the spectral radius, and the refusal."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pytest

from node import lockstep
from node.consensus import robustness
from node.protocols.allocate import allocate
from node.utilities import LogCosh, build
from runner import cli, guarantee
from runner.errors import UserError
from runner.show import describe
from runner.spectrum import LARGEST, spectral_radius
from tests.node.instances import GRAPHS, Forms, forms, routes, thesis
from tests.node.test_norms import Joint
from topologies import load_scenario

VOID = 'mechanism={parameters="explicit", xi=0.99, delta=30.0}'
SLOW = 'mechanism={parameters="explicit", xi=0.9999, delta=3.0}'
MIXED = ("utilities.curvature={uniform=[0.41, 2.4]}", 'topology={generator="ring", agents=3}')


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("binary-tree-31", ['topology={generator="binary-tree", agents=7}']),
        ("directed-8", []),
        ("feeder-8", []),
        ("public-tree-31", ['topology={generator="binary-tree", agents=7}', "mechanism.parameters=proof"]),
        ("bundles-12", []),
    ],
)
def test_the_certificate_is_known_before_the_run_bit_for_bit(name, overrides):
    loaded = load_scenario(name, [*overrides, "stopping.max_rounds=1"])
    seen = guarantee.outlook(loaded)
    assert seen is not None
    protocols = {i: allocate(part) for i, part in loaded.parts("r").items()}
    ended = lockstep.run(protocols, {i: tuple(loaded.graph.successors(i)) for i in loaded.agents})
    for result in ended.results.values():
        certificate = seen.certificate
        assert result.parameters == {"xi": certificate.xi, "delta": certificate.delta}
        assert (result.bound, result.norm, result.guaranteed) == (certificate.bound, certificate.norm, True)
    assert seen.spectral_radius is None
    assert seen.warning() is None


def test_a_consensus_scenario_has_no_certificate():
    loaded = load_scenario("consensus-tree-path-31")
    assert guarantee.outlook(loaded) is None
    assert guarantee.require(loaded, pytest.fail) is None


def test_parameters_that_void_the_guarantee_are_refused_with_bound_norm_and_way_out():
    with pytest.raises(UserError) as caught:
        guarantee.require(load_scenario("binary-tree-31", [VOID]), pytest.fail)
    text = str(caught.value)
    assert "\n" not in text
    for part in (
        "binary-tree-31.toml: mechanism: no guarantee: at xi = 0.99, delta = 30.0",
        "the contraction bound is 1.0294734",
        "in the maximum norm over all messages; expected below 1",
        "The spectral radius of the whole Jacobian is 0.940469",
        "which is no norm bound",
        "--unguaranteed",
    ):
        assert part in text


def test_with_unguaranteed_there_is_a_warning_instead():
    warned = []
    radius = guarantee.require(
        load_scenario("binary-tree-31", [VOID, "mechanism.unguaranteed=true"]), warned.append
    )
    (text,) = warned
    assert f"{radius:.9g}" in text
    assert "converges in the end" in text


def test_of_play_that_diverges_the_warning_says_so():
    warned = []
    radius = guarantee.require(
        load_scenario("binary-tree-31", [SLOW, "mechanism.unguaranteed=true"]), warned.append
    )
    assert radius > 1
    assert "play diverges" in warned[0]


def test_goods_that_interact_too_strongly_for_the_block_norm_are_refused_with_the_spectral_radius():
    loaded = load_scenario("bundles-12", MIXED)
    with pytest.raises(UserError, match=r"in the block norm.*spectral radius of the whole Jacobian is 0\."):
        guarantee.require(loaded, pytest.fail)


def test_explicit_parameters_that_contract_need_no_flag():
    loaded = load_scenario("binary-tree-31", ['mechanism={parameters="explicit", xi=0.99999, delta=40.0}'])
    assert guarantee.require(loaded, pytest.fail) is None


def test_a_xi_that_cannot_be_decoded_is_a_mistake_of_the_user():
    loaded = load_scenario(
        "binary-tree-31",
        ['mechanism={parameters="explicit", xi=1e-30, delta=40.0, unguaranteed=true}'],
    )
    with pytest.raises(UserError, match=r"mechanism: xi = 1e-30.*expected a xi nearer to 1"):
        guarantee.require(loaded, pytest.fail)


# The command line ---------------------------------------------------------------------------------------


def test_vicinal_run_refuses_before_anything_is_written(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["run", "binary-tree-31", "--virtual", "--quiet", f"--set={VOID}", f"--out={out}"]
    assert cli.main(arguments) == 2
    assert not out.exists()
    error = capsys.readouterr().err
    assert error.startswith("vicinal: ")
    assert error.count("\n") == 1
    assert "--unguaranteed" in error


def test_vicinal_run_unguaranteed_plays_and_promises_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    overrides = [
        'topology={generator="binary-tree", agents=7}',
        "record.every=0",
        VOID.replace("0.99", "0.8"),
    ]
    arguments = ["run", "binary-tree-31", "--virtual", "--quiet", "--json", "--unguaranteed", f"--out={out}"]
    assert cli.main([*arguments, *(f"--set={override}" for override in overrides)]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["guaranteed"] is False
    assert result["contraction_bound"] >= 1
    assert 0 < result["spectral_radius"] < 1
    assert "no guarantee" in printed.err


# The spectral radius ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["private", "public"])
@pytest.mark.parametrize("name", ["er", "directed", "one-way ring with chords"])
@pytest.mark.parametrize("goods", [1, 2])
def test_spectral_radius_is_that_of_the_jacobian_built_number_by_number(kind, name, goods):
    graph = GRAPHS[name]
    utilities = thesis(graph, 2) if goods == 1 else forms(graph, 2, goods, 0.2, 4.0)
    delta = 20.0 if kind == "private" else 0.4
    beta = Joint(kind, graph, utilities, 0.97, delta)
    size = int(np.prod(beta.shape))
    expected = np.abs(np.linalg.eigvals(beta.jacobian().reshape(size, size))).max()
    built = {i: build(utilities.spec(i)) for i in beta.agents}
    got = spectral_radius(f"{kind}-goods", routes(graph), built, 0.97, delta)
    # Defective eigenvalues of the delay lines blur the others by a root of the rounding.
    assert got == pytest.approx(float(expected), rel=1e-6)


def test_spectral_radius_of_utilities_that_are_not_quadratic_is_not_known():
    graph, one = GRAPHS["er"], np.array([1.0])
    curved = dict.fromkeys(sorted(graph), LogCosh(0.3 * one, 3.0 * one, 8.0 * one, one, one))
    assert spectral_radius("private-goods", routes(graph), curved, 0.97, 20.0) is None


def test_spectral_radius_of_a_network_that_is_too_large_is_not_computed():
    graph = GRAPHS["er"]
    n, goods = len(graph), LARGEST // len(graph) + 1
    many = Forms(tuple(sorted(graph)), np.array([-np.eye(goods)] * n), np.ones((n, goods)))
    built = {i: build(many.spec(i)) for i in many.agents}
    assert spectral_radius("private-goods", routes(graph), built, 0.97, 20.0) is None


def test_trimmed_averaging_is_refused_where_nobody_can_tell_whether_the_graph_bears_the_liars(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(robustness, "search", lambda near, r, effort=0: (None, False))
    path = tmp_path / "dense.toml"
    edges = [[f"n{i:02d}", f"n{j:02d}"] for i, j in nx.random_regular_graph(12, 40, seed=7).edges]
    path.write_text(
        f"[topology]\nnodes={[f'n{i:02d}' for i in range(40)]}\nedges={edges}\n"
        '[environment]\nkind="consensus"\n[mechanism]\nname="consensus"\nprimitive="trimmed"\nf=2\n'
        "[stopping]\nmax_rounds=10\n"
    )
    with pytest.raises(UserError, match=r"neither proven nor refuted.*--unguaranteed") as caught:
        guarantee.require(load_scenario(path), pytest.fail)
    assert "f = 2 liars need a 5-robust graph" in str(caught.value)
    warned: list[str] = []
    guarantee.require(load_scenario(path, ["mechanism.unguaranteed=true"]), warned.append)
    assert len(warned) == 1
    assert "neither proven nor refuted" in describe(load_scenario(path))
