"""Layer 4, campaigns and tests, cold: the brokers by name: the one place where a name becomes a side."""

from __future__ import annotations

from typing import Final

from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.upstox import UPSTOX_SIDE

SIDES: Final = {side.name: side for side in (KITE_SIDE, UPSTOX_SIDE)}
"""Add a broker here, and every campaign with --broker can run on it."""


def side_of(name: str) -> BrokerSide:
    """The broker called `name`. Raises KeyError."""
    return SIDES[name]
