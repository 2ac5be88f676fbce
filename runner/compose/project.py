"""The files of a compose project, put in place: what is secret only for its owner, the rest for everybody."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from runner import directory, guarantee
from runner.compose.certificates import Authority
from runner.compose.plan import BROKER, GUEST, Guest, Plan, mosquitto_conf, plan_of, secrets_of
from runner.compose.services import document
from runner.compose.text import dump
from runner.errors import UserError

if TYPE_CHECKING:
    from topologies import LoadedScenario

# Root hands its files to somebody else: containers do not run as root.
NOT_ROOT = 10001
_OURS = "Written by `vicinal compose`"
_COMMENT = f"""{_OURS} from the scenario {{name}}: change that and write this again.
What is secret lies in ./secrets and .env, made by the same command, and not here.

    docker compose up --exit-code-from recorder"""


IMAGES = "vicinal"

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for besides the scenario.

    Attributes:
        out: the project's folder.
        hosts: processes that carry the agents between them; None: one per agent.
        checkout: a checkout of the project to build the images from, relative to ``out``; None: they exist.
        images: what the images' names begin with: ``<images>-agent:<version>``, ``<images>-recorder:...``.
        guest: how programs on this machine are let in to the broker; None: not at all.
        days: how long the certificates are valid.
        page: whether a page shows the run.
    """

    out: Path
    hosts: int | None = None
    checkout: str | None = None
    images: str = IMAGES
    guest: Guest | None = None
    days: int = 365
    page: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """What was written.

    Attributes:
        out: where.
        plan: what.
        run: id of the run that the secrets are for.
        owner: user and group id of the secrets, and of the containers.
    """

    out: Path
    plan: Plan
    run: str
    owner: tuple[int, int]


def write(loaded: LoadedScenario, wishes: Wishes, warn: Warn = lambda text: None) -> Project:
    """Write a project, or write one again with new secrets.

    Args:
        loaded: the scenario.
        wishes: what is asked for.
        warn: called with what the user should know all the same.
    Raises:
        UserError: if it cannot be; a folder that holds anything else is left as it is.
    """
    out = wishes.out
    if wishes.hosts is not None and not 1 <= wishes.hosts <= len(loaded.agents):
        raise UserError(f"hosts = {wishes.hosts}: expected 1 to {len(loaded.agents)}, the number of agents")
    if not 1 <= wishes.days <= 3650:
        raise UserError(f"days = {wishes.days}: expected 1 to 3650")
    if loaded.spec.faults is not None:
        raise UserError("[faults]: nobody makes them happen in containers; expected a scenario without")
    guarantee.require(loaded, warn)
    if loaded.import_path and not loaded.own_modules and wishes.images == IMAGES:
        raise UserError(
            "the scenario names a class of its own that is in no file beside it; expected such a file, or "
            "images that have it, with --images"
        )
    _look(out)
    plan = plan_of(loaded, wishes.hosts, wishes.guest, page=wishes.page)
    run = directory.new_run_id(str(loaded.spec.name))
    files = {name: text.encode() for name, text in secrets_of(loaded, plan, run).items()}
    files |= _certificates(plan, run, wishes.days)
    images = tuple(f"{wishes.images}-{kind}:{version('vicinal')}" for kind in ("agent", "recorder"))
    text = dump(
        document(plan, (images[0], images[1]), wishes.checkout), _COMMENT.format(name=loaded.spec.name)
    )
    owner = (os.getuid(), os.getgid()) if os.getuid() else (NOT_ROOT, NOT_ROOT)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _lay_secrets(out, files, owner)
        runs = out / "runs"
        runs.mkdir(mode=0o700, exist_ok=True)
        os.chown(runs, *owner)
        (out / ".gitignore").write_text("/.env\n/runs/\n/secrets/\n", "utf-8")
        (out / ".env").write_text(f"VICINAL_USER={owner[0]}:{owner[1]}\n", "utf-8")
        (out / "mosquitto.conf").write_text(f"# {_OURS}.\n{mosquitto_conf(plan)}", "utf-8")
        (out / "compose.yaml").write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror}") from None
    return Project(out, plan, run, owner)


def _look(out: Path) -> None:
    """Refuse a folder that is somebody else's."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is no folder; expected a new one, or a compose project to be written again")
    compose = out / "compose.yaml"
    if compose.exists() and _OURS not in compose.read_text("utf-8", "replace").partition("\n")[0]:
        raise UserError(f"{compose}: was not written by vicinal compose; expected another folder")
    for name in ("secrets", "runs"):
        if (out / name).exists() and not compose.exists():
            raise UserError(f"{out / name}: exists and is not of a compose project; expected another folder")


def _certificates(plan: Plan, run: str, days: int) -> dict[str, bytes]:
    authority = Authority(f"vicinal {run}", days)
    # By its name on the containers' network; and as localhost for its own health check and for guests.
    broker = authority.server([BROKER, "localhost", "127.0.0.1", "::1"])
    files = {"ca.pem": authority.certificate, "broker.pem": broker.certificate, "broker-key.pem": broker.key}
    if plan.guest == "certificate":
        guest = authority.client(GUEST)
        files |= {"guest.pem": guest.certificate, "guest-key.pem": guest.key}
    return files


def _lay_secrets(out: Path, files: dict[str, bytes], owner: tuple[int, int]) -> None:
    """Put the secrets in place, all or none: a project with passwords of two times would never start."""
    made = Path(tempfile.mkdtemp(prefix=".secrets-", dir=out))  # mode 0700
    try:
        for name, content in files.items():
            # The mode is set before there is anything to read.
            handle = os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(handle, "wb") as file:
                os.fchown(handle, *owner)
                file.write(content)
        os.chown(made, *owner)
        place = out / "secrets"
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
