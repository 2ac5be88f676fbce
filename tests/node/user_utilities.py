"""Classes as a user would write them: good ones, and one for everything that can be wrong."""

from __future__ import annotations

import numpy as np


class PseudoHuber:
    """-low x^2/2 - gap w^2 (sqrt(1 + u^2) - 1) + sigma x, u = (x - m)/w: curvature in (low, low + gap]."""

    separable = True

    def __init__(self, sigma, low=0.5, gap=2.0, m=0.0, w=1.0):
        self.sigma, self.low, self.gap, self.m, self.w = sigma, low, gap, m, w
        self.curvature = (low, low + gap)

    def value(self, x):
        u = (x - self.m) / self.w
        bend = self.w**2 * u**2 / (np.sqrt(1 + u**2) + 1)
        return np.sum(self.sigma * x - self.low * x**2 / 2 - self.gap * bend)

    def gradient(self, x):
        u = (x - self.m) / self.w
        return self.sigma - self.low * x - self.gap * self.w * u / np.sqrt(1 + u**2)


class Hinting(PseudoHuber):
    """The same, with a proposal for its demand that is only roughly right."""

    def demand(self, price, ridge):
        return (self.sigma - price) / (self.low + self.gap / 2 + ridge)


class Coupled:
    """v(x) = sigma.x - |x|^2/4 - log(sum of cosh(r.x) over rows r): goods that depend on each other.

    The eigenvalues of -Hess of the second term lie within [0, the largest |r|^2].
    """

    def __init__(self, sigma, rows=((1.0, 0.5), (-0.5, 1.2))):
        self.sigma, self.rows = np.asarray(sigma), np.asarray(rows)
        self.curvature = (0.5, 0.5 + float((self.rows**2).sum(axis=1).max()))

    def value(self, x):
        along = np.abs(self.rows @ x)
        top = along.max()
        terms = np.exp(along - top) + np.exp(-along - top)
        return self.sigma @ x - x @ x / 4 - (top + np.log(terms.sum() / 2))

    def gradient(self, x):
        along = self.rows @ x
        top = np.abs(along).max()
        up, down = np.exp(along - top), np.exp(-along - top)
        return self.sigma - x / 2 - ((up - down) @ self.rows) / (up + down).sum()


class CoupledWithHessian(Coupled):
    def hessian(self, x):
        along = self.rows @ x
        top = np.abs(along).max()
        up, down = np.exp(along - top), np.exp(-along - top)
        total = (up + down).sum()
        mean = ((up - down) @ self.rows) / total
        return -np.eye(2) / 2 - (self.rows.T * ((up + down) / total)) @ self.rows + np.outer(mean, mean)


class WrongHessian(Coupled):
    """A Hessian that has nothing to do with the gradient: it may cost steps, and nothing else."""

    def hessian(self, x):
        return np.array([[-3.0, 2.0], [2.0, -3.0]])


class Broken:
    """v' = sigma - x up to x = edge; beyond it the curvature is ``beyond``, but [0.5, 2] is declared."""

    curvature = (0.5, 2.0)

    def __init__(self, sigma=6.0, edge=3.0, beyond=5.0):
        self.sigma, self.edge, self.beyond = float(np.sum(sigma)), edge, beyond

    def value(self, x):
        past = np.maximum(x - self.edge, 0.0)
        return float(np.sum(self.sigma * x - x**2 / 2 - (self.beyond - 1) * past**2 / 2))

    def gradient(self, x):
        return self.sigma - x - (self.beyond - 1) * np.maximum(x - self.edge, 0.0)


class NotANumber(Broken):
    """Like a logarithm: there is no value beyond the edge."""

    def gradient(self, x):
        return np.where(x > self.edge, np.nan, self.sigma - x)


class Kinked(Broken):
    """v' jumps down by ``beyond`` at the edge."""

    def gradient(self, x):
        return self.sigma - x - np.where(x >= self.edge, self.beyond, 0.0)


class Noisy(Broken):
    """A gradient computed to seven digits only, in a way that looks like noise."""

    def gradient(self, x):
        return (self.sigma - x) * (1 + 1e-7 * np.sin(1e9 * x))


class BrokenPair:
    """Beyond x_0 + x_1 = 2 edge the two goods press on each other.

    Along each axis the curvature is then 1 + press, along the diagonal 1 + 2 press; [0.5, 2] is declared.
    """

    goods = 2
    curvature = (0.5, 2.0)

    def __init__(self, sigma=6.0, edge=3.0, press=0.8):
        self.sigma, self.edge, self.press = np.asarray(sigma), edge, press

    def past(self, x):
        return max(float(x.sum()) - 2 * self.edge, 0.0)

    def value(self, x):
        return float(np.sum(self.sigma * x) - x @ x / 2 - self.press * self.past(x) ** 2 / 2)

    def gradient(self, x):
        return self.sigma - x - self.press * self.past(x)


class BrokenPairKnown(BrokenPair):
    """The same, and its demand beyond the edge in closed form."""

    def demand(self, price, ridge):
        total = (2 * self.sigma - price.sum() + 4 * self.press * self.edge) / (1 + 2 * self.press)
        return self.sigma - price - self.press * (total - 2 * self.edge)


class FalselySeparable(Coupled):
    separable = True


class Reusing(PseudoHuber):
    """Returns one and the same array again and again, and scribbles on its argument."""

    def __init__(self, sigma):
        super().__init__(sigma)
        self._out = np.zeros(1)

    def gradient(self, x):
        self._out[:] = super().gradient(x)
        x[:] = 1e9
        return self._out


class WrongSign(PseudoHuber):
    def gradient(self, x):
        return -super().gradient(x)


class HalfGradient(PseudoHuber):
    def __init__(self, sigma):
        super().__init__(sigma)
        self.curvature = (self.low / 2, (self.low + self.gap) / 2)

    def gradient(self, x):
        return 0.5 * super().gradient(x)


class WrongShape(PseudoHuber):
    def gradient(self, x):
        return np.zeros((2, 2))


class NoBounds:
    def value(self, x):
        return 0.0

    def gradient(self, x):
        return x


class Upside(PseudoHuber):
    def __init__(self):
        super().__init__(1.0)
        self.curvature = (2.0, 1.0)


class Clumsy:
    def __init__(self, weight):
        raise RuntimeError(f"a weight of {weight} is too much")
