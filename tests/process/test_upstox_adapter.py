"""The Upstox adapter against the simulator, which was written from the broker's pages apart from it."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator

import pytest
from sim_tools import simulator

from kite_hft.brokers.upstox import account, basket, bulk, kill_switch, wire
from kite_hft.brokers.upstox.master import parse_master
from kite_hft.brokers.upstox.rest import upstox
from kite_hft.clock import SystemClock
from kite_hft.engine.plan.session import SIMULATED_MASTER
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.net.http import HttpTransport, fetch
from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    TOKEN_DEAD,
    Broker,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderReport,
    OrderRequest,
    Refused,
    TriggerRequest,
)
from kite_hft.trading.exits.trigger import Leg, request_of
from kite_hft.trading.instruments import Instrument

TRIES = 400


class Session:
    """The adapter over the engine's own transport; `share` and a price far below the market's."""

    def __init__(self, api: str, key: str, token: str) -> None:
        status, body = fetch(api + SIMULATED_MASTER, [("Authorization", f"Bearer {token}")])
        assert status == 200
        self.table = parse_master(body)
        self.broker: Broker = upstox(self.table)
        self.headers = self.broker.auth_headers(key, token)
        self.transport = HttpTransport(api, SystemClock(), self.headers)
        self._n = 0
        self.share: Instrument = self.table.resolve("NSE:INFY")
        self.low_px = self.bands()[0] + 100 * self.share.tick_px

    def call(self, request: HttpRequest) -> HttpResponse:
        self._n += 1
        self.transport.submit(self._n, request)
        ready = select.poll()
        ready.register(self.transport.fileno(), select.POLLIN)
        for _ in range(TRIES):
            for _number, result in self.transport.poll():
                assert isinstance(result, HttpResponse), result
                return result
            ready.poll(50)
        raise AssertionError(f"no answer to {request.method} {request.path}")

    def bands(self) -> tuple[int, int]:
        found = self.call(self.broker.quotes([self.share.key])).body
        return self.broker.parse_bands(found, {self.share.key: self.share.scale})[self.share.key]

    def place(self, kind: OrderType = OrderType.LIMIT, quantity: int = 5, tag: str = "t") -> HttpResponse:
        words = (self.share, Side.BUY, kind, Product.MIS, Validity.DAY, quantity, self.low_px)
        return self.call(self.broker.place(OrderRequest(*words, tag=tag)))

    def until(self, order_id: str, holds: Callable[[OrderReport], bool]) -> OrderReport:
        """The order's row once it is so."""
        for _ in range(TRIES):
            rows = self.broker.parse_orders(self.call(self.broker.order_book()).body)
            found = next((row for row in rows if row.order_id == order_id), None)
            if found is not None and holds(found):
                return found
        raise AssertionError(f"order {order_id} stays {found}")


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    options = ("--port", "0", "--instruments", "6", "--latency-us", "0", "--no-limits")
    with simulator("--broker", "upstox", *options) as running:
        found = Session(running.api, running.api_key, running.access_token)
        yield found
        found.transport.close()


def test_the_life_of_an_order(session: Session) -> None:
    broker = session.broker
    placed = broker.parse_outcome(session.place(tag="life"))
    assert isinstance(placed, Confirmed)
    row = session.until(placed.order_id, lambda row: row.status is OrderStatus.OPEN)
    assert (row.token, row.quantity, row.px, row.tags) == (session.share.token, 5, session.low_px, ("life",))
    px = session.low_px + session.share.tick_px
    change = broker.modify(placed.order_id, session.share, 7, px, 0, OrderType.LIMIT, -1.0)
    assert broker.parse_outcome(session.call(change)) == placed
    session.until(placed.order_id, lambda row: (row.quantity, row.px) == (7, px))
    assert broker.parse_outcome(session.call(broker.cancel(placed.order_id))) == placed
    row = session.until(placed.order_id, lambda row: row.status is OrderStatus.CANCELLED)
    assert row.cancelled_quantity == 7
    for call in (broker.cancel(placed.order_id), change, broker.cancel("999")):
        found = broker.parse_outcome(session.call(call))
        assert isinstance(found, Refused) and found.error_type == NO_SUCH_ORDER


def test_a_fill_shows_in_every_book(session: Session) -> None:
    broker = session.broker
    placed = broker.parse_outcome(session.place(OrderType.MARKET, tag="fill"))
    assert isinstance(placed, Confirmed)
    row = session.until(placed.order_id, lambda row: row.status is OrderStatus.COMPLETE)
    trades = broker.parse_trades(session.call(broker.trade_book()).body)
    (trade,) = [trade for trade in trades if trade.order_id == placed.order_id]
    (position,) = broker.parse_positions(session.call(broker.positions()).body)
    assert row.filled_quantity == trade.quantity == position.quantity == 5
    assert row.average_price == trade.average_price == position.average_price
    assert (position.token, position.product) == (session.share.token, Product.MIS)
    ids, complaints = bulk.parse_many(session.call(bulk.exit_all()))
    assert len(ids) == 1 and not complaints
    session.until(ids[0], lambda row: row.status is OrderStatus.COMPLETE)
    assert broker.parse_funds(session.call(broker.margins()).body).net_paise > 0


def test_refusals_prove_what_they_say(session: Session) -> None:
    found = session.broker.parse_outcome(session.place(quantity=0))
    assert isinstance(found, Refused) and "UDAPI1052" in found.message
    read = wire.market_authorize()
    session.transport.use_headers(session.broker.auth_headers("key", "wrong"))
    found = session.broker.parse_outcome(session.call(read))
    session.transport.use_headers(session.headers)
    assert isinstance(found, Refused) and found.error_type == TOKEN_DEAD


def test_triggers(session: Session) -> None:
    broker, share, px = session.broker, session.share, session.low_px

    def asked(quantity: int) -> TriggerRequest:
        last_px = sum(session.bands()) // 2
        return request_of(share, Product.CNC, [Leg(int(Side.BUY), quantity, px, px)], last_px)

    placed = broker.parse_trigger_outcome(session.call(broker.trigger_place(asked(5))))
    assert isinstance(placed, Confirmed)
    change = broker.trigger_modify(placed.order_id, asked(4))
    assert broker.parse_trigger_outcome(session.call(change)) == placed
    (row,) = broker.parse_triggers(session.call(broker.triggers()).body)
    assert row.active and (row.legs[0].quantity, row.legs[0].trigger_px, row.legs[0].px) == (4, px, px)
    assert broker.parse_trigger_outcome(session.call(broker.trigger_delete(placed.order_id))) == placed
    assert not broker.parse_triggers(session.call(broker.triggers()).body), "the list has what waits, alone"
    again = broker.parse_trigger_outcome(session.call(broker.trigger_delete(placed.order_id)))
    assert isinstance(again, Refused)


def test_calculators_bulk_calls_and_the_rest(session: Session) -> None:
    broker, share = session.broker, session.share
    words = (share, Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 5, session.low_px)
    order = OrderRequest(*words, tag="bulk")
    margin = broker.parse_basket_margin(session.call(broker.basket_margin([order])).body)
    assert 0 < margin.final_paise <= margin.initial_paise
    assert basket.parse_brokerage(session.call(basket.brokerage(order)).body)["total"] > 0
    found = bulk.parse_multi(session.call(bulk.multi_place({"a": order, "b": order})), ["a", "b"])
    ids = {one.order_id for one in found.values() if isinstance(one, Confirmed)}
    assert len(ids) == 2
    for order_id in ids:
        session.until(order_id, lambda row: row.status is OrderStatus.OPEN)
    assert set(bulk.parse_many(session.call(bulk.cancel_all(tag="bulk")))[0]) == ids
    switches = kill_switch.parse_segments(session.call(kill_switch.states()).body)
    assert switches and not any(row.shut for row in switches.values())
    assert wire.parse_authorized(session.call(wire.market_authorize()).body).startswith("ws://127.0.0.1:")
    assert wire.parse_authorized(session.call(wire.portfolio_authorize()).body).startswith("ws://127.0.0.1:")
    assert broker.parse_holdings(session.call(broker.holdings()).body) == []
    assert isinstance(account.parse_addresses(session.call(account.addresses()).body), tuple)
