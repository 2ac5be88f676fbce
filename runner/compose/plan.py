"""Who there is in a deployment, who may do what at its broker, and what each process is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from broker import access
from broker.transport import Address
from node.host import PROTOCOL
from runner.hosts import distribute
from runner.start import start_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.access import Grant
    from node.part import Part
    from topologies import LoadedScenario

Guest = Literal["password", "certificate"]

# Inside the containers.
SECRETS = "/run/secrets"
STORE = "/var/lib/vicinal"
BROKER, PORT, GUEST_PORT = "broker", 8883, 8884
GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Seat:
    """One process that carries agents.

    Attributes:
        service: its name in the compose file; the file of its part is called the same.
        agents: ids, ascending.
    """

    service: str
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment.

    Attributes:
        name: of the project.
        seats: the processes that carry the agents.
        restart: whether killed processes are started again; durable: whether they then remember.
        modules: files of the user's beside the scenario that agents and recorder import.
        guest: how programs outside are let in to the broker; None: they are not.
        page: whether a page shows the run.
    """

    name: str
    seats: tuple[Seat, ...]
    restart: bool
    durable: bool
    modules: tuple[str, ...]
    guest: Guest | None
    page: bool = False


def plan_of(loaded: LoadedScenario, hosts: int | None, guest: Guest | None, *, page: bool = False) -> Plan:
    """What a scenario comes to, carried by one process per agent or by so many hosts."""
    if hosts is None:
        seats = tuple(Seat(f"agent-{agent}", (agent,)) for agent in loaded.agents)
    else:
        shares = distribute(loaded.agents, hosts)
        seats = tuple(Seat(f"host-{k}", tuple(share)) for k, share in enumerate(shares))
    recovery = loaded.spec.recovery
    return Plan(
        # Docker takes no capitals, and nothing but letters and digits in the first place.
        name=f"vicinal-{str(loaded.spec.name).lower()}",
        seats=seats,
        restart=recovery.restart,
        durable=recovery.durable != "none",
        modules=tuple(path.name for path in loaded.own_modules),
        guest=guest,
        page=page,
    )


def secrets_of(loaded: LoadedScenario, plan: Plan, run: str) -> dict[str, str]:
    """The files that nobody but their reader may see, by name, without those of TLS. Made anew in each call.

    ``<service>.json`` is all that a process is told, ``recorder.json`` and ``scenario.json`` what the
    recorder is; ``broker-acl`` and ``broker-passwords`` (the graph, and hashes) are the broker's.
    """
    parts = loaded.parts(run)
    grants = _grants(run, plan, parts, shared=loaded.spec.broker.connections == "host")
    recorder, judge, observer = (
        access.recorder_grant(run),
        access.judge_grant(run),
        access.observer_grant(run),
    )
    place = Address(BROKER, PORT, tls=True, ca=f"{SECRETS}/ca.pem").place()
    client = loaded.spec.broker.client
    files = {path.name: path.read_text("utf-8") for path in loaded.own_modules}
    for seat in plan.seats:
        files[f"{seat.service}.json"] = _json(_start(loaded, seat, parts, grants, place))
    files["recorder.json"] = _json(
        {
            "run": run,
            "client": client,
            "broker": place,
            "recorder": _credentials(recorder),
            "judge": _credentials(judge),
            # The recorder tells the page, in the run's directory.
            **({"observer": _credentials(observer)} if plan.page else {}),
        }
    )
    files["scenario.json"] = _json(loaded.resolved())
    users = [*grants.values(), recorder, judge, *([observer] if plan.page else [])]
    files["broker-acl"] = access.mosquitto_acl(users)
    files["broker-passwords"] = access.mosquitto_passwords(users)
    if plan.guest is not None:
        # Everything but this run: it is the agents' own.
        files["guest-acl"] = f"user {GUEST}\ntopic deny {run}/#\ntopic readwrite #\n"
    if plan.guest == "password":
        visitor = access.Grant(GUEST, access.new_password(), (), ())
        files["guest-passwords"] = access.mosquitto_passwords([visitor])
        files["guest-password"] = visitor.password
    return files


def mosquitto_conf(plan: Plan) -> str:
    """The configuration of the broker: TLS only, no anonymous users, nobody beyond the graph."""
    certificate = f"certfile {SECRETS}/broker.pem\nkeyfile {SECRETS}/broker-key.pem\n"
    text = access.mosquitto_config("0.0.0.0", PORT, f"{SECRETS}/broker-acl", f"{SECRETS}/broker-passwords")
    text += certificate
    if plan.guest is None:
        return text
    # Users of one listener are nobody at the other: a guest may open many connections, so here client ids are
    # not user names, and no agent is to come in this way and take the client id of another.
    text = "per_listener_settings true\n" + text + f"\nlistener {GUEST_PORT} 0.0.0.0\n" + certificate
    text += f"allow_anonymous false\nacl_file {SECRETS}/guest-acl\n"
    if plan.guest == "password":
        return text + f"password_file {SECRETS}/guest-passwords\n"
    return text + f"cafile {SECRETS}/ca.pem\nrequire_certificate true\nuse_identity_as_username true\n"


def _grants(run: str, plan: Plan, parts: Mapping[str, Part], *, shared: bool) -> dict[str, Grant]:
    """Agent or, if the agents of a process share one connection, service -> its user."""
    if shared:
        return {
            seat.service: access.reporting(
                access.host_grant(run, seat.service, [parts[agent] for agent in seat.agents]),
                run,
                seat.agents,
            )
            for seat in plan.seats
        }
    return {
        agent: access.reporting(access.agent_grant(run, agent, part.hears, part.heard_by), run, [agent])
        for agent, part in parts.items()
    }


def _start(
    loaded: LoadedScenario,
    seat: Seat,
    parts: Mapping[str, Part],
    grants: Mapping[str, Grant],
    place: Mapping[str, Any],
) -> dict[str, Any]:
    recovery, shared = loaded.spec.recovery, grants.get(seat.service)
    own: Sequence[str] = seat.agents if shared is None else ()
    return start_message(
        [parts[agent] for agent in seat.agents],
        place,
        client=loaded.spec.broker.client,
        protocol=PROTOCOL,
        access={agent: _credentials(grants[agent]) for agent in own} if shared is None else None,
        shared=_credentials(shared) if shared is not None else None,
        stores={agent: f"{STORE}/{agent}" for agent in seat.agents} if recovery.durable != "none" else {},
        sync=recovery.durable == "round",
        import_path=[SECRETS] if loaded.own_modules else [],
        patient=True,  # nobody starts containers in an order that could be relied on
    )


def _credentials(grant: Grant) -> dict[str, str | None]:
    # Mosquitto takes the user name for the client id anyway.
    return {"user": grant.user, "password": grant.password, "client_id": grant.user}


def _json(data: Any) -> str:
    return json.dumps(data, indent=1, allow_nan=False) + "\n"
