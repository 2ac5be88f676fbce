"""What a run is doing while it runs: one panel in the terminal, or a line per phase where there is none."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import TracebackType

    from rich.console import Console

STARTING, SURVEY, AGREEING, PLAYING, STOPPING = "starting", "survey", "agreeing", "playing", "stopping"
# In this order; the network is in the earliest phase in which any agent is.
PHASES = (STARTING, SURVEY, AGREEING, PLAYING, STOPPING)
_PHASE_OF_KIND = {
    "": STARTING,
    "survey": SURVEY,
    "tree": SURVEY,
    "minimum": AGREEING,
    "maximum": AGREEING,
    "roles": AGREEING,
}
# A redraw costs about a millisecond, and some more for many agents; the eye asks for no more.
REDRAWS = 10  # a second
AGENT_COST = 2e-6  # seconds of a redraw an agent
# Rounds per second are measured over so many seconds.
PACE_OVER = 2.0
# Without a terminal, seconds from one line on who seems to be down to the next, and how many are named in it.
DOWN_PAUSE = 1.0
_NAMED = 5
BOUND = "contraction_bound"
# Which of what is recorded with the bound are parameters; with several goods there is "delta.0" and so on.
PARAMETERS = ("xi", "delta", "L")
# What is spoken in free mode while the set-up keeps rounds and the work waits for it.
_SET_UP = re.compile(r"waiting\+rounds\((.*)\)\Z")


def _phase(kind: str) -> str:
    """The phase in which this protocol is spoken."""
    waiting = _SET_UP.match(kind)
    return _PHASE_OF_KIND.get(waiting[1] if waiting else kind, PLAYING)


class Progress:
    """Shows phase, rounds, largest residual and certificate of a run. A context manager.

    ``update`` is cheap and may be called at any rate; the panel is drawn at most ten times a second, and only
    on a terminal. Elsewhere a plain line is written when the phase changes and, once a second at most, when
    others seem to be down than before; and nothing at all if ``quiet``.

    Args:
        console: where to; give one on stderr, so that stdout holds results only.
        agents: ids of the agents of the run.
        total: rounds after which the run ends at the latest, or None if it has no limit.
        quiet: whether to say nothing.
        clock: seconds, monotonic; for tests.
    """

    def __init__(
        self,
        console: Console,
        agents: Collection[str],
        total: int | None = None,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.phase = STARTING
        self.pace = 0.0  # rounds per second
        self._console, self._quiet, self._clock = console, quiet, clock
        self._total = total
        self._rounds: dict[str, int] = dict.fromkeys(agents, -1)  # -1: not connected yet
        self._phases: dict[str, str] = dict.fromkeys(agents, STARTING)
        # How many agents are in each: an update must not look at all agents.
        self._in_round = Counter(self._rounds.values())
        self._in_phase = Counter(self._phases.values())
        self._residuals: dict[str, float] = {}
        self._certificate: dict[str, float] = {}
        self._dropped: dict[str, Counter[str]] = {}
        self._restarted: dict[str, Counter[str]] = {}
        self._suspects: dict[str, Mapping[str, str]] = {}
        # Who seems to be down and by the word of how many, who was said to be, and when that was.
        self._doubted: Counter[str] = Counter()
        self._said_down: frozenset[str] = frozenset()
        self._said_at = -DOWN_PAUSE
        self._absent: dict[str, Mapping[str, str]] = {}
        self._notes: dict[str, str] = {}
        self._began = clock()
        self._pace_since = (self._began, 0)
        self._drawn = -1.0
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, agent: str, info: Mapping[str, Any]) -> None:
        """Take in where an agent stands.

        Args:
            agent: one of the agents of the run; others are ignored.
            info: ``round`` (int), ``kind`` (which protocol is spoken, "" before the first round), ``record``
                (newest measurements by name); optional ``state`` (joining, playing, lingering, gone),
                ``rejected`` (dropped messages by kind), ``restarted_by`` (neighbour -> how often its word
                made the agent start again), ``suspects`` (neighbour -> suspect or down) and
                ``absent`` (neighbours that it plays without -> why).
        """
        if agent not in self._rounds:
            return
        state, kind = info.get("state"), str(info.get("kind", ""))
        _move(self._in_round, self._rounds[agent], int(info.get("round", 0)))
        self._rounds[agent] = int(info.get("round", 0))
        record: Mapping[str, float] = info.get("record") or {}
        if (residual := record.get("residual")) is not None:
            self._residuals[agent] = residual
        if not self._certificate and BOUND in record:
            known = {name: record[name] for name in record if name.partition(".")[0] in PARAMETERS}
            self._certificate = {**known, BOUND: record[BOUND]}
        if rejected := info.get("rejected"):
            self._dropped[agent] = Counter(rejected)
        if restarted := info.get("restarted_by"):
            self._restarted[agent] = Counter(restarted)
        self._doubt(agent, info.get("suspects") or {})
        self._absent[agent] = info.get("absent") or {}
        if state in ("lingering", "gone"):
            self._enter(agent, STOPPING)
        else:
            self._enter(agent, STARTING if state == "joining" else _phase(kind))
        self._changed()

    def finished(self, agent: str) -> None:
        """An agent has given its result; whom it doubted matters to it no more."""
        if agent in self._rounds:
            self._enter(agent, STOPPING)
            self._doubt(agent, {})
            self._changed()

    def note(self, who: str, text: str) -> None:
        """Show a remark about somebody (the recorder, a host) until the next one; "" removes it."""
        if text:
            self._notes[who] = text
            if self._live is None:
                self._say(f"{who}: {text}")
        else:
            self._notes.pop(who, None)
        self._changed()

    def facts(self) -> dict[str, str]:
        """What is shown, by title: the content of the panel without its looks."""
        count = len(self._rounds)
        low, high = min(self._in_round, default=-1), max(self._in_round, default=-1)
        connected, done = count - self._in_round[-1], self._in_phase[STOPPING]
        shown = {"phase": self.phase, "agents": f"{connected} of {count} connected, {done} finished"}
        if high >= 0:
            span = f"{max(low, 0)}" if low == high else f"{max(low, 0)} to {high}"
            limit = f" (at most {self._total})" if self._total is not None else ""
            shown["round"] = span + limit + (f", {self.pace:,.0f} a second" if self.pace else "")
        if self._residuals:
            shown["largest residual"] = f"{max(self._residuals.values()):.2e}"
        if self._certificate:
            *parameters, (_, bound) = self._certificate.items()
            known = ", ".join(f"{name} {value:.9g}" for name, value in parameters[:4])
            shown["certificate"] = f"{known}: contraction bound {bound:.9g} a round"
        if dropped := sum(self._dropped.values(), Counter[str]()):
            shown["dropped"] = ", ".join(f"{count} {kind}" for kind, count in sorted(dropped.items()))
        if total := sum(self._restarted.values(), Counter[str]()):
            says = _accused(self._restarted)
            named = [
                f"{count} times by {other} (says {', '.join(says[other][:3])})"
                for other, count in total.most_common()
            ]
            shown["started again"] = "; ".join(named[:5]) + (" ..." if len(named) > 5 else "")
        if accused := _accused(self._suspects):
            named = [f"{other} (says {', '.join(by[:3])})" for other, by in sorted(accused.items())]
            shown["seem to be down"] = "; ".join(named[:_NAMED]) + (" ..." if len(named) > _NAMED else "")
        if absent := _accused(self._absent):
            named = [f"{other} (says {', '.join(by[:3])})" for other, by in sorted(absent.items())]
            shown["left behind"] = "; ".join(named[:5]) + (" ..." if len(named) > 5 else "")
        return shown | self._notes

    def _enter(self, agent: str, phase: str) -> None:
        _move(self._in_phase, self._phases[agent], phase)
        self._phases[agent] = phase

    def _doubt(self, agent: str, others: Mapping[str, str]) -> None:
        before = self._suspects.get(agent) or {}
        if before.keys() != others.keys():
            self._doubted.update(others.keys())
            self._doubted.subtract(before.keys())
            self._doubted = +self._doubted
        self._suspects[agent] = others

    @property
    def _slowest(self) -> int:
        return max(min(self._in_round, default=0), 0)

    def _changed(self) -> None:
        phase = next((phase for phase in PHASES if self._in_phase[phase]), STARTING)
        # Reports of different agents are not of the same moment: a phase once reached is not taken back.
        if PHASES.index(phase) > PHASES.index(self.phase):
            self.phase = phase
            self._say_phase()
        now = self._clock()
        since, then = self._pace_since
        if now - since >= PACE_OVER:
            slowest = self._slowest
            self.pace, self._pace_since = (slowest - then) / (now - since), (now, slowest)
        if self._live is None and now - self._said_at >= DOWN_PAUSE:
            self._say_down(now)
        if self._live is not None and now - self._drawn >= 1 / REDRAWS + 10 * AGENT_COST * len(self._rounds):
            self._drawn = now
            self._draw()

    def _say_phase(self) -> None:
        if self._live is not None:
            return
        seconds = self._clock() - self._began
        line = f"{self.phase}: {len(self._rounds)} agents, round {self._slowest}, {seconds:.1f} s"
        if self.phase == PLAYING and self._certificate:
            line += f"; {self.facts()['certificate']}"
        self._say(line)

    def _say_down(self, now: float) -> None:
        down = self._doubted.keys()
        if down == self._said_down:
            return
        new, back = sorted(down - self._said_down), sorted(self._said_down - down)
        if new:
            accused = _accused(self._suspects)
            named = [f"{other} (says {', '.join(accused[other][:3])})" for other in new[:_NAMED]]
            self._say(f"seem to be down: {'; '.join(named)}{_more(new)}")
        if back:
            self._say(f"heard again: {', '.join(back[:_NAMED])}{_more(back)}")
        self._said_down, self._said_at = frozenset(down), now

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _draw(self) -> None:
        if self._live is None:
            return
        table = Table.grid(padding=(0, 2))
        for title, text in self.facts().items():
            table.add_row(Text(title, style="bold"), Text(text))
        self._live.update(table, refresh=True)


def _accused(by_agent: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Who is named by whom."""
    named: dict[str, list[str]] = {}
    for agent, others in by_agent.items():
        for other in others:
            named.setdefault(other, []).append(agent)
    return named


def _more(others: Collection[str]) -> str:
    """How many there are beyond those that are named."""
    return f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""


def _move(counter: Counter[Any], before: Any, after: Any) -> None:
    """One of those that were ``before`` is ``after`` now; what nobody is is no longer there."""
    if before != after:
        counter[before] -= 1
        if not counter[before]:
            del counter[before]
        counter[after] += 1
