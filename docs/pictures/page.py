"""Makes page-light.png and page-dark.png, the pictures of the page in the README.

    python docs/pictures/page.py

A run of 31 agents, a process each, of whom some are killed or made to stand still; then its page in a
headless Chromium, at a moment at which one is down. Needs the extras `page` and `test`, and Chromium.
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
# However fast the machine is, some of them happen during play.
FAULTS = ", ".join(
    f'{{kind="crash", at={at}, agents=["{agent}"], down=0.6}}'
    for at, agent in ((1.2, "a05"), (2, "a12"), (3, "a03"), (5, "a22"), (8, "a12"), (12, "a14"), (17, "a08"))
)
SETTINGS = ("recovery.restart=true", "recovery.durable=snapshot")


def main() -> None:
    """Play, show, take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run("binary-tree-31", overrides=[*SETTINGS, f"faults.event=[{FAULTS}]"], out=run_dir, plot=False)
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
            page.send_signal(signal.SIGTERM)
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
        page.locator("tbody tr").nth(1).click()  # an agent is marked in the graph and in the curves
        seek(page)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(120)  # messages are under way
        page.screenshot(path=path)
        context.close()
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


def seek(page: Page) -> None:
    """Go to the first moment of play at which somebody is down."""
    ended = page.locator("#events button", has_text="ended by signal")
    for k in range(ended.count()):
        ended.nth(k).click()
        page.wait_for_timeout(600)
        slider = page.locator("#slider")
        played = int(slider.input_value()) - int(slider.get_attribute("min") or 0)
        if played > 10 and "down" in page.inner_text("#legend"):
            ended.nth(k - 1).click()
            ended.nth(k).click()  # from elsewhere: agents have spoken in between
            return
    raise SystemExit("nobody was down during play: the machine is faster, or slower, than was thought")


if __name__ == "__main__":
    main()
