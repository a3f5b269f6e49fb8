"""Layer 6, campaigns, cold: the real order stage, set up by plain words, for questions to its gate.

`Bench(given)` makes a stage with its dated rules and everything else in memory; `ask` hands it one
intent, reads from the journal what became of it, and holds that against the gate's table alone. Nothing
is sent: what the broker would do is not the question. The words of `given` stand in DEFAULT.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np

from kite_hft.clock import ManualClock
from kite_hft.layout import INTENT, IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.memory.journal import Kind
from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.settings import load_yaml
from kite_hft.sim.brokers.side import PLACE, Call
from kite_hft.sim.brokers.table import side_of
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import Broker, Conduct, Funds, HttpRequest, Limits
from kite_hft.trading.gate.diverging import DivergenceLimits, FeedPair
from kite_hft.trading.gate.facts import DayRules, Facts, Holding, Traffic
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.gate.risk import judge
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Intent, Tags, intents_of
from kite_hft.trading.market_rules import market_rules
from kite_hft.trading.order import Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.units import NS_PER_S
from kite_hft.verify.brokers.choosing import limits_of
from kite_hft.verify.campaign import CONFIG
from kite_hft.verify.desk.bench import Deaf, IntentRows, MemoryJournal
from kite_hft.verify.desk.line import Texts

MONO_NS: Final = 10**13
PX: Final = 10_000  # 100 rupees, of everything that is priced in paise
STRATEGY: Final = 1
SHARE, OTHER, INDEX, OPTION, STOCK_OPTION, FAR_OPTION, NO_MULTIPLIER, NO_FREEZE = range(8)
BSE_SHARE, METAL, GROSS, CURRENCY = range(8, 12)
UNKNOWN: Final = 12
STEPS: Final = 4
WIDE: Final = Conduct(messages_min=100, ratio_stop=50.0, modifications_stop=800)

DEFAULT: Final[dict[str, Any]] = {
    "broker": "kite",  # whose adapter and limits
    "at": "2026-11-20 11:00:00",  # the wall clock, IST
    "hours": True,  # the market keeps the calendar's hours
    "limits": {},  # of RiskLimits
    "config": {},  # of OrdersConfig
    "lists": None,  # daily lists at hand; None: none is needed
    "listed": {},  # list -> names on it
    "allow": (),
    "underlyings": frozenset({"SBIN"}),
    "held": (),  # (strategy, slot, product, quantity)
    "live": (),  # words of an order that is live
    "price": {},  # slot -> (price, age in s); None: none
    "latest": None,  # a table of latest ticks instead
    "band": None,  # slot -> (low, high, age in s); None: no such thing in this market
    "holding": None,  # slot -> words of a Holding; None likewise
    "traded": None,  # slots that have traded today; None likewise
    "clock": "",  # what is wrong with it
    "parted": (),  # slots of which two feeds tell different prices
    "barred": (),  # slots of which the instrument list says that nothing is opened
    "traffic": None,  # (of the contract, of the strategy), words of a Traffic
    "funds": None,  # paise
    "before": (),  # intents that the stage gets first; they must pass
    "closed": (),  # GUARD records that it has journalled, and how many s ago
    "net": None,  # (best of the day, now), paise
    "states": {},  # token_dead, active, halted, reducing, killed, market_halted, stale, held, cut_s, pause_s
}

ASK: Final[dict[str, int]] = {
    "strategy": STRATEGY, "slot": SHARE, "kind": IntentKind.PLACE, "side": Side.BUY,
    "order_type": OrderType.LIMIT, "product": Product.MIS, "validity": Validity.DAY, "qty": 10,
}  # fmt: skip
"""What an intent is where the question does not say otherwise; at 100 rupees."""

_table: list[InstrumentTable] = []


def table() -> InstrumentTable:
    """The instruments of all benches from now on."""
    if not _table:
        _table.append(each_kind())
    return _table[0]


def use_table(instruments: InstrumentTable) -> None:
    """Others than `each_kind`."""
    _table[:] = [instruments]


def wide_table(n: int) -> InstrumentTable:
    """`n` shares."""
    return InstrumentTable(tuple(_row(f"SHARE{slot}")(slot) for slot in range(n)))


def each_kind() -> InstrumentTable:
    """One instrument of each kind that the rules tell apart."""
    rows = [
        _row("SBIN"), _row("SMALLCO"), _row("NIFTY 50", token=9, segment="INDICES"),
        _row("NIFTY26NOV24000CE", "NFO", "CE", "NIFTY", "2026-11-26", 75, 1, 1800),
        _row("SBIN26NOV800CE", "NFO", "CE", "SBIN", "2026-11-26", 75, 1, 1800),
        _row("SBIN26DEC800CE", "NFO", "CE", "SBIN", "2026-12-31", 75, 1, 1800),
        _row("SBIN26NOVFUT", "NFO", "FUT", "SBIN", "2026-11-26", 75, None, 1800),
        _row("SBIN26DECFUT", "NFO", "FUT", "SBIN", "2026-12-31", 75, 1, None),
        _row("RELIANCE", "BSE"), _row("COPPER26NOVFUT", "MCX", "FUT", "COPPER", "2026-11-30", 1, 2500, 100),
        _row("TINY-BE"), _row("USDINR26NOVFUT", "CDS", "FUT", "USDINR", "2026-11-27", 1, 1000, 10_000),
    ]  # fmt: skip
    return InstrumentTable(tuple(rows[slot](slot) for slot in range(len(rows))))


def _row(
    symbol: str, exchange: str = "NSE", kind: str = "EQ", name: str = "", expiry: str = "", lot: int = 1,
    multiplier: int | None = None, freeze: int | None = None, token: int = 1, segment: str = "",
) -> Any:  # fmt: skip
    def make(slot: int) -> Instrument:
        currency = exchange == "CDS"
        return Instrument(
            slot=slot, token=(2000 + slot) * 256 + (3 if currency else token), exchange_token=2000 + slot,
            symbol=symbol, exchange=exchange, segment=segment or exchange, kind=kind, name=name,
            expiry=expiry,
            tick_px=25_000 if currency else 5, lot_size=lot, scale=10**7 if currency else 100,
            multiplier=multiplier, freeze_quantity=freeze,
        )  # fmt: skip

    return make


@cache
def _files() -> tuple[Any, Any]:
    return load_yaml(CONFIG / "rules/market_2026-08-03.yaml"), load_yaml(CONFIG / "calendar/india.yaml")


@cache
def _limits(broker: str) -> Limits:
    return limits_of(side_of(broker))


def _dealing(broker: str, instruments: InstrumentTable) -> tuple[InstrumentTable, Broker]:
    """The instruments by the names that a broker knows them by, and his adapter."""
    side = side_of(broker)
    named = side.table(instruments)
    return named, side.broker(named)


class _Prices:
    """The latest table as `given` says."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._rows: dict[int, tuple[int, int, int]] = {}
        for row in table():
            found = given["price"].get(row.slot, (PX * row.scale // 100, 0.0))
            if found is not None:
                self._rows[row.slot] = (found[0], 1, MONO_NS - round(found[1] * NS_PER_S))

    def last_px(self, slot: int) -> int:
        return self._rows[slot][0] if slot in self._rows else 0

    def look(self, slot: int) -> tuple[int, int, int] | None:
        return self._rows.get(slot)


class _Silent:
    """A transport that nothing comes back from; it keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[HttpRequest] = []

    def submit(self, request_id: int, request: HttpRequest) -> None:
        self.sent.append(request)

    def poll(self) -> list[Any]:
        return []


class _Untold:
    """A feed that has told nothing."""

    name = "nobody"

    def read(self, px: Any, recv_ns: Any) -> None: ...


def _feeds(slots: tuple[int, ...]) -> FeedPair | None:
    """Two feeds that have parted over some instruments; None: there is one feed."""
    if not slots:
        return None
    feeds = FeedPair((), _Untold(), _Untold(), DivergenceLimits())
    feeds.apart.update(dict.fromkeys(slots, "the feeds tell different prices: 100.00 by a and 110.00 by b"))
    return feeds


def _barred(slots: tuple[int, ...]) -> InstrumentTable:
    if not slots:
        return table()
    why = "the brokers' lists differ: lot size 1 at Kite, 2 at Upstox"
    return InstrumentTable(tuple(replace(r, barred=why) if r.slot in slots else r for r in table()))


class Bench:
    """One stage. Raises ValueError: an intent of `before` did not pass, or a word does not exist."""

    def __init__(self, **given: Any) -> None:
        if strange := set(given) - set(DEFAULT):
            raise ValueError(f"given {sorted(strange)}: there are {sorted(DEFAULT)}")
        self.given = given = DEFAULT | given
        day, time = given["at"].split()
        self.day = dt.date.fromisoformat(day)
        real_ns = ist_midnight_ns(self.day) + seconds_of_day(time) * NS_PER_S
        self.clock = ManualClock(MONO_NS, real_ns)
        self.journal = MemoryJournal()
        self.line = _Silent()
        self.alerts: list[str] = []
        self.stage = self._make()
        self.stage.start()
        self.stage.active = bool(given["states"].get("active", True))
        self._set_up()
        self._numbers = 0
        for words in given["before"]:
            if refusal := self.ask(**words):
                raise ValueError(f"{words} was to pass first: {refusal}")

    def _make(self) -> Orders:
        given = self.given
        instruments, broker = _dealing(given["broker"], _barred(given["barred"]))
        ports = Ports(
            instruments, broker, self.line, self.clock, self.journal, Deaf(),
            given["latest"] or _Prices(given),
            (IntentRows(),), (Texts(),), {}, Tags("vfy", 1),
            alert=lambda fields: self.alerts.append(str(fields["code"])),
            fresh=lambda slot: slot not in given["states"].get("stale", ()), facts=self._facts(),
        )  # fmt: skip
        return Orders(
            ports, OrdersConfig(_limits(given["broker"]), RiskLimits(**given["limits"]), **given["config"])
        )

    def _facts(self) -> Facts:
        given = self.given
        market, calendar = _files()
        rules = market_rules(market, self.day, given["broker"])
        for name, symbols in given["listed"].items():
            rules = rules.with_list(name, symbols)
        day = DayRules(
            table(), rules, Phases(calendar) if given["hours"] else None, lists=given["lists"],
            underlyings=given["underlyings"], allow=given["allow"],
        )  # fmt: skip
        band, holding, traded, traffic = given["band"], given["holding"], given["traded"], given["traffic"]

        bands = {slot: (low, high, round(age * NS_PER_S)) for slot, (low, high, age) in (band or {}).items()}
        held = {slot: Holding(**words) for slot, words in (holding or {}).items()}
        seen = tuple(Traffic(**words) for words in traffic) if traffic else (Traffic(), Traffic())
        return Facts(
            view=day.view,
            band=None if band is None else lambda slot: bands.get(slot, (0, 0, -1)),
            holding=None if holding is None else held.get,
            traded=None if traded is None else lambda slot: slot in traded,
            clock_wrong=lambda: str(given["clock"]),
            traffic=None if traffic is None else lambda strategy, slot: (seen[0], seen[1]),
            per_contract=WIDE,
            per_strategy=WIDE,
            feeds=_feeds(given["parted"]),
        )

    def _set_up(self) -> None:
        given, stage = self.given, self.stage
        for strategy, slot, product, quantity in given["held"]:
            stage.book.position_of(strategy, slot, product).quantity += quantity
        for number, words in enumerate(given["live"], 1):
            stage.book.add(_order(stage.desk.take_no(), number, words))
        if given["funds"] is not None:
            stage.reader.funds = Funds(given["funds"], 0, 0, 0, 0, 0)
        for data, ago_s in given["closed"]:
            stage.gate.guards.fold({"peak_paise": 0} | data, MONO_NS - round(ago_s * NS_PER_S))
        for net in given["net"] or ():
            stage.gate.look(net, MONO_NS)
        self._latch(given["states"])

    def _latch(self, states: Mapping[str, Any]) -> None:
        stage = self.stage
        stage.states.token_dead = states.get("token_dead", "")
        stage.states.market_halted = states.get("market_halted", False)
        if "halted" in states:
            stage.outbox.halt(states["halted"])
        if "reducing" in states:
            stage.states.reduce(states["reducing"], "")
        if "killed" in states:
            stage.states.kill(states["killed"])
        if "held" in states:
            stage.states.hold(*states["held"])
        for position in stage.book.positions.values() if "cut_s" in states else ():
            position.cut_ns = MONO_NS - round(states["cut_s"] * NS_PER_S)

    def ask(self, **words: Any) -> tuple[str, str] | None:
        """What an intent comes to: None: it passes; else (name of the reason, text)."""
        self._numbers += 1
        row: Any = np.zeros(1, INTENT)
        slot = words.get("slot", SHARE)
        scale = table()[slot].scale if slot < len(table()) else 100
        base = {"strategy_seq": 100 + self._numbers, "px": PX * scale // 100}
        for name, value in (ASK | base | words).items():
            row[name] = value
        before = len(self.journal.records)
        wish = intents_of(row.tobytes(), 1)[0]
        if wish.kind == IntentKind.MODIFY:
            wish = wish._replace(**{n: words.get(n, 0) for n in ("side", "order_type", "qty", "px")})
        expected = self._by_table(wish)
        self.stage.intake.consider(wish, self.clock.mono)
        found = None
        for record in self.journal.records[before:]:
            if record.kind is Kind.REFUSED:
                data = record.data()
                found = str(data["reason"]), str(data["text"])
                break
        if found != expected:
            raise ValueError(f"the gate says {found}, its table alone {expected}: {wish}")
        if found is None:
            self._must_stand(wish)
        return found

    def sent(self) -> list[Call]:
        """The placements that leave now, as the broker reads them: without the adapter's code."""
        side, known = side_of(self.given["broker"]), len(self.line.sent)
        for _ in range(STEPS):
            self.stage.step(self.clock.mono)
        named = side.table(table())
        calls = [side.read(request, named) for request in self.line.sent[known:]]
        return [call for call in calls if call.kind == PLACE]

    def _by_table(self, wish: Intent) -> tuple[str, str] | None:
        """What the table alone comes to, without the quick way."""
        stage = self.stage
        context = stage.gate.context(wish, stage.intake.last_seq.get(wish.strategy, 0), self.clock.mono)
        verdict = judge(wish, context, RiskLimits(**self.given["limits"]))
        return None if verdict is None else (verdict.reason.name, verdict.text)

    def _must_stand(self, wish: Intent) -> None:
        """What has passed has left something behind."""
        stage = self.stage
        if wish.kind == IntentKind.PLACE:
            stands = stage.book.by_strategy(wish.strategy, wish.strategy_seq) is not None
        else:
            order = stage.book.by_strategy(wish.strategy, wish.target_seq)
            wished = stage.desk.modifying if wish.kind == IntentKind.MODIFY else stage.desk.cancelling
            stands = order is not None and (order.order_no in wished or order.status is OrderStatus.CANCELLED)
        if not stands:
            raise ValueError(f"intent {wish.strategy_seq} was not refused, and nothing came of it")


def _order(order_no: int, number: int, words: Mapping[str, Any]) -> Order:
    base: dict[str, Any] = {
        "strategy": STRATEGY, "strategy_seq": number, "slot": SHARE, "side": Side.BUY,
        "order_type": OrderType.LIMIT, "product": Product.MIS, "validity": Validity.DAY, "flags": 0,
        "quantity": 10, "px": PX, "trigger_px": 0, "tag": f"tag{order_no}", "status": OrderStatus.OPEN,
        "order_id": f"id{order_no}",
    }  # fmt: skip
    base.update(words)
    made = Order(order_no=order_no, **base)
    made.status = OrderStatus(made.status)
    return made
