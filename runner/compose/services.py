"""A plan in the words of the compose specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.compose.plan import BROKER, GUEST_PORT, PORT, SECRETS, STORE, Plan
from runner.compose.text import Table
from runner.page.command import PORT as PAGE_PORT
from runner.supervisor import MOST_RESTARTS

if TYPE_CHECKING:
    from runner.compose.plan import Seat

# Pinned by tag and by the digest of its index of platforms; renewed by hand.
MOSQUITTO = "eclipse-mosquitto:2.0.22@sha256:212f89e1eaeb2c322d6441b64396e3346026674db8fa9c27beac293405c32b3c"
RECORDER, PAGE = "recorder", "page"
# The owner of the secrets. Compose mounts them as they are, so nobody else could read them.
USER = "${VICINAL_USER:?run vicinal compose first, which makes .env and secrets}"
_ALIVE, _READY = "/tmp/alive", "/tmp/ready"  # in the container's own memory file system
# Measured: 43 MiB for one agent, 114 MiB for 500 with a TLS connection each. Every agent may keep 1 MiB more
# of measurements (`node.telemetry.LIMIT`): a recorder that may not publish gives no receipts.
_MEMORY, _MEMORY_PER_AGENT = 128, 2  # MiB


def document(plan: Plan, images: tuple[str, str], checkout: str | None) -> dict[str, Any]:
    """The compose file.

    Args:
        plan: who there is.
        images: of the agents and of the recorder.
        checkout: path of a checkout of the project, relative to the compose file, to build the images from;
            None: they are there.
    """
    process = Table(_process(), name="process")
    agent = Table(_agent(plan, images[0]), process, name="agent")
    services: dict[str, Any] = {
        BROKER: Table(_broker(plan), process),
        RECORDER: Table({**_recorder(plan, images[1]), **_build(checkout, "recorder")}, process),
        **({PAGE: Table(_page(images[1]), process)} if plan.page else {}),
    }
    for k, seat in enumerate(plan.seats):
        # One service builds the image that all use.
        build = _build(checkout if not k else None, "agent")
        services[seat.service] = Table({**build, **_seat(plan, seat)}, agent)
    return {
        "name": plan.name,
        "x-process": process,
        "x-agent": agent,
        "services": services,
        "networks": {"agents": {"internal": True}, **({"outside": {}} if plan.guest or plan.page else {})},
        "configs": {"mosquitto": {"file": "./mosquitto.conf"}},
        "secrets": {name: {"file": f"./secrets/{name}"} for name in _secrets(plan)},
        **({"volumes": {_store(seat): {} for seat in plan.seats}} if plan.restart else {}),
    }


def _process() -> dict[str, Any]:
    """What holds for every container: no rights, nothing to write to, no way out, no endless log."""
    return {
        "user": USER,
        "read_only": True,
        "init": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "networks": ["agents"],
        "restart": "no",
        "stop_grace_period": "10s",
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }


def _broker(plan: Plan) -> dict[str, Any]:
    # A stranger who is refused for want of a name has found a broker that runs and a certificate that holds.
    asked = f"mosquitto_sub -h localhost -p {PORT} --cafile {SECRETS}/ca.pem -t health -W 3"
    return {
        "image": MOSQUITTO,
        **_restart(plan),
        "configs": [{"source": "mosquitto", "target": "/mosquitto/config/mosquitto.conf"}],
        "secrets": _broker_secrets(plan),
        # Instead of the volumes that the image declares.
        "tmpfs": ["/mosquitto/data:size=1m", "/mosquitto/log:size=1m"],
        "healthcheck": _health(["CMD-SHELL", f"{asked} >/dev/null 2>&1; test $$? -eq 5"], "5s"),
        **_limits("1.0", 256, 32),
        **(
            {"networks": ["agents", "outside"], "ports": [f"127.0.0.1:{GUEST_PORT}:{GUEST_PORT}"]}
            if plan.guest
            else {}
        ),
    }


def _recorder(plan: Plan, image: str) -> dict[str, Any]:
    files = f"{SECRETS}/scenario.json --access {SECRETS}/recorder.json".split()
    return {
        **_image(image),
        "command": ["vicinal", "record", *files, "--runs", "/runs", "--ready", _READY],
        "secrets": ["ca.pem", "scenario.json", "recorder.json", *plan.modules],
        "volumes": [
            {"type": "bind", "source": "./runs", "target": "/runs", "bind": {"create_host_path": False}}
        ],
        "tmpfs": ["/tmp:mode=1777,size=16m"],
        "environment": {"MPLCONFIGDIR": "/tmp"},
        "healthcheck": _health(["CMD", "test", "-f", _READY], "2s"),
        "depends_on": _after(BROKER),
        **_limits("1.0", 1024, 128),
    }


def _page(image: str) -> dict[str, Any]:
    """Reads the run's directory and hears the broker as an observer; seen from this machine only."""
    asked = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PAGE_PORT}/run', timeout=4)"
    return {
        **_image(image),
        "command": ["vicinal", "page", "/runs", "--bind", "0.0.0.0", "--port", str(PAGE_PORT)],
        # Where the broker's certificate comes from; whose password it is says the run's directory.
        "secrets": ["ca.pem"],
        "volumes": [
            {
                "type": "bind",
                "source": "./runs",
                "target": "/runs",
                "read_only": True,
                "bind": {"create_host_path": False},
            }
        ],
        "networks": ["agents", "outside"],
        "ports": [f"127.0.0.1:{PAGE_PORT}:{PAGE_PORT}"],
        "healthcheck": _health(["CMD", "python", "-c", asked], "5s"),
        # It has made the directory of the run by then.
        "depends_on": _after(RECORDER),
        **_limits("0.5", 512, 64),
    }


def _agent(plan: Plan, image: str) -> dict[str, Any]:
    """What is the same for every process that carries agents."""
    command = ["python", "-P", "-m", "node", "--part", f"{SECRETS}/part.json", "--stay", "--quiet"]
    lives = ["--lives", f"{STORE}/lives"] if plan.restart else []
    most = max(len(seat.agents) for seat in plan.seats)
    return {
        **_image(image),
        "command": [*command, "--alive", _ALIVE, *lives],
        **_restart(plan),
        "tmpfs": ["/tmp:mode=1777,size=1m"],
        # Touched every 2 s.
        "healthcheck": _health(["CMD-SHELL", f'test -n "$$(find {_ALIVE} -mmin -0.25)"'], "15s"),
        # The record is to have the first round, too.
        "depends_on": _after(BROKER, RECORDER),
        **_limits("1.0" if most > 1 else "0.5", _MEMORY + _MEMORY_PER_AGENT * most, 32),
    }


def _seat(plan: Plan, seat: Seat) -> dict[str, Any]:
    volume = {"type": "volume", "source": _store(seat), "target": STORE}
    return {
        # Its own part, and nothing of anybody else's.
        "secrets": [{"source": f"{seat.service}.json", "target": "part.json"}, "ca.pem", *plan.modules],
        **({"volumes": [volume]} if plan.restart else {}),
    }


def _image(image: str) -> dict[str, Any]:
    # A name without a host would be asked for at Docker Hub, where it is not ours.
    return {"image": image, **({"pull_policy": "never"} if "/" not in image else {})}


def _build(checkout: str | None, target: str) -> dict[str, Any]:
    if checkout is None:
        return {}
    # A dollar sign would be taken for a variable.
    context = checkout.replace("$", "$$")
    return {"build": {"context": context, "dockerfile": "docker/Dockerfile", "target": target}}


def _restart(plan: Plan) -> dict[str, Any]:
    return {"restart": f"on-failure:{MOST_RESTARTS}"} if plan.restart else {}


def _health(test: list[str], interval: str) -> dict[str, Any]:
    return {"test": test, "interval": interval, "timeout": "5s", "retries": 6, "start_period": "60s"}


def _after(*services: str) -> dict[str, Any]:
    return {service: {"condition": "service_healthy"} for service in services}


def _limits(cpus: str, mebibytes: int, pids: int) -> dict[str, Any]:
    return {"deploy": {"resources": {"limits": {"cpus": cpus, "memory": f"{mebibytes}M", "pids": pids}}}}


def _store(seat: Seat) -> str:
    return f"{seat.service}-store"


def _broker_secrets(plan: Plan) -> list[str]:
    guests = {None: [], "password": ["guest-acl", "guest-passwords"], "certificate": ["guest-acl"]}
    return ["ca.pem", "broker.pem", "broker-key.pem", "broker-acl", "broker-passwords", *guests[plan.guest]]


def _secrets(plan: Plan) -> list[str]:
    parts = [f"{seat.service}.json" for seat in plan.seats]
    return [*_broker_secrets(plan), "scenario.json", "recorder.json", *plan.modules, *parts]
