"""``vicinal check --probe``: does a broker refuse what no agent may do, tried with agents' own credentials.

A broker that denies need not say so (``broker.access``): a denied publish looks like success, and Mosquitto
acknowledges a denied subscription. So attempts are judged by what arrives. Every user tries to read
strangers, to read with wildcards, and to write as others; every user also says something of its own, as
itself, and a witness that may hear everything listens.

Nothing here waits for things to settle. A connection's messages keep their order: once the witness has a
user's last word, which it may say, it would have had the forged ones said before. And once a user hears its
own status, said after the witness had everybody's last word, it would have heard whatever it may not.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker import access, topics
from broker.mqtt import make_transport
from broker.transport import Address, BrokerError, NotPermitted
from runner.check.lines import PROBE, Line, measured, unchecked
from runner.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.transport import Transport
    from node.part import Part
    from topologies import LoadedScenario

# So many users are probed at most, spread over the ids; a connection each.
USERS = 40
# How long a message may take through a broker that has hardly anything else to do.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class User:
    """One user of a broker, and whose it is.

    Attributes:
        grant: what it may do; user and password are those to connect with.
        agents: whom it speaks for: one agent, or all of a host.
    """

    grant: access.Grant
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to probe, and who takes part.

    Attributes:
        run: the id under which topics are.
        address: of the broker, without a user.
        client: which MQTT client library.
        users: who tries.
        witness: may hear everything; None: there is nobody to see what is written.
    """

    run: str
    address: Address
    client: Any
    users: tuple[User, ...]
    witness: access.Grant | None


@dataclass
class _Voice:
    """One open connection, and what has come over it.

    Attributes:
        heard: (topic, payload) in the order of arrival.
        tried: filters that it may not subscribe to, and tried.
        lost: why the connection is no more; None while it is.
        forged: how many messages it published as others.
    """

    user: User | None
    transport: Transport
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    lost: str | None = None
    tried: list[str] = field(default_factory=list)
    forged: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, topic: str, payload: bytes) -> None:
        """Wait for a message.

        Raises:
            BrokerError: if it does not come, or the connection is lost.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while (topic, payload) not in self.heard:
                    if self.lost is not None:
                        raise BrokerError(self.lost)
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise BrokerError(
                f"{topic}: nothing within {PATIENCE:g} s of what may be said and heard"
            ) from None


async def own(loaded: LoadedScenario, run: str) -> Line:
    """Probe an embedded broker of our own, with the users and permissions that a run of the scenario gets.

    Raises:
        UserError: if it cannot be started.
    """
    from broker.embedded import EmbeddedBroker

    parts = loaded.parts(run)
    if loaded.spec.broker.connections == "host":
        from runner.hosts import distribute

        users = [
            User(access.host_grant(run, str(k), [parts[i] for i in share]), tuple(share))
            for k, share in enumerate(distribute(loaded.agents, min(2, len(loaded.agents))))
        ]
    else:
        users = [User(_grant(run, parts[i]), (i,)) for i in _some(loaded.agents)]
    witness = access.recorder_grant(run)
    embedded = EmbeddedBroker([*(user.grant for user in users), witness], server=loaded.spec.broker.server)
    try:
        async with embedded:
            place = Place(run, embedded.address, loaded.spec.broker.client, tuple(users), witness)
            what = f"an embedded broker ({loaded.spec.broker.server}) with this scenario's permissions"
            return await attempts(place, loaded, what)
    except (BrokerError, OSError) as error:
        raise UserError(f"--probe: the embedded broker cannot be used: {error}") from None


async def elsewhere(loaded: LoadedScenario, address: Address, told: Sequence[Mapping[str, Any]]) -> Line:
    """Probe a broker that runs already.

    Args:
        loaded: the scenario that its permissions should be made from.
        address: of the broker.
        told: what processes of the run were told (start messages), and what a recorder was, if anybody is to
            see what is written.
    Raises:
        UserError: if nobody can be told by them, or the broker cannot be used.
    """
    processes = [message for message in told if "agents" in message]
    if not processes:
        raise UserError("--access: only a recorder's; expected that of an agent's process, to probe with")
    run, client = str(processes[0]["run"]), processes[0]["client"]
    parts = loaded.parts(run)
    users = [user for message in processes for user in _users(run, parts, message)]
    recorder = next((message["recorder"] for message in told if "recorder" in message), None)
    witness = None
    if recorder is not None:
        witness = access.Grant(recorder["user"], recorder["password"], (), (topics.everything_of(run),))
    try:
        return await attempts(Place(run, address, client, tuple(users), witness), loaded, str(address))
    except BrokerError as error:
        raise UserError(f"--probe: {error}") from None


async def attempts(place: Place, loaded: LoadedScenario, what: str) -> Line:
    """Try everything, and judge by what arrives.

    Args:
        place: where, and who.
        loaded: the graph.
        what: the broker, in words.
    Raises:
        BrokerError: if somebody cannot connect, or what is allowed does not arrive.
    """
    word = secrets.token_hex(8)
    async with AsyncExitStack() as stack:
        voices = [await _open(stack, place, user.grant, user) for user in place.users]
        witness = None if place.witness is None else await _open(stack, place, place.witness, None)
        if witness is not None:
            await witness.transport.subscribe([topics.everything_of(place.run)])
        await asyncio.gather(*(_listen(voice, place, loaded) for voice in voices))
        for k, voice in enumerate(voices):
            _forge(voice, place, loaded, f"forged-{word}-{k}".encode())
            _speak(voice, place, loaded, f"own-{word}-{k}".encode())
        if witness is not None:
            for k, voice in enumerate(voices):
                await witness.until(*_last(voice, place, f"own-{word}-{k}".encode()))
        for k, voice in enumerate(voices):
            fence = (topics.status(place.run, _first(voice)), f"fence-{word}-{k}".encode())
            voice.transport.publish(*fence)
            await voice.until(*fence)
        return _line(place, voices, witness, word, what)


async def _open(stack: AsyncExitStack, place: Place, grant: access.Grant, user: User | None) -> _Voice:
    address = Address.at(place.address.place(), grant.user, grant.password)

    def arrived(topic: str, payload: bytes) -> None:
        voice.heard.append((topic, payload))
        voice.changed.set()

    def lost(reason: str) -> None:
        voice.lost = reason
        voice.changed.set()

    name = f"{grant.user}-probe-{secrets.token_hex(8)}"
    voice = _Voice(user, make_transport(place.client, address, name, arrived, lost))
    stack.push_async_callback(voice.transport.close)
    await voice.transport.open()
    return voice


async def _listen(voice: _Voice, place: Place, loaded: LoadedScenario) -> None:
    """Subscribe to the own status, which is allowed, and to whatever is not."""
    await voice.transport.subscribe([topics.status(place.run, _first(voice))])
    voice.tried = [*_wildcards(place.run), *_secrets(voice, place, loaded)]
    # Whether the broker says no or just "yes" is its own affair: what arrives counts.
    with contextlib.suppress(NotPermitted):
        await voice.transport.subscribe(voice.tried, PATIENCE)


def _wildcards(run: str) -> list[str]:
    return [
        "#",
        "+/#",
        topics.everything_of(run),
        topics.all_status(run),
        topics.all_telemetry(run),
        topics.all_reports(run),
        f"{run}/+/{topics.SAY}",
        f"{run}/+/{topics.TO}/+",
    ]


def _secrets(voice: _Voice, place: Place, loaded: LoadedScenario) -> list[str]:
    """What others say and the user may not hear: of those who speak here, so that something is there."""
    assert voice.user is not None
    allowed, run = set(voice.user.grant.subscribe), place.run
    wanted: list[str] = []
    for other in place.users:
        if other is not voice.user:
            for j in other.agents[:2]:
                wanted += _topics_of(run, j, loaded)
    return [topic for topic in dict.fromkeys(wanted) if topic not in allowed]


def _topics_of(run: str, agent: str, loaded: LoadedScenario) -> list[str]:
    """Where an agent speaks: to all, about itself, and to one neighbour."""
    near = sorted({*loaded.graph.successors(agent), *loaded.graph.predecessors(agent)})
    private = [topics.to(run, agent, near[0])] if near else []
    return [topics.say(run, agent), topics.status(run, agent), topics.telemetry(run, agent), *private]


def _forge(voice: _Voice, place: Place, loaded: LoadedScenario, payload: bytes) -> None:
    """Speak as everybody else."""
    assert voice.user is not None
    allowed = set(voice.user.grant.publish)
    for other in place.users:
        if other is voice.user:
            continue
        for j in other.agents[:2]:
            for topic in _topics_of(place.run, j, loaded):
                if topic not in allowed:
                    voice.transport.publish(topic, payload)
                    voice.forged += 1


def _speak(voice: _Voice, place: Place, loaded: LoadedScenario, payload: bytes) -> None:
    """Say something of one's own on every topic of one's own; the last word is for the witness."""
    assert voice.user is not None
    for agent in voice.user.agents[:2]:
        for topic in _topics_of(place.run, agent, loaded):
            voice.transport.publish(topic, payload)
    topic, last = _last(voice, place, payload)
    voice.transport.publish(topic, last)


def _last(voice: _Voice, place: Place, payload: bytes) -> tuple[str, bytes]:
    return topics.telemetry(place.run, _first(voice)), payload + b"-last"


def _first(voice: _Voice) -> str:
    assert voice.user is not None
    return voice.user.agents[0]


def _line(place: Place, voices: list[_Voice], witness: _Voice | None, word: str, what: str) -> Line:
    """What came of it."""
    breaches: list[str] = []
    for voice in voices:
        assert voice.user is not None
        allowed = set(voice.user.grant.subscribe)
        breaches += [f"{voice.user.grant.user} heard {topic}" for topic, _ in _strange(voice.heard, allowed)]
    if witness is not None:
        breaches += [
            f"{voices[int(payload.rpartition(b'-')[2])].user.grant.user} wrote on {topic}"  # type: ignore[union-attr]
            for topic, payload in witness.heard
            if payload.startswith(f"forged-{word}-".encode())
        ]
    tried, forged = sum(len(voice.tried) for voice in voices), sum(voice.forged for voice in voices)
    reason = (
        f"attempts that got through at {what}: {tried:,} subscriptions to strangers, to what others say in "
        f"private and to wildcards, and {forged:,} messages written as others, by {len(voices)} users with "
        "their own credentials; each must be refused, and what is allowed did arrive"
    )
    flaw = "; ".join(breaches[:4]) if breaches else None
    if flaw is None and (witness is None or len(voices) < 2):
        lacking = (
            "a recorder's access, to see what is written" if witness is None else "a second user, to be read"
        )
        return unchecked(PROBE, f"{reason}; nothing got through, but there was not {lacking}")
    return measured(PROBE, float(len(breaches)), 0.0, reason, flaw)


def _strange(heard: Iterable[tuple[str, bytes]], allowed: set[str]) -> list[tuple[str, bytes]]:
    return [(topic, payload) for topic, payload in heard if topic not in allowed]


def _grant(run: str, part: Part) -> access.Grant:
    return access.agent_grant(run, part.agent, part.hears, part.heard_by)


def _users(run: str, parts: Mapping[str, Part], message: Mapping[str, Any]) -> list[User]:
    """The users of one process, as it was told.

    Raises:
        UserError: if it is no start message of this scenario's agents.
    """
    try:
        agents = [entry["part"]["agent"] for entry in message["agents"]]
        if strange := [agent for agent in agents if agent not in parts]:
            raise UserError(f"--access: of agent {strange[0]}, which the scenario does not have")
        if (shared := message["shared"]) is not None:
            grant = access.host_grant(run, "probe", [parts[agent] for agent in agents])
            return [User(_as(grant, shared), tuple(agents))]
        return [
            User(_as(_grant(run, parts[agent]), entry["access"]), (agent,))
            for agent, entry in zip(agents, message["agents"], strict=True)
        ]
    except (KeyError, TypeError) as error:
        raise UserError(f"--access: {error!r}; expected what `vicinal compose` tells a process") from None


def _as(grant: access.Grant, credentials: Mapping[str, Any]) -> access.Grant:
    return access.Grant(credentials["user"], credentials["password"] or "", grant.publish, grant.subscribe)


def _some(agents: Sequence[str]) -> list[str]:
    most = min(len(agents), USERS)
    return [agents[k * len(agents) // most] for k in range(most)]
