"""Any MQTT 3.1.1 broker, through one of two client libraries behind the same contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from broker.transport import Address, OnLost, OnMessage, Transport, Will

Client = Literal["gmqtt", "aiomqtt"]


def make_transport(
    client: Client,
    address: Address,
    client_id: str,
    on_message: OnMessage,
    on_lost: OnLost | None = None,
    will: Will | None = None,
) -> Transport:
    """A transport, not yet opened, on the named client library; the other one is not imported.

    Args:
        client: ``"gmqtt"``: several times less CPU per message. ``"aiomqtt"``: the widespread one.
        address, client_id, on_message, on_lost, will: see ``Transport``. On NATS and Mosquitto any
            authenticated user who connects with the client id of another takes its place: choose ids
            that cannot be guessed.
    Raises:
        ValueError: for any other client.
    """
    # Imported late: an agent process pays for the start and the memory of one library, not of both.
    if client == "gmqtt":
        from broker.gmqtt_client import GmqttTransport

        return GmqttTransport(address, client_id, on_message, on_lost, will)
    if client == "aiomqtt":
        from broker.aiomqtt_client import AiomqttTransport

        return AiomqttTransport(address, client_id, on_message, on_lost, will)
    raise ValueError(f"client: expected 'gmqtt' or 'aiomqtt', got {client!r}")
