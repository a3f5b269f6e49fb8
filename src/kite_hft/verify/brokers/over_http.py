"""Layer 6, campaigns, cold: the kit over the engine's own transport, before a simulator that listens.

Places, changes and cancels an order far below the market, buys a share and sells it. Only on this machine:
a kit that trades at a broker's own address is no kit.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final

from kite_hft.addresses import is_loopback
from kite_hft.clock import SystemClock
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.net.http import HttpTransport, fetch
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.trading.broker import (
    TOKEN_DEAD,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderReport,
    OrderRequest,
    Refused,
)
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.verify.campaign import CampaignError

TRIES: Final = 400
WAIT_MS: Final = 50
FETCH_S: Final = 5.0
LOW_TICKS: Final = 100


def refuse_elsewhere(url: str, token: str) -> None:
    """Raises CampaignError: the address is not on this machine, or there is no token for it."""
    if not is_loopback(url):
        raise CampaignError(f"{url}: the kit places orders: it speaks to a simulator on 127.0.0.1 only")
    if not token:
        raise CampaignError(
            "--url needs --access-token (and --api-key): the simulator prints both when it starts"
        )


class OverHttp:
    """A session with a simulator at `url`; `said`: what did not hold."""

    def __init__(self, side: BrokerSide, url: str, api_key: str, token: str) -> None:
        """Raises CampaignError: the address is not on this machine, or nobody answers as the broker does."""
        refuse_elsewhere(url, token)
        headers = side.broker(InstrumentTable(())).auth_headers(api_key, token)
        try:
            status, body = fetch(url + side.master_path, headers, timeout_s=FETCH_S)
        except ConnectionError as error:
            raise CampaignError(
                f"{url}: {error}: start `python -m kite_hft.sim --broker {side.name}`"
            ) from None
        if status != 200:
            raise CampaignError(f"{url}{side.master_path}: HTTP {status}: wrong key or token?")
        try:
            self.table = side.parse_master(body)
        except ValueError as error:
            raise CampaignError(
                f"{url}{side.master_path} gives no list of instruments: {error}: is it a simulator of "
                f"{side.name}, and are --api-key and --access-token what it printed?"
            ) from None
        self.broker = side.broker(self.table)
        self.transport = HttpTransport(url, SystemClock(), headers)
        self._key, self._token, self._n = api_key, token, 0
        self.said: list[str] = []
        self.checks = 0

    def holds(self, condition: object, text: str) -> bool:
        self.checks += 1
        if not condition:
            self.said.append(text)
        return bool(condition)

    def call(self, request: HttpRequest) -> HttpResponse:
        """One answer. Raises CampaignError: none came."""
        self._n += 1
        self.transport.submit(self._n, request)
        ready = select.poll()
        ready.register(self.transport.fileno(), select.POLLIN)
        for _ in range(TRIES):
            for _number, result in self.transport.poll():
                if isinstance(result, HttpResponse):
                    return result
                raise CampaignError(f"{request.method} {request.path}: {result.reason}")
            ready.poll(WAIT_MS)
        raise CampaignError(f"no answer to {request.method} {request.path}")

    def until(self, order_id: str, is_so: Callable[[OrderReport], bool]) -> OrderReport | None:
        """The order's row once it is so; None: it never was."""
        for _ in range(TRIES):
            rows = self.broker.parse_orders(self.call(self.broker.order_book()).body)
            found = next((one for one in rows if one.order_id == order_id), None)
            if found is not None and is_so(found):
                return found
            select.select([], [], [], WAIT_MS / 1000)
        return None

    def run(self) -> None:
        """All of it."""
        broker = self.broker
        share = next(r for r in self.table if r.kind == "EQ" and not r.is_index and r.exchange == "NSE")
        bands = broker.parse_bands(self.call(broker.quotes([share.key])).body, {share.key: share.scale})
        if not self.holds(share.key in bands, f"no price bands of {share.key}"):
            return
        low = bands[share.key][0] + LOW_TICKS * share.tick_px
        words = (share, Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 5, low)
        placed = broker.parse_outcome(self.call(broker.place(OrderRequest(*words, tag="kithttp"))))
        if not self.holds(isinstance(placed, Confirmed), f"placed: {placed}"):
            return
        assert isinstance(placed, Confirmed)
        row = self.until(placed.order_id, lambda one: one.status is OrderStatus.OPEN)
        told = (row.token, row.quantity, row.px, row.tags) if row else None
        self.holds(told == (share.token, 5, low, ("kithttp",)), f"the book shows {told}")
        px = low + share.tick_px
        change = broker.modify(placed.order_id, share, 7, px, 0, int(OrderType.LIMIT), -1.0)
        self.holds(
            isinstance(broker.parse_outcome(self.call(change)), Confirmed), "the change is not confirmed"
        )
        self.holds(
            self.until(placed.order_id, lambda one: (one.quantity, one.px) == (7, px)), "nothing changed"
        )
        self.call(broker.cancel(placed.order_id))
        gone = self.until(placed.order_id, lambda one: one.status is OrderStatus.CANCELLED)
        self.holds(gone is not None, "the cancel did not end it")
        again = broker.parse_outcome(self.call(broker.cancel(placed.order_id)))
        self.holds(isinstance(again, Refused), f"a second cancel: {again}")
        self._there_and_back(share.token)
        self._dead_token()

    def _there_and_back(self, token: int) -> None:
        """A share is bought and sold again."""
        share = self.table.by_token[token]
        for side, held in ((Side.BUY, 5), (Side.SELL, 0)):
            order = OrderRequest(share, side, OrderType.MARKET, Product.MIS, Validity.DAY, 5, tag="kithttp")
            placed = self.broker.parse_outcome(self.call(self.broker.place(order)))
            if not self.holds(isinstance(placed, Confirmed), f"{side.name} at market: {placed}"):
                return
            assert isinstance(placed, Confirmed)
            done = self.until(placed.order_id, lambda one: one.status is OrderStatus.COMPLETE)
            self.holds(done is not None, f"{side.name} at market is not complete")
            rows = self.broker.parse_positions(self.call(self.broker.positions()).body)
            net = sum(one.quantity for one in rows if one.token == token)
            self.holds(net == held, f"{net} held after {side.name}, not {held}")

    def _dead_token(self) -> None:
        self.transport.use_headers(self.broker.auth_headers(self._key, "wrong"))
        found = self.broker.parse_outcome(self.call(self.broker.order_book()))
        self.transport.use_headers(self.broker.auth_headers(self._key, self._token))
        dead = isinstance(found, Refused) and found.error_type == TOKEN_DEAD
        self.holds(dead, f"a wrong token: {found}")

    def close(self) -> None:
        self.transport.close()
