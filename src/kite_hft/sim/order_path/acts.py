"""Layer 4, campaigns and tests, cold: what happens on a day besides calls: the agenda of one seed.

Strategies act, prices tick, and the faults that come at a time (faults.ACTS) strike: deaths, power
cuts, clock steps, silent feeds, hands at the broker's own terminal, the broker's risk desk, halts.
`heal` ends all of them, as people and time do.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.sim.exchange.orders import NewOrder, Refusal
from kite_hft.sim.order_path.faults import ACTS
from kite_hft.sim.order_path.market import SLOTS
from kite_hft.sim.order_path.network import LATE_NS
from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.order_path.world import OrdersWorld

TICK_NS: Final = 800_000_000
QUIET_TICK_NS: Final = 8 * NS_PER_S
HAND_QUANTITY: Final = 7
"""A hand's orders have a quantity that no strategy uses."""
OPENS: Final = b'"opening":true'
"""Stands in the record of an order that may open something."""
STALL_NS: Final = 300_000_000
BURST: Final = 60
"""So often at most do strategies act while the process stands still."""
LATCHING: Final = frozenset({"halt", "kill_switch"})
"""Nothing opens any more after these: they come late in the day."""
PERSON_NS: Final = 3 * NS_PER_S
STEPS_S: Final = (0.5, 2.0, 30.0, 90.0)


class Acts:
    """The agenda of one world."""

    def __init__(self, world: OrdersWorld) -> None:
        self._world = world
        self.gap_until_ns = -1
        self.frozen_slot = -1
        self.quiet_from_ns = 0
        self.trading = True
        self._token_dies = False

    def plan(self, trading_ns: int) -> None:
        """Put the day on the agenda."""
        world, rng = self._world, self._world.rng
        at, first_ns = world.network.at, 4 * NS_PER_S
        at(TICK_NS, self._tick)
        at(rng.randrange(first_ns, 2 * first_ns), self._person)
        for _ in range(world.day.actions):
            at(rng.randrange(first_ns, trading_ns), self._strategy)
        for kind in ACTS:
            expected = world.faults.rates.get(kind, 0.0)
            if kind == "power_cut":
                expected = min(expected, 1.5)
            times = int(expected) + (rng.random() < expected % 1)
            earliest_ns = trading_ns // 2 if kind in LATCHING else first_ns
            for _ in range(times):
                at(rng.randrange(earliest_ns, trading_ns), getattr(self, f"_{kind}"))

    def _struck(self, kind: str) -> None:
        self._world.note(f"! {kind}")
        self._world.faults.struck(kind, self._world.states_of("", ""))

    def _tick(self) -> None:
        world = self._world
        world.tick_market()
        world.flow.listen()
        world.network.at(world.now_ns + (TICK_NS if self.trading else QUIET_TICK_NS), self._tick)

    def _strategy(self) -> None:
        """A strategy acts; with the machine down there is none."""
        if not self._world.machine_down:
            self._world.flow.act()

    def _person(self) -> None:
        """Somebody looks in from time to time, and lets trading go on that was halted."""
        world = self._world
        if not self.trading:
            return
        world.network.at(world.now_ns + PERSON_NS, self._person)
        stage = world.stage
        if (
            stage is None
            or not stage.active
            or not (stage.outbox.halted or stage.states.reducing or world.latch)
        ):
            return
        if world.rng.random() < 0.6:
            world.note("! a person resumes")
            world.checker.resumed()
            stage.control({"do": "resume", "by": "a person"}, world.clock.mono)

    # The process and the machine

    def _crash(self) -> None:
        world = self._world
        if world.stage is None:
            return
        self._struck("crash")
        if world.rng.random() < 0.3:
            world.kill("crash")
        else:
            world.fuse = world.rng.randrange(1, 30)

    def _power_cut(self) -> None:
        if self._world.stage is not None:
            self._struck("power_cut")
            self._world.kill("power_cut")

    def _clock_back(self) -> None:
        self._struck("clock_back")
        self._world.clock.real -= round(self._world.rng.choice(STEPS_S) * NS_PER_S)

    def _clock_forward(self) -> None:
        self._struck("clock_forward")
        self._world.clock.real += round(self._world.rng.choice(STEPS_S) * NS_PER_S)

    def _events_full(self) -> None:
        world = self._world
        self._struck("events_full")
        events = world.events
        events.blocked = True

        def free() -> None:
            events.blocked = False

        world.network.at(world.now_ns + world.rng.randrange(NS_PER_S // 4, 2 * NS_PER_S), free)

    def _disk_stalls(self, stall_ns: int) -> None:
        """Now, while something is written."""
        world = self._world
        world.note(f"! the disk stalls for {stall_ns} ns")
        world.now_ns += stall_ns
        world.clock.mono += stall_ns
        world.clock.real += stall_ns
        world.way.hindered()

    def _standstill(self) -> None:
        """The process stops, its threads too; strategies, network and broker go on. Before half of them
        the broker answers slowly: calls wait for a connection then, or for the disk. Some find the process
        at work on an entry: the disk takes so long over its record.
        """
        world, rng = self._world, self._world.rng
        if world.stage is None:
            return
        self._struck("standstill")
        begin_ns = world.now_ns
        if rng.random() < 0.5:
            world.network.slow_until_ns = begin_ns + NS_PER_S
            begin_ns += rng.randrange(NS_PER_S)
        elif world.day.fsync:
            begin_ns += rng.randrange(NS_PER_S)
        end_ns = begin_ns + rng.randrange(NS_PER_S // 4, 4 * NS_PER_S)

        def stop() -> None:
            if world.stage is not None and self.trading:
                world.still_until_ns = end_ns

        def stall(data: bytes) -> None:
            if self.trading and OPENS in data:
                world.disk.stall = lambda data: None
                self._disk_stalls(end_ns - begin_ns)

        if rng.random() < 0.4:
            world.disk.stall = stall
        else:
            world.network.at(begin_ns, stop)
        for _ in range(rng.randrange(BURST)):
            world.network.at(rng.randrange(world.now_ns, end_ns), self._strategy)

    # Prices

    def _feed_gap(self) -> None:
        world = self._world
        self._struck("feed_gap")
        self.gap_until_ns = world.now_ns + world.rng.randrange(NS_PER_S // 2, 3 * NS_PER_S)
        if world.rng.random() < 0.5:  # the connection was lost: the next tick is the first of a new one
            world.stale.update(SLOTS)

    def _updates_down(self) -> None:
        world = self._world
        self._struck("updates_down")
        world.way.lose(world.now_ns + world.rng.randrange(NS_PER_S // 50, 5 * NS_PER_S))

    def _stale_price(self) -> None:
        self._struck("stale_price")
        self.frozen_slot = self._world.rng.choice(SLOTS)
        self._later(6, lambda: setattr(self, "frozen_slot", -1))

    def _price_jump(self) -> None:
        self._struck("price_jump")
        self._world.tick_market(self._world.rng.choice((-4, -2, 2, 4)))

    # Others at the broker

    def _hand_order(self) -> None:
        world, rng = self._world, self._world.rng
        slot = rng.choice((0, 1, 5))
        side = rng.choice((Side.BUY, Side.SELL))
        px = world.market.px[slot] + (20 if side == Side.BUY else -20) * rng.choice((1, 1, -1))
        row = world.exchange.instruments[slot]
        request = NewOrder(row, side, OrderType.LIMIT, Product.MIS, HAND_QUANTITY, px=px)
        try:
            world.exchange.place(request, world.network.server_ns())
        except Refusal:
            return
        self._struck("hand_order")
        world.checker.stranger(slot, int(Product.MIS))

    def _rms_order(self) -> None:
        world = self._world
        held = [(k, p.net) for k, p in world.exchange.account.positions.items() if p.net]
        if not held:
            return
        self._struck("rms_order")
        (slot, product), net = world.rng.choice(held)
        lot = world.exchange.instruments[slot].lot_size
        part = max(lot, abs(net) // world.rng.choice((1, 2)) // lot * lot)
        world.checker.stranger(slot, int(product))
        side = Side.SELL if net > 0 else Side.BUY
        world.exchange.rms_order(slot, side, part, product, world.network.server_ns())

    def _square_off(self) -> None:
        world = self._world
        held = [k for k, p in world.exchange.account.positions.items() if p.net and k[1] == Product.MIS]
        self._struck("square_off")
        for slot, product in held:
            world.checker.stranger(slot, int(product))
        world.exchange.square_off_mis(world.network.server_ns())

    def _stops_cancelled(self) -> None:
        self._struck("stops_cancelled")
        self._world.exchange.cancel_stops(None, self._world.network.server_ns())

    def _circuit_lock(self) -> None:
        world = self._world
        slot = world.rng.choice(SLOTS)
        self._struck("circuit_lock")
        world.exchange.lock_circuit(slot, world.rng.choice(("upper", "lower")))
        self._later(8, lambda: world.exchange.lock_circuit(slot, None))

    def _market_halt(self) -> None:
        world = self._world
        self._struck("market_halt")
        self._halt_market(on=True)
        world.network.at(
            world.now_ns + world.rng.randrange(NS_PER_S // 2, 3 * NS_PER_S),
            lambda: self._halt_market(on=False),
        )

    def _halt_market(self, *, on: bool) -> None:
        world = self._world
        world.exchange.halt(on, world.network.server_ns())
        self.tell_market()

    def tell_market(self) -> None:
        world = self._world
        if world.stage is not None:
            world.checker.market_halted = world.exchange.halted
            world.stage.control({"do": "market_halt", "on": world.exchange.halted}, world.clock.mono)

    # Tokens, halts, outages

    def _token_death(self) -> None:
        world = self._world
        if self._token_dies:
            return
        self._struck("token_death")
        self._token_dies = True
        world.network.api.kill_token(world.network.server_ns())
        world.network.at(world.now_ns + world.rng.randrange(NS_PER_S // 2, 2 * NS_PER_S), self._log_in)

    def _log_in(self) -> None:
        world = self._world
        if not self._token_dies:
            return
        self._token_dies = False
        token = world.network.token = world.network.api.new_token(world.network.server_ns())
        if world.stage is not None:
            world.stage.control({"do": "token", "access_token": token}, world.clock.mono)

    def _halt(self) -> None:
        world = self._world
        if world.stage is not None:
            self._struck("halt")
            world.stage.halt("a person pressed the switch", world.clock.mono)
            world.checker.told_to_halt()

    def _kill_switch(self) -> None:
        """At once; on most days while the disk holds up the record of an entry, if there is one soon."""
        world, rng = self._world, random.Random(f"stall {self._world.seed}")
        self._struck("kill_switch")
        flatten, done = world.rng.random() < 0.5, False

        def kill() -> None:
            nonlocal done
            if not done and self.trading:
                done = True
                world.set_latch("a person killed it", flatten=flatten)

        def stall(data: bytes) -> None:
            if not done and self.trading and OPENS in data:
                self._disk_stalls(rng.randrange(2_000_000, STALL_NS))
                kill()

        if rng.random() < 0.3:
            kill()
        else:
            world.disk.stall = stall
            world.network.at(world.now_ns + 2 * NS_PER_S, kill)

    def _broker_outage(self) -> None:
        world = self._world
        self._struck("broker_outage")
        world.network.outage_until_ns = world.now_ns + world.rng.randrange(NS_PER_S // 2, 3 * NS_PER_S)

    def _later(self, most_s: int, act: object) -> None:
        world = self._world
        world.network.at(world.now_ns + world.rng.randrange(NS_PER_S, most_s * NS_PER_S), act)  # type: ignore[arg-type]

    # A person at the broker's own terminal

    def doubts(self) -> list[Any]:
        """Ambiguous orders of the book."""
        stage = self._world.stage
        live = stage.book.live_orders.values() if stage is not None else ()
        return [order for order in live if order.status is OrderStatus.AMBIGUOUS]

    def resolve(self) -> None:
        """Say of each order in doubt what the broker's terminal shows."""
        world = self._world
        assert world.stage is not None
        for order in self.doubts():
            placed = world.checker.ledger.placed.get(order.tag)
            truth = placed.order if placed else None
            words = {
                "do": "resolve",
                "ask": f"a{order.order_no}",
                "name": str(order.order_no),
                "by": "a person",
            }
            words |= {"how": "present", "order_id": truth.order_id} if truth else {"how": "absent"}
            world.note(f"! resolve {words}")
            world.stage.control(words, world.clock.mono)

    # The end of all that

    def heal(self) -> None:
        """No fault strikes any more, and people do what they must: a token, room on the disk."""
        world = self._world
        world.note("! the faults end")
        world.faults.on = self.trading = False
        world.fuse = 0
        self.gap_until_ns, self.frozen_slot, world.network.outage_until_ns = -1, -1, -1
        world.still_until_ns = world.network.slow_until_ns = -1
        world.events.blocked = False
        for slot in SLOTS:
            world.exchange.lock_circuit(slot, None)
        world.exchange.halt(False, world.network.server_ns())
        self._log_in()
        if world.writer is not None and world.writer.failed and world.stage is not None:
            world.kill("crash")  # the disk has room again, and the process is started anew
        else:
            self.tell_market()
        # What is held back anywhere has come by then, and been read.
        check_ns = round(5 * world.day.poll_s * NS_PER_S)
        self.quiet_from_ns = world.now_ns + world.network.link.lag_ns + LATE_NS + check_ns + 3 * NS_PER_S
