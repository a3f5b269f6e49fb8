"""The order benchmark's far side and rivals: they speak the broker's form that the adapter speaks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kite_hft.brokers.table import broker_of
from kite_hft.layout import OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.broker import Confirmed, HttpResponse, OrderRequest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """(far.py, orders_rivals.py) as modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "orders"))
    import far
    import orders_rivals

    yield far, orders_rivals
    for name in ("far", "orders_rivals"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["kite", "upstox"])
def test_rivals_send_our_request_and_the_far_side_answers_it(name: str, parts: Any) -> None:
    far, rivals = parts
    peer = far.BROKERS[name]()
    broker = broker_of(name, peer.table)
    row = peer.table.by_key["NSE:RELIANCE"]
    order = OrderRequest(
        row, Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 1, 139_000, tag="abc000700000000001xy"
    )
    ours = broker.place(order)
    path, headers, body = rivals.FORMS[name]
    assert (path, body) == (ours.path, ours.body)
    sent = dict(line.split(": ", 1) for line in headers)
    assert dict(broker.auth_headers("benchkey", "b" * 32)).items() <= sent.items()
    assert sent["Content-Type"] == ours.content_type

    def ask(method: str, at: str, data: bytes = b"") -> tuple[HttpResponse, Any]:
        text, made = peer.answer(f"{method} {at} HTTP/1.1".encode(), data)
        return HttpResponse(200, text.partition(b"\r\n\r\n")[2]), made

    answer, made = ask("POST", ours.path, ours.body)
    assert isinstance(broker.parse_outcome(answer), Confirmed)
    update = broker.parse_update(peer.update(made))
    assert update is not None and update.status is OrderStatus.COMPLETE and update.tags == (order.tag,)
    (report,) = broker.parse_orders(ask("GET", broker.order_book().path)[0].body)
    assert (report.token, report.filled_quantity) == (row.token, 1)
    (held,) = broker.parse_positions(ask("GET", broker.positions().path)[0].body)
    assert (held.token, held.quantity) == (row.token, 1)
    assert broker.parse_funds(ask("GET", broker.margins().path)[0].body).net_paise == 100_000_000
    assert broker.parse_trades(ask("GET", broker.trade_book().path)[0].body) == []
    assert json.loads(peer.update(made))  # one object
