"""Connections to a deployment's broker, with the credentials of its files."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from broker.mqtt import make_transport
from broker.transport import Address
from tests.compose.deployment import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compose.deployment import Deployment


def address_of(deployment: Deployment, service: str, user: str | None = None) -> Address:
    """Where and as whom a service connects; of the recorder's two users, ``user``."""
    access = json.loads((deployment.project.out / "secrets" / f"{service}.json").read_text())
    credentials = access["agents"][0]["access"] if user is None else access[user]
    address = Address.at(access["broker"], credentials["user"], credentials["password"])
    ca = str(deployment.project.out / "secrets" / "ca.pem")
    return replace(address, host="localhost", port=deployment.ports[8883], ca=ca)


def guest_of(deployment: Deployment) -> Address:
    """Where and as whom a guest connects."""
    password = (deployment.project.out / "secrets" / "guest-password").read_text()
    address = address_of(deployment, "recorder", "judge")
    return replace(address, port=deployment.ports[8884], user="guest", password=password)


class Someone:
    """A connection, and what reaches it.

    Attributes:
        heard: topic -> the newest payload.
        lost: why the connection was lost, if it was.
    """

    def __init__(self, address: Address, client_id: str | None = None) -> None:
        self.heard: dict[str, bytes] = {}
        self.lost: list[str] = []
        self._changed = asyncio.Event()
        name = client_id or str(address.user)
        self.transport = make_transport("gmqtt", address, name, self._hear, self.lost.append)

    async def __aenter__(self) -> Self:
        await self.transport.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()

    def _hear(self, topic: str, payload: bytes) -> None:
        self.heard[topic] = payload
        self._changed.set()

    async def until(self, condition: Callable[[], Any], within: float = WAIT) -> None:
        """Wait until the condition on what was heard holds."""
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_heard(self, topic: str, payload: bytes) -> None:
        """Wait for one message."""
        await self.until(lambda: self.heard.get(topic) == payload)
