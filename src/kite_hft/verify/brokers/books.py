"""Layer 6, campaigns, cold: rows of the kit about what is read: books, updates, funds, folding."""

from __future__ import annotations

import random
from typing import Final

from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.sim.exchange.account import Holding
from kite_hft.trading.broker import Confirmed, OrderReport
from kite_hft.verify.brokers.kit import Kit, row
from kite_hft.verify.desk.bench import Desk

RUBBISH: Final = (b"", b"{}", b"<html>", b'{"status":"success"}', b'{"status":"success","data":[{', b"\xff")
MORE_THAN_THERE_IS: Final = 1_500_000
"""Bought at the best price, a part of it stays open."""
ENDED: Final = frozenset({OrderStatus.COMPLETE, OrderStatus.CANCELLED, OrderStatus.REJECTED})


def lives(kit: Kit) -> dict[str, OrderStatus]:
    """Orders in several states: id -> how it has to end up."""
    share, found = kit.share, {}
    for request, status in (
        (kit.order(share), OrderStatus.OPEN),
        (kit.order(share, OrderType.SL), OrderStatus.TRIGGER_PENDING),
        (kit.order(share, px=kit.px(share, 10)), OrderStatus.COMPLETE),
        (kit.order(share, OrderType.MARKET), OrderStatus.COMPLETE),
        (kit.order(share, validity=Validity.IOC), OrderStatus.CANCELLED),
        (kit.order(share, quantity=3), OrderStatus.CANCELLED),
        (kit.order(share, px=kit.px(share, 10), quantity=MORE_THAN_THERE_IS), OrderStatus.OPEN),
    ):
        placed = kit.broker.parse_outcome(kit.ask(kit.broker.place(request)))
        if kit.holds(isinstance(placed, Confirmed), f"{request.order_type.name}: {placed}"):
            assert isinstance(placed, Confirmed)
            found[placed.order_id] = status
            if request.quantity == 3:
                kit.ask(kit.broker.cancel(placed.order_id))
    return found


@row("order book", "every order stands in it as at the exchange, in the engine's words")
def order_book(kit: Kit) -> None:
    """Status, quantities, prices, instrument."""
    wanted = lives(kit)
    reports = {r.order_id: r for r in kit.broker.parse_orders(kit.ask(kit.broker.order_book()).body)}
    kit.holds(reports.keys() == wanted.keys(), f"{len(reports)} orders in it, {len(wanted)} were placed")
    for order_id, status in wanted.items():
        if order_id not in reports:
            continue
        report, true = reports[order_id], kit.bench.order_of(order_id)
        kit.holds(report.status is status, f"{report.status_text!r} is {report.status}, not {status.name}")
        _same(kit, report)
        sums = report.filled_quantity + report.pending_quantity + report.cancelled_quantity
        kit.holds(report.status in ENDED or sums == report.quantity, f"{sums} of {report.quantity}")
        kit.holds(report.side is true.request.side, f"side {report.side}")


def _same(kit: Kit, report: OrderReport) -> None:
    true = kit.bench.order_of(report.order_id)
    row = true.request.instrument
    where = (report.exchange, report.token, report.product)
    kit.holds(where == (row.exchange, row.token, true.request.product), f"{where} is not {row.key}")
    told = (report.quantity, report.filled_quantity)
    kit.holds(
        told == (true.now.quantity, true.now.filled), f"{told}, not {true.now.quantity, true.now.filled}"
    )
    if true.now.filled:
        average = true.now.filled_units / true.now.filled / row.scale
        kit.holds(
            abs(report.average_price - average) < 1e-6, f"average {report.average_price}, not {average}"
        )


@row("trades and positions", "executions and net positions equal the exchange's")
def trades(kit: Kit) -> None:
    """Also after some were sold again."""
    lives(kit)
    share, broker = kit.share, kit.broker
    kit.ask(broker.place(kit.order(share, OrderType.MARKET, Side.SELL, quantity=1)))
    account = kit.bench.exchange.account
    found = broker.parse_trades(kit.ask(broker.trade_book()).body)
    told = [(t.trade_id, t.order_id, t.token, int(t.side), t.quantity) for t in found]
    true = [(t.trade_id, t.order_id, t.instrument.token, int(t.side), t.quantity) for t in account.trades]
    kit.holds(sorted(told) == sorted(true), f"{len(told)} trades, {len(true)} are true")
    positions = broker.parse_positions(kit.ask(broker.positions()).body)
    held = {(p.token, p.product): p.quantity for p in positions}
    kit.holds(held == {(share.token, Product.MIS): account.net(share.slot, Product.MIS)}, f"positions {held}")


@row("funds, holdings, bands, margins", "the account and the day's price bands can be read")
def account(kit: Kit) -> None:
    """Of the simulator."""
    broker, share = kit.broker, kit.share
    funds = broker.parse_funds(kit.ask(broker.margins()).body)
    kit.holds(funds.net_paise == kit.bench.exchange.account.available_paise, f"net {funds.net_paise}")
    kit.holds(broker.parse_holdings(kit.ask(broker.holdings()).body) == [], "holdings of an empty account")
    _holdings(kit)
    bands = broker.parse_bands(kit.ask(broker.quotes([share.key])).body, {share.key: share.scale})
    true = kit.bench.exchange.band(share.slot)
    kit.holds(bands.get(share.key) == true, f"bands {bands}, true {true}")
    margin = broker.parse_basket_margin(kit.ask(broker.basket_margin([kit.order(share)])).body)
    kit.holds(0 < margin.final_paise <= margin.initial_paise, f"{margin}")


def _holdings(kit: Kit) -> None:
    """Settled shares and those that are on their way: brokers count them together, or apart."""
    share, account = kit.share, kit.bench.exchange.account
    account.holdings[share.slot] = Holding(share, 40, 10, kit.px(share))
    found = kit.broker.parse_holdings(kit.ask(kit.broker.holdings()).body)
    told = [(h.key, h.settled, h.t1, h.used) for h in found]
    kit.holds(told == [(share.key, 40, 10, 0)], f"holdings {told}, true are 40 settled and 10 on their way")
    del account.holdings[share.slot]


@row("unreadable books", "a book that cannot be read raises: half a book would prove that an order is absent")
def unreadable(kit: Kit) -> None:
    """Every cut of a book, and rubbish."""
    kit.ask(kit.broker.place(kit.order(kit.share, OrderType.MARKET)))
    reads = (
        (kit.broker.order_book, kit.broker.parse_orders), (kit.broker.trade_book, kit.broker.parse_trades),
        (kit.broker.positions, kit.broker.parse_positions),
    )  # fmt: skip
    for make, parse in reads:
        body = kit.ask(make()).body
        for bad in (*RUBBISH, *(body[:cut] for cut in range(0, len(body), 7))):
            name = f"{parse!r:.40} of {bad[-20:]!r}"
            kit.raises(ValueError, lambda bad=bad, parse=parse: parse(bad), name)  # type: ignore[misc]


@row("updates", "every order that ends is told; updates say what the book says, or are about nothing of ours")
def updates(kit: Kit) -> None:
    """The last update of each order against the book; rubbish raises."""
    wanted = lives(kit)
    frames = list(kit.bench.line.texts.frames)
    last: dict[str, OrderReport] = {}
    for frame in frames:
        report = kit.broker.parse_update(frame)
        if kit.holds(report is not None, f"{frame[:60]!r} is about no order") and report is not None:
            last[report.order_id] = report
    for order_id, status in wanted.items():
        ended = status in ENDED  # of what goes on to work a broker may say nothing
        if kit.holds(order_id in last or not ended, f"no update of {order_id}") and order_id in last:
            told = last[order_id]
            fits = told.status is status or (told.status is None and not ended)
            kit.holds(fits, f"{told.status_text!r}, not {status.name}")
            _same(kit, last[order_id])
    for bad in (b"", b"[]", b"\xff", frames[0][: len(frames[0]) // 2]):
        kit.raises(ValueError, lambda bad=bad: kit.broker.parse_update(bad), f"{bad[:20]!r}")  # type: ignore[misc]


@row("folding", "updates that are lost, doubled, late and out of order end in the same book")
def folding(kit: Kit) -> None:
    """The order stage before the simulator: entries, a change, cancels; positions equal at the end."""
    for seed in range(3):
        kit.anew()
        rng, bench = random.Random(seed), kit.bench
        bench.line.spoil_updates = True
        desk = Desk(bench)
        desk.start()
        if not kit.holds(desk.stage.active, f"the order stage does not start: {desk.stage.unexplained}"):
            continue
        for _ in range(8):
            slot = rng.choice(bench.tradable[:4])
            instrument = bench.instruments[slot]
            side = rng.choice(list(Side))
            desk.wish(slot, side, rng.randint(1, 20), kit.px(instrument, rng.choice((-8, 8))))
            desk.run(0.5)
        bench.line.spoil_updates = False
        desk.run(60.0)
        for order in desk.stage.book.orders.values():
            true = bench.exchange.orders.get(order.order_id)
            name = f"order {order.order_no} {order.status.name} {order.message}"
            if kit.holds(true is not None, name) and true:
                ours = (order.filled, order.status in ENDED)
                kit.holds(ours == (true.now.filled, true.done), f"{name}: {ours}, {true.now}")
