"""Counters over all lives of an agent."""

from __future__ import annotations

from runner import run
from runner.lives import Lives


def account(life, *, sent=0, rejected=None, first=None, heard=None, **other):
    zero = dict.fromkeys(("sent_bytes", "received", "received_bytes", "resent"), 0)
    return {
        "incarnation": life,
        "sent": sent,
        "heard_from": heard or {},
        "rejected": rejected or {},
        "first_round_at": first,
        **zero,
        **other,
    }


def test_the_newest_account_of_every_life_is_added_up():
    lives = Lives()
    lives.heard("a", account(0, sent=3, rejected={"ahead": 1}))
    lives.heard("a", account(0, sent=5, rejected={"ahead": 1, "body": 2}, first=7.0, heard={"b": 4}))
    lives.restarted("a")  # killed before it gave any account
    lives.restarted("a")
    lives.heard("a", account(2, sent=4, rejected={"body": 1}, first=9.0, resent=6, heard={"b": 2, "c": 1}))
    lives.heard("b", account(0, sent=100))
    total = lives.total("a")
    assert (total["sent"], total["resent"], total["rejected"]) == (9, 6, {"ahead": 1, "body": 3})
    assert (total["restarts"], total["first_round_at"]) == (2, 7.0)
    assert total["heard_from"] == {"b": 6, "c": 1}
    assert lives.total("nobody heard of")["sent"] == 0


def test_agents_that_were_killed_have_heard_every_message_once_over_their_lives(tmp_path):
    crashes = ['{kind="crash", at=0.5, agents=["a01", "a04"]}', '{kind="crash", at=2.5, agents=["a04"]}']
    kills = f"faults.event=[{', '.join(crashes)}]"
    durable = "recovery.durable=snapshot"
    calm = run("ring-12", virtual=True, plot=False, out=tmp_path / "calm")
    killed = run("ring-12", virtual=True, plot=False, out=tmp_path / "killed", overrides=[kills, durable])
    assert (killed.restarts, calm.restarts) == (3, 0)
    assert killed.messages == calm.messages
