"""Alerts: created, watched, fired once per crossing, placing orders, and the shape of their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from mock_shapes import differences, mock
from sim_tools import NOW, SECOND, api_of, ask, book_of, exchange_at

from kite_hft.sim.kite.api import KiteApi

SIMPLE = {
    "name": "over", "type": "simple", "lhs_exchange": "NSE", "lhs_tradingsymbol": "SBIN",
    "lhs_attribute": "LastTradedPrice", "operator": ">=", "rhs_type": "constant", "rhs_constant": "101",
}  # fmt: skip
BASKET = {
    "items": [
        {"id": 1, "tradingsymbol": "SBIN", "exchange": "NSE", "instrument_token": 779521, "weight": 10000,
         "params": {"validity": "DAY", "validity_ttl": 0, "variety": "regular", "product": "CNC",
                    "order_type": "LIMIT", "transaction_type": "BUY", "quantity": 2, "disclosed_quantity": 0,
                    "price": 99, "trigger_price": 0, "squareoff": 0, "stoploss": 0, "trailing_stoploss": 0,
                    "gtt": {"target": 0, "stoploss": 0}, "tags": ["ato"]}},
        {"tradingsymbol": "NOSUCH", "exchange": "NSE", "params": {}},
    ]
}  # fmt: skip


def create(api: KiteApi, **changed: Any) -> dict[str, Any]:
    status, data = ask(api, "POST", "/alerts", urlencode(SIMPLE | changed))
    assert status == 200, data
    return dict(data)


def move(api: KiteApi, last: int, seconds: int) -> None:
    """The last price of the share at a later time."""
    api.on_ticks(book_of(0, last - 5, last, 10, last=last), NOW + seconds * SECOND)


def history(api: KiteApi, alert: dict[str, Any], seconds: int = 0) -> list[dict[str, Any]]:
    return list(ask(api, "GET", f"/alerts/{alert['uuid']}/history", now=NOW + seconds * SECOND)[1])


def test_it_fires_once_for_each_crossing() -> None:
    api = api_of(exchange_at())
    alert = create(api)
    move(api, 10_050, 2)
    assert history(api, alert) == []
    for seconds, last, fired in ((4, 10_100, 1), (6, 10_150, 1), (8, 10_000, 1), (10, 10_200, 2)):
        move(api, last, seconds)
        assert len(history(api, alert, seconds)) == fired, seconds
    row = ask(api, "GET", f"/alerts/{alert['uuid']}")[1]
    assert (row["alert_count"], row["status"], row["updated_at"]) == (2, "enabled", "2025-12-15 09:32:58")
    newest = history(api, alert)[0]
    assert newest["condition"] == 'LastTradedPrice("NSE:SBIN") >= 101'
    assert (newest["meta"][0]["last_price"], newest["order_meta"]) == (102.0, None)


def test_one_instrument_against_another() -> None:
    api = api_of(exchange_at())
    right = {"rhs_type": "instrument", "rhs_exchange": "NFO", "rhs_tradingsymbol": "SIMCE",
             "rhs_attribute": "LastTradedPrice"}  # fmt: skip
    alert = create(api, operator="<", **right)
    move(api, 10_000, 2)
    assert history(api, alert) == []  # the other one has no price yet
    api.on_ticks(book_of(1, 10_500, 10_505, 75, last=10_500), NOW + 4 * SECOND)
    (fired,) = history(api, alert)
    assert fired["condition"] == 'LastTradedPrice("NSE:SBIN") < LastTradedPrice("NFO:SIMCE")'
    assert (alert["rhs_tradingsymbol"], alert["rhs_constant"]) == ("SIMCE", 0)


def test_an_alert_triggers_its_orders_once() -> None:
    api = api_of(exchange_at())
    alert = create(api, type="ato", basket=json.dumps(BASKET))
    move(api, 10_200, 2)
    move(api, 10_000, 4)
    move(api, 10_200, 6)
    (row,) = ask(api, "GET", "/alerts")[1]
    assert (row["status"], row["alert_count"], row["basket"]) == ("disabled", 1, BASKET)
    (fired,) = history(api, alert)
    placed, failed = fired["order_meta"]
    order = api.exchange.orders[placed["order_id"]]
    assert (order.request.quantity, order.request.px, order.tags) == (2, 9900, ["ato"])
    assert failed["error_type"] == "InputException"
    assert len(api.exchange.orders) == 1


def test_changed_and_deleted() -> None:
    api = api_of(exchange_at())
    first, second = create(api), create(api, name="other")
    path = f"/alerts/{first['uuid']}"
    changed = ask(api, "PUT", path, urlencode(SIMPLE | {"rhs_constant": "90"}), NOW + SECOND)[1]
    assert (changed["uuid"], changed["rhs_constant"]) == (first["uuid"], 90)
    assert changed["updated_at"] > changed["created_at"]
    move(api, 10_000, 3)
    assert len(history(api, first)) == 1
    assert ask(api, "DELETE", "/alerts", f"uuid={first['uuid']}&uuid=nosuch") == (404, "GeneralException")
    assert len(ask(api, "GET", "/alerts")[1]) == 2
    assert ask(api, "DELETE", "/alerts", f"uuid={first['uuid']}") == (200, None)
    assert [a["uuid"] for a in ask(api, "GET", "/alerts", "status=enabled")[1]] == [second["uuid"]]
    assert ask(api, "GET", path)[0] == ask(api, "PUT", path, urlencode(SIMPLE))[0] == 404
    assert ask(api, "DELETE", "/alerts") == (400, "InputException")


@pytest.mark.parametrize(
    "changed",
    [{"name": ""}, {"type": "loud"}, {"operator": "!="}, {"lhs_tradingsymbol": "NOSUCH"},
     {"lhs_attribute": "Volume"}, {"rhs_type": "magic"}, {"rhs_constant": "high"}, {"rhs_constant": "nan"},
     {"type": "ato"}, {"type": "ato", "basket": "{"}, {"type": "ato", "basket": '{"items": []}'},
     {"rhs_type": "instrument"}],
)  # fmt: skip
def test_refused(changed: dict[str, str]) -> None:
    api = api_of(exchange_at())
    assert ask(api, "POST", "/alerts", urlencode(SIMPLE | changed)) == (400, "InputException")
    assert ask(api, "GET", "/alerts")[1] == []


def test_so_many_and_no_more() -> None:
    api = api_of(exchange_at())
    for _ in range(500):
        create(api)
    assert ask(api, "POST", "/alerts", urlencode(SIMPLE)) == (400, "InputException")


@pytest.mark.data
def test_rows_look_like_the_official_mocks(data_dir: Path) -> None:
    api = api_of(exchange_at())
    index = {"lhs_exchange": "INDICES", "lhs_tradingsymbol": "NIFTY 50", "rhs_constant": "1"}
    simple = create(api, **index)
    assert (simple["lhs_exchange"], simple["lhs_tradingsymbol"]) == ("INDICES", "NIFTY 50")
    ato = create(api, type="ato", basket=json.dumps({"items": BASKET["items"][:1]}))
    assert differences(simple, [mock(data_dir, "alerts_create.json")]) == []
    assert differences(ato, [mock(data_dir, "alerts_create_ato.json")]) == []
    changed = ask(api, "PUT", f"/alerts/{simple['uuid']}", urlencode(SIMPLE | index))[1]
    assert differences(changed, [mock(data_dir, "alerts_modify.json")]) == []
    one = ask(api, "GET", f"/alerts/{simple['uuid']}")[1]
    assert differences(one, [mock(data_dir, "alerts_get_one.json")]) == []
    listed = ask(api, "GET", "/alerts")[1]
    assert differences(listed, [mock(data_dir, "alerts_get.json")], frozenset({"[].basket"})) == []
    api.on_ticks(book_of(2, 100, 105, 0, last=100), NOW + 2 * SECOND)
    fired = history(api, simple)
    assert fired and differences(fired, [mock(data_dir, "alerts_history.json")]) == []
    assert fired[0]["meta"][0]["last_trade_time"] == "0001-01-01 00:00:00"
    gone = ask(api, "DELETE", "/alerts", f"uuid={simple['uuid']}")[1]
    assert gone is mock(data_dir, "alerts_delete.json") is None
