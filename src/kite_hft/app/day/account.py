"""Layer 6, by hand, cold: the account in the morning, out of the broker's raw books. Pure.

Positions and what protects them are read by the watchdog's own reader (engine/watchdog), funds and holdings
by the adapter. Raw bodies come from the broker, or from where a running engine keeps the newest of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kite_hft.brokers.values import AnswerError
from kite_hft.engine.watchdog.books import BadBook, Reading
from kite_hft.trading.broker import Broker, Funds, HoldingReport
from kite_hft.trading.exits.protection import ENDED, Cover, Facts, Trigger, covers
from kite_hft.units import rupees_text

TOKENS: Final = re.compile(rb'"instrument_(?:token|key)"\s*:\s*(?:"([^"]+)"|(\d+))')


class Held(NamedTuple):
    """A position. overnight: carried in from the day before; covered: what protects it, in words."""

    name: str
    quantity: int
    overnight: int
    covered: str
    naked_paise: int
    settles: str


class TriggerRow(NamedTuple):
    """A trigger at the broker. failed: it fired, and its order was not taken."""

    name: str
    words: str
    status: str
    failed: bool


class Sale(NamedTuple):
    """A holding. sellable: settled and not sold yet; authorised: of them, what may leave the account today
    (None: the broker does not tell); t1: bought yesterday."""

    key: str
    sellable: int
    authorised: int | None
    t1: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """source: where it comes from, in words; "": there is no account to read before the run. error: why a
    book that should be there could not be read. notes: books that are not kept where this comes from.
    """

    source: str = ""
    error: str = ""
    positions: tuple[Held, ...] = ()
    triggers: tuple[TriggerRow, ...] = ()
    working: tuple[str, ...] = ()
    sales: tuple[Sale, ...] | None = None
    funds: Funds | None = None
    ddpi: bool = False
    btst: bool = False
    notes: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """For --json."""
        return {
            "source": self.source, "error": self.error, "notes": list(self.notes),
            "positions": [row._asdict() for row in self.positions],
            "triggers": [row._asdict() for row in self.triggers], "working_orders": list(self.working),
            "holdings": None if self.sales is None else [row._asdict() for row in self.sales],
            "funds_paise": self.funds._asdict() if self.funds else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reader:
    """How raw bodies become rows. facts: of protection; at_ns: the market's time, epoch ns."""

    reading: Reading
    broker: Broker
    facts: Facts
    at_ns: int
    ddpi: bool
    btst: bool
    tells_authorised: bool = True

    def view(self, bodies: Mapping[str, bytes], source: str, notes: tuple[str, ...] = ()) -> AccountView:
        """All of it; a book that cannot be read is the error, since half an account is worse than none."""
        try:
            rows, triggers, working = self._positions(bodies)
            funds = self.broker.parse_funds(bodies["margins"]) if "margins" in bodies else None
            held = self.broker.parse_holdings(bodies["holdings"]) if "holdings" in bodies else None
        except (BadBook, AnswerError) as error:
            return AccountView(source, error=str(error))
        sales = None if held is None else tuple(self._sale(row) for row in held if row.settled or row.t1)
        return AccountView(source, "", rows, triggers, working, sales, funds, self.ddpi, self.btst, notes)

    def _positions(
        self, bodies: Mapping[str, bytes]
    ) -> tuple[tuple[Held, ...], tuple[TriggerRow, ...], tuple[str, ...]]:
        if "positions" not in bodies:
            return (), (), ()
        orders = self.reading.orders(bodies["orders"], {}, 0) if "orders" in bodies else []
        triggers = self.reading.triggers(bodies["triggers"]) if "triggers" in bodies else []
        held = self.reading.positions(bodies["positions"])
        carried = {
            (f"{row.exchange}:{row.symbol}", row.product.name if row.product else ""): row.overnight_quantity
            for row in self.broker.parse_positions(bodies["positions"])
        }
        found = covers(held, orders, triggers, self.facts, self.at_ns, 0)
        alive = [o for o in orders if o.status.upper() not in ENDED and o.pending > 0]
        working = (f"{o.key} {o.side} {o.pending} {o.order_type} {o.product} ({o.status})" for o in alive)
        rows = tuple(_held(cover, carried.get((cover.held.key, cover.held.product), 0)) for cover in found)
        return rows, tuple(trigger_row(t) for t in triggers), tuple(working)

    def _sale(self, row: HoldingReport) -> Sale:
        sellable = max(0, row.settled - row.used)
        known = self.ddpi or self.tells_authorised
        authorised = sellable if self.ddpi else min(sellable, row.authorised)
        return Sale(row.key, sellable, authorised if known else None, row.t1)


def _held(cover: Cover, overnight: int) -> Held:
    name = f"{cover.held.key} {cover.held.product}"
    return Held(name, cover.held.quantity, overnight, cover.state(), cover.naked_paise, cover.settles)


def trigger_row(trigger: Trigger) -> TriggerRow:
    """One trigger in words."""
    legs = ", ".join(
        f"{leg.side} {leg.quantity} {leg.product} at {value:g}"
        for value, leg in zip(trigger.values, trigger.legs, strict=False)
    )
    return TriggerRow(trigger.key, legs, trigger.status, trigger.status.lower() in ("rejected", "failed"))


def named(bodies: Mapping[str, bytes]) -> set[str | int]:
    """Tokens and keys of all instruments that the books speak of."""
    found: set[str | int] = set()
    for body in bodies.values():
        for text, number in TOKENS.findall(body):
            found.add(int(number) if number else text.decode(errors="replace"))
    return found


def rupees(paise: int) -> str:
    """For people: 1,234,567.89."""
    whole, _, rest = rupees_text(abs(paise)).partition(".")
    return f"{'-' if paise < 0 else ''}{int(whole):,}.{rest}"
