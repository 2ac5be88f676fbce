"""The contract between an agent's process and whatever carries its messages.

A transport delivers opaque payloads on topics, at most once and in no promised order: agents retransmit
what matters themselves. Every MQTT client sits behind this one page; ``broker.mqtt.make_transport``
chooses among them.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

OnMessage = Callable[[str, bytes], None]
OnLost = Callable[[str], None]

# What may wait in a connection's write buffer. A publish beyond it is dropped and counted, never queued
# without bound: the protocol's own retransmission heals the loss.
WRITE_LIMIT = 8 * 1024 * 1024
# A packet that comes in may be so long; our own brokers pass payloads of half of it. One that is longer ends
# the connection.
PACKET_LIMIT = 8 * 1024 * 1024
# Messages of one connection that are handed on in one turn of the event loop. A flood on one connection must
# not keep the loop from timers, from the control socket and from other connections: 256 take a few
# milliseconds.
TURN = 256


class BrokerError(Exception):
    """Something between this process and the broker is wrong; the text names the broker and what it said."""


class BrokerUnreachable(BrokerError):
    """No MQTT broker answered: connection refused, dropped before CONNACK, or silent until the time limit."""


class BrokerRefused(BrokerError):
    """The broker answered and said no: wrong user or password, client id rejected, protocol not spoken.

    Attributes:
        transient: whether it may say yes later: a broker that is just starting is "unavailable".
    """

    transient: bool = False


class BadCertificate(BrokerError):
    """TLS cannot be spoken as asked: a file that cannot be used, or a certificate that one side refuses.

    Trying again does not mend it.
    """


class NotPermitted(BrokerError):
    """The broker refused a subscription. (Not every broker tells: Mosquitto filters at delivery instead.)"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens and who we are there.

    Attributes:
        host: name or address.
        port: 1-65535.
        user: user name, or None for an anonymous connection.
        password: its password; never shown by ``repr``.
        tls: whether the connection is encrypted and the broker's certificate verified.
        ca: path of the certificates that the broker's must be signed by; None: those the system trusts.
        cert, key: paths of a certificate to show to the broker and of its private key; None shows none.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    def place(self) -> dict[str, Any]:
        """Where it is and how TLS is spoken there, without user and password; JSON-able."""
        return {name: getattr(self, name) for name in _PLACE}

    @classmethod
    def at(cls, place: Mapping[str, Any], user: str | None, password: str | None) -> Address:
        """The address of this user at a ``place``."""
        return cls(user=user, password=password, **{name: place[name] for name in _PLACE})


_PLACE = ("host", "port", "tls", "ca", "cert", "key")


def parse_url(url: str, *, ca: str | None = None, cert: str | None = None, key: str | None = None) -> Address:
    """Read ``mqtt://[user[:password]@]host[:port]``; ``mqtts://`` means TLS.

    Args:
        url: the URL.
        ca, cert, key: as in ``Address``; for TLS only.
    Raises:
        ValueError: naming what is wrong with the URL.
    """
    parts = urlsplit(url)
    shown = re.sub(r"//.*@", "//***@", url)  # errors are shared, passwords are not
    if parts.scheme not in ("mqtt", "mqtts"):
        raise ValueError(f"broker URL {shown!r}: expected mqtt://HOST:PORT or mqtts://HOST:PORT")
    if not parts.hostname:
        raise ValueError(f"broker URL {shown!r}: no host given")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"broker URL {shown!r}: expected a port number of 0 to 65535") from error
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"broker URL {shown!r}: nothing may follow the port")
    tls = parts.scheme == "mqtts"
    for name, value in (("ca", ca), ("cert", cert), ("key", key)):
        if value is not None and not tls:  # whoever names a certificate wants no connection in the clear
            raise ValueError(
                f"broker URL {shown!r}: {name} = {value} is of no use without TLS; expected mqtts://"
            )
    if (cert is None) != (key is None):
        raise ValueError("a client certificate needs both: cert, the certificate, and key, its private key")
    return Address(
        host=parts.hostname,
        port=port if port is not None else (8883 if tls else 1883),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
        ca=ca,
        cert=cert,
        key=key,
    )


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this connection is lost without a goodbye."""

    topic: str
    payload: bytes


class Transport(abc.ABC):
    """One connection to a broker. Owned by one event loop; not thread-safe.

    Args:
        address: the broker and this connection's credentials.
        client_id: MQTT client id, unique at the broker.
        on_message: called on the loop with (topic, payload) for every message; must not raise.
        on_lost: called with a reason when an open connection is lost. The transport does not reconnect.
        will: last will, or None.
    """

    dropped: int = 0  # publishes refused because the write buffer was full or the connection gone

    def __init__(
        self,
        address: Address,
        client_id: str,
        on_message: OnMessage,
        on_lost: OnLost | None = None,
        will: Will | None = None,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self.on_message = on_message
        self.on_lost = on_lost
        self.will = will

    @abc.abstractmethod
    async def open(self, timeout: float = 5.0) -> None:
        """Connect and wait for the broker's acceptance.

        Raises:
            BrokerUnreachable: nobody answered within ``timeout`` seconds, or the connection broke first.
            BrokerRefused: the broker said no.
        """

    @abc.abstractmethod
    async def subscribe(self, topics: Sequence[str], timeout: float = 5.0) -> None:
        """Subscribe at QoS 0 and return once the broker has acknowledged every topic filter.

        Raises:
            NotPermitted: naming the filters that the broker refused.
            BrokerUnreachable: no acknowledgement within ``timeout`` seconds.
        """

    @abc.abstractmethod
    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the connection at QoS 0 and return at once.

        Never blocks and never raises for a lost connection or a full buffer: such a message counts in
        ``dropped``. That it was handed over says nothing about delivery.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Write out what was published, say goodbye (so that the will does not fire) and disconnect.

        Safe to call twice and on a connection that was never opened or is already lost.
        """
