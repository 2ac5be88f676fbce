"""What one agent alone may know is in no other process than its own and the runner's."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.processes import table
from tests.processes.live import Live

AGENTS = ("a", "b", "c", "d", "e")


class Secret:
    """One agent's sigma and theta: random to the last bit, so that they are found nowhere by chance."""

    def __init__(self, rng):
        self.theta = -rng.uniform(0.8, 1.2)
        self.sigma = rng.uniform(10.0, 20.0)

    def patterns(self):
        """As they may lie in memory or a file: the numbers, what follows from theta alone, their digits."""
        numbers = (self.theta, self.sigma, -2 * self.theta, 1 / (-2 * self.theta))
        # Little-endian in memory and in arrays, big-endian in MessagePack.
        yield from (struct.pack(order, number) for number in numbers for order in ("<d", ">d"))
        yield from (repr(abs(number)).encode() for number in (self.theta, self.sigma))

    def inside(self, content):
        return any(pattern in content for pattern in self.patterns())


@pytest.fixture(scope="module")
def secrets():
    rng = np.random.default_rng(20_26)
    return {agent: Secret(rng) for agent in AGENTS}


@pytest.fixture
def scenario(secrets, tmp_path):
    rows = "\n".join(
        f"{agent} = {{ theta = {s.theta!r}, sigma = {s.sigma!r} }}" for agent, s in secrets.items()
    )
    path = tmp_path / "sentinels.toml"
    path.write_text(
        f"""
        [topology]
        nodes = {list(AGENTS)}
        edges = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"], ["e", "a"]]
        [environment]
        capacities = [5.0]
        eta = 1000.0
        [mechanism]
        parameters = "proof"
        [stopping]
        tolerance = 1e-12
        [utilities.agents]
        {rows}
        """
    )
    return path


def memory(pid):
    """Every page that a process has written to: its heap, stacks and data."""
    page = os.sysconf("SC_PAGE_SIZE")
    pieces = []
    with (
        open(f"/proc/{pid}/maps") as maps,
        open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap,
        open(f"/proc/{pid}/mem", "rb", buffering=0) as mem,
    ):
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(word, 16) // page for word in span.split("-"))
            pagemap.seek(8 * start)
            # Bit 63: in memory; bit 62: swapped out. The rest was never touched, and gigabytes of it.
            entries = np.frombuffer(pagemap.read(8 * (end - start)), np.uint64)
            touched = np.flatnonzero(entries >> np.uint64(62))
            for pages in np.split(touched, np.flatnonzero(np.diff(touched) > 1) + 1):
                if pages.size:
                    with contextlib.suppress(OSError):  # gone meanwhile, or a device's
                        mem.seek((start + int(pages[0])) * page)
                        pieces.append(mem.read(pages.size * page))
        # A pattern must not be found across a seam, nor missed because a piece was cut.
        return b"\0".join(pieces)


def open_files(pid):
    """What a process has open, by descriptor: where the link points."""
    folder = Path(f"/proc/{pid}/fd")
    return {int(link.name): os.readlink(link) for link in folder.iterdir()}


def test_the_net_has_no_hole(secrets):
    secret = secrets["a"]
    for pattern in secret.patterns():
        assert secret.inside(b"before" + pattern + b"after")
    assert not secrets["b"].inside(b"".join(secret.patterns()))


async def test_private_data_stays_in_its_own_process(spy, scenario, secrets):
    async with Live(scenario) as run:
        await run.until_playing(5, beyond=100)
        owners = {spy.pid_of(agent): agent for agent in AGENTS}
        assert len(owners) == 5
        roles = table.by_role()
        others = {pid: role for role in ("fork-server", "recorder", "broker", "guard") for pid in roles[role]}
        assert len(others) == 4
        assert {**owners, **others}.keys() == table.family().keys()  # nobody is left out
        whose = {pattern: agent for agent, secret in secrets.items() for pattern in secret.patterns()}
        any_of = re.compile(b"|".join(map(re.escape, whose)))
        for pid in (*owners, *others):
            found = {whose[pattern] for pattern in any_of.findall(memory(pid))}
            # Its own is found: the search would have found the others'.
            assert found == ({owners[pid]} if pid in owners else set()), owners.get(pid) or others[pid]


async def test_no_agent_is_started_with_private_data_or_has_it_open(spy, scenario, secrets):
    async with Live(scenario) as run:
        await run.until_playing(5)
        run_dir = Path.cwd() / "runs" / spy.run
        assert all(secret.inside((run_dir / "resolved.json").read_bytes()) for secret in secrets.values())
        roles = table.by_role()
        for pid in (*roles["host"], *roles["fork-server"]):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert not any(secret.inside(command + environment) for secret in secrets.values())
            for link in open_files(pid).values():
                target = Path(link)
                if not target.is_file():
                    continue  # a socket, a pipe, a device
                assert run_dir not in target.parents
                assert target != scenario
                assert not any(secret.inside(target.read_bytes()) for secret in secrets.values()), target


async def test_no_two_agents_share_a_socket(spy, scenario):
    # Nor does the fork server hold one over which an agent is told its part.
    async with Live(scenario) as run:
        await run.until_playing(5)
        roles = table.by_role()
        held = [
            {link for link in open_files(pid).values() if link.startswith("socket:")}
            for pid in (*roles["host"], *roles["fork-server"])
        ]
    assert len(set.union(*held)) == sum(map(len, held))


async def test_no_file_that_an_agent_can_name_holds_private_data(spy, scenario, secrets, monkeypatch):
    """It knows its run's id, its folder, its environment and its command line."""
    monkeypatch.setenv("PWD", str(Path.cwd()))  # as every shell does
    monkeypatch.setenv("OLDPWD", str(Path.cwd()))
    async with Live(scenario) as run:
        await run.until_playing(5)
        (pid, *_) = table.by_role()["host"]
        words = re.split(rb"[\0:=]", Path(f"/proc/{pid}/environ").read_bytes())
        words += Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        places = {Path(os.readlink(f"/proc/{pid}/cwd"))}
        places |= {
            path for word in words if (path := Path(os.fsdecode(word))).is_absolute() and path.is_dir()
        }
        for place in places:
            for folder in (place, place / spy.run, place / "runs" / spy.run):
                for file in folder.glob("*") if folder.is_dir() else ():
                    if file.is_file() and file.suffix in (".toml", ".json"):
                        found = [a for a, secret in secrets.items() if secret.inside(file.read_bytes())]
                        assert not found, f"{file} holds the private data of {found}"


async def test_start_message_holds_one_agents_part_only(spy, scenario, secrets):
    async with Live(scenario) as run:
        await run.until(lambda: len(spy.starts) == 5, "every host is told its part")
    for message in spy.starts.values():
        (entry,) = message["agents"]
        content = repr(message).encode()
        found = {agent for agent, secret in secrets.items() if secret.inside(content)}
        assert found == {entry["part"]["agent"]}
        own = entry["access"]["password"]
        passwords = {grant.password for grant in spy.grants.values()}
        assert [password for password in passwords if password.encode() in content] == [own]
