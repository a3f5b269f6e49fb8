"""Slow twins of the Kalman filters in ext/kernels.h, in Python floats (IEEE binary64, no contraction).

Each expression is evaluated in the order of the C: results must agree bit for bit.
"""

from __future__ import annotations

import math


class Kalman1:
    """x0, P0, Q, R as in the published strategy: P += Q; K = P/(P+R); x += K*(z-x); P *= 1-K."""

    def __init__(self, q: float = 1e-4, r: float = 1e-2, p0: float = 1.0, x0: float = 0.0) -> None:
        self.q, self.r, self.p0, self.x0 = q, r, p0, x0
        self.reset()

    def reset(self) -> None:
        self.x, self.p, self.ticks = self.x0, self.p0, 0

    def update(self, z: float) -> float:
        if self.ticks == 0 and math.isnan(self.x0):
            self.x = z
        self.ticks += 1
        self.p += self.q
        gain = self.p / (self.p + self.r)
        self.x += gain * (z - self.x)
        self.p *= 1.0 - gain
        return self.x


class Kalman2:
    """Price and velocity with P as a full matrix's upper triangle."""

    def __init__(self, q: float = 1e-4, r: float = 1e-2, p0: float = 1.0, x0: float = 0.0) -> None:
        self.q, self.r, self.p0, self.x0 = q, r, p0, x0
        self.reset()

    def reset(self) -> None:
        self.x, self.v, self.ticks = self.x0, 0.0, 0
        self.p00, self.p01, self.p11 = self.p0, 0.0, self.p0

    def update(self, z: float, dt: float = 1.0, q: float | None = None) -> tuple[float, float]:
        q = self.q if q is None else q
        if self.ticks == 0 and math.isnan(self.x0):
            self.x = z
        self.ticks += 1
        predicted = self.x + dt * self.v
        b = self.p01 + dt * self.p11
        a = ((self.p00 + dt * self.p01) + dt * b) + q
        c = self.p11 + q
        s = a + self.r
        k0, k1 = a / s, b / s
        surprise = z - predicted
        self.x = predicted + k0 * surprise
        self.v = self.v + k1 * surprise
        self.p00, self.p01, self.p11 = (1.0 - k0) * a, (1.0 - k0) * b, c - k1 * b
        return self.x, self.v
