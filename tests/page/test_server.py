"""The server: who is answered, and what browsers are told that nobody else may do."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from runner.page import scene
from runner.page.follow import Follower
from runner.page.server import BEHIND, Pusher, listen, serve
from tests.page.conftest import WAIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytest.importorskip("uvicorn", reason="the page's server is not installed: pip install vicinal[page]")


@asynccontextmanager
async def serving(run_dir: Path) -> AsyncIterator[tuple[Follower, int]]:
    follower = Follower(scene.read(run_dir))
    follower.open()
    sock = listen("127.0.0.1", 0)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(follower, sock, ready.set_result))
    try:
        await asyncio.wait_for(ready, WAIT)
        yield follower, sock.getsockname()[1]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        sock.close()


async def ask(port: int, path: str, host: str | None = None, *headers: str) -> tuple[int, str, bytes]:
    """Status, head and body of one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", f"Host: {host if host is not None else f'127.0.0.1:{port}'}", *headers]
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
    answer = await asyncio.wait_for(reader.read(), WAIT)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), body


async def test_page_and_its_parts_are_served_and_nothing_beside_them(recorded: Path) -> None:
    async with serving(recorded) as (follower, port):
        status, head, body = await ask(port, "/")
        assert (status, b"<title>vicinal</title>" in body) == (200, True)
        assert "content-security-policy: default-src 'self'" in head
        assert "nosniff" in head
        for path in ("/static/app.js", "/static/vendor/uPlot.js", "/static/page.css", "/static/icon.svg"):
            assert (await ask(port, path))[0] == 200
        for path in (
            "/static/../server.py",
            "/static/%2e%2e/server.py",
            "/static/..%2fserver.py",
            "/static//etc/passwd",
            "/static/",
            "/resolved.json",
            "/static/vendor/uPlot.LICENSE.txt/",
        ):
            assert (await ask(port, path))[0] == 404, path
        _, _, body = await ask(port, "/run")
        told = json.loads(body)
        assert told["ids"] == list(follower.scene.agents)
        assert b"theta" not in body
        _, _, body = await ask(port, "/private")
        assert "theta" in json.loads(body)["a00"]


async def test_frames_arrive_as_they_are(recorded: Path) -> None:
    async with serving(recorded) as (follower, port):
        _, _, body = await ask(port, "/frames")
        length = int.from_bytes(body[:4], "little")
        assert (4 + length) % 4 == 0
        head = json.loads(body[4 : 4 + length])
        frames = follower.frames
        numbers = np.frombuffer(body[4 + length :], "<f4").reshape(-1, head["used"], 9)
        np.testing.assert_array_equal(
            numbers[1 + head["names"].index("tax")], frames.values["tax"][: frames.used]
        )
        assert head["round"] == frames.latest.max()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:{port}", 421),
        ("evil.example:80:127.0.0.1", 421),
        ("localhost:x", 421),
        ("", 421),
    ],
)
async def test_only_names_of_this_machine_are_answered(recorded: Path, host: str, status: int) -> None:
    async with serving(recorded) as (_, port):
        for path in ("/", "/private", "/events") if status != 200 else ("/", "/private"):
            assert (await ask(port, path, host.format(port=port)))[0] == status


async def test_other_origins_are_allowed_nothing(recorded: Path) -> None:
    async with serving(recorded) as (_, port):
        _, head, _ = await ask(port, "/private", None, "Origin: https://evil.example")
        assert "access-control" not in head
        assert "cross-origin-resource-policy: same-origin" in head
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /run HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 0\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.readline(), WAIT)).split()[1] == b"405"
        writer.close()


async def test_listens_on_the_loopback_only(recorded: Path) -> None:
    async with serving(recorded) as (_, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        writer.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.2", port)


async def test_news_go_to_all_who_look_and_hold_what_has_changed(recorded: Path) -> None:
    follower = Follower(scene.read(recorded))
    follower.open()
    pusher = Pusher(follower)
    pushing = asyncio.create_task(pusher.push())
    streams = [pusher.events(), pusher.events()]
    try:
        for stream in streams:
            assert (await anext(stream)).startswith("event: hello")
        at = follower.frames.used
        rounds = np.array([at], np.int64)
        follower.frames.add("a04", 0, rounds, np.array([2e9]), ("tax",), np.array([[1.5]]))
        for stream in streams:
            news = json.loads((await asyncio.wait_for(anext(stream), WAIT)).partition("data: ")[2])
            assert (news["begin"], news["end"], news["used"]) == (at, at + 1, at + 1)
            numbers = np.frombuffer(base64.b64decode(news["data"]), "<f4").reshape(-1, 1, 9)
            assert numbers[1 + news["names"].index("tax"), 0, 4] == 1.5
    finally:
        pushing.cancel()
        for stream in streams:
            await stream.aclose()


async def test_browser_that_falls_behind_is_told_to_fetch_everything(recorded: Path) -> None:
    follower = Follower(scene.read(recorded))
    follower.open()
    pusher = Pusher(follower)
    stream = pusher.events()
    await anext(stream)
    for _ in range(BEHIND + 1):
        follower.version += 1
        pusher.tell()
    assert (await anext(stream)).startswith("event: again")
    follower.version += 1
    pusher.tell()
    assert (await anext(stream)).startswith("event: news")
    await stream.aclose()
