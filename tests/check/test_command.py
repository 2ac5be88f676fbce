"""``vicinal check`` as a command: exit codes, JSON, and directories that cannot be judged."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from runner import cli, run
from runner.check.judging import judge
from runner.check.lines import CONTRACTION, EFFICIENCY, FEASIBILITY, NAMES, NASH, STOP
from tests.check import tampering

pytest.importorskip("cvxpy", reason="the convex program of `vicinal check`")


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "star"
    run("star-9", virtual=True, plot=False, out=out)
    return out


@pytest.fixture
def copy(star, tmp_path):
    return tampering.copied(star, tmp_path / "copy")


def played(tmp_path, name, *overrides, **how):
    out = tmp_path / "run"
    run(name, plot=False, out=out, overrides=overrides, **(how or {"virtual": True}))
    return {line.name: line for line in judge(out).lines}


def test_json_has_a_line_for_every_law_and_the_exit_code_says_whether_all_hold(copy, capsys):
    assert cli.main(["check", str(copy), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "pass"
    assert [line["name"] for line in found["lines"]] == [name for name in NAMES if name != "probe"]
    assert all(line["reason"] for line in found["lines"])
    tampering.accounts(copy, lambda accounts: accounts["a05"].update(rounds=3))
    assert cli.main(["check", str(copy)]) == 1
    assert "FAIL: stop-round" in capsys.readouterr().out


def test_a_tolerance_of_ones_own_decides(copy, capsys):
    assert cli.main(["check", str(copy), "--tolerance", "efficiency=1e-30"]) == 1
    assert "FAIL: efficiency" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--tolerance", "eficiency=1"], "did you mean efficiency?"),
        (["--tolerance", "taxes=much"], "expected taxes=VALUE with a number >= 0"),
        (["--tolerance", "taxes=nan"], "expected taxes=VALUE with a number >= 0"),
        (["--broker", "mqtt://localhost"], "expected --probe with them"),
        (["--probe", "--broker", "mqtt://localhost"], "--broker and --access belong together"),
        (["--probe", "--broker", "mqtt://localhost", "--access", "nothing.json"], "access file nothing.json"),
    ],
)
def test_arguments_that_do_not_fit_are_the_users_mistake(star, capsys, arguments, complaint):
    assert cli.main(["check", str(star), *arguments]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1


def no_meta(copy):
    (copy / "meta.json").unlink()


def old_format(copy):
    meta = json.loads((copy / "meta.json").read_text())
    del meta["format"]
    (copy / "meta.json").write_text(json.dumps(meta))


def unfinished(copy):
    (copy / "result.json").unlink()


def torn_result(copy):
    text = (copy / "result.json").read_text()
    (copy / "result.json").write_text(text[: len(text) // 2])


def has_failed(copy):
    (copy / "failed.json").write_text('{"error": "agent a03 was killed"}')


def another_scenario(copy):
    resolved = json.loads((copy / "resolved.json").read_text())
    resolved["environment"]["capacities"] = [7.0]
    (copy / "resolved.json").write_text(json.dumps(resolved))


def torn_record(copy):
    path = copy / "telemetry.parquet"
    path.write_bytes(path.read_bytes()[:1000])


def no_record(copy):
    (copy / "telemetry.parquet").unlink()


def torn_accounts(copy):
    text = (copy / "accounts.jsonl").read_text()
    (copy / "accounts.jsonl").write_text(text[:-100])


def an_account_missing(copy):
    tampering.accounts(copy, lambda accounts: accounts.pop("a03"))


def of_another_run(copy):
    meta = json.loads((copy / "meta.json").read_text())
    (copy / "meta.json").write_text(json.dumps({**meta, "run": "another"}))


def no_message(copy):
    tampering.accounts(copy, lambda accounts: accounts["a03"]["result"].update(message=[[1.0, "x"]]))


def another_shape(copy):
    tampering.accounts(copy, lambda accounts: accounts["a03"]["result"].update(message=[[1.0]]))


def no_tax(copy):
    tampering.accounts(copy, lambda accounts: accounts["a03"]["result"].pop("tax"))


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (no_meta, "it has no meta.json"),
        (old_format, "meta.json: format 1, written by vicinal 0.1.0; expected format 2"),
        (unfinished, "result.json: not there: the run is still being written, or was killed"),
        (torn_result, "result.json: not JSON"),
        (has_failed, "failed.json: the run did not end: agent a03 was killed"),
        (another_scenario, "resolved.json: hash"),
        (torn_record, "telemetry.parquet: not a record in Parquet, or torn"),
        (no_record, "telemetry.parquet: not there"),
        (torn_accounts, "accounts.jsonl: line 9: not JSON"),
        (an_account_missing, "accounts.jsonl: nothing of a03; expected one line for each of the 9 agents"),
        (of_another_run, "telemetry.parquet: of run"),
        (no_message, "agent a03: no last message"),
        (another_shape, "agent a03: its last message has shape (1, 1)"),
        (no_tax, "the accounts are not those of an allocation: 'tax'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_directory_that_cannot_be_judged_is_named_in_one_line(copy, capsys, harm, complaint):
    harm(copy)
    assert cli.main(["check", str(copy)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1


def test_what_is_no_directory_is_the_users_mistake(tmp_path, capsys):
    assert cli.main(["check", str(tmp_path / "nowhere")]) == 2
    assert "no such run directory" in capsys.readouterr().err


# -- other ways of running -----------------------------------------------------------------------------


def test_a_run_in_free_mode_passes_but_for_what_needs_rounds(tmp_path):
    lines = played(tmp_path, "star-9", "synchrony.mode=free")
    assert lines.pop(CONTRACTION).verdict == "does not apply"
    assert {line.verdict for line in lines.values()} == {"pass"}


def test_agents_that_remember_have_no_factor_a_round(tmp_path):
    lines = played(tmp_path, "star-9", "learning.dynamics=k-period", "learning.k=2")
    assert lines.pop(CONTRACTION).verdict == "does not apply"
    assert {line.verdict for line in lines.values()} == {"pass"}


def test_a_run_that_agents_left_is_judged_among_those_that_stayed(tmp_path):
    lines = played(tmp_path, "leaving-er-12")
    assert {line.verdict for line in lines.values()} == {"pass"}
    assert len((tmp_path / "run" / "accounts.jsonl").read_text().splitlines()) < 12


def test_without_a_record_what_needs_one_is_not_checked(tmp_path):
    lines = played(tmp_path, "star-9", "record.every=0", lockstep=True)
    assert lines[CONTRACTION].verdict == "not checked"
    assert "record.every = 0" in lines[FEASIBILITY].reason
    assert {line.verdict for line in lines.values()} == {"pass", "not checked"}


def test_a_record_of_every_third_round_is_judged_by_the_third_power(tmp_path):
    lines = played(tmp_path, "star-9", "record.every=3")
    assert {line.verdict for line in lines.values()} == {"pass"}
    assert lines[CONTRACTION].number < lines[CONTRACTION].tolerance


def test_a_run_that_max_rounds_ended_fails(tmp_path):
    lines = played(tmp_path, "star-9", "stopping.max_rounds=5")
    assert "not at rest" in lines[STOP].flaw
    assert {name for name, line in lines.items() if line.verdict == "fail"} >= {STOP, EFFICIENCY, NASH}


CUSTOM = """
import numpy as np
class Bent:
    curvature = (0.5, 3.0)
    def __init__(self, sigma):
        self.sigma = sigma
    def value(self, x):
        return float((self.sigma * x - x**2 / 2 + np.cos(x) / 4).sum())
    def gradient(self, x):
        return self.sigma - x - np.sin(x) / 4
"""


def test_a_utility_that_cvxpy_cannot_express_never_passes_and_may_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "bent.py").write_text(CUSTOM)
    (tmp_path / "mine.toml").write_text(
        '[topology]\ngenerator = "ring"\nagents = 5\n[environment]\ncapacities = [10.0]\n'
        '[utilities]\nfamily = "custom"\nclass = "bent:Bent"\n'
        "parameters = { sigma = { uniform = [5.0, 9.0] } }\n"
    )
    out = tmp_path / "run"
    run(tmp_path / "mine.toml", virtual=True, plot=False, out=out)
    # Judged by another process as a rule, which has not imported the module from elsewhere.
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "bent")
    line = judge(out).lines[0]
    assert (line.name, line.verdict) == (EFFICIENCY, "not checked")
    assert "code of the user's" in line.reason
    assert line.number < 1e-5

    def take(accounts):
        accounts["a00"]["result"]["allocation"][0] += 0.1

    tampering.accounts(out, take)
    assert judge(out).lines[0].verdict == "fail"


def test_numbers_survive_the_way_to_the_accounts_bit_for_bit(star):
    result = json.loads((star / "result.json").read_text())
    for line in (star / "accounts.jsonl").read_text().splitlines():
        account = json.loads(line)
        own = account["result"]
        assert own["allocation"] == result["allocation"][account["agent"]]
        assert np.float64(own["tax"]).tobytes() == np.float64(result["taxes"][account["agent"]]).tobytes()
        assert sum(account["heard_from"].values()) == account["received"]
