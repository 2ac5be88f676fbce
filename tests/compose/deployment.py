"""A compose project carried out without Docker: each service's own command, as a process with its own files.

Every process finds in a folder of its own what its container would find in /run/secrets, and nothing else.
Paths, ports and the broker's name are rewritten; commands, configuration and contents are as generated.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from broker.embedded import find_server

if TYPE_CHECKING:
    from runner.compose.project import Project

# After so long nothing will come any more: ten times what a loaded machine takes.
WAIT = 60.0


class Deployment:
    """A project and its processes.

    Attributes:
        document: the compose file, read back.
        ports: the broker's ports, as in the file -> here.
        processes: service -> its process.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.document: dict[str, Any] = yaml.safe_load((project.out / "compose.yaml").read_text())
        self.ports = {port: _free_port() for port in (8883, 8884, 8230)}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        # Not pytest's own folder: the broker runs as somebody who may not look into that.
        self.root = Path(tempfile.mkdtemp(prefix="vicinal-deployment-"))
        self.root.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.root)

    # -- what Docker would do --------------------------------------------------------------------------

    def up(self, service: str) -> subprocess.Popen[str]:
        """Start a service; a second time if it has ended."""
        definition, folder = self.document["services"][service], self.folder(service)
        if service == "broker":
            config = folder / "mosquitto.conf"
            if not config.exists():
                config.write_text(self.rewritten(service, (self.project.out / "mosquitto.conf").read_text()))
            command = [find_server("mosquitto"), "-c", str(config)]
        else:
            command = [self.rewritten(service, word) for word in definition["command"]]
            words = {"python": [sys.executable], "vicinal": [sys.executable, "-P", "-m", "runner.cli"]}
            command = [*words[command[0]], *command[1:]]
        with (folder / "out").open("a") as out, (folder / "err").open("a") as err:
            self.processes[service] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                # The interpreter of these tests may be where only root may look; the broker's binary is not.
                **(self._as_owner() if service == "broker" else {}),
            )
        return self.processes[service]

    def healthy(self, service: str) -> None:
        """Wait until a service's own health check passes."""
        kind, *test = self.document["services"][service]["healthcheck"]["test"]
        command = [self.rewritten(service, word).replace("$$", "$") for word in test]
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        command = [sys.executable, *command[1:]] if command[0] == "python" else command
        deadline = time.monotonic() + WAIT
        while subprocess.run(command, capture_output=True).returncode:
            assert self.processes[service].poll() is None, f"{service} has ended: {self.err(service)}"
            assert time.monotonic() < deadline, f"{service} is not healthy: {self.err(service)}"
            time.sleep(0.05)

    def all_up(self) -> None:
        """Start everything in the order that ``depends_on`` asks for."""
        waiting = dict(self.document["services"])
        while waiting:
            ready = [s for s, d in waiting.items() if not set(d.get("depends_on", ())) & set(waiting)]
            for service in ready:
                for needed in waiting.pop(service).get("depends_on", ()):
                    self.healthy(needed)
                self.up(service)

    def exit_code_from(self, service: str, within: float = WAIT) -> int:
        """Wait for one service, then end the others; its exit code."""
        code = self.processes[service].wait(within)
        self.stop()
        return code

    def stop(self, *services: str) -> None:
        """SIGTERM to these or to all, SIGKILL to whom it does not end."""
        told = [self.processes[service] for service in services or self.processes]
        living = [process for process in told if process.poll() is None]
        for process in living:
            process.send_signal(signal.SIGTERM)
        for process in living:
            try:
                process.wait(WAIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- what a container would see --------------------------------------------------------------------

    def folder(self, service: str) -> Path:
        """A service's own file system: ``secrets`` and ``tmp``."""
        folder = self.root / service
        if not folder.exists():
            (folder / "tmp").mkdir(parents=True)
            (folder / "store").mkdir()
            secrets = folder / "secrets"
            secrets.mkdir()
            for mount in self.document["services"][service].get("secrets", ()):
                source, target = (
                    (mount, mount) if isinstance(mount, str) else (mount["source"], mount["target"])
                )
                file = self.project.out / self.document["secrets"][source]["file"]
                (secrets / target).write_text(self.rewritten(service, file.read_text()))
                (secrets / target).chmod(file.stat().st_mode & 0o777)
                os.chown(secrets / target, *self.project.owner)
        return folder

    def rewritten(self, service: str, text: str) -> str:
        """The same, for here."""
        folder = self.root / service
        for there, here in (
            ("/run/secrets", str(folder / "secrets")),
            ("/var/lib/vicinal", str(folder / "store")),
            ("/tmp/alive", str(folder / "tmp" / "alive")),
            ("/tmp/ready", str(folder / "tmp" / "ready")),
            ("0.0.0.0", "127.0.0.1"),
            ('"host": "broker"', '"host": "localhost"'),
            ("8883", str(self.ports[8883])),
            ("8884", str(self.ports[8884])),
            ("8230", str(self.ports[8230])),
        ):
            text = text.replace(there, here)
        return str(self.project.out / "runs") if text == "/runs" else text

    def err(self, service: str) -> str:
        """What a service has said on standard error."""
        return (self.folder(service) / "err").read_text()

    def out(self, service: str) -> str:
        """What a service has said on standard output."""
        return (self.folder(service) / "out").read_text()

    def _as_owner(self) -> dict[str, Any]:
        if os.geteuid():
            return {}
        user, group = self.project.owner
        return {"user": user, "group": group, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
