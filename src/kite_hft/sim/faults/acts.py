"""Layer 4, simulator, cold: the faults that are acts of the broker, of the exchange, of the session.

What an act changes in the market itself (a new previous close, an instrument locked at its
circuit, a halt) is seen by the exchange and on the wire alike: the hub's ticks pass through
`Acts.alter` before anybody gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.layout import Product, Side
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.faults.schedule import FAULTS, FaultError, FaultRow
from kite_hft.sim.faults.words import Api
from kite_hft.sim.market.source import Ticks
from kite_hft.sim.server.hub import Hub
from kite_hft.trading.instruments import InstrumentTable

_UPPER: Final = "upper"


@dataclass(slots=True)
class Deed:
    """What an act did: what the log tells (a row each), and how it ends when it lasts."""

    rows: list[Mapping[str, Any]]
    undo: Callable[[int], None] | None = None


@dataclass(slots=True)
class Acts:
    """The acts on one exchange, API and hub. Times: ns since the epoch (the exchange's clock)."""

    exchange: Exchange
    api: Api
    hub: Hub
    _locks: dict[int, tuple[str, int]] = field(default_factory=dict)

    def do(self, row: FaultRow, now_ns: int) -> Deed | None:
        """Do it now; None when there is nothing that it could be done to yet.

        Raises:
            KeyError: an instrument that is not there (see `check`).
        """
        act: Callable[[FaultRow, int], Deed | None] = getattr(self, f"_{row.kind}")
        return act(row, now_ns)

    def prepare(self, row: FaultRow) -> None:
        """Before an order is placed: make it the one that is struck."""
        if row.kind == "stuck_order":
            self.exchange.hold_order_ns = row.for_ns
        else:
            self.exchange.reject_next_margin(1)

    def unprepare(self, row: FaultRow) -> None:
        """It was refused before it existed: the next one is not to be struck by accident."""
        if row.kind == "stuck_order":
            self.exchange.hold_order_ns = 0
        else:
            self.exchange.reject_next_margin(0)

    def alter(self, ticks: Ticks) -> Ticks:
        """The market as the exchange makes it: new closes, locked books at their limit."""
        shown = self.exchange.overlay(ticks)
        for slot, (side, px) in self._locks.items():
            at = np.flatnonzero(shown["slot"] == slot)
            if len(at):  # then it is a copy already
                rows = shown[at]
                lock_rows(rows, side, px, self.exchange.instruments[slot].tick_px)
                shown[at] = rows
        return shown

    def _slot(self, row: FaultRow) -> int:
        return self.exchange.instruments.by_key[row.parameters["instrument"]].slot

    def _slots(self, row: FaultRow) -> list[int] | None:
        return [self._slot(row)] if row.parameters["instrument"] else None

    # -- the acts

    def _token_death(self, row: FaultRow, now_ns: int) -> Deed:
        self.api.kill_token(now_ns)
        return Deed([{"count": 1, "connections": len(self.hub.links)}])

    def _mis_square_off(self, row: FaultRow, now_ns: int) -> Deed:
        ids = self.exchange.square_off_mis(now_ns, self._slots(row))
        return Deed([{"count": len(ids), "order_ids": ids}])

    def _rms_order(self, row: FaultRow, now_ns: int) -> Deed | None:
        given = row.parameters
        if given["instrument"]:
            slot, side, quantity = self._slot(row), Side[given["side"]], int(given["quantity"])
            product = Product[given["product"]]
        else:
            held = [(key, p.net) for key, p in self.exchange.account.positions.items() if p.net]
            if not held:
                return None
            (slot, product), net = held[0]
            side = Side.SELL if net > 0 else Side.BUY
            quantity = min(abs(net), given["quantity"] or abs(net))
        ids = self.exchange.rms_order(slot, side, quantity, product, now_ns)
        told = {"instrument": self.exchange.instruments[slot].key, "side": side.name, "quantity": quantity}
        return Deed([{"count": len(ids), "order_ids": ids, **told}])

    def _stops_cancelled(self, row: FaultRow, now_ns: int) -> Deed:
        ids = self.exchange.cancel_stops(self._slots(row), now_ns)
        return Deed([{"count": len(ids), "order_ids": ids}])

    def _ex_date_close(self, row: FaultRow, now_ns: int) -> Deed | None:
        slot = self._slot(row)
        instrument, before = self.exchange.instruments[slot], int(self.exchange.latest[slot]["close_px"])
        if before <= 0:
            return None
        step = max(instrument.tick_px, 1)
        after = max(round(before * row.parameters["factor"] / step) * step, step)
        self.exchange.set_close(slot, after)
        self.hub.alter = self.alter
        return Deed([{"instrument": instrument.key, "close_px": after, "close_px_before": before}])

    def _circuit_lock(self, row: FaultRow, now_ns: int) -> Deed | None:
        slot, side = self._slot(row), row.parameters["side"]
        low_px, high_px = self.exchange.band(slot)
        if not high_px or slot in self._locks:
            return None
        px = high_px if side == _UPPER else low_px
        self.exchange.lock_circuit(slot, side)
        self._locks[slot] = side, px
        self.hub.alter = self.alter

        def undo(_: int) -> None:
            self.exchange.lock_circuit(slot, None)
            del self._locks[slot]

        key = self.exchange.instruments[slot].key
        return Deed([{"instrument": key, "side": side, "px": px}], undo)

    def _market_halt(self, row: FaultRow, now_ns: int) -> Deed | None:
        if self.hub.halted:
            return None
        self.exchange.halt(True, now_ns)
        self.hub.halt(True)

        def undo(at_ns: int) -> None:
            self.hub.halt(False)
            self.exchange.halt(False, at_ns)

        return Deed([{}], undo)


def lock_rows(rows: Ticks, side: str, px: int, tick_px: int) -> None:
    """Ticks of one instrument at its circuit: every trade at the limit, nobody on the other side."""
    step = max(tick_px, 1) * np.arange(1, 5)
    here, there = ("bid", "ask") if side == _UPPER else ("ask", "bid")
    rows["last_px"] = px
    rows[f"{here}_px"] = px
    rows[f"{here}_px_deep"] = np.maximum(px - step if side == _UPPER else px + step, 0)
    for name in ("px", "px_deep", "qty", "orders"):
        rows[f"{there}_{name}"] = 0
    rows["total_sell_qty" if side == _UPPER else "total_buy_qty"] = 0
    np.maximum(rows["high_px"], px, out=rows["high_px"])
    np.minimum(rows["low_px"], px, out=rows["low_px"])


def check(
    rows: Sequence[FaultRow],
    instruments: InstrumentTable,
    where: str,
    missing: Mapping[str, str] | None = None,
) -> None:
    """Every instrument that a row names is there and can be traded, and every kind has a form.

    `missing`: kinds of which this broker's protocol has none, and why.

    Raises:
        FaultError: names row, cause and fix.
    """
    for number, row in enumerate(rows, 1):
        if missing and row.kind in missing:
            raise FaultError(f"{where}, row {number} ({row.kind}): {missing[row.kind]}; take the row out")
        key = row.parameters.get("instrument", "")
        if "instrument" not in FAULTS[row.kind].parameters or not key:
            continue
        found = instruments.by_key.get(key)
        if found is None or found.is_index:
            example = next(r.key for r in instruments if not r.is_index)
            raise FaultError(
                f"{where}, row {number} ({row.kind}): {key!r} is no tradable instrument here; "
                f"one is {example}"
            )
