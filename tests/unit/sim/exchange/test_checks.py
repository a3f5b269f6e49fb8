"""What is refused before an order exists, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sim_tools import COMMODITY, EQUITY, INDEX, OPTION

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.exchange.checks import check_change, check_request
from kite_hft.sim.exchange.defaults import default_market_rules
from kite_hft.sim.exchange.orders import Change, NewOrder, Refusal

RULES = default_market_rules()
GOOD = NewOrder(EQUITY, Side.BUY, OrderType.LIMIT, Product.MIS, 100, px=10_000)
OPT = {"instrument": OPTION, "product": Product.NRML, "quantity": 75, "px": 5_000}
BSE = replace(EQUITY, exchange="BSE", segment="BSE")
CO = {"variety": "co", "trigger_px": 9_900}
ICE = {"variety": "iceberg", "iceberg_legs": 5, "iceberg_quantity": 20}


def wrong(**changes: object) -> NewOrder:
    return replace(GOOD, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "good",
    [
        GOOD, wrong(tag="x" * 20), wrong(validity=Validity.TTL, validity_ttl=2), wrong(disclosed_quantity=10),
        wrong(**CO), wrong(**ICE), wrong(variety="auction", auction_number="7", side=Side.SELL),
        wrong(**ICE | {"iceberg_legs": 2, "iceberg_quantity": 60}),
        wrong(variety="amo"), wrong(order_type=OrderType.SL, trigger_px=9_990),
        wrong(order_type=OrderType.SLM, trigger_px=9_990, px=0, protection_percent=-1), wrong(**OPT),
    ],
)  # fmt: skip
def test_good_orders_pass(good: NewOrder) -> None:
    check_request(good, RULES)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (wrong(instrument=INDEX), "index"),
        (wrong(variety="bo"), "variety"),
        (wrong(order_type=OrderType.MARKET), "Market orders without market protection are not allowed via"),
        (wrong(order_type=OrderType.SLM, trigger_px=10_000), "Market orders without market protection"),
        (wrong(order_type=OrderType.MARKET, protection_percent=101), "market_protection"),
        (wrong(order_type=OrderType.MARKET, protection_percent=-2), "market_protection"),
        (wrong(instrument=COMMODITY, px=12_000_000, validity=Validity.IOC), "IOC orders are not allowed"),
        (wrong(instrument=BSE, order_type=OrderType.SLM, trigger_px=9_990, protection_percent=-1), "SL-M"),
        (wrong(**OPT, order_type=OrderType.SLM, trigger_px=5_000, protection_percent=-1), "SL-M"),
        (wrong(**OPT, **CO), "co orders"),
        (wrong(**OPT | {"product": Product.CNC}), "CNC is not allowed"),
        (wrong(product=Product.NRML), "NRML is not allowed"),
        (wrong(**OPT, disclosed_quantity=75), "Disclosed quantity is not allowed"),
        (wrong(disclosed_quantity=9), "Disclosed quantity should be 10 %"),
        (wrong(disclosed_quantity=101), "Disclosed quantity should be"),
        (wrong(tag="x" * 21), "tag"),
        (wrong(quantity=0), "quantity"),
        (wrong(**OPT | {"quantity": 76}), "multiple of lot size 75"),
        (wrong(px=0), "price"),
        (wrong(px=10_001), "Tick size for this script is 0.05"),
        (wrong(order_type=OrderType.SL), "trigger_price"),
        (wrong(order_type=OrderType.SL, trigger_px=9_999), "Tick size"),
        (wrong(order_type=OrderType.SL, trigger_px=10_005), "cannot be above its price"),
        (wrong(order_type=OrderType.SL, trigger_px=9_995, side=Side.SELL), "cannot be below its price"),
        (wrong(validity=Validity.TTL), "validity_ttl"),
        (wrong(validity=Validity.TTL, validity_ttl=1441), "validity_ttl"),
        (wrong(validity_ttl=5), "needs validity TTL"),
        (wrong(variety="amo", validity=Validity.IOC), "IOC validity is not allowed for amo"),
        (wrong(**CO | {"trigger_px": 0}), "trigger_price"),
        (wrong(**CO | {"trigger_px": 10_000}), "should be below its price"),
        (wrong(**CO, side=Side.SELL), "should be above its price"),
        (wrong(**CO, order_type=OrderType.SL), "Cover orders are LIMIT or MARKET"),
        (wrong(**ICE | {"iceberg_legs": 1}), "iceberg_legs"),
        (wrong(**ICE | {"iceberg_legs": 51}), "iceberg_legs"),
        (wrong(**ICE | {"iceberg_quantity": 25}), "iceberg_quantity"),
        (wrong(**ICE | {"iceberg_quantity": 19}), "iceberg_quantity"),
        (wrong(**ICE | {"iceberg_quantity": 0}), "iceberg_quantity"),
        (wrong(iceberg_legs=5), "need variety iceberg"),
        (wrong(variety="auction", side=Side.SELL), "auction_number"),
        (wrong(variety="auction", auction_number="7"), "Auction orders are LIMIT sales"),
        (wrong(auction_number="7"), "needs variety auction"),
        (wrong(autoslice=True, variety="amo"), "needs variety regular"),
    ],
)  # fmt: skip
def test_refused(bad: NewOrder, text: str) -> None:
    with pytest.raises(Refusal, match=text) as refusal:
        check_request(bad, RULES)
    assert (refusal.value.error_type, refusal.value.status) == ("InputException", 400)


@pytest.mark.parametrize(
    ("request_", "change", "text"),
    [
        (GOOD, Change(order_type=OrderType.MARKET), "without market protection"),
        (GOOD, Change(quantity=0), "lot size"),
        (wrong(**CO), Change(quantity=50), "Only price and trigger price"),
        (wrong(**CO), Change(validity=Validity.IOC), "Only price and trigger price"),
        (wrong(instrument=COMMODITY), Change(validity=Validity.IOC), "IOC orders are not allowed"),
        (wrong(instrument=BSE), Change(order_type=OrderType.SLM, protection_percent=-1), "SL-M"),
        (wrong(variety="auction", auction_number="7"), Change(px=9_000), "cannot be modified"),
    ],
)
def test_changes_refused(request_: NewOrder, change: Change, text: str) -> None:
    with pytest.raises(Refusal, match=text):
        check_change(request_, change, RULES, is_market=False)


def test_a_market_order_stays_one_without_new_protection() -> None:
    check_change(GOOD, Change(order_type=OrderType.MARKET), RULES, is_market=True)
