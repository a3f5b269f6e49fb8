"""The compiled body of a placement at Upstox is the slow one, to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft import _upstox_form
from kite_hft.brokers.upstox.calls import JSON, PLACE, place, place_form
from kite_hft.brokers.upstox.keys import KeyMissing
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.broker import HttpRequest, OrderRequest

PLAIN = replace(default_instruments(20, 1)[0].rows[3], upstox_key="NSE_EQ|INE002A01018")
instruments = st.builds(
    lambda key, scale, exchange, lot: replace(
        PLAIN, upstox_key=key, scale=scale, exchange=exchange, lot_size=lot
    ),
    st.sampled_from(["NSE_EQ|INE002A01018", 'odd"key|é', "NSE_INDEX|Nifty 50"]),
    st.sampled_from([100, 100, 10_000, 10**7, 1000, 250, 10]),
    st.sampled_from(["NSE", "NFO", "MCX", "CDS"]),
    st.sampled_from([1, 10]),
)
prices = st.one_of(st.integers(0, 2**31 - 1), st.integers(0, 1000).map(lambda n: n * 100))
requests = st.builds(
    OrderRequest, st.one_of(st.just(PLAIN), instruments), st.sampled_from(Side), st.sampled_from(OrderType),
    st.sampled_from([Product.MIS, Product.CNC, Product.NRML, Product.MTF]), st.sampled_from(Validity),
    st.one_of(st.integers(0, 500).map(lambda n: n * 10), st.integers(0, 2**70)), prices, prices,
    protection_percent=st.just(-1.0),
    tag=st.sampled_from(["", "abc0000000000000001x", "a b", "é", 'quote"', "x" * 40, "x" * 41]),
)  # fmt: skip


def outcome(made: Any) -> Any:
    """What comes of it, or what it raises."""
    try:
        return made()
    except ValueError as error:
        return type(error), str(error)


@given(requests)
def test_the_same_bytes_or_the_same_refusal(wish: OrderRequest) -> None:
    made = outcome(lambda: place(wish))
    assert made == outcome(lambda: HttpRequest("POST", PLACE, place_form(wish), JSON))
    assert type(made) in (HttpRequest, tuple)


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.SL])
def test_plain_orders_are_made_without_the_slow_one(kind: OrderType) -> None:
    asked: list[OrderRequest] = []

    def never(request: OrderRequest) -> bytes:
        raise AssertionError("it was asked")

    def terms(request: OrderRequest) -> str:
        asked.append(request)
        return place_form(request).decode().partition('"quantity":')[0] + '"quantity":'

    quick = _upstox_form.UpstoxPlacing(HttpRequest, "/x", JSON, never, terms)
    request = OrderRequest(PLAIN, Side.SELL, kind, Product.MIS, Validity.DAY, 75, 10_050, 10_000, tag="abc1")
    for quantity in (75, 80):
        wish = request._replace(quantity=quantity)
        assert quick(wish) == HttpRequest("POST", "/x", place_form(wish), JSON)
    assert len(asked) == 1, "the beginning is made once"
    quick(request._replace(side=Side.BUY))
    quick(request._replace(instrument=replace(PLAIN, lot_size=7)))
    assert len(asked) == 3
    with pytest.raises(AssertionError, match="asked"):
        quick(request._replace(order_type=OrderType.MARKET))
    with pytest.raises(TypeError):
        quick(("POST", "/x"))
    with pytest.raises(TypeError):
        _upstox_form.UpstoxPlacing(list, "/x", JSON, never, terms)


def test_an_instrument_without_a_key_is_told() -> None:
    wish = OrderRequest(
        replace(PLAIN, upstox_key=""), Side.BUY, OrderType.LIMIT, Product.MIS, Validity.DAY, 1, 100, 0
    )
    with pytest.raises(KeyMissing):
        place(wish)
