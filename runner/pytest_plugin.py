"""A pytest plugin for tests of protocols, there as soon as the package is installed.

Fixtures:
    virtual_network: makes a ``runner.testing.Network``: seeded, with faults, in virtual time.
    embedded_broker: an async context manager around a real broker on a free port.
    process_network: runs a protocol with one process per agent over a real broker.

Everything is imported on first use: a project that has the package installed for other reasons pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from broker.access import Grant
    from broker.embedded import EmbeddedBroker, Server
    from runner.testing import Network


@pytest.fixture
def virtual_network() -> Callable[..., Network]:
    """``virtual_network(edges, protocol, seed=0, faults=None, *, directed, contract, private, synchrony,
    tick, on_down, grace, ...)``.

    Returns a ``runner.testing.Network``, which takes what else is given; nothing of it outlives the test.
    """

    def make(
        edges: Iterable[tuple[str, str]],
        protocol: Any,
        seed: int = 0,
        faults: Any = None,
        *,
        directed: bool = False,
        contract: Mapping[str, Any] | None = None,
        private: Mapping[str, Mapping[str, Any]] | None = None,
        synchrony: str = "rounds",
        tick: float | None = None,
        on_down: str = "wait",
        grace: float | None = None,
        **how: Any,
    ) -> Network:
        from runner.testing import Network, parts_of

        times = {"tick": tick, "grace": grace}
        parts = parts_of(
            edges,
            directed=directed,
            contract=contract,
            private=private,
            synchrony=synchrony,
            on_down=on_down,
            **{key: value for key, value in times.items() if value is not None},
        )
        return Network(parts, protocol, seed, faults, **how)

    return make


@pytest.fixture
def embedded_broker() -> Callable[..., EmbeddedBroker]:
    """``async with embedded_broker(grants, server="nats") as broker:`` with ``broker.address``."""

    def make(grants: Sequence[Grant], server: Server = "nats") -> EmbeddedBroker:
        from broker.embedded import EmbeddedBroker

        return EmbeddedBroker(grants, server)

    return make


@pytest.fixture
def process_network() -> Callable[..., Awaitable[dict[str, dict[str, Any]]]]:
    """``await process_network(edges, "module:function", contract=..., private=..., hosts=None,
    synchrony="rounds", tick=...)``.

    Returns agent -> its account, its protocol's result under ``"result"``. All processes have ended then.
    """

    async def play(
        edges: Iterable[tuple[str, str]],
        protocol: str,
        *,
        directed: bool = False,
        contract: Mapping[str, Any] | None = None,
        private: Mapping[str, Mapping[str, Any]] | None = None,
        hosts: int | None = None,
        overrides: Sequence[str] = (),
        **how: Any,
    ) -> dict[str, dict[str, Any]]:
        from runner.testing import parts_of, run_in_processes

        parts = parts_of(edges, directed=directed, contract=contract, private=private, **how)
        return await run_in_processes(parts, protocol, hosts=hosts, overrides=overrides)

    return play
