"""Prices in Upstox's frames: their edges, what is off the unit or the tick, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType

import pytest
from upstox_messages import INDEX, KEYS, OPTION, SHARE, TIME_MS, frame, full, one
from upstox_tools import counted, make_decoder

from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.units import PriceError, px_from_price

Makes = Callable[..., UpstoxDecoder]


@pytest.fixture(params=["this processor", "portable"])
def decoder_of(request: pytest.FixtureRequest) -> Makes:
    """Makes decoders, of each code path."""
    return partial(make_decoder, KEYS, portable=request.param == "portable")


def test_edges_of_prices_and_quantities(pb: ModuleType, decoder_of: Makes) -> None:
    decoder = decoder_of(tick_px=1)
    body = full(pb)
    body.ltpc.ltp = 21474836.47  # 2^31 - 1 units, whose double is off by more than 1e-6 of a unit or not
    body.ltpc.cp, body.atp = -0.0, 201.078
    body.marketLevel.bidAskQuote[0].bidP = 0.07 + 9e-9
    body.ltpc.ltq, body.tbq, body.tsq, body.oi = 2**32, 4294967294.5, 1e300, 7.5
    body.marketLevel.bidAskQuote[1].askQ = 2**63 - 1
    tick = one(decoder.decode_frame(frame(pb, {OPTION: body})))
    assert (tick["last_px"], tick["close_px"], tick["average_px"], tick["bid_px"]) == (2**31 - 1, 0, 20108, 7)
    top = 2**32 - 1
    quantities = ("last_qty", "total_buy_qty", "total_sell_qty", "oi")
    assert [int(tick[name]) for name in quantities] == [top, top, top, 8]
    assert tick["ask_qty"].tolist() == [175, top, 177, 178, 179] and decoder.saturated == 3
    assert decoder.malformed["price_range"] == 0


@pytest.mark.parametrize(
    ("base", "scale"), [(20_000_000.0, 100), (21_474_836.0, 100), (214.0, 10**7), (1.0, 100)]
)
def test_prices_are_judged_as_everywhere_in_the_engine(
    pb: ModuleType, decoder_of: Makes, base: float, scale: int
) -> None:
    """By units.px_from_price, step for step around the last price that still is on the unit."""
    price, verdicts = base, set()
    for _ in range(12):
        price = math.nextafter(price, math.inf) if base > 1 else price + 2e-9
        ticks = decoder_of(scale=float(scale), tick_px=1).decode_frame(
            frame(pb, {OPTION: pb.LTPC(ltp=price, ltt=1)})
        )
        try:
            expected = [px_from_price(price, scale)]
        except PriceError:
            expected = []
        assert ticks["last_px"].tolist() == expected
        verdicts.add(len(expected))
    assert verdicts == {0, 1}


def test_prices_off_the_tick_are_told_and_counted(pb: ModuleType, decoder_of: Makes) -> None:
    decoder = decoder_of(tick_px=5)
    good, off = full(pb), full(pb, 219.32)
    good.ltpc.cp, good.atp = 494.03, 201.01  # closes and averages need not be on it
    decoder.decode_frame(frame(pb, {OPTION: good}))
    assert "off_grid" not in counted(decoder)
    assert len(decoder.decode_frame(frame(pb, {OPTION: off, SHARE: good}))) == 2
    assert counted(decoder)["off_grid"] == 1
    index = pb.IndexFullFeed()
    index.ltpc.CopyFrom(pb.LTPC(ltp=25_912.37, ltt=TIME_MS))
    decoder.decode_frame(frame(pb, {INDEX: index}))
    assert counted(decoder)["off_grid"] == 1


@pytest.mark.parametrize(
    ("close", "close_px", "off"),
    [(100.333, 10_033, 1), (100.337, 10_034, 1), (100.00000002, 10_000, 1), (100.33, 10_033, 0)],
)
@pytest.mark.parametrize("key", [OPTION, INDEX])
def test_a_close_off_the_unit_costs_no_price(
    pb: ModuleType, decoder_of: Makes, key: str, close: float, close_px: int, off: int
) -> None:
    """An adjusted one has more decimals: it is rounded and counted, and all that came with it counts."""
    decoder = decoder_of(tick_px=1)
    tick = one(decoder.decode_frame(frame(pb, {key: pb.LTPC(ltp=219.3, ltt=TIME_MS, cp=close)})))
    assert (tick["last_px"], tick["close_px"]) == (21_930, close_px)
    counts = counted(decoder)
    assert counts.get("off_grid", 0) == off and counts["decoded"] == counts["received"] == 1


@pytest.mark.parametrize(
    ("value", "px", "off"),
    [(13.5725, 1357, 1), (13.5775, 1358, 1), (13.57, 1357, 0), (20_000_000.000_000_3, 2_000_000_000, 1)],
)
def test_an_index_may_have_more_decimals_and_only_an_index(
    pb: ModuleType, decoder_of: Makes, value: float, px: int, off: int
) -> None:
    """India VIX has four at its exchange: it is rounded and counted; who can be traded is refused."""
    decoder = decoder_of(tick_px=1)
    body = pb.IndexFullFeed()
    body.ltpc.CopyFrom(pb.LTPC(ltp=value, ltt=TIME_MS, cp=13.0))
    body.marketOHLC.ohlc.add(interval="1d", open=13.0, high=value, low=12.3351, close=13.0)
    tick = one(decoder.decode_frame(frame(pb, {INDEX: body})))
    assert (tick["last_px"], tick["high_px"], tick["low_px"]) == (px, px, 1234)
    assert counted(decoder)["off_grid"] == 1 and "malformed_price_range" not in counted(decoder)
    (tick,) = decoder.decode_frame(frame(pb, {INDEX: pb.LTPC(ltp=value, ltt=TIME_MS)}))
    assert tick["last_px"] == px and counted(decoder)["off_grid"] == 1 + off
    ticks = decoder.decode_frame(frame(pb, {OPTION: pb.LTPC(ltp=value, ltt=TIME_MS)}))
    assert len(ticks) == 1 - off and counted(decoder).get("malformed_price_range", 0) == off


@pytest.mark.parametrize("value", [-13.5725, 21_474_836.4751])
def test_an_index_out_of_range_is_refused_however_many_decimals(
    pb: ModuleType, decoder_of: Makes, value: float
) -> None:
    decoder = decoder_of(tick_px=1)
    assert not len(decoder.decode_frame(frame(pb, {INDEX: pb.LTPC(ltp=value, ltt=TIME_MS)})))
    assert counted(decoder)["malformed_price_range"] == 1
