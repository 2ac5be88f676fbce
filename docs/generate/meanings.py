"""What the keys of a scenario file are for, model by model; a test holds every key to being here.

Under ``""`` are keys that mean the same in every table that has them.
"""

from __future__ import annotations

_DRAWN = "drawn for each agent and good, one number for all of them, or one per good"

MEANINGS: dict[str, dict[str, str]] = {
    "": {
        "seed": "what the draws of this table come from",
        "sigma": "the slope of the utility at 0 (log-cosh: at its centre, less the part of `low`)",
        "kind": "which kind of table this is",
        "name": "which mechanism is played",
        "parameters": "how the public constants are chosen",
        "delta": "the price scale",
        "unguaranteed": "whether to play without a proof of convergence; the run then promises nothing",
        "eta": "the bound on everybody's curvature that all agents know",
        "loss": "how likely it is that a message does not arrive",
        "duplicate": "how likely it is that a message arrives twice",
        "reorder": "how likely it is that a message is held back, so that others overtake it",
        "delay": "how much later than usual messages arrive",
        "at": "when it happens",
        "down": "how long it takes until they come back",
        "lasts": "how long it lasts",
        "family": "which form the utilities have",
        "w": "the weight of the utility: what it is worth to get more",
        "s": "how much it takes until more is worth clearly less",
        "alpha": "how fast a further unit loses its worth, of alpha-fair utilities",
        "theta": "half the curvature of a quadratic utility, negative",
        "edges": "who is connected with whom",
    },
    "Generated": {
        "agents": "how many agents there are",
        "branching": "how many children an inner agent has",
        "p": "how likely an edge is (small-world: how likely it is rewired)",
        "neighbours": "how many nearest agents everybody is linked to before edges are rewired",
        "links": "how many earlier agents a new one is linked to",
        "degree": "how many neighbours everybody has",
        "rows": "how many rows the grid has",
        "columns": "how many columns the grid has",
        "chords": "how many one-way edges are added to the cycle",
        "generator": "which graph is made",
    },
    "Scenario": {
        "name": "the name of the scenario, part of the run's id",
        "title": "what the table of a run is headed with",
        "seed": "everything random that has no seed of its own comes from it",
        "topology": "who listens to whom",
        "environment": "what is to be shared",
        "utilities": "what everybody wants",
        "mechanism": "by which rules it is shared",
        "learning": "what agents respond to",
        "synchrony": "how agents keep step",
        "stopping": "when to stop, and how accurate the outcome is to be",
        "broker": "what carries the messages",
        "recovery": "what happens to processes that are killed",
        "faults": "what is to go wrong",
        "record": "what is kept of the run",
    },
    "Explicit": {
        "nodes": "the agents",
        "edges": "who listens to whom: [i, j] means that i listens to j",
        "directed": "whether an edge goes one way only",
    },
    "GraphFile": {
        "file": "where the graph is, relative to the scenario file",
        "directed": "whether an edge goes one way only",
    },
    "FromLinks": {"links": "how those who share a link are connected"},
    "Environment": {"capacities": "how much of each good there is"},
    "PublicEnvironment": {"features": "how many numbers make up the public good"},
    "ConsensusEnvironment": {"values": "what each agent has, and nobody else knows"},
    "NetworkEnvironment": {
        "links": "capacities by hand: links, or for linear constraints rows",
        "backbone": "a physical network whose edges become links",
        "flows": "the agents: traffic through the backbone",
        "groups": "agents that get the same stream, or share a public good",
        "floor": "an amount below every agent's at the optimum; linear constraints only",
        "ceilings": "the largest demand of an agent that no row limits; linear constraints only",
        "valuations": "everybody's utility",
    },
    "LinkSection": {
        "capacity": "how much the link carries",
        "agents": "who uses it",
        "coefficients": "who uses it, and how much of it for each unit",
        "relays": "who passes messages about it on without using it",
    },
    "Backbone": {
        "edges": "the physical links",
        "file": "a graph file to read them from, relative to the scenario file",
        "capacity": "how much an edge carries that does not say",
        "directed": "whether an edge carries one direction only",
    },
    "Flow": {
        "source": "where the traffic enters",
        "target": "where it leaves",
        "path": "which path it takes, counted by length",
        "coefficient": "how much of a link a unit of it takes",
        "group": "whose stream it receives",
    },
    "Valuations": {
        "families": "which forms the utilities have, in turn over the agents",
        "agents": "utilities that are given by hand",
    },
    "QuadraticFamily": {
        "theta": f"half the curvature, negative: {_DRAWN}",
        "sigma": f"the slope at 0: {_DRAWN}",
    },
    "QuadraticFormFamily": {"curvature": f"the eigenvalues of minus the Hessian: {_DRAWN}"},
    "LogCoshFamily": {
        "low": f"the curvature far from the centre: {_DRAWN}",
        "high": f"the curvature at the centre: {_DRAWN}",
        "centre": f"where the curvature is largest: {_DRAWN}",
        "width": f"how wide the steep part is: {_DRAWN}",
    },
    "CustomFamily": {
        "class_": "the class, looked for where Python looks and then beside the scenario file",
        "parameters": "what the class is made with, the same for all agents or drawn",
    },
    "Family": {"agents": "every agent's own parameters, in place of draws"},
    "Quadratic": {"theta": "half the curvature, negative", "sigma": "the slope at 0"},
    "QuadraticForm": {"hessian": "the second derivatives, a symmetric matrix with negative eigenvalues"},
    "LogCosh": {
        "low": "the curvature far from the centre",
        "high": "the curvature at the centre",
        "centre": "where the curvature is largest",
        "width": "how wide the steep part is",
    },
    "Mechanism": {"xi": "the damping of proxies"},
    "SummaryMechanism": {
        "variant": "which form of the contract is played",
        "cap": "the largest weight that an agent may have",
    },
    "ConsensusMechanism": {
        "primitive": "what the agents find out together, and how",
        "rho": "a bound on the second largest absolute eigenvalue, to accelerate with",
        "f": "how many liars are borne",
        "diameter": "the diameter, where it is known, in place of a survey",
    },
    "NetworkMechanism": {
        "balance": "what is promised of the sum of taxes",
        "eta": "the weight of the tax term on capacity left over",
        "xi": "the weight of the second such term, of multicast",
        "zeta": "the weight of the tax term on guesses of the factor",
        "prices": "how prices move",
        "kappa": "a factor of the step in which prices move",
        "gamma": "the step in which prices move",
        "start": "the first price of every link",
        "exchange": "how the agents of a link come to know the same numbers",
        "moves": "how often prices move from one allocation to the next; left out: what fits into 2 D rounds",
    },
    "Learning": {
        "dynamics": "what an agent believes after what it heard",
        "k": "how many rounds are averaged",
    },
    "Synchrony": {
        "mode": "whether agents wait for each other's round or go at their own pace",
        "tick": "how often a freely running agent acts",
    },
    "Stopping": {
        "rule": "how all find out that all are done",
        "tolerance": "the accuracy that is promised, relative to `scale`; of averages, absolute",
        "scale": "the size of allocation that the tolerance is relative to",
        "max_rounds": "when to leave in any case, promise or not",
    },
    "Broker": {
        "server": "which broker is started",
        "client": "which library agents speak MQTT with",
        "connections": "whether agents of one process share one; the broker then knows them apart no more",
        "port": "the port of the broker that is started",
        "url": "a broker that runs already",
        "ca": "the authority that must have signed the broker's certificate",
        "cert": "the certificate to show to the broker",
        "key": "the private key of that certificate",
    },
    "Recovery": {
        "restart": "whether killed processes, the embedded broker too, are started again",
        "durable": "what an agent must not forget: nothing, what a process may lose, what a machine may lose",
        "on_down": "whether the others wait for an agent that is down or go on without it",
        "grace": "how long an agent may be down before the others go on",
    },
    "Faults": {
        "until": "when losses, copies and delays cease",
        "slow": "who is slower than the others, and by how much",
        "link": "links that are worse or better than the others",
        "event": "what happens when",
        "storm": "events that are drawn",
    },
    "LinkFaults": {"links": "which links"},
    "Crash": {"agents": "who is killed"},
    "Amnesia": {"agents": "who is killed"},
    "Pause": {"agents": "who stands still"},
    "Cut": {"links": "where nothing passes"},
    "Partition": {"groups": "between whom nothing passes"},
    "BrokerKill": {"forget": "whether what the broker retained is lost"},
    "Leave": {"agents": "who leaves for good"},
    "Join": {"agents": "who comes later"},
    "Storm": {
        "between": "when they may happen",
        "crash": "how many crashes",
        "amnesia": "how many crashes that lose the memory",
        "pause": "how many pauses",
        "cut": "how many cut links",
        "partition": "how many partitions",
        "broker_kill": "how many times the broker dies",
        "leave": "how many agents leave for good",
        "join": "how many agents come later",
        "lasts": "how long each of them lasts",
    },
    "Record": {
        "every": "how many rounds lie between two rows of an agent",
        "agents": "how many agents are recorded",
        "plot": "whether a convergence plot is drawn at the end",
    },
}


def meaning(names: tuple[str, ...], key: str) -> str:
    """What a key is for.

    Args:
        names: of the model and of the models that it inherits from, nearest first.
        key: the model's name for it.
    Raises:
        KeyError: naming model and key, if that is written nowhere.
    """
    for name in (*names, ""):
        if key in MEANINGS.get(name, {}):
            return MEANINGS[name][key]
    raise KeyError(f"{names[0]}.{key}: no meaning; expected one in docs/generate/meanings.py")
