"""Makes the faults of a scenario happen in a run over a real broker: signals to processes, and a proxy.

Crashes are SIGKILL, pauses SIGSTOP and SIGCONT, a dead broker is its server process killed; loss, delay and
cuts happen in a proxy through which the agents are connected. What the agents do about it is not its
business: the supervisor, the broker's watch and the agents themselves work as in any other run.

The clock of the faults starts when the hosts are told to start. docs/chaos.md says what is real in each.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

from broker.proxy import Proxy
from runner.errors import UserError
from runner.weather import LinkWeather, harms_messages
from topologies.faults import (
    Amnesia,
    AnyEvent,
    BrokerKill,
    Crash,
    Cut,
    Faults,
    Join,
    Leave,
    Partition,
    Pause,
    schedule,
    standstill,
)
from topologies.membership import joiners

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextlib import AsyncExitStack
    from pathlib import Path

    from broker.embedded import EmbeddedBroker
    from broker.transport import Address
    from runner.hosts import Hosts
    from topologies import LoadedScenario

# A slow agent's process runs for one part of this period and stands still for the rest; in seconds.
SLOW_PERIOD = 0.05
# How often to look whether a dead process is back, in seconds.
LOOK_EVERY = 0.05


class Chaos:
    """The faults of one run, from their schedule to their end.

    Args:
        loaded: a scenario with faults.
        own_broker: whether the broker is ours to kill.
        shares: host -> its agents.
        stores: agent -> the directory of its store; empty without stores.
        warn: called with what the user should know and the run survives.
        happens: called with every event when it is made to happen.
    Raises:
        UserError: if a fault cannot be had in this run.

    Attributes:
        done: events that have happened so far, with their time.
        proxy: through which the agents are connected, if packets are to be harmed.
    """

    def __init__(
        self,
        loaded: LoadedScenario,
        own_broker: bool,
        shares: Sequence[Sequence[str]],
        stores: Mapping[str, Path],
        warn: Callable[[str], None],
        happens: Callable[[AnyEvent], None] = lambda event: None,
    ) -> None:
        faults = loaded.spec.faults
        assert faults is not None
        self.done: list[tuple[float, AnyEvent]] = []
        self.proxy: Proxy | None = None
        self._faults, self._warn, self._stores, self._happens = faults, warn, stores, happens
        self._events = schedule(faults, loaded.agents, loaded.graph.edges, loaded.spec.seed)
        self._seed = faults.seed if faults.seed is not None else loaded.spec.seed
        self._host_of = {agent: host for host, share in enumerate(shares) for agent in share}
        self._shares = shares
        self._began: float | None = None
        self.weather = LinkWeather(faults, self.clock)
        self._broker: EmbeddedBroker | None = None
        self._hosts: Hosts | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped: dict[int, int] = {}  # process -> how many pauses it is in
        self._back_at: dict[int, float] = {}  # host -> when it may be started again
        self._to_forget: dict[int, set[str]] = {}  # host -> its agents whose stores are to be lost
        self._broker_back_at = 0.0
        self._broker_keeps = True
        self._doomed: set[int] = set()
        self._lose: Callable[..., None] = lambda agent, died: None
        self._join: Callable[[int], None] = lambda host: None
        _check(faults, self._events, loaded, own_broker)
        _check_shares(self._events, shares)

    @property
    def late(self) -> frozenset[int]:
        """The hosts that are not to be told to start before their agents join."""
        return frozenset(self._host_of[agent] for agent in joiners(self._events))

    def clock(self) -> float:
        """Seconds since the agents were let go; negative before."""
        return time.monotonic() - self._began if self._began is not None else -1.0

    def standstill(self) -> float:
        """For how many seconds the faults together may keep everybody from going on."""
        return standstill(self._events)

    async def interpose(self, stack: AsyncExitStack, address: Address) -> Address:
        """Where the agents are to connect: the broker, or a proxy in front of it."""
        if not harms_messages(self._faults, self._events):
            return address
        if address.tls:
            raise UserError(
                f"{address}: [faults] asks for messages to be lost, delayed or cut, and inside TLS nobody "
                "can tell them apart; expected mqtt:// or other faults"
            )
        self.proxy = Proxy(address, self.weather.fate, seed=self._seed)
        await stack.enter_async_context(self.proxy)
        return self.proxy.address

    def begin(
        self,
        stack: AsyncExitStack,
        hosts: Hosts,
        doomed: set[int],
        lose: Callable[..., None],
        join: Callable[[int], None],
    ) -> None:
        """Let the faults happen; the hosts have just been told to start.

        Args:
            stack: on which to put the end of it.
            hosts: the processes.
            doomed: where to note hosts that are not to come back.
            lose: called with an agent, and whether it died, when it is gone for good.
            join: called with a host that is to start late.
        """
        self._hosts, self._began = hosts, time.monotonic()
        self._doomed, self._lose, self._join = doomed, lose, join
        self._spawn(self._run(), "chaos")
        stack.push_async_callback(self.close)

    async def close(self) -> None:
        """Stop making faults; whoever stands still goes on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pid in list(self._stopped):
            self._continue(pid)
        if missed := len(self._events) - len(self.done):
            self._warn(f"the run ended before {missed} of its {len(self._events)} faults could happen")

    # -- for those who start again what was killed -----------------------------------------------------

    async def before_revival(self, host: int) -> None:
        """Wait until a killed host may come back, and take away what its agents are to have forgotten."""
        await asyncio.sleep(max(0.0, self._back_at.get(host, 0.0) - time.monotonic()))
        if host in self._doomed:
            await asyncio.Event().wait()  # dead for good meanwhile: until the run is over
        for agent in self._to_forget.pop(host, ()):
            # In a thread: a store that was made to last may be large.
            if agent in self._stores:
                await asyncio.to_thread(shutil.rmtree, self._stores[agent], ignore_errors=True)

    def take_broker(self, broker: EmbeddedBroker) -> None:
        """The broker that may be killed."""
        self._broker = broker

    async def before_broker(self) -> bool:
        """Wait until a killed broker may come back; whether it finds its store."""
        await asyncio.sleep(max(0.0, self._broker_back_at - time.monotonic()))
        keeps, self._broker_keeps = self._broker_keeps, True
        return keeps

    # -- the events ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        assert self._hosts is not None
        await self._hosts.all_forked.wait()  # nobody can be killed who is not there yet
        for agent, factor in self._faults.slow.items():
            self._spawn(self._slow(agent, factor), f"slow-{agent}")
        for event in self._events:
            await self._until(event.at)
            self._happens(event)
            self._make(event)
            self.done.append((self.clock(), event))

    async def _until(self, at: float) -> None:
        """Wait until so many seconds after the agents were let go."""
        await asyncio.sleep(max(0.0, at - self.clock()))

    def _make(self, event: AnyEvent) -> None:
        match event:
            case Crash() | Amnesia():
                for agent in event.agents:
                    down = event.seconds if isinstance(event, Crash) else event.down
                    self._kill(agent, down, forget=isinstance(event, Amnesia))
            case Leave():
                for host in sorted({self._host_of[agent] for agent in event.agents}):
                    own = [agent for agent in event.agents if self._host_of[agent] == host]
                    self._spawn(self._let_leave(host, own), f"leave-{host}")
            case Join():
                for agent in event.agents:
                    self._join(self._host_of[agent])
            case Pause():
                for host in {self._host_of[agent] for agent in event.agents}:
                    self._spawn(self._pause(host, event.lasts), f"pause-{host}")
            case Cut():
                links = frozenset(event.links)
                self.weather.cut(self.clock() + event.lasts, lambda i, j: (i, j) in links)
            case Partition():
                group = {agent: k for k, members in enumerate(event.groups) for agent in members}
                until = self.clock() + event.lasts
                self.weather.cut(until, lambda i, j: group.get(i) != group.get(j))
            case BrokerKill():
                self._kill_broker(event)

    def _kill(self, agent: str, down: float, *, forget: bool) -> None:
        host = self._host_of[agent]
        if down == math.inf:
            self._doomed.add(host)
            if (pid := self._pid(host)) is not None:
                _signal(pid, signal.SIGKILL)  # that it has ended is heard
            else:
                for other in self._shares[host]:
                    self._lose(other, died=True)
            return
        self._back_at[host] = max(self._back_at.get(host, 0.0), time.monotonic() + down)
        if forget:
            self._to_forget.setdefault(host, set()).add(agent)
        if (pid := self._pid(host)) is not None:
            _signal(pid, signal.SIGKILL)

    async def _let_leave(self, host: int, agents: list[str]) -> None:
        """Let agents of a host leave for good, by SIGTERM if it has no others; a dead one does so when it is
        back."""
        assert self._hosts is not None
        pid, again = self._pid(host), False
        while pid is None and host not in self._doomed:
            await asyncio.sleep(LOOK_EVERY)
            pid, again = self._pid(host), True
        if pid is None:
            return
        if again or set(agents) != set(self._shares[host]):
            # A process that has just started cannot take a signal yet; what it is told waits for it.
            self._hosts.send(host, {"type": "leave", "agents": agents})
        else:
            _signal(pid, signal.SIGTERM)

    def _kill_broker(self, event: BrokerKill) -> None:
        assert self._broker is not None
        self._broker_back_at = max(self._broker_back_at, time.monotonic() + event.down)
        self._broker_keeps = self._broker_keeps and not event.forget
        if self._broker.running:
            _signal(self._broker.pid, signal.SIGKILL)

    async def _pause(self, host: int, lasts: float) -> None:
        pid = self._pid(host)
        if pid is None:
            return
        self._stopped[pid] = self._stopped.get(pid, 0) + 1
        _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(lasts)
        finally:
            self._stopped[pid] -= 1
            if not self._stopped[pid]:
                self._continue(pid)

    async def _slow(self, agent: str, factor: float) -> None:
        """Let a process run for 1/factor of the time."""
        while True:
            await self._pause(self._host_of[agent], SLOW_PERIOD * (1.0 - 1.0 / factor))
            await asyncio.sleep(SLOW_PERIOD / factor)

    def _continue(self, pid: int) -> None:
        self._stopped.pop(pid, None)
        if self._hosts is not None and pid in self._hosts.pids.values():
            _signal(pid, signal.SIGCONT)

    def _pid(self, host: int) -> int | None:
        return self._hosts.pids.get(host) if self._hosts is not None else None

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, number)


def _check(faults: Faults, events: Sequence[AnyEvent], loaded: LoadedScenario, own_broker: bool) -> None:
    """Refuse what cannot be had.

    Raises:
        UserError: naming the fault and what it needs.
    """
    kinds = {event.kind for event in events if not (isinstance(event, Crash) and event.seconds == math.inf)}
    if (deadly := kinds & {"crash", "amnesia", "broker-kill"}) and not loaded.spec.recovery.restart:
        raise UserError(
            f"faults: {', '.join(sorted(deadly))} over a real broker: expected recovery.restart = true, or "
            "nobody would start again what was killed"
        )
    if "broker-kill" in kinds and not own_broker:
        raise UserError("faults: broker-kill: expected the embedded broker; somebody else's is not killed")
    if loaded.spec.broker.connections == "host" and (faults.link or kinds & {"cut", "partition"}):
        raise UserError(
            "faults: cuts, partitions and [[faults.link]] over a real broker: expected "
            'broker.connections = "agent"; one connection for many agents shows no single links'
        )


def _check_shares(events: Sequence[AnyEvent], shares: Sequence[Sequence[str]]) -> None:
    """Refuse to let a process start late, or die for good, that has other agents too.

    Raises:
        UserError: naming them.
    """
    for event in events:
        if isinstance(event, Join) or (isinstance(event, Crash) and event.seconds == math.inf):
            for share in shares:
                if (meant := set(share) & set(event.agents)) and (others := set(share) - meant):
                    raise UserError(
                        f"faults: {event.kind} of {', '.join(sorted(meant)[:4])} over a real broker: its "
                        f"process has other agents ({', '.join(sorted(others)[:4])}); expected one process "
                        "an agent, without --hosts"
                    )
