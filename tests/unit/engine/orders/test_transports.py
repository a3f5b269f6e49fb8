"""The way to the order broker: one host, several, or a sandbox."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from upstox_rows import table

from kite_hft.brokers.table import broker_of
from kite_hft.clock import SystemClock
from kite_hft.engine.orders.transports import OVER_HTTP, make_transport, order_broker
from kite_hft.layout import OrderType, Product, Side
from kite_hft.net.hosts import Hosts
from kite_hft.net.http import HttpTransport, TransportConfigError
from kite_hft.net.sandboxed import SandboxTransport
from kite_hft.settings import Settings
from kite_hft.trading.broker import HttpResponse
from kite_hft.trading.instruments import InstrumentTable

EMPTY = InstrumentTable(())
A, B, LOST = "http://127.0.0.1:1", "http://127.0.0.1:2", "https://no-such-host.invalid"


def made(broker: str, mode: str, url: str = A, order_urls: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    said: list[str] = []
    api = {"mode": mode, "url": url, "order_urls": order_urls, "api_key": "k", "access_token": "t"}
    adapter = broker_of(broker, EMPTY, sandbox=mode == "sandbox")
    settings = Settings(broker=broker)  # type: ignore[arg-type]
    transport, more, _ = make_transport({"api": api}, settings, EMPTY, adapter, SystemClock(), said.append)
    assert not more and isinstance(transport, OVER_HTTP)
    transport.close()
    return transport, said


def test_kite_has_one_host() -> None:
    assert type(made("kite", "sim")[0]) is HttpTransport


def test_upstox_has_a_host_for_orders_and_others_to_stand_in() -> None:
    transport, said = made("upstox", "sim", A, (B, A))
    assert isinstance(transport, Hosts) and [host.url for host in transport.orders] == [B, A]
    assert transport.orders[1].transport is transport.api  # one and the same: no connection too many
    assert "/v3/order/place" in transport.order_paths and said == []


def test_a_host_that_cannot_be_found_is_said_and_passed_over() -> None:
    transport, said = made("upstox", "sim", A, (LOST, A))
    assert [host.url for host in transport.orders] == [A] and LOST in said[0]
    with pytest.raises(OSError, match="none of the hosts"):
        made("upstox", "sim", A, (LOST,))


def test_the_sandbox_is_said_to_be_one() -> None:
    transport, said = made("upstox", "sandbox")
    assert isinstance(transport, SandboxTransport) and "never filled" in said[0]


def test_a_plain_address_elsewhere_is_refused() -> None:
    with pytest.raises(TransportConfigError):
        made("kite", "sim", "http://192.0.2.1")


def test_the_paper_exchange_speaks_kites_protocol_whoever_the_broker_is() -> None:
    assert order_broker({"mode": "paper"}, Settings(broker="upstox"), EMPTY).name == "kite"


def test_a_sandbox_is_told_what_it_had_confirmed_before() -> None:
    """Its books are of this process; the orders in it live as long as the run."""
    instruments = table()
    adapter = broker_of("upstox", instruments, sandbox=True)
    api = {"mode": "sandbox", "url": A, "order_urls": [], "api_key": "k", "access_token": "t"}
    transport, _, resume = make_transport(
        {"api": api}, Settings(broker="upstox"), instruments, adapter, SystemClock(), lambda line: None
    )
    words = {"side": Side.SELL, "order_type": OrderType.LIMIT, "product": Product.MIS, "tag": "sim1"}
    orders = [
        SimpleNamespace(order_id=order_id, slot=0, quantity=7, px=10_000, trigger_px=0, **words)
        for order_id in ("240221025997024", "")
    ]
    resume(SimpleNamespace(live=lambda: iter(orders)))  # type: ignore[arg-type]
    transport.submit(1, adapter.order_book())
    [(_, answer)] = transport.poll()
    transport.close()
    assert isinstance(answer, HttpResponse)
    [row] = adapter.parse_orders(answer.body)
    assert (row.order_id, row.side, row.quantity, row.px) == ("240221025997024", Side.SELL, 7, 10_000)
    assert row.tags == ("sim1",) and row.filled_quantity == 0
