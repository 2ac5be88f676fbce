"""The summary contracts: messages of O(degree) numbers on a spanning tree (spec of chapter 4, section 3).

N(i) are the neighbours of agent i on the tree, phi(i) in N(i) carries its echo, I_i = {k : phi(k) = i}.
An agent's message is one array of shape (1 + |N(i)| + |I_i|, K): row 0 is its demand y_i, then n_i^j for
each j in N(i), the sum of the demands of all agents behind j, then q_i^j for each j in I_i, its proxy of
that neighbour's demand. That is fewer than four rows on average, whatever N. From the neighbours' messages

    B_i^j = y_j + sum over k in N(j), k != i, of n_j^k,      A_i = sum over j of B_i^j,
    q_i   = q_phi(i)^i

so A_i is what agent i makes of the sum of all other demands and q_i of its own. With weights w_i > 0 that
sum to 1 and a price scale delta > 0, both fixed before play, D_i = delta (1 - w_i):

    private goods (``Echoed``: plain and weighted; ``Anchored``)
        allocation  x_i = (1 - w_i) y_i - w_i A_i + c/N
        price       p_i = (q_i + A_i) / delta                      no dependence on the own message
        tax         t_i = p_i.(x_i - c/N) + sum_j |n_i^j - B_i^j|^2 + sum_j |q_i^j - y_j|^2
                          (+ (1 - w_i)/(2 delta) |q_i - y_i|^2 if anchored)
    public goods (``AnchoredPublic``)
        allocation  x_i = y_i + A_i
        price       p_i = delta ((1 - w_i) q_i - w_i A_i)
        tax         t_i = p_i.x_i + the same squares + D_i/2 |q_i - y_i|^2

The plain contract of the thesis (4.14) has x_i = y_i - A_i/(N-1) + c/N: w_i = 1/N and y in other units.

B must be summed over k != i: "the total minus the own" feeds roundings back and never comes to rest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.contract import OWN, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.mechanisms.summary.place import Place
    from node.mechanisms.summary.weights import Terms
    from node.numbers import Matrix, Vector
    from node.part import AgentId
    from node.utilities import Utility


@dataclass(slots=True)
class View:
    """What an agent reads out of its neighbours' messages.

    Attributes:
        others: A_i, the sum of all other demands, shape (K,).
        own: q_i, the own demand as it comes back, shape (K,).
        targets: what the rows of n and q are to be, in the layout of the own message; row 0 is unused.
    """

    others: Vector
    own: Vector
    targets: Matrix


class Summary(ABC):
    """One agent's side of a summary contract; subclasses say what is allocated and at what price, and
    ``slope``, how much more of each good a unit more of the own demand brings, shape (K,).

    Args:
        place: its place on the tree.
        utility: its private valuation of K goods.
        terms: its weight, the price scale and the weights of the norm.
        share: c/N, shape (K,); zeros for public goods.
    Raises:
        ValueError: for a utility of other goods.
    """

    def __init__(self, place: Place, utility: Utility, terms: Terms, share: Vector) -> None:
        goods = share.size
        if utility.goods != goods or terms.weight.size != goods:
            raise ValueError(
                f"agent {place.me}: utility of {utility.goods} goods, weights of {terms.weight.size}, "
                f"expected {goods}"
            )
        self.utility = utility
        self.slope: Vector
        self.shape = (place.own.rows, goods)
        # The rows of a message in which the agent repeats others, for them to hear.
        self.repeated = np.arange(1, place.own.rows)
        self.weight, self.rest, self.delta, self.share = terms.weight, terms.rest, terms.delta, share
        self._shapes = {j: (layout.rows, goods) for j, layout in place.layouts.items()}
        self._neighbours, self._echo = place.own.neighbours, place.echo
        self._last = 1 + len(self._neighbours)  # of the rows y and n, exclusive

        # The neighbours' messages are read as one stacked array; these are the rows to take from it: first,
        # neighbour by neighbour, what B_i^j adds up, then what the q repeat, then the own echo.
        start, rows = {}, 0
        for j in self._neighbours:
            start[j] = rows
            rows += place.layouts[j].rows
        taken: list[int] = []
        segments: list[int] = []
        for j in self._neighbours:
            theirs = place.layouts[j]
            segments.append(len(taken))
            taken.append(start[j])
            taken.extend(start[j] + 1 + row for row, k in enumerate(theirs.neighbours) if k != place.me)
        self._added = len(taken)
        taken.extend(start[j] for j in place.own.carried)
        taken.append(start[place.echo] + place.layouts[place.echo].q(place.me))
        self._taken, self._segments = np.array(taken), np.array(segments)
        # 1 / weight in the norm of the rows y and n and of the echo, shape (2 + |N(i)|, K).
        y, n = terms.norm
        self._inverse: Matrix = 1.0 / np.stack([y, *(n[j] for j in self._neighbours), y])
        self._scratch = np.empty_like(self._inverse)
        self._together = not terms.by_good

    def opening(self) -> Matrix:
        """The first message, the same for all: nothing is demanded."""
        return np.zeros(self.shape)

    def accepts(self, body: Any, src: AgentId) -> bool:
        """Whether a neighbour's body is a float64 array of the shape that its place on the tree gives."""
        return type(body) is np.ndarray and body.shape == self._shapes.get(src) and body.dtype == np.float64

    def view(self, said: Mapping[AgentId, Matrix]) -> View:
        """B, A and the echo; nothing of the own message enters."""
        taken = np.concatenate([said[j] for j in self._neighbours])[self._taken]
        targets = np.zeros(self.shape)
        behind = targets[1 : self._last]
        np.add.reduceat(taken[: self._added], self._segments, axis=0, out=behind)
        targets[self._last :] = taken[self._added : -1]
        return View(np.add.reduce(behind, axis=0), taken[-1], targets)

    def best_response(self, view: View) -> Matrix:
        """The unique message that maximises v_i(x_i) - t_i against the neighbours'."""
        reply = view.targets.copy()
        reply[0] = self.demand(view)
        return reply

    def outcome(self, message: Matrix, view: View) -> Outcome:
        """Allocation, price and tax when this agent says ``message`` against the neighbours' messages."""
        allocation, price = self.allocation(message[0], view), self.price(view)
        off = message[1:] - view.targets[1:]
        squares = float(np.square(off).sum()) + self.anchor(message[0], view)
        return Outcome(allocation, price, float(price @ (allocation - self.share)) + squares)

    def residual(self, reply: Matrix, message: Matrix, view: View) -> float:
        """How far the message is from the best response, in the norm of the certificate; see ``weights``.

        Its rows y and n are this agent's to look after, and of the neighbour's message the echo of its own
        demand: its weight in the norm is known here and not there. So every number is looked after by one
        agent, and all residuals are at most r if and only if |beta(m) - m| <= r in the norm.
        """
        off, last = self._scratch, self._last
        np.subtract(reply[:last], message[:last], out=off[:last])
        np.subtract(view.own, message[0], out=off[last])
        return self._norm(off, self._inverse)

    def size(self, message: Matrix) -> float:
        """The size of a message in the same norm."""
        rows = message[: self._last]
        return self._norm(rows, self._inverse[: len(rows)])

    def spread(self, remembered: Callable[[AgentId], float]) -> float:
        """See ``Contract``: of the own rows y and n, and of the echo, as it is remembered here.

        The finest row decides for all: the dynamics tell largest numbers, not rows.
        """
        finest, own = float(self._inverse.max()), float(self._inverse[0].max())
        lengths = math.sqrt(self.utility.goods) if self._together else 1.0
        return lengths * max(finest * remembered(OWN), own * remembered(self._echo))

    def _norm(self, rows: Matrix, inverse: Matrix) -> float:
        scaled = rows * inverse
        if self._together:
            return math.sqrt(np.maximum.reduce(np.add.reduce(scaled * scaled, axis=1)))
        return float(np.maximum.reduce(np.abs(scaled), axis=None))

    @abstractmethod
    def demand(self, view: View) -> Vector:
        """y_i of the best response, shape (K,)."""

    @abstractmethod
    def allocation(self, demand: Vector, view: View) -> Vector:
        """x_i for the own demand, shape (K,)."""

    @abstractmethod
    def price(self, view: View) -> Vector:
        """p_i, shape (K,)."""

    def anchor(self, demand: Vector, view: View) -> float:
        """The tax's term that removes the echo; nothing unless anchored."""
        return 0.0


class Echoed(Summary):
    """Private goods, plain or weighted: the price contains the own echo, which comes back two rounds later.

    Best response y_i = [(grad v_i)^{-1}(p_i) - c/N + w_i A_i] / (1 - w_i); at equilibrium
    y_i = x_i* - c/N + w_i delta lambda*, p_i = lambda*. Needs w_i < 1/2. With ``terms.stretch`` = N/(N-1) and
    w_i = 1/N it is the plain contract, whose coefficients of y and A are 1 and 1/(N-1).
    """

    def __init__(self, place: Place, utility: Utility, terms: Terms, share: Vector) -> None:
        super().__init__(place, utility, terms, share)
        self._own, self._other = terms.stretch * self.rest, terms.stretch * self.weight
        self.slope = self._own

    def demand(self, view: View) -> Vector:
        """See the class."""
        wanted = self.utility.demand(self.price(view))
        return (wanted - self.share + self._other * view.others) / self._own

    def allocation(self, demand: Vector, view: View) -> Vector:
        """x_i = (1 - w_i) y_i - w_i A_i + c/N."""
        return self._own * demand - self._other * view.others + self.share

    def price(self, view: View) -> Vector:
        """p_i = (q_i + A_i) / delta."""
        return (view.own + view.others) / self.delta


class Anchored(Summary):
    """Private goods, anchored: a tax on the distance to the own echo takes the echo out of the best response.

    x_i = argmax v_i(x) - |x|^2 / (2 D) - x.(A_i - c/N) / D with D = D_i, and then y_i follows from the
    allocation rule. There D grad v_i(x_i) = x_i + A_i - c/N, so y_i = x_i - c/N + w_i delta grad v_i(x_i):
    in this form it does not lose the digits that w_i A_i, a part of N, would cost. At equilibrium
    y_i = x_i* - c/N + w_i delta lambda*, p_i = lambda*.
    """

    def __init__(self, place: Place, utility: Utility, terms: Terms, share: Vector) -> None:
        super().__init__(place, utility, terms, share)
        self._span = self.delta * self.rest  # D_i
        self._ridge = 1.0 / self._span
        self.slope = self.rest
        self._slope = self.weight * self.delta

    def demand(self, view: View) -> Vector:
        """See the class."""
        x = self.utility.demand((view.others - self.share) / self._span, self._ridge)
        return x - self.share + self._slope * self.utility.gradient(x)

    def allocation(self, demand: Vector, view: View) -> Vector:
        """x_i = (1 - w_i) y_i - w_i A_i + c/N."""
        return self.rest * demand - self.weight * view.others + self.share

    def price(self, view: View) -> Vector:
        """p_i = (q_i + A_i) / delta."""
        return (view.own + view.others) / self.delta

    def anchor(self, demand: Vector, view: View) -> float:
        """(1 - w_i) / (2 delta) |q_i - y_i|^2."""
        off = view.own - demand
        return 0.5 * float((self.rest / self.delta) @ (off * off))


class AnchoredPublic(Summary):
    """Public goods, anchored: all agents get the same x, and the prices of all of them sum to zero.

    x_i = argmax v_i(x) - D/2 |x|^2 + delta A_i.x with D = D_i, and y_i = x_i - A_i. There
    grad v_i(x_i) = D x_i - delta A_i, so y_i = w_i x_i + grad v_i(x_i) / delta, without the cancellation.
    At equilibrium y_i = w_i x* + mu_i*/delta, p_i = mu_i* = grad v_i(x*).
    """

    def __init__(self, place: Place, utility: Utility, terms: Terms, share: Vector) -> None:
        super().__init__(place, utility, terms, share)
        self._span = self.delta * self.rest  # D_i
        self.slope = np.ones(utility.goods)

    def demand(self, view: View) -> Vector:
        """See the class."""
        x = self.utility.demand(-self.delta * view.others, self._span)
        return self.weight * x + self.utility.gradient(x) / self.delta

    def allocation(self, demand: Vector, view: View) -> Vector:
        """x_i = y_i + A_i."""
        return demand + view.others

    def price(self, view: View) -> Vector:
        """p_i = delta ((1 - w_i) q_i - w_i A_i)."""
        return self.delta * (self.rest * view.own - self.weight * view.others)

    def anchor(self, demand: Vector, view: View) -> float:
        """D_i/2 |q_i - y_i|^2."""
        off = view.own - demand
        return 0.5 * float(self._span @ (off * off))
