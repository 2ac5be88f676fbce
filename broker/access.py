"""The graph turned into broker permissions: who may publish and who may subscribe what.

A ``Grant`` is one user of the broker. ``nats_config`` and ``mosquitto_config`` write a set of grants down in
the words of the two servers. Both deny whatever is not granted. A denied publish looks like success to an
MQTT 3.1.1 client on either server, and Mosquitto acknowledges even a denied subscription and filters at
delivery, so permissions can only be verified by what arrives.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from broker import topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a broker lets through in one message. Larger than the codec's limit, so that an oversized message
# reaches the receiver that counts it and does not just break its sender's connection.
PAYLOAD_LIMIT = 4 * 1024 * 1024
# How long a client may take from its connection to its first packet, in seconds.
AUTH_TIMEOUT = 60

# Mosquitto's own default. The passwords are 144 random bits: stretching them would only slow the start.
_PBKDF2_ROUNDS = 101


class Seat(Protocol):
    """An agent's place in the graph; ``node.part.Part`` is one."""

    @property
    def agent(self) -> str:
        """Its id."""

    @property
    def hears(self) -> Sequence[str]:
        """Ids of the agents it listens to."""

    @property
    def heard_by(self) -> Sequence[str]:
        """Ids of the agents that listen to it."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One user of the broker and all that it may do.

    Attributes:
        user: its name, unique at the broker.
        password: its password; never shown by ``repr``.
        publish: the topics it may publish on; no wildcards.
        subscribe: the topic filters it may subscribe to, and hear.
    """

    user: str
    password: str = field(repr=False)
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def agent_grant(run: str, agent: str, hears: Sequence[str], heard_by: Sequence[str]) -> Grant:
    """What one agent may do: speak as itself only, and hear its own neighbours only.

    An edge i -> j (i listens to j) lets i hear what j says to all. Private messages and the status of a
    neighbour pass along an edge in both directions, since acknowledgements travel against it. An agent also
    hears its own status: that is how it notices another process that claims its id.
    """
    peers = sorted({*hears, *heard_by})
    return Grant(
        user=f"agent-{agent}",
        password=new_password(),
        publish=(
            topics.say(run, agent),
            topics.status(run, agent),
            topics.telemetry(run, agent),
            *(topics.to(run, agent, j) for j in peers),
        ),
        subscribe=(
            topics.status(run, agent),
            *(topics.say(run, j) for j in sorted(hears)),
            *(topics.to(run, j, agent) for j in peers),
            *(topics.status(run, j) for j in peers),
        ),
    )


def host_grant(run: str, name: str, seats: Iterable[Seat]) -> Grant:
    """What a host process may do whose agents share one connection: all that any of them may.

    The broker then separates hosts, not agents: within a host an agent could speak as its house-mates.
    """
    grants = [agent_grant(run, seat.agent, seat.hears, seat.heard_by) for seat in seats]
    return Grant(
        user=f"host-{name}",
        password=new_password(),
        # dict.fromkeys: each topic once and in a fixed order.
        publish=tuple(dict.fromkeys(topic for grant in grants for topic in grant.publish)),
        subscribe=tuple(dict.fromkeys(topic for grant in grants for topic in grant.subscribe)),
    )


def recorder_grant(run: str) -> Grant:
    """What a recorder may do: hear every topic of the run and say nothing."""
    return Grant("recorder", new_password(), (), (topics.everything_of(run),))


def observer_grant(run: str) -> Grant:
    """What an onlooker may do: hear who is there and what they measure, and say nothing.

    Less than a recorder: what agents say to one another is not for it.
    """
    return Grant("observer", new_password(), (), (topics.all_telemetry(run), topics.all_status(run)))


def reporting(grant: Grant, run: str, agents: Iterable[str]) -> Grant:
    """The same grant, of these agents or their host, where reports travel over the broker, too.

    Under a runner they do not: it asks its processes. A report says what an agent gets and pays, so nobody
    but a judge may hear it.
    """
    reports = (topics.report(run, agent) for agent in agents)
    return replace(grant, publish=(*grant.publish, *reports))


def judge_grant(run: str) -> Grant:
    """What a judge may do: hear who is there and what they report, and say nothing."""
    return Grant("judge", new_password(), (), (topics.all_reports(run), topics.all_status(run)))


def new_password() -> str:
    """A password of 144 random bits, in letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(18)


def nats_subjects(topic: str) -> list[str]:
    """The NATS subjects that an MQTT topic filter of this project stands for."""
    # A dot inside a level would need more care; topics.LEVEL has none.
    subject = topic.replace("/", ".").replace("+", "*").replace("#", ">")
    # MQTT's a/# also matches a, and the server asks for the permission to both.
    return [subject, subject[:-2]] if subject.endswith(".>") else [subject]


def nats_config(grants: Sequence[Grant], host: str, port: int, store_dir: str) -> str:
    """The configuration file of a nats-server with an MQTT listener and these users, and nobody else.

    No user gets any right under ``$MQTT`` or ``$JS``. Tried on 2.15.1: QoS 0 publish and subscribe, retained
    messages and last wills work without, as the server does its part of them under an identity of its own;
    while a user with ``$MQTT.>`` can, through the native listener, read everybody's retained messages
    (subscribe) and write into their store (publish).

    Args:
        grants: the users.
        host: address to listen on.
        port: port of the MQTT listener.
        store_dir: directory for JetStream, which MQTT on NATS needs even at QoS 0.
    """
    users = ",\n".join(_nats_user(grant) for grant in grants)
    # The native listener cannot be switched off; it takes any free port and the same users.
    return f"""\
server_name: vicinal
listen: "{host}:-1"
mqtt {{ listen: "{host}:{port}" }}
jetstream {{ store_dir: {json.dumps(store_dir)}, max_memory_store: 64MB, max_file_store: 1GB }}
max_payload: {PAYLOAD_LIMIT}
# By default 2 s: a client that stands still for longer, or whose server does, would be sent away.
authorization {{ timeout: {AUTH_TIMEOUT}, users: [
{users}
] }}
"""


def mosquitto_config(host: str, port: int, acl_file: str, password_file: str) -> str:
    """The configuration file of a Mosquitto 2 with these permission and password files.

    User names serve as client ids (so no user can take over the connection of another), hence every
    connection needs a user of its own.
    """
    return f"""\
listener {port} {host}
allow_anonymous false
acl_file {acl_file}
password_file {password_file}
use_username_as_clientid true
# Without it every small message waits for an acknowledgement of the one before: 38 times slower.
set_tcp_nodelay true
# The default of 1000 loses messages silently. Not 0 (unlimited): 2.0.11 then disconnects a client whose
# publish was denied.
max_queued_messages 1000000
max_inflight_messages 0
message_size_limit {PAYLOAD_LIMIT}
persistence false
"""


def mosquitto_acl(grants: Sequence[Grant]) -> str:
    """The permissions as a Mosquitto ACL file.

    The server goes through a user's list from its beginning at every message that it takes or delivers, so
    what is said in every round stands first. For a host that shares one connection among 500 agents, a list
    of nearly 8,000 lines, that makes a message five times cheaper.
    """
    lines = []
    for grant in grants:
        lines.append(f"user {grant.user}")
        rights = [f"topic write {topic}" for topic in grant.publish]
        rights += [f"topic read {topic}" for topic in grant.subscribe]
        lines += sorted(rights, key=lambda right: not right.endswith(f"/{topics.SAY}"))
    return "\n".join(lines) + "\n"


def mosquitto_passwords(grants: Sequence[Grant]) -> str:
    """The users as a Mosquitto password file: salted PBKDF2-SHA512 hashes, ``$7$`` in its notation."""
    lines = []
    for grant in grants:
        salt = secrets.token_bytes(12)
        digest = hashlib.pbkdf2_hmac("sha512", grant.password.encode(), salt, _PBKDF2_ROUNDS)
        fields = (str(_PBKDF2_ROUNDS), base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
        lines.append(f"{grant.user}:$7${'$'.join(fields)}")
    return "\n".join(lines) + "\n"


def _nats_user(grant: Grant) -> str:
    permissions = {
        "publish": _nats_allow(grant.publish),
        "subscribe": _nats_allow(grant.subscribe),
    }
    user = {"user": grant.user, "password": grant.password, "permissions": permissions}
    return json.dumps(user)  # the server's configuration language reads JSON


def _nats_allow(filters: Sequence[str]) -> dict[str, list[str]]:
    # An empty list of allowed subjects would read as no restriction at all.
    return {"allow": [s for f in filters for s in nats_subjects(f)]} if filters else {"deny": [">"]}
