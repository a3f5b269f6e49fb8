"""Layer 6, campaigns, cold: rows of the kit that let the engine live with the broker for short days."""

from __future__ import annotations

from typing import Final

from kite_hft.sim.order_path.faults import KINDS
from kite_hft.sim.order_path.world import OrdersWorld
from kite_hft.verify.brokers.kit import Kit, row
from kite_hft.verify.outcomes import broker, recon

DAYS: Final = 12
FAULTS: Final = 20
STARTS: Final = 8


@row("short days", "days with every kind of fault hold: `verify sim --broker` lives more of them")
def short_days(kit: Kit) -> None:
    """Each day is checked at every step."""
    for kind in (*kit.side.without, *kit.side.stands_for):
        kit.holds(kind in KINDS, f"the side speaks of {kind!r}, which is no fault")
    for seed in range(DAYS):
        world = OrdersWorld(seed, kit.limits, side=kit.side)
        world.run()
        kit.holds(not world.checker.breaks, f"seed {seed}: {world.checker.breaks[:1]}")


@row("ambiguous placements", "none is made twice, each is found or proved absent: `verify broker --broker`")
def ambiguous_placements(kit: Kit) -> None:
    """One case."""
    found = broker.run(FAULTS, 5000, broker=kit.side)
    kit.holds(found["ok"], str(found["wrong"]))


@row("starts", "whatever happened meanwhile, a start finds it: `verify recon --broker`")
def starts(kit: Kit) -> None:
    """A few starts."""
    found = recon.run(STARTS, 3000, kit.side)
    kit.holds(found["ok"], str(found["wrong"]))
