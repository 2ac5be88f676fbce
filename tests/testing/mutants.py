"""The private goods mechanism, wrong in one way each: each class is named after the law that it breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from node.mechanisms.contract import OWN, Outcome
from node.mechanisms.private_goods import PrivateGoods, View
from node.testing import samples

CAPACITY = 5.0


def builder(contract=PrivateGoods, capacity=CAPACITY, xi=0.95, margin=1.02):
    """A factory for ``check_mechanism``: delta is ``margin`` N a_hi / 2, as the tuned parameters have it."""

    def build(hears, utilities):
        routes = samples.routes(hears)
        a = max(1 / float(u.curvature[0].min()) for u in utilities.values())
        delta = margin * len(hears) * a / 2
        goods = next(iter(utilities.values())).goods
        capacities = [capacity, -3.0][:goods]
        built = {i: contract(routes[i], hears[i], utilities[i], capacities, xi, delta) for i in hears}
        for one in built.values():
            one.everybody = built
        return built

    return build


class Mutant(PrivateGoods):
    everybody: dict


# Messages ------------------------------------------------------------------------------------------------


class TaxIsAnArray(Mutant):
    def outcome(self, message, view):
        got = super().outcome(message, view)
        return replace(got, tax=np.array([got.tax]))


class PriceHasTwoAxes(Mutant):
    def outcome(self, message, view):
        got = super().outcome(message, view)
        return replace(got, price=got.price[:, None])


class ReplyIsCutShort(Mutant):
    """Of single precision, though of the right shape."""

    def best_response(self, view):
        return super().best_response(view).astype(np.float32)


class Dice(Mutant):
    """Not deterministic, in the last bits only."""

    rng = np.random.default_rng()

    def best_response(self, view):
        return super().best_response(view) * (1 + 1e-14 * self.rng.random())


class Counts(Mutant):
    """Remembers how often it was asked."""

    asked = 0

    def outcome(self, message, view):
        self.asked += 1
        got = super().outcome(message, view)
        return replace(got, tax=got.tax * (1 + 1e-14 * (self.asked % 3)))


class WritesIntoWhatItHears(Mutant):
    def view(self, said):
        result = super().view(said)
        for message in said.values():
            message[-1] = 0.0
        return result


class WritesIntoItsMessage(Mutant):
    def outcome(self, message, view):
        got = super().outcome(message, view)
        message[0] = 0.0
        return got


class SpendsItsView(Mutant):
    """The view is used up by best_response."""

    def best_response(self, view):
        reply = super().best_response(view)
        view.targets[:] = 0.0
        return reply


class RefusesZeros(Mutant):
    def accepts(self, body, src):
        return super().accepts(body, src) and bool(body.any())


class AcceptsAnything(Mutant):
    def accepts(self, body, src):
        return True


class AcceptsAnyNumberType(Mutant):
    def accepts(self, body, src):
        return type(body) is np.ndarray and body.shape == self.shape


class RaisesOnOddBodies(Mutant):
    def accepts(self, body, src):
        return body.shape == self.shape and body.dtype == np.float64 and type(body) is np.ndarray


class ReadsAStranger(Mutant):
    """Without any use of it, so that nothing else changes."""

    def view(self, said):
        stranger = next(j for j in sorted(self.everybody) if j not in said and self.everybody[j] is not self)
        return replace(super().view(said), own=super().view(said).own + 0.0 * said[stranger][0])


class ReadsItsOwnMessage(Mutant):
    def view(self, said):
        me = next(i for i in self.everybody if self.everybody[i] is self)
        return replace(super().view(said), own=super().view(said).own + 0.0 * said[me][0])


class SharesABoard(Mutant):
    """Contracts that talk to one another past the messages; in the last bits, so that nothing else shows."""

    seen = 0.0

    def view(self, said):
        result = super().view(said)
        self.seen = float(result.demands[0])
        return result

    def best_response(self, view):
        others = sum(other.seen for other in self.everybody.values() if other is not self)
        return super().best_response(view) * (1 + 1e-14 * (others > 0))


class RemembersItsMessage(Mutant):
    """The best response leans on the message that the agent said before, in the last bits."""

    before = 0.0

    def outcome(self, message, view):
        self.before = float(message[0, 0])
        return super().outcome(message, view)

    def view(self, said):
        self.before = 0.0
        return super().view(said)

    def best_response(self, view):
        return super().best_response(view) * (1 + 1e-14 * (self.before != 0))


class ShowsAnOwnPrice(Mutant):
    """The price shown, not the one paid, moves with the own demand."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        return replace(got, price=got.price + 1e-6 * message[0])


class PaysAnOwnPrice(Mutant):
    """p_i contains y_i; the best response is that of before."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        more = 0.01 * message[0]
        tax = got.tax + float(more @ (got.allocation - self._share))
        return Outcome(got.allocation, got.price + more, tax)


# Incentives ----------------------------------------------------------------------------------------------


class Ripples(Mutant):
    """A tax that is least at the best response, and not convex."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        off = message[1 + self._me] - self.xi * message[0]
        return replace(got, tax=got.tax + 0.01 * float((1 - np.cos(30 * off)).sum()))


class RewardsWrongProxies(Mutant):
    """The sign of the squares is flipped."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        linear = float(got.price @ (got.allocation - self._share))
        return replace(got, tax=linear - (got.tax - linear))


class PaysForDemand(Mutant):
    """The sign of p.(x - c/N) is flipped."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        return replace(got, tax=got.tax - 2 * float(got.price @ (got.allocation - self._share)))


class NoEqualShare(Mutant):
    """Erratum E3: the best response as printed in (4.63), -c/N missing."""

    def best_response(self, view):
        reply = super().best_response(view)
        reply[0] += self._share
        reply[1 + self._me] = self.xi * reply[0]
        return reply


class EchoOfOne(Mutant):
    """Erratum E1: (4.16b) as printed, exponent 1 instead of g_i."""

    def __init__(self, *args):
        super().__init__(*args)
        self._echo = 1 / self.xi


class Hesitates(Mutant):
    """Goes a part of the way only, towards what it said at last: best at rest, not elsewhere."""

    nash: np.ndarray  # set by the test

    def best_response(self, view):
        reply = super().best_response(view)
        return reply + 0.05 * (self.nash - reply)


class PriceTaking(Mutant):
    """Asks for what the price is worth to it as if only a tenth of its demand counted."""

    def best_response(self, view):
        reply = super().best_response(view)
        reply[0] *= 0.9
        reply[1 + self._me] = self.xi * reply[0]
        return reply


class PaysForSilence(Mutant):
    """At the Nash messages of the others, and only there, saying nothing earns a prize."""

    quiet_at: View  # set by the test

    def outcome(self, message, view):
        got = super().outcome(message, view)
        at_rest = np.allclose(view.demands, self.quiet_at.demands, rtol=1e-6)
        return replace(got, tax=got.tax - 1e6 * (at_rest and not message.any()))


# Rest -----------------------------------------------------------------------------------------------------


class LooksAtDemandOnly(Mutant):
    """Proxies may be anything when the run stops."""

    def residual(self, reply, message, view):
        return float(np.abs(reply[0] - message[0]).max())


class NeverAtRest(Mutant):
    def residual(self, reply, message, view):
        return super().residual(reply, message, view) + 1e-3


class SizeIsASquare(Mutant):
    def size(self, message):
        return float(np.square(message).max())

    def residual(self, reply, message, view):
        return float(np.abs(reply - message).max())


class TrustsItsMemory(Mutant):
    def spread(self, remembered):
        return 0.0


class AsksForAStranger(Mutant):
    def spread(self, remembered):
        return max(
            remembered(i) if self.everybody[i] is not self else remembered(OWN) for i in self.everybody
        )


class SpreadIsASquare(Mutant):
    def spread(self, remembered):
        return remembered(OWN) ** 2


# Welfare -------------------------------------------------------------------------------------------------


class Fee(Mutant):
    """Everybody pays a little for taking part."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        return replace(got, tax=got.tax + 0.01)


class Tribute(Mutant):
    """The first agent pays the last one, much."""

    def outcome(self, message, view):
        got = super().outcome(message, view)
        return replace(got, tax=got.tax + 1e4 * ((self._me == 0) - (self._me == len(self.everybody) - 1)))


class Favourite(Mutant):
    """The first agent's price has a discount: efficient no more, and somebody has to pay for it."""

    def price(self, view):
        return super().price(view) - 0.5 * (self._me == 0)


class Plain:
    """Contracts of one row, at rest in the maximum norm."""

    def opening(self):
        return np.zeros((1, self.utility.goods))

    def accepts(self, body, src):
        return type(body) is np.ndarray and body.shape == (1, self.utility.goods) and body.dtype == np.float64

    def residual(self, reply, message, view):
        return self.size(reply - message)

    def size(self, message):
        return float(np.abs(message).max())

    def spread(self, remembered):
        return remembered(OWN)


class EqualSplit(Plain):
    """Another mechanism: everybody gets c/N for nothing, whatever is said; saying nothing is best."""

    def __init__(self, routes, neighbours, utility, capacities, xi, delta):
        self.utility, self.share = utility, np.array(capacities) / len(routes.agents)
        self.neighbours = neighbours

    def view(self, said):
        return [said[j].copy() for j in self.neighbours]

    def best_response(self, view):
        return self.opening()

    def outcome(self, message, view):
        return Outcome(self.share.copy(), np.zeros(self.utility.goods), float(np.square(message).sum()))


class PriceTakersMarket(Plain):
    """A Walrasian baseline: price-taking agents say demands, the price answers to all of them.

    Everybody hears everybody (a complete graph). The price is linear in the sum of demands, the own one
    included, and agents respond as if it were not: the price of the last round is taken as given.
    """

    slope = 2.0

    def __init__(self, routes, neighbours, utility, capacities, xi, delta):
        self.utility, self.capacity = utility, np.array(capacities)
        self.neighbours, self.agents = neighbours, len(routes.agents)

    def view(self, said):
        return sum(said[j][0] for j in self.neighbours)

    def price(self, own, others):
        return self.slope * (own + others - self.capacity) + 10.0

    def best_response(self, view):
        # x with v'(x) = slope (x + others - c) + 10: where its own demand meets the price it then sees.
        return self.utility.demand(self.slope * (view - self.capacity) + 10.0, self.slope)[None]

    def outcome(self, message, view):
        price = self.price(message[0], view)
        return Outcome(message[0].copy(), price, float(price @ (message[0] - self.capacity / self.agents)))
