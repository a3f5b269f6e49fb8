"""Layer 6, campaigns, cold: the real order stage through hours of a trading day, before a simulated broker.

The exchange keeps the hours, bands and acts of a dated day; the stage is handed the same rules as the
engine's order process is. The line can be dead for a while, in one of several ways. Beside the stage looks
the watchdog's guard at the raw books that the stage has read, and every alert is kept with its time.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.books import SHELVED, RawBook
from kite_hft.engine.watchdog.books import KITE, Reading
from kite_hft.engine.watchdog.books_upstox import reading_of
from kite_hft.engine.watchdog.guard import Guard
from kite_hft.engine.watchdog.guard import Limits as GuardLimits
from kite_hft.engine.watchdog.plan import called_by
from kite_hft.layout import TICK, Severity, Side
from kite_hft.memory.journal import Record
from kite_hft.sessions import Phases, ist_midnight_ns, ist_text, seconds_of_day
from kite_hft.sim.brokers.side import Update
from kite_hft.sim.exchange.defaults import default_calendar, default_market_rules
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.broker import HttpRequest, HttpResponse, Limits, TransportError
from kite_hft.trading.costs import Schedule
from kite_hft.trading.exits.protection import Facts as Protection
from kite_hft.trading.gate.facts import DayRules, Facts
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import MarketRules
from kite_hft.trading.ports import OrdersConfig
from kite_hft.units import NS_PER_S
from kite_hft.verify.desk.bench import (
    CASH_PAISE,
    LIMITS,
    SPREAD_TICKS,
    START_MONO_NS,
    Bench,
    Desk,
    MemoryJournal,
    Prices,
)
from kite_hft.verify.desk.line import FINE, Line, Strike

COUNT: Final = 60  # instruments: with one of CDS and one of MCX
DEAD: Final = {
    "refused": (Strike("no connection", done=False, answer="", sent=False),),
    "black hole": (Strike("nothing comes back", done=False, answer="", wait_ns=7 * NS_PER_S),),
    "answers lost": (Strike("done, no answer", answer="", wait_ns=7 * NS_PER_S),),
    "gateway": (Strike("503", done=False, answer=(503, b"")),),
}
"""How a line may be dead -> what becomes of an order call on it."""
LOOK_NS: Final = NS_PER_S


class DeadLine(Line):
    """A line that is dead from `from_ns` to `until_ns` (CLOCK_MONOTONIC)."""

    def kill(self, from_ns: int, until_ns: int, how: str) -> None:
        """Decide when and how it is dead."""
        self.from_ns, self.until_ns, self.how = from_ns, until_ns, how
        self.strike = lambda request: random.Random(len(self.calls)).choice(DEAD[how]) if self.dead else FINE
        self.spoil_read = lambda path: self.dead

    from_ns = until_ns = 0
    how = "refused"

    @property
    def dead(self) -> bool:
        return self.from_ns <= self.clock.mono < self.until_ns

    def _tell(self, update: Update) -> None:
        if not self.dead:
            super()._tell(update)

    def _read(self, request_id: int, request: HttpRequest) -> None:
        if not self.dead or self.how == "gateway":
            super()._read(request_id, request)
            return
        wait_ns = 0 if self.how == "refused" else 7 * NS_PER_S
        result: HttpResponse | TransportError = TransportError("timed out", sent=True)
        self._back(self.clock.mono + wait_ns, request_id, result)


@dataclass(slots=True)
class Told:
    """One alert. real_ns: the exchange's clock."""

    real_ns: int
    code: str
    key: str
    text: str
    severity: int
    cleared: bool

    @property
    def pages(self) -> bool:
        return self.severity >= Severity.CRITICAL and not self.cleared


@dataclass(slots=True)
class DayBench(Bench):
    """A bench of the day `day` from `at` ("HH:MM:SS") on. calendar: None: the one of the repository.

    squares_off: the broker does what his rules say; False: he fails at it.
    """

    day: dt.date = dt.date(2026, 11, 20)
    at: str = "14:40:00"
    calendar: Sequence[Any] | None = None
    squares_off: bool = True
    expiry: str = ""  # of all derivatives; "": as they are
    clock: ManualClock = field(default_factory=lambda: ManualClock(START_MONO_NS, 0))

    rules: MarketRules = field(init=False)
    phases: Phases = field(init=False)
    closes: list[int] = field(init=False)
    told: list[Told] = field(init=False)
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.clock.real = ist_midnight_ns(self.day) + seconds_of_day(self.at) * NS_PER_S
        self.instruments, base_px = default_instruments(COUNT, 1)
        if self.expiry:
            rows = (replace(row, expiry=self.expiry if row.expiry else "") for row in self.instruments)
            self.instruments = InstrumentTable(tuple(rows))
        self.instruments = self.broker.table(self.instruments)
        self.prices = Prices(self.clock, [int(px) for px in base_px])
        self.closes, self.told = list(self.prices.last), []
        self.rules = default_market_rules(self.day, self.broker.name)
        calendar = self.calendar if self.calendar is not None else default_calendar()
        params = ExchangeParams(
            keep_tags=self.keep_tags, orders_per_day=0, hours="exchange", market=self.rules, calendar=calendar
        )
        if not self.squares_off:
            params = replace(params, market=replace(self.rules, square_offs=()))
        self.exchange = Exchange(self.instruments, CASH_PAISE, self.seed, self.broker.params(params))
        api = self.broker.make_api(self.exchange, self.unlimited)
        self.line = DeadLine(self.broker, api, self.clock, self.seed)
        self.phases = Phases(calendar, self.seed)
        self.tradable = [row.slot for row in self.instruments if not row.is_index]
        self.guard = Guard(
            GuardLimits(blind_ns=60 * NS_PER_S), self._protection(), self.clock.mono,
            self.reading(),
        )  # fmt: skip
        self.tick(range(len(self.instruments)))

    # The market

    def tick(self, slots: Any) -> None:
        """The market shows itself; at the end of its band nobody stands on one side."""
        chosen = list(slots)
        ticks = np.zeros(len(chosen), TICK)
        for tick, slot in zip(ticks, chosen, strict=True):
            step, px = max(self.instruments[slot].tick_px, 1), self.prices.last[slot]
            tick["slot"], tick["last_px"], tick["last_qty"] = slot, px, 10**6
            tick["close_px"] = self.closes[slot]
            tick["bid_px"], tick["ask_px"] = px - SPREAD_TICKS * step, px + SPREAD_TICKS * step
            tick["bid_qty"] = tick["ask_qty"] = 10**6
            tick["bid_orders"] = tick["ask_orders"] = 100
            tick["volume"] = (self.clock.mono - START_MONO_NS) // 10**6 + 10**6
        self.broker.take(self.line.api, ticks, self.clock.real)

    def lock(self, slot: int, side: str) -> None:
        """The price stands at the "upper" or "lower" circuit from now on."""
        low, high = self.exchange.band(slot)
        self.prices.last[slot] = high if side == "upper" else low
        self.exchange.lock_circuit(slot, side)  # type: ignore[arg-type]
        self.tick([slot])

    # What the stage and the watchdog are handed

    def underlyings(self) -> frozenset[str]:
        return frozenset(row.name for row in self.instruments if row.kind != "EQ")

    def facts(self) -> Facts:
        """As the engine makes them for a market that keeps hours."""
        day = DayRules(self.instruments, self.rules, self.phases, underlyings=self.underlyings())
        return Facts(
            view=day.view,
            band=lambda slot: (*self.exchange.band(slot), 0),
            traded=lambda slot: True,
            day_end=day.day_end,
            settlement=day.settlement,
        )

    def is_cas(self, row: Instrument) -> bool:
        return self.rules.closing_auction(row, self.underlyings()) is not None

    def _protection(self) -> Protection:
        pairs = {(row.exchange, self.is_cas(row)) for row in self.instruments if not row.is_index}
        shares = [row for row in self.instruments if row.kind == "EQ"]
        cas = frozenset(row.key for row in shares if self.is_cas(row))
        return Protection(
            {pair: self.phases.on(*pair, self.day) for pair in pairs},
            cas,
            frozenset(row.key for row in shares) - cas,
            {},
            10 * NS_PER_S,
        )

    def reading(self) -> Reading:
        """How the watchdog reads the books of this broker."""
        if self.broker.name == "kite":
            return KITE
        return reading_of(called_by(self.instruments))

    def keep_alert(self, fields: dict[str, Any]) -> None:
        """One alert of the stage or the watchdog."""
        code, key, text = str(fields["code"]), str(fields["key"]), str(fields["text"])
        severity, cleared = int(fields["severity"]), bool(fields.get("cleared"))
        self.told.append(Told(self.clock.real, code, key, text, severity, cleared))

    def keep_book(self, read: str, body: bytes, asked_ns: int) -> None:
        """One raw book that the stage has read."""
        if read in SHELVED:
            self.guard.take(RawBook(read, asked_ns, self.clock.real, body), self.clock.mono)

    def ns_of(self, text: str) -> int:
        """CLOCK_REALTIME of a time of this day."""
        return ist_midnight_ns(self.day) + seconds_of_day(text) * NS_PER_S

    def words(self) -> list[str]:
        """The newest alerts, for a report."""
        return [f"{ist_text(t.real_ns)[11:]} {t.code} {t.key}: {t.text}" for t in self.told[-12:]]


def desk_of(
    bench: DayBench,
    limits: Limits,
    *,
    history: Sequence[Record] = (),
    restarted: bool = False,
    more: Mapping[str, Any] | None = None,
    charges: Schedule | None = None,
) -> Desk:
    """A process of the order stage, under the day's rules. more: other fields of Ports. charges: what
    orders cost; None: nothing."""
    risk = replace(LIMITS, stale_tick_s=10.0**9)
    ports: dict[str, Any] = {
        "alert": bench.keep_alert,
        "on_book": bench.keep_book,
        "facts": bench.facts(),
        **(more or {}),
    }
    journal = MemoryJournal(list(history))
    config = OrdersConfig(
        limits, risk, reject_storm=10**6, stale_position_s=10.0**6, entry_wait_s=30.0, charges=charges
    )
    return Desk(bench, history=history, journal=journal, restarted=restarted, config=config, ports=ports)


def look(bench: DayBench, desk: Desk) -> None:
    """The watchdog's turn."""
    for fields in bench.guard.look(bench.clock.real, bench.clock.mono):
        bench.keep_alert(fields)
    wants = bench.guard.wants_books(bench.clock.mono)
    words = {"do": "watchdog", "naked_paise": bench.guard.naked_paise, "read": wants}
    desk.stage.control(words, bench.clock.mono)


def leap(bench: DayBench, desk: Desk, seconds: float) -> None:
    """Quiet time in one step: what is due in it happens at its end."""
    bench.clock.advance(round(seconds * NS_PER_S))
    bench.line.run()
    desk.act()


def closing_side(net: int) -> Side:
    """The side that closes a position."""
    return Side.SELL if net > 0 else Side.BUY
