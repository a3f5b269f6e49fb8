"""Holdings, their sums and authorisation, conversions, funds, by segment."""

from __future__ import annotations

from pathlib import Path

import pytest
from mock_shapes import differences, mock
from sim_tools import (
    AUTH,
    EQUITY,
    INDEX,
    MS,
    NOW,
    SECOND,
    TABLE,
    api_of,
    ask,
    book_of,
    exchange_at,
    settle,
    told,
)

from kite_hft.layout import Product
from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.opening import default_holdings
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.kite.api import KiteApi
from kite_hft.sim.market.keys import isin_of
from kite_hft.sim.market.universe import default_instruments

SELL = (
    "exchange=NSE&tradingsymbol=SBIN&transaction_type=SELL&product=CNC&order_type=LIMIT&price=100&quantity="
)


def holder(authorised: int | None = 0) -> KiteApi:
    """Fifty shares and ten on their way, bought at 80; the market stands at 100, yesterday at 96."""
    exchange = Exchange(
        TABLE, 100_000_000, 1, ExchangeParams(latency_ns=(MS, MS)),
        opening_holdings=[Holding(EQUITY, 50, 10, 8_000, authorised)], auctions={"7": 0, "8": 1},
    )  # fmt: skip
    exchange.on_ticks(book_of(0, 10_000, 10_005, 50, last=10_000, close=9_600), NOW)
    return api_of(exchange)


def test_a_holding_and_its_sums() -> None:
    api = holder()
    (row,) = ask(api, "GET", "/portfolio/holdings")[1]
    assert (row["quantity"], row["t1_quantity"], row["average_price"]) == (50, 10, 80.0)
    assert (row["pnl"], row["day_change"]) == (1200.0, 4.0)
    assert row["day_change_percentage"] == pytest.approx(100 * 4 / 96)
    assert ask(api, "GET", "/portfolio/holdings/summary")[1] == pytest.approx(
        {"total_pnl": 1200.0, "total_pnl_percent": 25.0, "today_pnl": 240.0,
         "today_pnl_percent": 100 * 240 / 5760, "invested_amount": 4800.0, "current_value": 6000.0}
    )  # fmt: skip
    assert ask(api, "GET", "/portfolio/holdings/compact")[1] == [
        {"exchange": "NSE", "tradingsymbol": "SBIN", "instrument_token": 779521, "t1_quantity": 10,
         "quantity": 50}
    ]  # fmt: skip
    (auction,) = ask(api, "GET", "/portfolio/holdings/auctions")[1]  # the other asks for what is not held
    assert (auction["auction_number"], auction["tradingsymbol"]) == ("7", "SBIN")
    assert ask(api_of(exchange_at()), "GET", "/portfolio/holdings/summary")[1]["total_pnl_percent"] == 0


def test_only_the_clients_own_page_authorises() -> None:
    api = holder()
    assert ask(api, "POST", "/orders/regular", SELL + "5")[0] == 428
    status, begun = ask(api, "POST", "/portfolio/holdings/authorise", f"isin={isin_of(EQUITY)}&quantity=5")
    assert status == 200 and set(begun) == {"request_id"}
    assert ask(api, "POST", "/orders/regular", SELL + "5")[0] == 428
    page = f"/connect/portfolio/authorise/holdings/key/{begun['request_id']}"
    for wrong in (page.replace("/key/", "/other/"), page + "0"):
        assert api.handle("GET", wrong, [], {}, b"", NOW).status == 400
    assert api.handle("GET", page, [], {}, b"", NOW).content_type == "text/html"
    assert api.handle("GET", page, [], {}, b"", NOW).status == 400  # once
    (row,) = ask(api, "GET", "/portfolio/holdings")[1]
    assert (row["authorised_quantity"], row["authorised_date"]) == (50, "2025-12-15 00:00:00")
    assert ask(api, "POST", "/orders/regular", SELL + "20")[0] == 200
    settle(api.exchange)
    (row,) = ask(api, "GET", "/portfolio/holdings", now=NOW + 2 * SECOND)[1]
    assert (row["quantity"], row["used_quantity"], row["opening_quantity"]) == (30, 20, 50)
    assert ask(api, "POST", "/portfolio/holdings/authorise", "isin=INE000A01000") == (400, "InputException")


def test_a_standing_instruction_needs_no_page() -> None:
    assert ask(holder(None), "POST", "/orders/regular", SELL + "50")[0] == 200


@pytest.mark.parametrize(
    ("form", "status", "kind"),
    [
        ("", 400, "InputException"),
        ("exchange=NSE&tradingsymbol=SBIN&transaction_type=BUY&position_type=day&quantity=1"
         "&old_product=CNC&new_product=XYZ", 400, "InputException"),
        ("exchange=NSE&tradingsymbol=SBIN&transaction_type=BUY&position_type=day&quantity=1"
         "&old_product=MIS&new_product=CNC", 400, "OrderException"),
        ("exchange=NSE&tradingsymbol=NOSUCH&transaction_type=BUY&position_type=day&quantity=1"
         "&old_product=MIS&new_product=CNC", 400, "InputException"),
    ],
)  # fmt: skip
def test_conversions_refused(form: str, status: int, kind: str) -> None:
    assert ask(api_of(exchange_at()), "PUT", "/portfolio/positions", form) == (status, kind)


def test_carried_positions_stand_in_net_only_and_convert() -> None:
    exchange = Exchange(
        TABLE, 100_000_000, 1, ExchangeParams(latency_ns=(MS, MS)),
        opening_positions=[(1, Product.NRML, -75, 2_000)],
    )  # fmt: skip
    exchange.on_ticks(book_of(1, 1_500, 1_505, 75, last=1_500, close=1_800), NOW)
    book = ask(api_of(exchange), "GET", "/portfolio/positions")[1]
    (net,) = book["net"]
    assert book["day"] == [] and (net["overnight_quantity"], net["quantity"]) == (-75, -75)
    assert (net["pnl"], net["m2m"]) == (75 * 5.0, 75 * 3.0)


def test_funds_by_segment() -> None:
    api = api_of(exchange_at())
    whole = ask(api, "GET", "/user/margins")[1]
    assert whole == {name: ask(api, "GET", f"/user/margins/{name}")[1] for name in ("equity", "commodity")}
    assert ask(api, "GET", "/user/margins/futures") == (400, "InputException")


def test_what_a_fresh_account_holds() -> None:
    table, base = default_instruments(60, 1)
    holdings, auctions = default_holdings(table, base.astype("<i4"))
    assert [(h.quantity, h.t1_quantity, h.authorised) for h in holdings] == [
        (100, 0, 0), (40, 10, 0), (25, 0, None),
    ]  # fmt: skip
    assert all(h.instrument.kind == "EQ" and h.instrument is not INDEX for h in holdings)
    assert all(h.average_px % h.instrument.tick_px == 0 < h.average_px for h in holdings)
    assert auctions == {"20": holdings[0].instrument.slot}
    assert default_holdings(table, None) == default_holdings(TABLE, base.astype("<i4")) == ([], {})


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "like"),
    [("/portfolio/holdings", "holdings.json"), ("/portfolio/holdings/summary", "holdings_summary.json"),
     ("/portfolio/holdings/compact", "holdings_compact.json"),
     ("/portfolio/holdings/auctions", "auctions_list.json"), ("/user/margins", "margins.json"),
     ("/user/margins/commodity", "margin_commodity.json")],
)  # fmt: skip
def test_shapes(data_dir: Path, path: str, like: str) -> None:
    data = ask(holder(), "GET", path)[1]
    assert data and differences(data, [mock(data_dir, like)]) == []


@pytest.mark.data
def test_shape_of_an_authorisation(data_dir: Path) -> None:
    begun = told(holder().handle("POST", "/portfolio/holdings/authorise", [], AUTH, b"", NOW))
    assert differences(begun, [mock(data_dir, "holdings_auth.json")]) == []
