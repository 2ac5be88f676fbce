"""A user's own learning dynamic over real processes."""

from __future__ import annotations

from tests.runner.test_user_dynamics import write


def test_agents_find_the_dynamic_beside_the_scenario_and_play_as_in_virtual_time(vicinal, tmp_path):
    path, name = write(tmp_path)
    over_processes = vicinal("run", path, "--hosts", "2", "--quiet", "--json", "--out", tmp_path / "run")
    assert over_processes.code == 0, over_processes.err
    # The record has the class beside it, and can be run without what it was made from.
    path.unlink()
    (tmp_path / f"{name}.py").unlink()
    again = vicinal("run", tmp_path / "run" / "resolved.json", "--virtual", "--quiet", "--json")
    assert again.code == 0, again.err
    for same in ("allocation", "prices", "taxes", "rounds"):
        assert over_processes.json()[same] == again.json()[same]
