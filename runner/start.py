"""What a host is told first: by the runner over its socket, or in a file (see ``node.host.Host``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.part import Part

Credentials = dict[str, str | None]  # user, password, client_id


def start_message(
    parts: Sequence[Part],
    place: Mapping[str, Any],
    *,
    client: str,
    protocol: str,
    access: Mapping[str, Credentials] | None,
    shared: Credentials | None,
    stores: Mapping[str, str],
    sync: bool,
    import_path: Sequence[str],
    patient: bool,
) -> dict[str, Any]:
    """The ``start`` message of one host; JSON-able.

    Args:
        parts: its agents', at least one.
        place: where the broker is, an ``Address.place``.
        client: which MQTT client library.
        protocol: what every agent plays, as ``module:function``.
        access: agent -> credentials of its connection; None if all share one.
        shared: credentials of the connection that all share, or None.
        stores: agent -> directory of what it must not forget; agents without one forget.
        sync: whether a round is on the disk before the next one is said.
        import_path: folders with modules of the user's.
        patient: whether the broker may be away at first.
    """
    return {
        "type": "start",
        "run": parts[0].run,
        "client": client,
        "protocol": protocol,
        "import_path": list(import_path),
        "broker": dict(place),
        "shared": shared,
        "agents": [
            {"part": part.as_dict(), **({"access": access[part.agent]} if access is not None else {})}
            for part in parts
        ],
        "stores": {part.agent: stores[part.agent] for part in parts if part.agent in stores},
        "sync": sync,
        "life": 0,
        "released": False,
        "recorded": any(part.record_every for part in parts),
        "patient": patient,
    }
