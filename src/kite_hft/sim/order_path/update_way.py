"""Layer 4, campaigns and tests, cold: the connection that brings order updates, as its own process holds it.

It outlives the order process, and is made anew with the machine. What the broker tells while it is down is
gone. What must hold: as soon as it stands again the order book is read, before what is only read in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kite_hft.trading.ports import UpdateLink
from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.order_path.world import OrdersWorld
    from kite_hft.trading.broker import HttpRequest

IN_TURN: Final = 3
"""So many other reads may leave first: some are on their way to be asked for when the connection stands."""
SOON_NS: Final = 4 * NS_PER_S
QUIET_NS: Final = 5 * NS_PER_S
"""So long may nothing leave, although nothing hinders it; where books are read every 15 s it tells. Once the
faults have ended the stage is not asked that often."""


class UpdateWay:
    """`up`: it hears. `missed`: updates of the day that came while it was down."""

    def __init__(self, world: OrdersWorld) -> None:
        self._world = world
        self.up, self.missed = True, 0
        self._connects, self._disconnects, self._alive_ns = 1, 0, 0
        self._down_until_ns = -1
        self._stands_ns = -1  # since when it stands without a read of the book after that; -1: one has left
        self._others = 0
        self._quiet_ns = 0  # since when no call has left or come back
        self._failed = False  # the last read has

    def links(self) -> tuple[UpdateLink, ...]:
        """As the stage is handed it; a sign of life comes all the time."""
        alive_ns = self._world.clock.mono if self.up else self._alive_ns
        return (UpdateLink(self.up, self._connects, self._disconnects, 0, alive_ns),)

    def hears(self) -> bool:
        """An update comes."""
        self.missed += not self.up
        return self.up

    def lose(self, until_ns: int) -> None:
        """It is lost, and stands again at `until_ns`."""
        world = self._world
        if self.up:
            self.up, self._alive_ns = False, world.clock.mono
            self._disconnects += 1
        self._down_until_ns, self._stands_ns = max(until_ns, self._down_until_ns), -1
        world.network.at(until_ns, self._stand)

    def _stand(self) -> None:
        if not self.up and self._world.now_ns >= self._down_until_ns:
            self.up, self._stands_ns, self._others = True, self._world.now_ns, 0
            self._connects += 1

    def begins_anew(self, until_ns: int) -> None:
        """The machine has lost its power: its process starts from nothing."""
        self.up, self._connects, self._disconnects, self._alive_ns = False, 0, 0, 0
        self._down_until_ns, self._stands_ns = until_ns, -1
        self._world.network.at(until_ns, self._stand)

    def leaves(self, request: HttpRequest) -> None:
        """A call leaves."""
        world = self._world
        active = world.stage is not None and world.stage.active
        quiet_ns = world.now_ns - max(self._stands_ns, self._quiet_ns, world.still_until_ns)
        self._quiet_ns = world.now_ns
        if self._stands_ns < 0 or request.method != "GET":
            return
        if active and world.acts.trading and not self._failed and quiet_ns > QUIET_NS:
            world.checker.break_("order updates were missed, and nothing leaves for long")
        if request.path == world.side.orders_path:
            self._stands_ns = -1
            return
        if not active:
            self._stands_ns, self._others = world.now_ns, 0
            return
        self._others += world.now_ns >= self._stands_ns + SOON_NS
        if self._others > IN_TURN:
            world.checker.break_("order updates were missed, and other things are read before the order book")

    def answered(self, request: HttpRequest, status: int) -> None:
        """A call came back, or will not."""
        self._quiet_ns = self._world.now_ns
        if request.method == "GET":
            self._failed = status != 200

    def hindered(self) -> None:
        """The process was held up until now."""
        self._quiet_ns = self._world.now_ns
