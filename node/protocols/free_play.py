"""Allocation in free mode: best responses to the newest messages, and a stop that keeps the same promise."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from node.combinators import throughout
from node.consensus.counters import counters
from node.numbers import Matrix
from node.protocol import Heard, Protocol, Say
from node.protocols.allocate import Table, game_of, prepare, utility_of
from node.protocols.free import Plan, free_run
from node.protocols.play import DIVERGED, ROUNDING, Diverged, Game, Played, measurements

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part

Snapshot = tuple[Matrix, Matrix, float, bool, int]


def allocate_freely(part: Part, resume: Any = None) -> Protocol:
    """Find this agent's allocation, its price and its tax, with no barrier between the agents.

    As ``node.protocols.allocate``, but for how time is kept: survey and agreement keep rounds while play
    waits; then play runs freely and the counters keep rounds.

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
    Returns:
        (as a generator) ``Allocated``; its ``play_rounds`` are this agent's ticks of play.
    Raises:
        ValueError: if the part names an unknown mechanism or stopping rule, or a learning dynamics that is
            not Cournot's.
        NoGuarantee: as ``node.protocols.allocate.prepare``.
    """
    rules = part.contract
    if rules["learning"] != "cournot":
        # Beliefs that are averages over ticks would depend on who ticks how fast.
        raise ValueError(f"learning dynamics {rules['learning']!r}: free mode plays 'cournot' only")
    utility = utility_of(part)

    limit = rules["stopping"].get("max_rounds")
    plan = Plan(
        set_up=partial(prepare, part, utility),
        # One more than the diameter: see ``free_play``.
        rule=lambda table, state: counters(table.routes.diameter + 1, state),
        fold=throughout,
        work=lambda table, state: free_play(game_of(part, utility, table), len(part.hears), limit, state),
        result=lambda table, played, stopped, ticks: table.result(played, stopped),
        pack=Table.pack,
        unpack=Table.unpack,
    )
    return free_run(plan, part, resume)


def free_play(
    game: Game, neighbours: int, max_ticks: int | None = None, resume: Snapshot | None = None
) -> Generator[Say, Heard, Played]:
    """Respond to the newest message of every neighbour, until the counters beside it give the verdict.

    Reports whether this agent is at rest. There is no round in which all residuals could be compared, so each
    agent drops an *anchor*: it is at rest while its best responses stay within half the threshold of one and
    the same message, the anchor; one that does not becomes the new anchor, and is not at rest. Until every
    neighbour has been heard it says its opening and is not at rest.

    Guarantee, if best response contracts by L < 1 in the contract's norm, under ``in_rounds(counters(D + 1),
    fold=throughout)`` in the same messages: when all stop, every message is within threshold / (1 - L) of the
    equilibrium, as after ``repeated_play``. The argument:

    1. Call the side's round in which a message is said its tag. An agent that says tag k has heard tags >=
       k-1 of all neighbours, none > k+1, and its message is the best response to the messages that bore
       them; to the first one that it says with tag k, none > k.
    2. A count of D + 2 after round k means that all agents were at rest throughout rounds k-D-1 and k-D:
       counts grow by one a round and hop, so it means that agents d hops away were in round k-d, for d up to
       D + 1, and nobody is more than D away. Call these rounds t and t+1. Since a new anchor is not at
       rest, agent i has one anchor a_i in both, and all that it says in them is within threshold / 2 of it.
    3. So the first message of i with tag t+1 is the best response to messages with tags t and t+1, each
       within threshold / 2 of its anchor, and is itself within threshold / 2 of a_i. Hence the profile of all
       anchors has |beta(a) - a| <= L threshold / 2 + threshold / 2, and its distance from the equilibrium is
       at most (1 + L) threshold / (2 (1 - L)).
    4. Messages with tags t and t+1 are then within (1 + L) threshold / (2 (1 - L)) + threshold / 2 =
       threshold / (1 - L) of it. All with later tags are best responses to such ones or to one another, and
       nearer still: this holds whether or not somebody is driven from its anchor before all stop.

    Liveness: messages converge, so from some time on every best response is within threshold / 4 of the
    equilibrium, and an anchor dropped after that is never lost.

    Args:
        game: the contract, the threshold, and facts to record with the first message.
        neighbours: how many the agent listens to.
        max_ticks: ticks, once all neighbours have been heard, after which to leave without a verdict.
        resume: a snapshot, or None.
    Raises:
        Diverged: if the messages grow without bound.
    """
    contract, threshold = game.contract, game.rest.threshold
    if resume is None:
        message = anchor = contract.opening()
        residual, quiet, ticks = math.inf, False, 0
    else:
        message, anchor, residual, quiet, ticks = resume
    measured = game.facts if ticks == 0 else None
    while True:
        heard = yield Say(
            message,
            kind="play",
            accepts=contract.accepts,
            report=quiet,
            record=measured,
            snapshot=(message, anchor, residual, quiet, ticks),
        )
        measured = None
        if len(heard.said) < neighbours:
            continue
        ticks += 1
        view = contract.view(heard.said)
        outcome = contract.outcome(message, view)
        if heard.verdict is not None or ticks == max_ticks:
            return Played(outcome, ticks, residual, heard.verdict is not None, message)
        reply = contract.best_response(view)
        residual = contract.residual(reply, message, view)
        size = contract.size(reply)
        if not size < DIVERGED:
            raise Diverged(f"the largest number to be said is {size:g}, the residual {residual:g}")
        quiet = contract.size(reply - anchor) <= max(threshold / 2.0, ROUNDING * size)
        if not quiet:
            anchor = reply
        message = reply
        measured = measurements(outcome, residual)
