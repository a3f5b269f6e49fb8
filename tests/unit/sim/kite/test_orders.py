"""Order calls: both shapes of sliced orders, tags kept and dropped, the day's cap, the book's order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mock_shapes import differences, mock
from sim_tools import MS, NOW, SECOND, TABLE, api_of, ask, book_of, exchange_at, own_limits, settle

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.kite.api import Credentials, KiteApi
from kite_hft.sim.kite.quota import UNLIMITED

BUY = "exchange=NSE&tradingsymbol=SBIN&transaction_type=BUY&product=CNC&order_type=LIMIT&price=95&quantity=1"
OPTION = (
    "exchange=NFO&tradingsymbol=SIMCE&transaction_type=BUY&product=NRML&order_type=LIMIT&price=100"
    "&autoslice=true&quantity="
)


def option_api(cash_paise: int = 10**12, **options: Any) -> KiteApi:
    exchange = Exchange(TABLE, cash_paise, 1, ExchangeParams(latency_ns=(MS, MS)))
    exchange.on_ticks(book_of(1, 10_500, 10_505, 75, last=10_500), NOW)
    return KiteApi(exchange, TABLE, Credentials("key", "secret", "token"), UNLIMITED, **options)


@pytest.mark.data
def test_slices_in_both_shapes(data_dir: Path) -> None:
    theirs = mock(data_dir, "autoslice_response.json")
    cash = 1800 * 100 * 100 * 5 // 2  # two slices and a half
    nested = ask(option_api(cash), "POST", "/orders/regular", OPTION + "5400")[1]
    assert differences(nested, [theirs], frozenset({".children[].order_id", ".children[].error"})) == []
    assert [sorted(child) for child in nested["children"]] == [["order_id"], ["order_id"], ["error"]]
    error = nested["children"][2]["error"]
    assert (error["code"], error["error_type"]) == (400, "MarginException")
    assert error["message"].startswith("Insufficient funds. Required margin is 180000.00 but available")
    flat = ask(option_api(cash, flat_slices=True), "POST", "/orders/regular", OPTION + "5400")[1]
    assert [sorted(child) for child in flat] == [["order_id"], ["order_id"], ["error"]]


def test_within_the_freeze_quantity_there_is_one_order() -> None:
    api = option_api()
    answer = ask(api, "POST", "/orders/regular", OPTION + "1800")[1]
    assert answer["children"] == [] and list(api.exchange.orders) == [answer["order_id"]]
    flat = option_api(flat_slices=True)
    assert ask(flat, "POST", "/orders/regular", OPTION + "75")[1] == [
        {"order_id": next(iter(flat.exchange.orders))}
    ]


@pytest.mark.parametrize(("keep", "shown"), [(True, ("my tag", ["my tag"])), (False, (None, []))])
def test_tags_kept_and_dropped(keep: bool, shown: tuple[str | None, list[str]]) -> None:
    api = api_of(exchange_at(keep_tags=keep))
    ask(api, "POST", "/orders/regular", BUY + "&tag=my+tag")
    (row,) = ask(api, "GET", "/orders")[1]
    assert (row["tag"], row["tags"]) == shown


def test_the_books_order_is_not_that_of_time_and_the_trades_is() -> None:
    api = api_of(exchange_at(quantity=100))
    form = BUY.replace("price=95", "price=100.05")
    placed = [ask(api, "POST", "/orders/regular", form)[1]["order_id"] for _ in range(20)]
    settle(api.exchange)
    book = [row["order_id"] for row in ask(api, "GET", "/orders", now=NOW + 2 * SECOND)[1]]
    assert sorted(book) == placed != book
    trades = ask(api, "GET", "/trades", now=NOW + 2 * SECOND)[1]
    assert [t["order_id"] for t in trades] == placed
    own = ask(api, "GET", f"/orders/{placed[3]}/trades", now=NOW + 2 * SECOND)[1]
    assert own == [trades[3]]


def test_the_days_cap_counts_orders_not_refused_requests() -> None:
    api = api_of(exchange_at(), own_limits(orders_per_day=4))
    iceberg = BUY.replace("quantity=1", "quantity=6") + "&iceberg_legs=3&iceberg_quantity=2"
    assert ask(api, "POST", "/orders/regular", BUY.replace("quantity=1", "quantity=0"))[0] == 400
    for form, path in ((BUY, "regular"), (iceberg, "iceberg"), (BUY, "regular"), (BUY, "regular")):
        assert ask(api, "POST", f"/orders/{path}", form)[0] == 200
    assert ask(api, "POST", "/orders/regular", BUY) == (400, "OrderException")
    day = 86_400 * SECOND
    assert ask(api, "POST", "/orders/regular", BUY, NOW + day)[0] == 403  # the token died at six
    own = exchange_at(orders_per_day=1)
    assert api_of(own, own_limits()).exchange.desk.orders_per_day == 1  # the exchange's own knob counts


def test_a_variety_that_is_not_the_orders() -> None:
    api = api_of(exchange_at())
    order_id = ask(api, "POST", "/orders/regular", BUY)[1]["order_id"]
    settle(api.exchange)
    later = NOW + 2 * SECOND
    for variety in ("amo", "bo", "nonsense"):
        path = f"/orders/{variety}/{order_id}"
        assert ask(api, "DELETE", path, now=later) == (400, "InputException")
        assert ask(api, "PUT", path, "quantity=2", later) == (400, "InputException")
    assert ask(api, "DELETE", f"/orders/regular/{order_id}", "parent_order_id=1", later)[0] == 400
    assert ask(api, "DELETE", f"/orders/regular/{order_id}", now=later)[0] == 200
