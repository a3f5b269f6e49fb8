"""Layer 6, campaigns, cold: one day of a strategy under dated rules: what was refused, stranded, penalised.

A strategy in form A sees synthetic prices of a few instruments through the day's hours. Its orders go
through the real order stage (`with the engine`: its gate and its end of the day know the rules) or through
one that knows no hours at all (`blind`), to the in-process exchange, which keeps them. What is counted is
read from the exchange's books and from the journal.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from kite_hft.layout import Product
from kite_hft.sessions import phases_from_calendar
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.defaults import default_calendar
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.hosts import PythonHost, new_batch
from kite_hft.trading.gate.facts import OPEN_FACTS
from kite_hft.units import NS_PER_S, value_paise
from kite_hft.verify.brokers.choosing import charges_of, limits_of
from kite_hft.verify.desk.day import DayBench, desk_of, leap

GST_PERCENT: Final = 18
FEE: Final = "square_off_fee"
AUCTION_PERCENT: Final = 20
"""Shares sold and not delivered are bought in for at most so much above the close (our cautious reading)."""
LOCK_PERCENT: Final = 2.0
OUTAGE_NS: Final = 45 * 60 * NS_PER_S
FINE_NS: Final = 90 * NS_PER_S
FINE_S: Final = 0.25
GAIN: Final = 0.1
ROOM: Final = 64
LAWS: Final = {
    "CUT_OFF": "table day_end: no entries near the end of the day, before the broker's square-off",
    "PHASE_CLOSED": "calendar: phases of the trading day",
    "EXPIRY": "table expiry: contracts that settle in shares",
    "RESTRICTED_LIST": "table restricted: lists of exchange and broker",
    "ORDER_TYPE_NOT_ALLOWED": "table forbidden: order types by exchange and kind",
    "PRODUCT_NOT_ALLOWED": "table forbidden: products by exchange and kind",
    "CIRCUIT": "table circuit: the day's price band",
    "MARKET_HALT": "circuit breaker of the index: the whole market stands still",
    "NOT_CONNECTED": "no line to the broker",
    "FROZEN": "an order whose fate is unknown: nothing is sent beside it",
}
WORDS: Final = (
    ("closed right now", "calendar: phases of the trading day"),
    ("halted", "circuit breaker of the index: the whole market stands still"),
    ("circuit limits", "table circuit: the day's price band"),
    ("Insufficient", "margins and holdings of the account"),
    ("not allowed", "table forbidden"),
)


@dataclass(slots=True)
class Scenario:
    """A day. at, until: "HH:MM:SS". events: (time of day, what happens then)."""

    name: str
    day: dt.date
    at: str = "09:00:00"
    until: str = "15:45:00"
    calendar: Sequence[Any] | None = None
    expires: bool = False
    events: tuple[tuple[str, Callable[[Rehearsal], None]], ...] = ()
    note: str = ""


@dataclass(slots=True)
class Row:
    """One line of the table. paise: what it is about, or costs."""

    kind: str  # refused, stranded, penalised
    by: str
    what: str
    law: str
    n: int = 0
    paise: int = 0


class Events:
    """What the strategy is told."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def push(self, records: Any) -> int:
        self.records += [record.copy() for record in records]
        return len(records)

    def recall(self, out: Any) -> int:
        return 0


@dataclass(slots=True)
class Outcome:
    """What came of a day."""

    rows: list[Row] = field(default_factory=list)
    orders: int = 0
    filled: int = 0
    charges_paise: int = 0  # of the orders that were filled, by the broker's dated charges


class Rehearsal:
    """One strategy through one scenario."""

    def __init__(
        self, scenario: Scenario, make: Callable[[], BaseStrategy], seed: int, tick_s: float, *,
        blind: bool, broker: BrokerSide = KITE_SIDE,
    ) -> None:  # fmt: skip
        self.scenario, self.blind, self.tick_s = scenario, blind, tick_s
        self.random = random.Random(seed)
        limits, self.charges = limits_of(broker), charges_of(broker, scenario.day)
        self.bench = DayBench(
            limits, seed, broker=broker, day=scenario.day, at=scenario.at, calendar=scenario.calendar,
            expiry=scenario.day.isoformat() if scenario.expires else "",
        )  # fmt: skip
        self.slots = self._slots()
        self.events = Events()
        more: dict[str, Any] = {"events": {1: self.events}}
        if blind:
            more["facts"] = OPEN_FACTS
        self.desk = desk_of(self.bench, limits, more=more, charges=self.charges)
        table = self.bench.instruments
        self.batch = new_batch(1, table.tokens(), table.scales())
        self.host = PythonHost(make(), 1, self.batch, self.slots)
        self.estimate: dict[int, float] = {}
        self.number: Counter[int] = Counter()
        self.left = [(self.bench.ns_of(text), act) for text, act in scenario.events]
        facts, now_ns = self.bench.facts(), self.bench.clock.real
        assert facts.day_end is not None
        ends = [facts.day_end(slot, now_ns) for slot in self.slots]
        self.marks = [end.from_ns for end in ends if end is not None]

    def _slots(self) -> list[int]:
        """Two shares of the closing auction, two others, a future, an option."""
        rows = [row for row in self.bench.instruments if row.exchange in ("NSE", "NFO") and not row.is_index]
        cas = [r.slot for r in rows if r.symbol in ("RELIANCE", "SBIN")]
        other = [r.slot for r in rows if r.kind == "EQ" and r.symbol.startswith("SIM")][:2]
        return [*cas, *other, *[next(r.slot for r in rows if r.kind == kind) for kind in ("FUT", "CE")]]

    # The day

    def run(self) -> Outcome:
        """The whole day; what came of it."""
        self.desk.start(20.0)
        self.host.start()
        end_ns = self.bench.ns_of(self.scenario.until)
        while self.bench.clock.real < end_ns:
            while self.left and self.bench.clock.real >= self.left[0][0]:
                self.left.pop(0)[1](self)
            self._tick()
            self._pass(min(1.0, self.tick_s / 3))
            self._pass(self.tick_s - min(1.0, self.tick_s / 3))
        return self._judge()

    def _pass(self, seconds: float) -> None:
        """Time passes: in one leap, or finely where the end of the day is at work."""
        now_ns = self.bench.clock.real
        near = any(at_ns - self.tick_s * NS_PER_S <= now_ns < at_ns + FINE_NS for at_ns in self.marks)
        steps = max(1, round(seconds / FINE_S)) if near else 1
        for _ in range(steps):
            leap(self.bench, self.desk, seconds / steps)
            self._hear()

    def _tick(self) -> None:
        exchange = self.bench.exchange
        for slot in self.slots:
            row, phase = self.bench.instruments[slot], exchange.conditions.phase(slot)
            if exchange.halted or phase is None or phase.match != "continuous":
                continue
            if slot not in exchange.conditions.locks:
                move = self.random.gauss(0.0, 0.0006)
                step = max(row.tick_px, 1)
                low, high = exchange.band(slot)
                px = round(self.bench.prices.last[slot] * (1 + move) / step) * step
                self.bench.prices.last[slot] = min(max(px, low + 5 * step), high - 5 * step)
            self.bench.tick([slot])
            self._deliver(slot)
        self.desk.act()

    def _deliver(self, slot: int) -> None:
        px = float(self.bench.prices.last[slot])
        self.number[slot] += 1
        self.estimate[slot] = self.estimate.get(slot, px) + GAIN * (px - self.estimate.get(slot, px))
        self.batch.ticks[0] = self.bench.exchange.latest[slot]
        self.batch.ticks["exch_ns"][0] = self.bench.clock.real
        row = self.batch.rows[0:1]
        row["estimate"], row["tick_no"] = self.estimate[slot], self.number[slot]
        row["rel_diff"], row["time_ns"] = (self.estimate[slot] - px) / px, self.bench.clock.real
        self.host.outbox.begin(ROOM)
        self.host.run(1)
        for record in self.host.outbox.records[: self.host.outbox.n]:
            intent = record.copy().reshape(1)
            intent["created_ns"] = self.bench.clock.mono
            lot = self.bench.instruments[slot].lot_size
            intent["qty"] = np.maximum(intent["qty"] // lot, 1) * lot
            self.desk.intents.rows.append(intent)

    def _hear(self) -> None:
        records, self.events.records = self.events.records, []
        if records:
            told = np.array(records)
            self.host.events(told, len(told))

    # What came of it

    def _judge(self) -> Outcome:
        rows: dict[tuple[str, str, str], Row] = {}
        for found in [*self._refused_here(), *self._refused_there(), *self._stranded(), *self._penalised()]:
            row = rows.setdefault((found.kind, found.by, found.what), replace(found, n=0, paise=0))
            row.n, row.paise = row.n + found.n, row.paise + found.paise
        orders = [order for order in self.bench.exchange.orders.values() if order.placed_by is None]
        filled = sum(order.now.filled > 0 for order in orders)
        return Outcome(list(rows.values()), len(orders), filled, self._charged())

    def _charged(self) -> int:
        """What all filled orders cost, the broker's own among them, without his fee for these."""
        exchange, value = self.bench.exchange, Counter[str]()
        for trade in exchange.account.trades:
            value[trade.order_id] += trade.value_paise
        total = 0
        for order_id, paise in value.items():
            request = exchange.orders[order_id].request
            terms = (request.instrument, request.product, request.side, paise)
            total += self.charges.charges(*terms).total_paise
        return total

    def _refused_here(self) -> list[Row]:
        found = []
        for record in self.desk.journal.records:
            if record.kind.name == "REFUSED" and (data := record.data())["reason"] != "BROKER":
                paise = self._value(data["slot"], data["qty"])
                law = LAWS.get(data["reason"], "the limits of the engine's configuration")
                found.append(Row("refused", "our gate", data["reason"], law, 1, paise))
        return found

    def _refused_there(self) -> list[Row]:
        found = []
        for order in self.desk.stage.book.orders.values():
            if order.status.name == "REJECTED" or (order.status.name == "REFUSED" and self._answered(order)):
                law = next((law for word, law in WORDS if word in order.message), "the broker's answer")
                paise = self._value(order.slot, order.quantity)
                found.append(Row("refused", "exchange or broker", order.message[:70], law, 1, paise))
        return found

    def _answered(self, order: Any) -> bool:
        """The broker refused it in so many words: we did not."""
        names = {(r.data()["strategy"], r.data()["seq"]) for r in self._refusals()}
        return (order.strategy, order.strategy_seq) not in names

    def _refusals(self) -> list[Any]:
        return [r for r in self.desk.journal.records if r.kind.name == "REFUSED"]

    def _stranded(self) -> list[Row]:
        """Open at the end of its trading although it must not stay, or cannot be closed."""
        found = []
        for (slot, product), position in self.bench.exchange.account.positions.items():
            if position.net and product == Product.MIS:
                row = self.bench.instruments[slot]
                law = "MIS must not stay overnight; nobody traded the other side, or nobody closed it"
                what = f"{row.key} {product.name} {position.net:+d}"
                found.append(Row("stranded", "the market", what, law, 1, self._value(slot, position.net)))
                if position.net < 0 and row.kind == "EQ":
                    law = f"a sale not delivered is bought in: up to {AUCTION_PERCENT} % above the close"
                    paise = self._value(slot, position.net) * AUCTION_PERCENT // 100
                    found.append(Row("penalised", "the exchange", f"buy-in of {row.key}", law, 1, paise))
        return found

    def _penalised(self) -> list[Row]:
        found = []
        for fee in self.bench.exchange.account.fees:
            order = self.bench.exchange.orders[fee.order_id]
            if order.now.status == o.COMPLETE:
                row = self.bench.instruments[order.slot]
                rupees = self.charges.fixed_paise(FEE, row, Product.MIS) / 100
                law = f"table square_off: {rupees:g} rupees with GST for each order of the broker's own"
                paise = fee.paise * (100 + GST_PERCENT) // 100
                found.append(Row("penalised", "the broker", "square-off", law, 1, paise))
        return found

    def _value(self, slot: int, quantity: int) -> int:
        row = self.bench.instruments[slot]
        return value_paise(self.bench.prices.last[slot], abs(quantity), row.multiplier or 1, row.scale)


def scenarios(day: dt.date) -> list[Scenario]:
    """The scenarios of a date; on a day without trading only those that bring their own."""

    def lock(rehearsal: Rehearsal) -> None:
        bench, slot = rehearsal.bench, rehearsal.slots[2]
        bench.exchange.conditions.narrow(slot, bench.prices.last[slot], LOCK_PERCENT)
        bench.lock(slot, "lower")

    def halt(on: bool) -> Callable[[Rehearsal], None]:
        def act(rehearsal: Rehearsal) -> None:
            rehearsal.bench.exchange.halt(on, rehearsal.bench.clock.real)
            if not rehearsal.blind:
                rehearsal.desk.stage.control({"do": "market_halt", "on": on}, rehearsal.bench.clock.mono)

        return act

    def outage(rehearsal: Rehearsal) -> None:
        now_ns = rehearsal.bench.clock.mono
        rehearsal.bench.line.kill(now_ns, now_ns + OUTAGE_NS, "black hole")  # type: ignore[attr-defined]
        rehearsal.marks.append(rehearsal.bench.clock.real + OUTAGE_NS)

    fixed = [
        Scenario("before the closing auction", dt.date(2026, 7, 31)),
        Scenario("after the closing auction", dt.date(2026, 8, 3)),
        Scenario(
            "Muhurat",
            day,
            "17:55:00",
            "19:10:00",
            _evening(day),
            note="18:00 to 19:00 is the usual hour; the circular of the year counts",
        ),
    ]
    if not _trades(day):
        return fixed
    return [
        *fixed[:2],
        Scenario("the day itself", day),
        fixed[2],
        Scenario("expiry day", day, expires=True),
        Scenario("2 % lock", day, events=(("14:00:00", lock),),
                 note="one share stands at its lower limit from 14:00 on"),
        Scenario("halt at 11:03", day, events=(("11:03:00", halt(True)), ("12:03:00", halt(False))),
                 note="index circuit breaker: 45 minutes and a pre-open"),
        Scenario("broker outage", day, events=(("14:50:00", outage),), note="no answer from 14:50 to 15:35"),
    ]  # fmt: skip


def _evening(day: dt.date) -> list[dict[str, Any]]:
    special = {"date": day, "open": "18:00:00", "close": "19:00:00"}
    return [{**row, "special": [*row.get("special", ()), special]} for row in default_calendar()]


def _trades(day: dt.date) -> bool:
    return bool(phases_from_calendar(default_calendar(), "NSE", False, day))
