"""A day with hours: phases, auctions, bands, and what broker and exchange do by the clock."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from sim_tools import EQUITY as SBIN
from sim_tools import SECOND, book_of, snapshot

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sessions import CalendarError
from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.gtt import GttOrder, GttSpec
from kite_hft.sim.exchange.orders import NewOrder, Order, Refusal
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.trading.instruments import Instrument, InstrumentTable

IST = dt.timezone(dt.timedelta(hours=5, minutes=30))
EQUITY = replace(SBIN, symbol="ABC")
PLAIN = replace(EQUITY, slot=1, token=1_000_001, symbol="PLAIN")
FUTURE = Instrument(
    2, 40001 * 256 + 2, 40001, "ABC26DECFUT", "NFO", "NFO-FUT", "FUT", 5, 50, name="ABC", multiplier=1,
    freeze_quantity=5000,
)  # fmt: skip
GOLD = Instrument(
    3, 220_000 * 256 + 7, 220_000, "GOLDM", "MCX", "MCX-FUT", "FUT", 100, 1, multiplier=100, name="GOLDM"
)
TABLE = InstrumentTable((EQUITY, PLAIN, FUTURE, GOLD))
"""ABC has a future: it takes part in the closing auction. PLAIN does not."""
BUY = NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.MIS, 10, px=10_010)


def at(clock: str, day: str = "2026-11-20") -> int:
    return int(dt.datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=IST).timestamp() * 10**9)


def exchange_at(clock: str, **options: object) -> Exchange:
    """An exchange that keeps hours, with a book in everything, at a time of a Friday."""
    params = ExchangeParams(latency_ns=(0, 0), hours="exchange")
    exchange = Exchange(TABLE, 10**10, 1, params, **options)  # type: ignore[arg-type]
    for slot in range(3):
        exchange.on_ticks(book_of(slot, 10_000, 10_005, 100), at(clock))
    return exchange


def tick(exchange: Exchange, clock: str, last: int, volume: int = 1000, slot: int = 0) -> None:
    exchange.on_ticks(
        snapshot(slot, [(last - 5, 100)], [(last + 5, 100)], last=last, volume=volume, close=10_000),
        at(clock),
    )


def place(exchange: Exchange, request: NewOrder, clock: str) -> Order:
    order = exchange.orders[exchange.place(request, at(clock))]
    exchange.step(at(clock))
    return order


@pytest.mark.parametrize(
    ("clock", "kinds"),
    [
        ("08:59:59", ""), ("09:00:00", "LIMIT MARKET"), ("09:04:59", "LIMIT MARKET"), ("09:05:00", "LIMIT"),
        ("09:07:59", "LIMIT"), ("09:10:00", ""), ("09:15:00", "LIMIT MARKET SL SL-M"),
        ("15:14:59", "LIMIT MARKET SL SL-M"), ("15:15:00", ""), ("15:20:00", "LIMIT MARKET"),
        ("15:25:00", "LIMIT"), ("15:27:59", "LIMIT"), ("15:30:00", ""),
    ],
)  # fmt: skip
def test_what_a_share_of_the_closing_auction_takes_when(clock: str, kinds: str) -> None:
    exchange = exchange_at(clock)
    requests = {
        "LIMIT": BUY,
        "MARKET": replace(BUY, order_type=OrderType.MARKET, px=0, protection_percent=-1),
        "SL": replace(BUY, order_type=OrderType.SL, trigger_px=10_010),
        "SL-M": replace(BUY, order_type=OrderType.SLM, px=0, trigger_px=10_010, protection_percent=-1),
    }
    for name, request in requests.items():
        if name in kinds.split():
            assert place(exchange, request, clock).now.status != "REJECTED"
        else:
            with pytest.raises(Refusal, match="Markets are closed"):
                exchange.place(request, at(clock))


def test_other_shares_trade_to_half_past_three_derivatives_to_twenty_to_four() -> None:
    for slot, last, closed in ((1, "15:29:59", "15:30:00"), (2, "15:39:59", "15:40:00")):
        row = TABLE[slot]
        request = replace(BUY, instrument=row, quantity=50, product=Product.MIS, px=10_010)
        assert place(exchange_at(last), request, last).now.status == "COMPLETE"
        with pytest.raises(Refusal):
            exchange_at(closed).place(request, at(closed))


def test_the_pre_open_gathers_and_uncrosses_at_a_random_close() -> None:
    exchange = exchange_at("09:01:00")
    better = place(exchange, BUY, "09:01:00")
    equal = place(exchange, replace(BUY, px=10_000), "09:02:00")
    market = replace(BUY, order_type=OrderType.MARKET, px=0, protection_percent=-1)
    protected = place(exchange, market, "09:03:00")
    tick(exchange, "09:07:00", 10_000, volume=5_000)
    assert [o.now.filled for o in (better, equal, protected)] == [0, 0, 0]
    exchange.step(at("09:10:00"))
    assert [o.now.filled for o in (better, equal, protected)] == [10, 0, 10]
    closes = {trade.at_ns for trade in exchange.account.trades}
    assert {trade.px for trade in exchange.account.trades} == {10_000} and len(closes) == 1
    assert at("09:08:00") <= closes.pop() <= at("09:10:00")
    tick(exchange, "09:14:00", 9_900, volume=6_000)
    assert equal.now.filled == 0  # the buffer: nothing meets
    tick(exchange, "09:15:00", 10_005, volume=6_000)
    tick(exchange, "09:15:01", 9_990, volume=6_100)
    assert equal.now.status == "COMPLETE"


def test_no_ioc_nor_disclosed_quantity_in_an_auction() -> None:
    exchange = exchange_at("09:01:00")
    for odd in (replace(BUY, validity=Validity.IOC), replace(BUY, disclosed_quantity=5)):
        assert place(exchange, odd, "09:01:00").now.status == "REJECTED"


def test_at_a_quarter_past_three_stops_disclosed_and_far_orders_end() -> None:
    exchange = exchange_at("14:00:00")
    cnc = replace(BUY, product=Product.CNC)
    stop = place(exchange, replace(cnc, order_type=OrderType.SL, px=10_200, trigger_px=10_100), "14:00:00")
    near = place(exchange, replace(cnc, px=9_900), "14:00:00")
    far = place(exchange, replace(cnc, px=9_690), "14:00:00")
    edge = place(exchange, replace(cnc, px=9_700), "14:00:00")
    shown = place(exchange, replace(cnc, px=9_900, disclosed_quantity=5), "14:00:00")
    plain = place(
        exchange, replace(cnc, instrument=PLAIN, order_type=OrderType.SL, px=10_200, trigger_px=10_100),
        "14:00:00",
    )  # fmt: skip
    for clock, last, volume in (
        ("15:00:00", 9_990, 1000),
        ("15:05:00", 9_990, 2000),
        ("15:10:00", 10_010, 3000),
    ):
        tick(exchange, clock, last, volume)
    exchange.step(at("15:14:59"))
    assert stop.now.status == "TRIGGER PENDING"
    exchange.step(at("15:15:00"))
    assert [o.now.status for o in (stop, near, far, edge, shown, plain)] == [
        "CANCELLED", "OPEN", "CANCELLED", "OPEN", "CANCELLED", "TRIGGER PENDING",
    ]  # fmt: skip
    assert exchange.band(0) == (9_700, 10_300)  # 3 % around the volume-weighted 100.00


def test_the_closing_auction_uncrosses_and_the_day_ends() -> None:
    exchange = exchange_at("15:16:00")
    order = place(exchange, replace(BUY, product=Product.CNC), "15:21:00")
    waits = place(exchange, replace(BUY, product=Product.CNC, px=9_900), "15:21:00")
    tick(exchange, "15:22:00", 9_800, volume=9_000)
    assert waits.now.filled == 0
    tick(exchange, "15:27:00", 9_995, volume=9_100)
    exchange.step(at("15:30:00"))
    assert (order.now.status, waits.now.status) == ("COMPLETE", "CANCELLED")
    (trade,) = exchange.account.trades
    assert trade.px == 9_995 and at("15:28:00") <= trade.at_ns <= at("15:30:00")


def test_orders_outside_the_closing_band_are_rejected() -> None:
    exchange = exchange_at("15:01:00")
    exchange.step(at("15:20:00"))
    order = place(exchange, replace(BUY, product=Product.CNC, px=10_400), "15:20:00")
    assert order.now.status == "REJECTED" and "circuit" in (order.now.message or "")


def test_stock_futures_stay_near_their_price_at_the_end() -> None:
    exchange = exchange_at("15:00:00")
    far = replace(BUY, instrument=FUTURE, product=Product.NRML, quantity=50, px=9_600)
    assert place(exchange, far, "15:14:00").now.status == "OPEN"
    assert place(exchange, far, "15:16:00").now.status == "REJECTED"


@pytest.mark.parametrize(("slot", "clock"), [(0, "15:08:00"), (1, "15:20:00"), (2, "15:25:00")])
def test_mis_is_squared_off_by_class_at_its_time(slot: int, clock: str) -> None:
    exchange = exchange_at("14:00:00")
    row = TABLE[slot]
    place(exchange, replace(BUY, instrument=row, quantity=50), "14:00:00")
    held = exchange.account.net(slot, Product.MIS)
    exchange.step(at(clock) - 1)
    assert held == exchange.account.net(slot, Product.MIS) == 50
    exchange.step(at(clock) + SECOND)
    assert exchange.account.net(slot, Product.MIS) == 0
    assert [fee.at_ns for fee in exchange.account.fees] == [at(clock)]


def test_the_next_day_plans_itself_and_weekends_are_closed() -> None:
    exchange = exchange_at("15:50:00")
    amo = place(exchange, replace(BUY, variety="amo", px=9_990), "15:50:00")
    with pytest.raises(Refusal):
        exchange.place(BUY, at("11:00:00", "2026-11-21"))
    exchange.step(at("08:59:59", "2026-11-23"))
    assert amo.now.status == "AMO REQ RECEIVED"
    exchange.step(at("09:00:01", "2026-11-23"))
    assert amo.now.status == "OPEN"
    exchange.step(at("15:31:00", "2026-11-23"))
    assert amo.now.status == "CANCELLED"


def test_an_order_under_way_at_the_close_is_rejected() -> None:
    params = ExchangeParams(latency_ns=(SECOND, SECOND), hours="exchange")
    exchange = Exchange(TABLE, 10**9, 1, params)
    exchange.on_ticks(book_of(1, 10_000, 10_005, 100), at("15:29:00"))
    order = exchange.orders[exchange.place(replace(BUY, instrument=PLAIN), at("15:29:58"))]
    exchange.step(at("15:31:00"))
    assert order.now.status == "REJECTED" and "not allowed to trade" in (order.now.message_raw or "")


def test_triggers_fire_in_continuous_trading_only() -> None:
    exchange = exchange_at("09:01:00")
    leg = GttOrder(Side.BUY, Product.CNC, OrderType.LIMIT, 1, 9_900)
    exchange.gtts.place(GttSpec("single", EQUITY, (9_900,), 10_000, (leg,)), at("09:01:00"))
    tick(exchange, "09:06:00", 9_800)
    assert exchange.gtts.active == 1
    tick(exchange, "09:15:00", 9_800)
    assert exchange.gtts.active == 0


def test_a_buy_in_auction_takes_cheap_offers_in_its_window() -> None:
    exchange = exchange_at("14:00:00", opening_holdings=[Holding(EQUITY, 30, authorised=None)])
    offer = NewOrder(EQUITY, Side.SELL, OrderType.LIMIT, Product.CNC, 10, px=9_950, variety="auction",
                     auction_number="20")  # fmt: skip
    with pytest.raises(Refusal, match="auction market is closed"):
        exchange.place(offer, at("14:29:59"))
    cheap, dear = place(exchange, offer, "14:30:00"), place(exchange, replace(offer, px=10_010), "14:31:00")
    exchange.step(at("15:00:00"))
    assert (cheap.now.status, dear.now.status) == ("COMPLETE", "CANCELLED")
    assert exchange.account.trades[0].px == 9_950


def test_a_day_that_the_calendar_does_not_cover_is_an_error() -> None:
    exchange = Exchange(TABLE, 10**9, 1, ExchangeParams(hours="exchange"))
    with pytest.raises(CalendarError, match="no calendar row covers"):
        exchange.step(at("10:00:00", "2031-01-06"))
