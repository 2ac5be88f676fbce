"""Serves one run to browsers on this machine. Nothing here can change anything: there is only GET.

Only names of this machine are accepted as ``Host``: a page of somebody else's that has its own name resolved
to 127.0.0.1 would otherwise read along. No other origin is allowed anything.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from importlib import resources
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from starlette.requests import Request

    from runner.page.follow import Follower
    from runner.page.frames import Frames

    ASGI = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Pauses between two pushes, in seconds: of few agents, and of so many that a push is 100 kB and more.
PUSH_EVERY, PUSH_EVERY_MANY, MANY = 1 / 11, 1 / 5, 200
# Pushes that a browser may be behind before it is told to fetch everything anew.
BEHIND = 30
# A proxy, or a laptop that slept, closes what is silent.
KEEP_ALIVE = 15.0
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound.

    Args:
        host: an address of this machine; 127.0.0.1 unless in a container.
        port: 0 takes any.
    Raises:
        UserError: if the port is in use or not ours to have.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As uvicorn does: a port whose last connections are only just closed is free.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(64)
    except OSError as error:
        made.close()
        raise UserError(
            f"port {port} at {host}: {error.strerror or error}; expected a free one, --port 0 takes any"
        ) from None
    return made


class Pusher:
    """Tells browsers what is new, all of them the same.

    Args:
        follower: the run.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._queues: set[asyncio.Queue[str]] = set()
        self._sketched = -1
        crowd = len(follower.scene.agents) > MANY
        self._every = PUSH_EVERY_MANY if crowd else PUSH_EVERY

    async def push(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._every)
            self.tell()

    def tell(self) -> None:
        """Queue what is new for everybody; nothing is made while nobody looks."""
        message = self._news() if self._queues else ""
        for queue in self._queues:
            if queue.full():
                # It draws more slowly than the run moves: what waits is old by now.
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(_event("again", {}))
            elif message:
                queue.put_nowait(message)

    async def events(self) -> AsyncIterator[str]:
        """What one browser is sent, until it leaves."""
        queue: asyncio.Queue[str] = asyncio.Queue(BEHIND)
        if not self._queues:
            self._follower.frames.changes()  # from when nobody looked; after hello all is fetched
        self._queues.add(queue)
        try:
            yield _event("hello", {})
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE):
                        message = await queue.get()
                except TimeoutError:
                    message = ": still here\n\n"
                yield message
        finally:
            self._queues.discard(queue)

    def _news(self) -> str:
        follower, frames = self._follower, self._follower.frames
        news: dict[str, Any] = {}
        if follower.version != self._sketched:
            self._sketched = follower.version
            news["run"] = follower.sketch()
        if (changed := frames.changes()) is not None:
            begin, end = changed
            news |= _bounds(frames) | {
                "begin": begin,
                "end": end,
                "data": base64.b64encode(frames.pack(begin, end)).decode(),
            }
        elif not news:
            return ""
        return _event("news", {"generation": frames.generation, **news})


def _event(name: str, content: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content, allow_nan=False)}\n\n"


def _bounds(frames: Frames) -> dict[str, Any]:
    return {
        "generation": frames.generation,
        "names": frames.names,
        "used": frames.used,
        "stride": frames.stride,
        "began": frames.began or 0.0,
        "epoch": frames.epoch,
        "round": int(frames.latest.max(initial=-1)),
    }


def application(follower: Follower, pusher: Pusher) -> ASGI:
    """The ASGI application.

    Raises:
        UserError: if Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse, Response, StreamingResponse
        from starlette.routing import Route
    except ImportError:
        raise UserError("the page needs Starlette and uvicorn: pip install 'vicinal[page]'") from None

    scene = follower.scene
    static = resources.files("runner.page") / "static"

    async def run(request: Request) -> Response:
        content = {
            **scene.facts,
            "ids": scene.agents,
            "links": scene.edges,
            "places": scene.places.round(4).tolist(),
            "private": scene.private is not None,
            "sketch": follower.sketch(),
        }
        return Response(json.dumps(content, allow_nan=False), media_type="application/json")

    async def frames(request: Request) -> Response:
        # The bounds travel with the numbers that they are of: between two answers they may change.
        kept = follower.frames
        thresholds = [kept.thresholds.get(k) for k in range(len(kept.agents))]
        bounds = {**_bounds(kept), "capacity": kept.capacity, "thresholds": thresholds}
        head = json.dumps(bounds, allow_nan=False).encode()
        head += b" " * (-(len(head) + 4) % 4)  # numbers begin at a multiple of their size
        body = len(head).to_bytes(4, "little") + head + kept.pack(0, kept.used)
        return Response(body, media_type="application/octet-stream")

    async def private(request: Request) -> Response:
        if scene.private is None:
            return PlainTextResponse("the run's directory has no utilities\n", 404)
        return Response(json.dumps(scene.private, allow_nan=False), media_type="application/json")

    async def events(request: Request) -> Response:
        return StreamingResponse(pusher.events(), media_type="text/event-stream")

    async def asset(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        parts = name.split("/")
        kind = _TYPES.get(f".{name.rpartition('.')[2]}")
        file = static.joinpath(*parts)
        if kind is None or any(part in ("", ".", "..") for part in parts) or not file.is_file():
            return PlainTextResponse("no such file\n", 404)
        return Response(file.read_bytes(), media_type=kind)

    routes = [
        Route("/", asset),
        Route("/static/{name:path}", asset),
        Route("/run", run),
        Route("/frames", frames),
        Route("/private", private),
        Route("/events", events),
    ]
    return guarded(Starlette(routes=routes))


def guarded(inner: ASGI) -> ASGI:
    """Refuse whoever asks for another host than this machine; say to browsers what nobody else may do."""

    async def guard(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not colon:
            name = host
        elif not port.isdigit():
            name = ""
        if name not in NAMES:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": b"this page is for this machine only\n"})
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await inner(scope, receive, with_headers)

    return guard


async def serve(follower: Follower, sock: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until cancelled.

    Args:
        follower: the run, ``open`` already.
        sock: bound and listening.
        ready: called with the page's address once it is answered.
    Raises:
        UserError: if the server is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise UserError("the page needs Starlette and uvicorn: pip install 'vicinal[page]'") from None
    pusher = Pusher(follower)
    config = uvicorn.Config(
        application(follower, pusher),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        # Browsers keep their stream of events open for as long as they may.
        timeout_graceful_shutdown=1,
        server_header=False,
    )

    server = uvicorn.Server(config)
    # Signals are the command's business, as everywhere.
    object.__setattr__(server, "capture_signals", contextlib.nullcontext)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[sock]), name="page-server")
        helpers = [
            group.create_task(pusher.push(), name="page-push"),
            group.create_task(follower.follow(), name="page-follow"),
        ]
        address, port = sock.getsockname()[:2]
        ready(f"http://{'127.0.0.1' if address == '0.0.0.0' else address}:{port}/")
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            for helper in helpers:
                helper.cancel()
