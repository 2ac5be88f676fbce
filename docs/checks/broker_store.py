"""What the embedded nats-server keeps on its disk for the last words of agents.

    python docs/checks/broker_store.py

A client publishes a retained status of 200 bytes for each of 1,023 agents, and again 20 times. The store's
size is that of its files, after the first time and the largest seen after.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from broker import access, mqtt, place, topics
from broker.embedded import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import Callable

AGENTS, BYTES, AGAIN = 1023, 200, 20


def size_of(folder: Path) -> int:
    """Bytes in the store of the broker below a folder; files that go away meanwhile do not count."""
    total = 0
    for file in folder.glob("*/jetstream/**/*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total


async def measure(folder: Path, out: Callable[[str], object]) -> None:
    """Publish, to a broker that keeps its files in this folder, and look."""
    place.MEMORY = folder
    names = [topics.status("store", f"a{k:04}") for k in range(AGENTS)]
    grant = access.Grant("speaker", access.new_password(), tuple(names), tuple(names[-1:]))
    async with EmbeddedBroker([grant]) as broker:
        heard = asyncio.Queue[bytes]()
        address = replace(broker.address, user=grant.user, password=grant.password)
        client = mqtt.make_transport(
            "gmqtt", address, secrets.token_hex(8), lambda _, payload: heard.put_nowait(payload)
        )
        await client.open()
        await client.subscribe(names[-1:])
        largest = 0
        for k in range(1 + AGAIN):
            payload = k.to_bytes(2, "big") * (BYTES // 2)
            for name in names:
                client.publish(name, payload, retain=True)
            while await heard.get() != payload:  # the last one has passed, so all have
                pass
            size = size_of(folder)
            largest = max(largest, size)
            if not k:
                out(f"{AGENTS} statuses of {BYTES} bytes: {size / 1e6:.2f} MB\n")
        out(f"each said {AGAIN} more times: {largest / 1e6:.1f} MB at most\n")
        await client.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as kept:
        asyncio.run(measure(Path(kept), sys.stdout.write))
