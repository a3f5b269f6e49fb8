"""The compiled body of a placement is the slow one, to the byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kite_hft import _kite_form
from kite_hft.brokers.kite.rest import FORM, place, place_form
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.broker import HttpRequest, OrderRequest

PLAIN = default_instruments(20, 1)[0].rows[3]
symbols = st.one_of(st.sampled_from(["INFY", "M&M", "BAJAJ-AUTO", "NIFTY 50", "A_b.~9", "é", ""]), st.text())
instruments = st.builds(
    lambda symbol, scale: replace(PLAIN, symbol=symbol, scale=scale),
    symbols,
    st.sampled_from([100, 100, 10_000, 10**7, 1000, 250, 10]),
)
prices = st.one_of(st.integers(0, 2**31 - 1), st.integers(0, 1000).map(lambda n: n * 100))


requests = st.builds(
    OrderRequest, st.one_of(st.just(PLAIN), instruments), st.sampled_from(Side), st.sampled_from(OrderType),
    st.sampled_from(Product), st.sampled_from(Validity), st.integers(0, 2**70), prices, prices,
    protection_percent=st.just(-1.0), tag=st.sampled_from(["", "abc0000000000000001x", "a b", "é", "x" * 65]),
)  # fmt: skip


@given(requests)
def test_the_same_bytes(wish: OrderRequest) -> None:
    made = place(wish)
    assert made == HttpRequest("POST", "/orders/regular", place_form(wish), FORM)
    assert type(made) is HttpRequest and made.body == place_form(wish)


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.SL])
def test_plain_orders_are_made_without_the_slow_one(kind: OrderType) -> None:
    def never(request: OrderRequest) -> bytes:
        raise AssertionError("it was asked")

    quick = _kite_form.KitePlacing(HttpRequest, "/x", FORM, never)
    request = OrderRequest(PLAIN, Side.SELL, kind, Product.MIS, Validity.DAY, 75, 10_050, 10_000, tag="abc1")
    assert quick(request) == HttpRequest("POST", "/x", place_form(request), FORM)
    with pytest.raises(AssertionError, match="asked"):
        quick(request._replace(order_type=OrderType.MARKET))
    with pytest.raises(TypeError):
        quick(("POST", "/x"))
    with pytest.raises(TypeError):
        _kite_form.KitePlacing(list, "/x", FORM, never)
