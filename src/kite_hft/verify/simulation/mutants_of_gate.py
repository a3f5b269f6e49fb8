"""Layer 6, campaigns, cold: mutants of the gate and of what is latched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from kite_hft.layout import IntentFlag, Reason
from kite_hft.stages.orders import Orders
from kite_hft.trading import slices
from kite_hft.trading.book import Book
from kite_hft.trading.gate import checks_size as size
from kite_hft.trading.gate import risk
from kite_hft.trading.gate.judging import Gate
from kite_hft.trading.gate.states import States
from kite_hft.verify.simulation.planting import Mutant, Patches, gate_without

R: Final = Reason


def _reducing_by(p: Patches, is_reducing: Any) -> None:
    """What tells exits apart, for a gate without its quick way, which has a reading of its own."""
    p.set(risk, "is_reducing", is_reducing)
    p.set(Gate, "judge", Gate.by_table)


def _by_flag(p: Patches) -> None:
    def is_reducing(intent: Any, book: Any, target: Any) -> bool:
        return bool(intent.flags & IntentFlag.EXIT) or bool(intent.kind == 3)

    _reducing_by(p, is_reducing)


def _live_exits_not_counted(p: Patches) -> None:
    def is_reducing(intent: Any, book: Any, target: Any) -> bool:
        if intent.kind != 1:
            return bool(intent.kind == 3)
        held = book.standing(intent.strategy, intent.slot, intent.product).quantity
        return bool(0 < intent.qty <= (held if intent.side == 2 else -held))

    _reducing_by(p, is_reducing)


def _halt_not_latched(p: Patches) -> None:
    p.around(
        States, "restore", lambda old: lambda self, halted, reducing, *more: old(self, "", reducing, *more)
    )


def _kill_not_heard(p: Patches) -> None:
    def make(old: Any) -> Any:
        def begin(self: Orders, ports: Any, config: Any) -> None:
            old(self, replace(ports, killed=lambda: ""), config)

        return begin

    p.around(Orders, "__init__", make)


def _worse_quantity_not_counted(p: Patches) -> None:
    def ask_terms(self: Book, order: Any, quantity: int, terms: Any = None) -> None:
        order.asked = terms
        order.modifications += 1

    p.set(Book, "ask_terms", ask_terms)


def _worst_case_without_orders(p: Patches) -> None:
    def worst_case(self: Book, slot: int, side: int = 0, quantity: int = 0, product: int = 0) -> int:
        held = sum(position.quantity for position in self._slots.get(slot, ()))
        return abs(held + (quantity if side == 1 else -quantity))

    p.set(Book, "worst_case", worst_case)
    gate_without()(p)


def _products_netted(p: Patches) -> None:
    def worst_case(self: Book, slot: int, side: int = 0, quantity: int = 0, product: int = 0) -> int:
        here = self._slots.get(slot, ())
        held = sum(position.quantity for position in here)
        buys = sum(position.open_buy for position in here) + (quantity if side == 1 else 0)
        sells = sum(position.open_sell for position in here) + (0 if side == 1 else quantity)
        return max(abs(held + buys), abs(held - sells))

    p.set(Book, "worst_case", worst_case)
    gate_without()(p)


def _stop_leaves_openings(p: Patches) -> None:
    p.around(Orders, "begin_stop", lambda old: lambda self, now_ns, policy="": old(self, now_ns, "keep"))


def _exits_are_halted_too(p: Patches) -> None:
    def is_reducing(intent: Any, book: Any, target: Any) -> bool:
        return bool(intent.kind == 3)

    _reducing_by(p, is_reducing)


def _not_judged_again(p: Patches) -> None:
    from kite_hft.trading.sending import desk

    p.set(desk, "judged_again", lambda work, now_ns, **_known: None)


_ROOM: Final = (size.position_size, size.exposure, size.positions, size.working)


def _room_not_judged_again(p: Patches) -> None:
    lines = {
        asked: tuple(row for row in rows if not (asked[2] and row[0] in _ROOM))
        for asked, rows in risk._APPLYING.items()
    }
    p.set(risk, "_APPLYING", lines)


def _slices_count_as_one(p: Patches) -> None:
    p.everywhere(slices.orders_of, lambda quantity, freeze, lot: 1)


GATE: Final = (
    Mutant("halt_ignored", "HALTED binds nobody", gate_without(R.HALTED)),
    Mutant("halt_not_latched", "a restart forgets the halt", _halt_not_latched),
    Mutant("kill_not_heard", "nobody asks for the kill latch", _kill_not_heard),
    Mutant("market_halt_ignored", "openings pass while the market is halted", gate_without(R.MARKET_HALT)),
    Mutant("stale_ignored", "openings pass on old prices", gate_without(R.STALE_TICK)),
    Mutant("no_snapshot_ignored", "openings pass before the first tick after a reconnect",
           gate_without(R.NO_SNAPSHOT)),
    Mutant("frozen_ignored", "openings pass beside an ambiguous order", gate_without(R.FROZEN)),
    Mutant("order_value_ignored", "no limit of an order's value",
           gate_without(R.MAX_ORDER_VALUE, R.MAX_EXPOSURE)),
    Mutant("order_quantity_ignored", "no limit of an order's quantity",
           gate_without(R.MAX_ORDER_QUANTITY, R.MAX_ORDER_VALUE, R.MAX_EXPOSURE)),
    Mutant("position_ignored", "no limit of a position", gate_without(R.MAX_EXPOSURE)),
    Mutant("working_orders_ignored", "no limit of live orders", gate_without(R.MAX_WORKING_ORDERS)),
    Mutant("slices_count_as_one", "an order in slices takes the room of one", _slices_count_as_one),
    Mutant("room_not_judged_again", "an entry that waited is not asked for its room once more",
           _room_not_judged_again),
    Mutant("collar_ignored", "prices far off pass", gate_without(R.PRICE_COLLAR)),
    Mutant("tick_ignored", "prices off the grid pass", gate_without(R.TICK_SIZE)),
    Mutant("duplicates_pass", "the same intent is taken twice", gate_without(R.DUPLICATE_INTENT)),
    Mutant("not_active_ignored", "orders leave before the books are read", gate_without(R.NOT_ACTIVE)),
    Mutant("reducing_by_flag", "the EXIT flag alone makes an order an exit", _by_flag),
    Mutant("live_exits_not_counted", "exits under way are not taken off what may be closed",
           _live_exits_not_counted),
    Mutant("exits_judged_as_openings", "an exit is bound by what binds openings", _exits_are_halted_too),
    Mutant("worse_quantity_not_counted", "a modification under way does not count at its worst",
           _worse_quantity_not_counted),
    Mutant("live_orders_not_counted", "the worst case leaves live orders out", _worst_case_without_orders),
    Mutant("products_netted", "what is held of one product closes what another opens", _products_netted),
    Mutant("not_judged_again", "an entry that waited is not judged once more", _not_judged_again),
    Mutant("stop_leaves_openings", "a stop that cancels leaves openings alive", _stop_leaves_openings),
)  # fmt: skip
"""Mutants of checks, latches and stops."""
