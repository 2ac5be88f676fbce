"""A recorded run, a page that is served, and a browser."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from runner import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Seconds. Only what hangs takes so long, whatever else the machine has to do.
WAIT = 120.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container may have little of it
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of nine agents."""
    out = tmp_path_factory.mktemp("page") / "star"
    run("star-9", lockstep=True, out=out, plot=False)
    return out


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Call it with arguments of ``vicinal page``: it is served, as by a user, until the test is over."""
    pytest.importorskip("uvicorn")
    processes: list[subprocess.Popen[str]] = []

    def serve(*arguments: object) -> str:
        command = [sys.executable, "-P", "-m", "runner.cli", "page", "--port", "0", *map(str, arguments)]
        # -P: what is tested is what is installed; here that is told by the path that pytest has.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"page: (http://127\.0\.0\.1:\d+/)", line)
        assert found, line
        return found[1]

    yield serve
    for process in processes:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(WAIT) == 0
        finally:
            process.kill()
            assert process.stdout is not None
            process.stdout.close()


class Eyes:
    """A page in a real browser, and what it had to complain about."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self._failed(request))
        self.asked: set[str] = set()
        page.on("request", lambda request: self.asked.add(request.url))

    def _failed(self, request: Any) -> None:
        if not request.url.endswith("/events"):  # the stream ends with the page
            self.complaints.append(f"{request.url}: {request.failure}")

    def open(self, url: str) -> None:
        """Open the page and wait until it has drawn."""
        self.page.goto(url)
        self.page.wait_for_selector("body[data-ready]")

    def number(self, name: str) -> int:
        """What the page says of itself: ``frame``, ``round``, ``updates``."""
        return int(self.page.get_attribute("body", f"data-{name}") or 0)

    def until(self, condition: str) -> None:
        """Wait until an expression in the page holds."""
        # Not `wait_for_function`, which evaluates text inside the page; the page's own policy forbids that.
        deadline = time.monotonic() + WAIT
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"never came true: {condition}"
            self.page.wait_for_timeout(30)


@pytest.fixture
def eyes(tmp_path: Path) -> Iterator[Eyes]:
    """A headless Chromium with a page of its own; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with contextlib.ExitStack() as stack:
        context = stack.enter_context(playwright.sync_playwright()).chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            headless=True,
            args=list(FLAGS),
            timeout=1e3 * WAIT,
        )
        context.set_default_timeout(1e3 * WAIT)
        stack.callback(context.close)
        yield Eyes(context.pages[0])
