"""What can go wrong with an agent, cut by whose fault it is."""

from __future__ import annotations


class AgentError(Exception):
    """This agent cannot go on; the text names the agent, the round and what was seen and expected."""


class TooFew(AgentError):
    """Those that are left in this part of the network are too few for what is to be played, or cannot play it
    without somebody. Not an end: whoever is cut off may come back, and all start again."""


class Misaligned(AgentError):
    """A neighbour was in another protocol in the same round: a bug in a protocol, not in the network."""


class DuplicateAgent(AgentError):
    """Another process already plays this agent in this run."""


class ContractMismatch(AgentError):
    """A neighbour plays by other public rules."""
