"""Layer 6, campaigns, cold: rows of the kit about orders and positions on every exchange, read back.

Where adapters go wrong without being seen is not in shares: it is where a price has more than two decimals,
where the wire counts lots, where one word stands for two products, where a position was carried in. So one
contract of every kind is traded here, and what the books then say is held against the exchange's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.layout import TICK, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.sim.brokers.side import TOKEN, BrokerSide
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import CANCELLED, Order
from kite_hft.trading.broker import Broker, Confirmed, HttpRequest, HttpResponse, OrderReport, OrderRequest
from kite_hft.trading.instruments import SCALE_BY_SEGMENT, SCALE_DEFAULT, Instrument, InstrumentTable
from kite_hft.units import NS_PER_S
from kite_hft.verify.brokers.kit import Kit, row
from kite_hft.verify.desk.bench import CASH_PAISE, START_REAL_NS

_KINDS: Final = (
    # exchange, segment, low byte of the token, kind, price in rupees, tick in units, lot, multiplier
    ("NSE", "NSE", 1, "EQ", 1450, 5, 1, 1), ("BSE", "BSE", 4, "EQ", 1451, 5, 1, 1),
    ("NFO", "NFO-FUT", 2, "FUT", 1990, 5, 50, 1), ("NFO", "NFO-OPT", 2, "CE", 234, 5, 75, 1),
    ("BFO", "BFO-FUT", 5, "FUT", 81_000, 5, 20, 1), ("CDS", "CDS-FUT", 3, "FUT", 84, 25_000, 1, 1000),
    ("BCD", "BCD-FUT", 6, "FUT", 85, 25, 1, 1000), ("MCX", "MCX-FUT", 7, "FUT", 6_200, 100, 1, 100),
    ("NCO", "NCO-FUT", 12, "FUT", 510, 100, 100, 1),  # a table of units, where the wire may count lots
)  # fmt: skip
EXPIRY: Final = "2026-12-29"
DEEP: Final = 10**6
TIME: Final = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d")
ENDED: Final = frozenset({OrderStatus.COMPLETE, OrderStatus.CANCELLED, OrderStatus.REJECTED})


def _instruments() -> tuple[tuple[Instrument, ...], list[int]]:
    """One contract of each kind, and its last price in units."""
    rows, prices = [], []
    for slot, (exchange, segment, number, kind, rupees, tick, lot, multiplier) in enumerate(_KINDS):
        scale = SCALE_BY_SEGMENT.get(number, SCALE_DEFAULT)
        later = kind != "EQ"
        rows.append(
            Instrument(
                slot, (41_000 + slot) * 256 + number, 41_000 + slot, f"KIT{slot}{kind}", exchange, segment,
                kind, tick, lot, scale, f"KIT{slot}", EXPIRY if later else "",
                round(rupees * scale) if kind == "CE" else 0, multiplier, 100 * lot if later else None,
            )
        )  # fmt: skip
        prices.append(rupees * scale)
    return tuple(rows), prices


@dataclass(slots=True)
class Market:
    """The broker's simulator before one contract of every kind, with a deep book each."""

    side: BrokerSide
    table: InstrumentTable = field(init=False)
    exchange: Exchange = field(init=False)
    broker: Broker = field(init=False)
    api: Any = field(init=False)
    now_ns: int = START_REAL_NS
    last: list[int] = field(init=False)

    def __post_init__(self) -> None:
        rows, self.last = _instruments()
        self.table = self.side.table(InstrumentTable(rows))
        self.exchange = Exchange(self.table, CASH_PAISE, 1, self.side.params())
        self.broker = self.side.broker(self.table)
        self.api = self.side.make_api(self.exchange, True)
        self.tick()

    def tick(self) -> None:
        """The market shows itself around the last prices."""
        ticks = np.zeros(len(self.table), TICK)
        for tick, one in zip(ticks, self.table, strict=True):
            px = self.last[one.slot]
            tick["slot"], tick["last_px"], tick["last_qty"], tick["close_px"] = one.slot, px, DEEP, px
            tick["bid_px"], tick["ask_px"] = px - one.tick_px, px + one.tick_px
            tick["bid_qty"] = tick["ask_qty"] = DEEP
            tick["bid_orders"] = tick["ask_orders"] = 100
            tick["volume"] = self.now_ns // NS_PER_S
        self.side.take(self.api, ticks, self.now_ns)

    def ask(self, request: HttpRequest, settle_s: float = 2.0) -> HttpResponse:
        """The simulator's answer; then time passes."""
        answer = self.side.ask(self.api, self.broker, request, TOKEN, self.now_ns)
        for _ in range(20):
            self.now_ns += round(settle_s * NS_PER_S) // 20
            self.exchange.step(self.now_ns)
        return HttpResponse(answer.status, answer.body)

    @property
    def open(self) -> list[Instrument]:
        """What takes orders through this broker's API."""
        return [one for one in self.table if one.exchange not in self.side.closed]

    def order(self, one: Instrument, kind: OrderType, side: Side, ticks: int, **more: Any) -> OrderRequest:
        """So many ticks above the last price, or below."""
        px = self.last[one.slot] + ticks * one.tick_px
        priced, triggered = kind in (OrderType.LIMIT, OrderType.SL), kind in (OrderType.SL, OrderType.SLM)
        words: dict[str, Any] = {
            "product": carried(one), "validity": Validity.DAY, "quantity": 2 * one.lot_size,
            "px": px if priced else 0, "trigger_px": px if triggered else 0, "tag": f"kit{one.slot}",
        } | more  # fmt: skip
        return OrderRequest(one, side, kind, **words)

    def place(self, kit: Kit, order: OrderRequest) -> Order | None:
        """The exchange's order that came of a placement."""
        before = set(self.exchange.orders)
        found = self.broker.parse_outcome(self.ask(self.broker.place(order)))
        made = [self.exchange.orders[number] for number in self.exchange.orders if number not in before]
        what = f"{order.instrument.key} {order.order_type.name}"
        kit.holds(len(made) == 1, f"{what}: {len(made)} orders came of one placement: {found}")
        if not kit.holds(isinstance(found, Confirmed) and made, f"{what}: {found}"):
            return None
        asked = (order.instrument.slot, order.side, order.order_type, order.product, order.validity,
                 order.quantity, order.px, order.trigger_px)  # fmt: skip
        came = made[0].request
        is_so = (came.instrument.slot, came.side, came.order_type, came.product, came.validity,
                 came.quantity, came.px, came.trigger_px)  # fmt: skip
        kit.holds(is_so == asked, f"{what}: asked for {asked}, came is {is_so}")
        return made[0]


def carried(one: Instrument) -> Product:
    return Product.CNC if one.kind == "EQ" else Product.NRML


def same_order(kit: Kit, report: OrderReport, true: Order) -> None:
    """Every term of a report against the exchange's order."""
    now, request, one = true.now, true.request, true.request.instrument
    what = f"{one.key} {report.status_text!r}"
    for name, told, is_so in (
        ("instrument", (report.exchange, report.token), (one.exchange, one.token)),
        ("product", report.product, request.product),
        ("side", report.side, request.side),
        ("type", report.order_type, now.order_type),
        ("quantity", report.quantity, now.quantity),
        ("filled", report.filled_quantity, now.filled),
        ("pending", report.pending_quantity, report.pending_quantity if true.done else now.pending),
        ("limit", report.px, now.px if now.order_type in (OrderType.LIMIT, OrderType.SL) else report.px),
        ("trigger price", report.trigger_px, now.trigger_px),
    ):  # fmt: skip
        kit.holds(told == is_so, f"{what}: {name} {told!r}, true is {is_so!r}")
    left = now.quantity - now.filled if now.status == CANCELLED else report.cancelled_quantity
    kit.holds(report.cancelled_quantity == left, f"{what}: cancelled {report.cancelled_quantity}, not {left}")
    kit.holds(report.symbol, f"{what}: no symbol")
    kit.holds(true.tag is None or true.tag in report.tags, f"{what}: tags {report.tags}, not {true.tag!r}")
    kit.holds(bool(report.message) or not now.message, f"{what}: it does not say why: {now.message!r}")
    average = now.filled_units / now.filled / one.scale if now.filled else 0.0
    kit.holds(abs(report.average_price - average) < 1e-6, f"{what}: average {report.average_price}")
    kit.holds(TIME.fullmatch(report.order_timestamp), f"{what}: placed at {report.order_timestamp!r}")
    if report.status is OrderStatus.COMPLETE:
        kit.holds(
            TIME.fullmatch(report.exchange_timestamp), f"{what}: taken at {report.exchange_timestamp!r}"
        )


@row("every exchange", "orders of all types on all exchanges stand in the book term by term, in our units")
def every_exchange(kit: Kit) -> None:
    """Resting, waiting for a trigger, filled, filled in part, cancelled after a part, rejected."""
    market = Market(kit.side)
    wanted: list[Order | None] = []
    for one in market.open:
        wanted.append(market.place(kit, market.order(one, OrderType.LIMIT, Side.BUY, -41)))
        wanted.append(
            market.place(
                kit,
                market.order(one, OrderType.SL, Side.SELL, -30, px=market.last[one.slot] - 33 * one.tick_px),
            )
        )
        wanted.append(market.place(kit, market.order(one, OrderType.LIMIT, Side.BUY, 3, product=Product.MIS)))
        wanted.append(
            market.place(kit, market.order(one, OrderType.MARKET, Side.SELL, 0, product=Product.MIS))
        )
    share = market.open[0]
    wanted.append(market.place(kit, market.order(share, OrderType.SLM, Side.SELL, -30, product=Product.MIS)))
    for gone in (False, True):
        market.tick()
        part = market.place(kit, market.order(share, OrderType.LIMIT, Side.BUY, 1, quantity=DEEP + DEEP // 2))
        wanted.append(part)
        if part is not None:
            kit.holds(0 < part.now.filled < part.now.quantity, "the simulator fills in part")
            if gone:
                market.ask(market.broker.cancel(part.order_id))
    cash, market.exchange.account.cash_paise = market.exchange.account.cash_paise, 0
    wanted.append(market.place(kit, market.order(share, OrderType.LIMIT, Side.BUY, -20)))
    market.exchange.account.cash_paise = cash
    reports = {r.order_id: r for r in market.broker.parse_orders(market.ask(market.broker.order_book()).body)}
    kit.holds(len(reports) == len(market.exchange.orders), f"{len(reports)} of {len(market.exchange.orders)}")
    seen = set()
    for order in wanted:
        if order is not None and kit.holds(order.order_id in reports, f"{order.order_id} is not in the book"):
            report = reports[order.order_id]
            seen.add(report.status)
            kit.holds(
                report.status is not None and report.status.name == order.now.status.replace(" ", "_"),
                f"{report.status_text!r} is {report.status}, not {order.now.status}",
            )
            same_order(kit, report, order)
    kit.holds(seen >= ENDED | {OrderStatus.OPEN, OrderStatus.TRIGGER_PENDING}, f"seen were {seen}")
    _trades(kit, market)


def _trades(kit: Kit, market: Market) -> None:
    told = {t.trade_id: t for t in market.broker.parse_trades(market.ask(market.broker.trade_book()).body)}
    true = market.exchange.account.trades
    kit.holds(told.keys() == {t.trade_id for t in true}, f"{len(told)} trades, {len(true)} are true")
    for trade in true:
        found, one = told.get(trade.trade_id), trade.instrument
        if found is None:
            continue
        words = (found.order_id, found.exchange, found.token, found.side, found.product, found.quantity)
        is_so = (trade.order_id, one.exchange, one.token, trade.side, trade.product, trade.quantity)
        kit.holds(words == is_so, f"{one.key}: trade {words}, true is {is_so}")
        kit.holds(
            abs(found.average_price - trade.px / one.scale) < 1e-6, f"{one.key}: at {found.average_price}"
        )
        kit.holds(TIME.fullmatch(found.fill_timestamp), f"{one.key}: traded at {found.fill_timestamp!r}")


@row(
    "every position",
    "net positions: long, short, flat, carried in; what was bought and sold, and for how much",
)
def every_position(kit: Kit) -> None:
    """On every exchange, in units and rupees."""
    market = Market(kit.side)
    account = market.exchange.account
    for one in market.table:
        sign = 1 if one.slot % 2 or one.kind == "EQ" else -1
        product = kit.side.carried if one.kind == "EQ" else Product.NRML
        account.carry_in(one, product, sign * 4 * one.lot_size, market.last[one.slot] - 20 * one.tick_px)
    for at, one in enumerate(market.open):
        first, then = (Side.SELL, Side.BUY) if at % 2 else (Side.BUY, Side.SELL)
        for side, lots in ((first, 3), (then, 1), *(((then, 2),) if at % 3 == 2 else ())):
            market.tick()
            more = {"product": Product.MIS, "quantity": lots * one.lot_size}
            market.place(kit, market.order(one, OrderType.MARKET, side, 0, **more))
    reports = market.broker.parse_positions(market.ask(market.broker.positions()).body)
    told = {(report.token, report.product): report for report in reports}
    true = {(p.instrument.token, p.product): p for p in account.positions.values()}
    kit.holds(told.keys() == true.keys(), f"{len(told)} positions, {len(true)} are true: flat ones count")
    for where, position in true.items():
        report, one = told.get(where), position.instrument
        if report is None:
            continue
        carried_in = position.overnight_quantity
        bought = position.buy_quantity + max(carried_in, 0)
        sold = position.sell_quantity + max(-carried_in, 0)
        words = (report.exchange, report.quantity, report.overnight_quantity, report.multiplier)
        is_so = (one.exchange, position.net, carried_in, one.multiplier)
        kit.holds(words == is_so, f"{one.key} {position.product.name}: {words}, true is {is_so}")
        kit.holds(
            (report.buy_quantity, report.sell_quantity) == (bought, sold),
            f"{one.key}: bought and sold {report.buy_quantity, report.sell_quantity}, not {bought, sold}",
        )
        _worth(kit, report, position)


def _worth(kit: Kit, report: Any, position: Any) -> None:
    """Values in rupees, and a price wherever something is held."""
    one, carried_in = position.instrument, position.overnight_paise
    bought = (position.buy_paise + max(carried_in, 0)) / 100
    sold = (position.sell_paise + max(-carried_in, 0)) / 100
    for name, told, true in (("bought", report.buy_value, bought), ("sold", report.sell_value, sold)):
        near = abs(told - true) < 0.02 + 1e-6 * true
        kit.holds(near, f"{one.key} {position.product.name}: {name} for {told}, true is {true}")
    px = report.average_price * one.scale
    fair = abs(px / max(1, position.overnight_px or px) - 1) < 0.05 and px > 0
    kit.holds(not position.net or fair, f"{one.key}: held at {report.average_price}")
