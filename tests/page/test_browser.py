"""The page in a real Chromium, over a recorded run and over one that goes on."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.page.conftest import Eyes

pytestmark = [pytest.mark.browser, pytest.mark.processes]

# A run that would take hours.
ENDLESS = (
    "--set=mechanism.parameters=proof",
    "--set=environment.eta=1000.0",
    "--set=stopping.tolerance=1e-9",
)
# How much of a canvas is painted in anything but its background.
PAINTED = """selector => {
  const canvas = document.querySelector(selector);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0;
  for (let k = 3; k < data.length; k += 4) if (data[k] > 0) painted++;
  return painted / (data.length / 4);
}"""
REWIND = """() => {
  const slider = document.querySelector("#slider");
  slider.value = slider.min;
  slider.dispatchEvent(new Event("input"));
}"""
# A fingerprint of what a chart shows.
DRAWN = """document.querySelector("#above canvas").toDataURL()"""


def test_recorded_run_is_drawn_replayed_and_told_without_a_complaint(
    recorded: Path, served: Callable[..., str], eyes: Eyes
) -> None:
    url, page = served(recorded), eyes.page
    page.clock.install()
    eyes.open(url)
    result = json.loads((recorded / "result.json").read_text())
    assert page.inner_text("#badge") == "finished"
    last = eyes.number("frame")
    assert last == eyes.number("round") == result["rounds"] - 2  # the round after is only said, not measured
    assert page.evaluate(PAINTED, "#graph canvas") > 0.005
    assert page.evaluate(PAINTED, "#above canvas") > 0.005
    rows = page.locator("tbody tr")
    assert rows.count() == 9
    allocation = float(rows.nth(0).locator("td").nth(3).inner_text())
    assert allocation == pytest.approx(result["allocation"]["a00"][0], rel=1e-4)

    # The slider replays: another round, other numbers.
    page.evaluate(REWIND)
    first = eyes.number("frame")
    assert first < last
    eyes.until(f"document.querySelector('#numbers b').textContent === '{first}'")
    eyes.until(f"Number(document.querySelector('tbody tr td:nth-child(4)').textContent) !== {allocation}")
    # In a time that is the test's, so that a machine that is busy has not played to the end meanwhile.
    page.clock.pause_at(page.evaluate("Date.now() / 1000") + 60)
    page.select_option("#speed", "5")
    page.click("#play")
    page.clock.run_for(1_000)
    page.click("#play")
    held = eyes.number("frame")
    assert held == pytest.approx(first + (last - first) / 5, abs=2)
    assert page.get_attribute("#play", "aria-label") == "play"
    page.clock.run_for(1_000)
    assert eyes.number("frame") == held
    page.clock.resume()

    # Choosing another series and an agent, and the other theme.
    page.click("#tabs button[data-name=tax]")
    rows.nth(3).click()
    assert page.locator("tr.chosen").count() == 1
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.select_option("#theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light

    assert eyes.complaints == []
    assert all(request.startswith(url) for request in eyes.asked if not request.startswith("data:"))


def test_private_data_are_not_even_fetched_until_somebody_asks(
    recorded: Path, served: Callable[..., str], eyes: Eyes
) -> None:
    url = served(recorded)
    eyes.open(url)
    theta = json.loads((recorded / "resolved.json").read_text())["utilities"]["agents"]["a00"]["theta"][0]
    assert f"{theta:.4g}"[:5] not in eyes.page.inner_text("table")
    assert "theta" not in eyes.page.inner_text("table")
    assert f"{url}private" not in eyes.asked
    eyes.page.click("#private")
    eyes.until("document.querySelector('thead').innerText.includes('theta')")
    assert f"{theta:.4g}"[:5] in eyes.page.inner_text("table")
    eyes.page.click("#private")
    eyes.until("!document.querySelector('thead').innerText.includes('theta')")
    assert eyes.complaints == []


def test_live_run_is_followed_and_its_end_is_seen(
    tmp_path: Path, served: Callable[..., str], eyes: Eyes
) -> None:
    out = tmp_path / "run"
    url = served("--live", "star-9", "--quiet", "--", "--hosts", "1", "--out", out, *ENDLESS)
    page = eyes.page
    eyes.open(url)
    eyes.until("document.querySelector('#badge').innerText.includes('live')")
    eyes.until("Number(document.body.dataset.round) > 20 && document.querySelector('#above canvas') !== null")
    before, updates = eyes.number("round"), eyes.number("updates")
    page.evaluate(f"() => {{ window.picture = {DRAWN} }}")
    eyes.until(f"Number(document.body.dataset.updates) >= {updates + 5}")
    eyes.until(f"Number(document.body.dataset.round) > {before}")
    eyes.until(f"{DRAWN} !== window.picture")

    # Looking at the past holds the picture while the run goes on; then it is followed again.
    page.evaluate(REWIND)
    held, before = eyes.number("frame"), eyes.number("round")
    eyes.until(f"Number(document.body.dataset.round) > {before}")
    assert eyes.number("frame") == held
    page.click("#now")
    eyes.until(f"Number(document.body.dataset.frame) > {held}")

    # The runner is ended by somebody else: the page says so and keeps what there was.
    pid = json.loads((out / "live.json").read_text())["pid"]
    os.kill(pid, signal.SIGTERM)
    eyes.until("document.querySelector('#badge').innerText.includes('failed')")
    assert eyes.complaints == []
