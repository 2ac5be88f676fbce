"""Makes page-light.png and page-dark.png, the pictures of the page in the README.

    python docs/pictures/page.py

A run of 31 agents, a process each, of whom some are killed or made to stand still; then its page in a
headless Chromium, in the middle of a replay. Needs the extras `page` and `test`, and Chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from runner import run

HERE = Path(__file__).resolve().parent
SIZE = {"width": 1360, "height": 860}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
FAULTS = """[
    {kind="crash", at=3.0, agents=["a05", "a12"], down=0.6},
    {kind="pause", at=5.0, agents=["a09"], lasts=0.4},
    {kind="crash", at=7.0, agents=["a22"], down=0.4},
]""".replace("\n", " ")
# The newest frame in which so many agents are at rest, and others are not yet.
SHOWN = 11


def main() -> None:
    """Play, show, take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        recovery = ("recovery.restart=true", "recovery.durable=snapshot")
        run("binary-tree-31", overrides=[*recovery, f"faults.event={FAULTS}"], out=run_dir, plot=False)
        command = [sys.executable, "-P", "-m", "runner.cli", "page", str(run_dir), "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        page = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert page.stdout is not None
        try:
            found = re.match(r"page: (\S+)", page.stdout.readline())
            assert found, "the page is not served"
            for scheme in ("light", "dark"):
                take(found[1], scheme, HERE / f"page-{scheme}.png")
        finally:
            page.send_signal(signal.SIGINT)
            page.wait()
            page.stdout.close()


def take(url: str, scheme: str, path: Path) -> None:
    """Take one picture."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            headless=True,
            args=FLAGS,
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": SIZE["width"], "height": SIZE["height"]},
        )
        page = context.pages[0]
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        seek(page)
        page.locator("tbody tr").nth(1).click()  # an agent is marked in the graph and in the curves
        page.select_option("#speed", "60")
        page.click("#play")
        page.wait_for_timeout(500)  # messages are under way
        page.screenshot(path=path)
        context.close()
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


def seek(page: Page) -> None:
    """Go to a round in which some agents are at rest and others are not."""
    low, high = (int(page.get_attribute("#slider", name) or 0) for name in ("min", "max"))
    while low < high:
        middle = (low + high) // 2
        move = "frame => { const s = document.querySelector('#slider'); s.value = frame; "
        page.evaluate(move + "s.dispatchEvent(new Event('input')) }", middle)
        page.wait_for_timeout(350)
        resting = re.search(r"at rest (\d+)", page.inner_text("#legend"))
        low, high = (low, middle) if resting and int(resting[1]) >= SHOWN else (middle + 1, high)


if __name__ == "__main__":
    main()
