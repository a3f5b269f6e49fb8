"""Upstox's frames by hand: each branch, what partial messages carry, every malformed class, AUX records."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from upstox_messages import INDEX, KEYS, LIVE, OPTION, SHARE, SNAPSHOT, TIME_MS, frame, full, one
from upstox_tools import assert_same, counted, make_decoder, make_twin

from kite_hft import _upstox_decode
from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import AUX, COUNTERS, NO_SLOT, TICK, AuxKind, TickFlag, TickKind

TIMES = TickFlag.EXCHANGE_TIME | TickFlag.LAST_TRADE_TIME


class CodePath:
    """Which code path the tests below run on: the fixture sets it."""

    portable = False


@pytest.fixture(autouse=True, params=["this processor", "portable"])
def code_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodePath, "portable", request.param == "portable")


def decoder_of(keys: list[str] = KEYS, **more: Any) -> UpstoxDecoder:
    return make_decoder(keys, portable=CodePath.portable, **more)


def test_a_full_message_fills_the_record(pb: ModuleType) -> None:
    tick = one(decoder_of(connection=3).decode_frame(frame(pb, {OPTION: full(pb)}), 77))
    prices = ("last_px", "close_px", "open_px", "high_px", "low_px", "average_px", "bid_px", "ask_px")
    assert [int(tick[name]) for name in prices] == [21930, 49405, 20000, 23000, 19000, 20107, 21925, 21935]
    assert tick["bid_px_deep"].tolist() == [21920, 21915, 21910, 21905]
    assert tick["ask_px_deep"].tolist() == [21940, 21945, 21950, 21955]
    assert tick["bid_qty"].tolist() == [75, 76, 77, 78, 79]
    assert tick["ask_qty"].tolist() == [175, 176, 177, 178, 179]
    quantities = ("last_qty", "volume", "oi", "total_buy_qty", "total_sell_qty")
    assert [int(tick[name]) for name in quantities] == [75, 456_150, 3_214_500, 100_500, 200_750]
    assert (tick["slot"], tick["kind"], tick["connection"]) == (2, TickKind.FULL, 3)
    assert (tick["exch_ns"], tick["recv_ns"]) == (TIME_MS * 10**6, 77)
    assert tick["last_trade_s"] == (TIME_MS - 43) // 1000
    groups = TickFlag.TRADE | TickFlag.OHLC | TickFlag.DEPTH | TickFlag.OI
    assert tick["flags"] == groups | TIMES


def test_the_other_branches(pb: ModuleType) -> None:
    first = pb.FirstLevelWithGreeks(vtt=456, oi=32, iv=0.1)
    first.ltpc.CopyFrom(pb.LTPC(ltp=219.3, ltt=TIME_MS, ltq=75, cp=494.05))
    first.firstDepth.CopyFrom(pb.Quote(bidQ=5, bidP=219.25, askQ=6, askP=219.4))
    index = pb.IndexFullFeed()
    index.ltpc.CopyFrom(pb.LTPC(ltp=25_912.37, ltt=TIME_MS, cp=25_850.15))
    index.marketOHLC.ohlc.add(interval="1d", open=25_860, high=25_933.7, low=25_841, close=25_912.37)
    sent = {OPTION: first, SHARE: pb.LTPC(ltp=1412.4, ltt=TIME_MS, ltq=5, cp=1405.1), INDEX: index}
    by_slot = {int(t["slot"]): t for t in decoder_of().decode_frame(frame(pb, sent))}
    option, share, nifty = by_slot[2], by_slot[1], by_slot[0]
    assert option["kind"] == TickKind.QUOTE and (option["bid_px"], option["ask_px"]) == (21925, 21940)
    assert option["flags"] == TickFlag.TRADE | TickFlag.DEPTH | TickFlag.OI | TIMES
    assert share["kind"] == TickKind.LTP and share["flags"] == TIMES
    # A price comes with its quantity and the close before, whatever the groups say.
    assert (share["last_px"], share["last_qty"], share["close_px"]) == (141240, 5, 140510)
    assert nifty["kind"] == TickKind.INDEX_FULL and nifty["high_px"] == 2593370
    assert nifty["flags"] == TickFlag.OHLC | TickFlag.INDEX | TIMES


def test_what_a_partial_message_leaves_out_stands_as_before(pb: ModuleType) -> None:
    decoder = decoder_of()
    whole = one(decoder.decode_frame(frame(pb, {OPTION: full(pb)})))
    part = full(pb, 220.0)
    part.ClearField("marketLevel")
    part.ClearField("optionGreeks")
    tick = one(decoder.decode_frame(frame(pb, {OPTION: part})))
    assert tick["flags"] == whole["flags"] | TickFlag.CARRIED
    assert tick["last_px"] == 22000 and tick["bid_px"] == whole["bid_px"]
    assert tick["bid_qty"].tolist() == whole["bid_qty"].tolist()
    # Nothing but depth: price, volume, average, day and interest stand; the totals are said to be 0.
    only = pb.MarketFullFeed()
    only.marketLevel.bidAskQuote.add(bidQ=1, bidP=219.0, askQ=2, askP=221.0)
    tick = one(decoder.decode_frame(frame(pb, {OPTION: only})))
    assert (tick["last_px"], tick["volume"], tick["average_px"], tick["oi"]) == (
        22000,
        456150,
        20107,
        3214500,
    )
    assert (tick["bid_px"], tick["total_buy_qty"]) == (21900, 0) and not tick["bid_px_deep"].any()
    assert tick["flags"] & TickFlag.CARRIED and counted(decoder)["carried"] == 2
    # All of it again: nothing is carried.
    assert not one(decoder.decode_frame(frame(pb, {OPTION: full(pb)})))["flags"] & TickFlag.CARRIED


def test_empty_parts_empty_their_groups(pb: ModuleType) -> None:
    decoder = decoder_of()
    decoder.decode_frame(frame(pb, {OPTION: full(pb)}))
    empty = pb.MarketFullFeed()
    empty.marketLevel.SetInParent()
    empty.marketOHLC.SetInParent()
    tick = one(decoder.decode_frame(frame(pb, {OPTION: empty})))
    assert tick["flags"] & TickFlag.DEPTH and not tick["bid_px"] and not tick["bid_qty"].any()
    assert not tick["flags"] & TickFlag.OHLC and not tick["high_px"] and tick["last_px"] == 21930
    # A marketOHLC that holds another bar says nothing of the day.
    decoder.decode_frame(frame(pb, {OPTION: full(pb)}))
    minute = pb.MarketFullFeed(vtt=456_151)
    minute.marketOHLC.ohlc.add(interval="I1", open=1, high=1, low=1, close=1)
    tick = one(decoder.decode_frame(frame(pb, {OPTION: minute})))
    assert tick["high_px"] == 23000 and tick["flags"] & TickFlag.OHLC


@pytest.mark.parametrize("how", ["snapshot", "reset", "another mode"])
def test_nothing_is_carried_over_a_break(pb: ModuleType, how: str) -> None:
    decoder = decoder_of()
    decoder.decode_frame(frame(pb, {OPTION: full(pb), SHARE: full(pb)}))
    part = pb.MarketFullFeed(vtt=5)
    if how == "reset":
        decoder.reset()
    elif how == "another mode":
        decoder.decode_frame(frame(pb, {OPTION: pb.LTPC(ltp=1, ltt=TIME_MS, cp=2)}))
    tick = one(decoder.decode_frame(frame(pb, {OPTION: part}, SNAPSHOT if how == "snapshot" else LIVE)))
    assert (tick["volume"], tick["last_px"], tick["bid_px"], tick["close_px"]) == (5, 0, 0, 0)
    assert tick["flags"] == TickFlag.TRADE | TickFlag.EXCHANGE_TIME
    if how == "snapshot":  # of that instrument alone
        other = one(decoder.decode_frame(frame(pb, {SHARE: part})))
        assert other["last_px"] == 21930 and other["flags"] & TickFlag.CARRIED


def test_what_says_nothing_makes_no_tick(pb: ModuleType) -> None:
    """An empty placeholder in a snapshot is no price of 0."""
    decoder = decoder_of()
    empty_full = pb.Feed()
    empty_full.fullFeed.SetInParent()
    greeks = pb.MarketFullFeed(iv=0.2)
    for body in (pb.Feed(), pb.LTPC(), empty_full, pb.MarketFullFeed(), pb.IndexFullFeed(), greeks):
        for kind in (SNAPSHOT, LIVE):
            assert len(decoder.decode_frame(frame(pb, {OPTION: body}, kind))) == 0
    assert len(decoder.decode_frame(b"")) == 0
    assert counted(decoder) == {}


REFUSED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "last is NaN": ("not_finite", lambda ff: setattr(ff.ltpc, "ltp", math.nan)),
    "close is infinite": ("not_finite", lambda ff: setattr(ff.ltpc, "cp", math.inf)),
    "third ask is -inf": ("not_finite", lambda ff: setattr(ff.marketLevel.bidAskQuote[2], "askP", -math.inf)),
    "average is NaN": ("not_finite", lambda ff: setattr(ff, "atp", math.nan)),
    "total is infinite": ("not_finite", lambda ff: setattr(ff, "tsq", math.inf)),
    "interest is NaN": ("not_finite", lambda ff: setattr(ff, "oi", math.nan)),
    "NaN beside what is out of range": (
        "not_finite", lambda ff: (setattr(ff, "oi", math.nan), setattr(ff.ltpc, "ltp", -1.0)),
    ),
    "last is negative": ("price_range", lambda ff: setattr(ff.ltpc, "ltp", -0.05)),
    "high is too large": ("price_range", lambda ff: setattr(ff.marketOHLC.ohlc[0], "high", 21474836.48)),
    "fifth bid is huge": ("price_range", lambda ff: setattr(ff.marketLevel.bidAskQuote[4], "bidP", 1e300)),
    "last is off the unit": ("price_range", lambda ff: setattr(ff.ltpc, "ltp", 100.001)),
    "close is negative": ("price_range", lambda ff: setattr(ff.ltpc, "cp", -0.05)),
    "close is too large": ("price_range", lambda ff: setattr(ff.ltpc, "cp", 21474836.48)),
    "average is negative": ("price_range", lambda ff: setattr(ff, "atp", -1.0)),
    "quantity is negative": ("price_range", lambda ff: setattr(ff.ltpc, "ltq", -1)),
    "volume is negative": ("price_range", lambda ff: setattr(ff, "vtt", -(2**63))),
    "fourth bid's quantity is negative": (
        "price_range", lambda ff: setattr(ff.marketLevel.bidAskQuote[3], "bidQ", -5),
    ),
    "total is negative": ("price_range", lambda ff: setattr(ff, "tbq", -0.6)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_number_that_no_record_can_hold_refuses_the_message_alone(pb: ModuleType, name: str) -> None:
    counter, spoil = REFUSED[name]
    decoder = decoder_of()
    before = one(decoder.decode_frame(frame(pb, {OPTION: full(pb)})))
    body = full(pb, 300.0)
    spoil(body)
    ticks, aux = decoder.decode_both(frame(pb, {SHARE: full(pb, 1.0), OPTION: body}))
    assert ticks["slot"].tolist() == [1] and set(aux["slot"]) == {1}
    counts = counted(decoder)
    assert counts[f"malformed_{counter}"] == 1 and (counts["received"], counts["decoded"]) == (3, 2)
    # What is known of it is as before.
    tick = one(decoder.decode_frame(frame(pb, {OPTION: pb.MarketFullFeed(vtt=456_150)})))
    assert (tick["last_px"], tick["bid_px"]) == (before["last_px"], before["bid_px"])


def test_other_scales(pb: ModuleType) -> None:
    currency = one(decoder_of(scale=1e7, tick_px=25_000).decode_frame(
        frame(pb, {OPTION: pb.LTPC(ltp=83.4975, ltt=TIME_MS, cp=83.5)})
    ))  # fmt: skip
    assert currency["last_px"] == 834_975_000


def test_times(pb: ModuleType) -> None:
    body = pb.LTPC(ltp=1, ltt=-1)
    for time_ms in (0, -5, 2**63 - 1):
        tick = one(decoder_of().decode_frame(frame(pb, {OPTION: body}, time_ms=time_ms)))
        assert (tick["exch_ns"], tick["flags"], tick["last_trade_s"]) == (0, 0, 0)
    latest = (2**63 - 1) // 10**6
    tick = one(decoder_of().decode_frame(frame(pb, {OPTION: pb.LTPC(ltp=1, ltt=2**52)}, time_ms=latest)))
    assert (tick["exch_ns"], tick["last_trade_s"]) == (latest * 10**6, 0)


def test_deep_levels_greeks_auction_and_bars(pb: ModuleType) -> None:
    body = full(pb)
    for i in range(5, 33):
        body.marketLevel.bidAskQuote.add(bidQ=i, bidP=100 - i, askQ=2 * i, askP=100 + i)
    body.rp, body.iiqTotal, body.casEligible = 219.0, -12, True
    body.ltpc.iep.SetInParent()  # present, and 0
    body.iep = 5.0
    decoder, twin = decoder_of(), make_twin(KEYS)
    sent = frame(pb, {OPTION: body})
    ticks, aux = decoder.decode_both(sent, 9)
    assert_same(ticks, aux, twin.frame(sent), 9)
    kinds = [AuxKind.GREEKS, *[AuxKind.DEPTH] * 9, AuxKind.AUCTION, AuxKind.BAR, AuxKind.BAR]
    assert aux["kind"].tolist() == kinds
    assert aux[1]["values"][:4].tolist() == [5, 95, 10, 105] and aux[9]["part"] == 8
    assert np.isnan(aux[9]["values"][4:]).all()  # levels 31 and deeper are left out
    assert aux[10]["values"][:6].tolist() == [0, 219, 0, -12, 0, 1]
    # Nobody asks: nothing is made, and nothing missed. What is asked for without a buffer is counted.
    decoder.decode_frame(sent)
    assert "aux_dropped" not in counted(decoder)
    decoder.aux_out(None, tuple(AuxKind))
    decoder.decode_frame(sent)
    assert counted(decoder)["aux_dropped"] == 13
    for kind, records in ((AuxKind.DEPTH, 9), (AuxKind.BAR, 2), (AuxKind.GREEKS, 1), (AuxKind.AUCTION, 1)):
        before = counted(decoder)["aux_dropped"]
        decoder.aux_out(None, (kind,))
        decoder.decode_frame(sent)
        assert counted(decoder)["aux_dropped"] - before == records, kind


def test_only_the_wanted_kinds(pb: ModuleType) -> None:
    decoder = decoder_of()
    decoder.aux_out(np.zeros(_upstox_decode.AUX_ROOM_MIN, AUX), (AuxKind.BAR,))
    buffer = np.zeros(_upstox_decode.AUX_ROOM_MIN, AUX)
    decoder.aux_out(buffer, (AuxKind.BAR, AuxKind.GREEKS))
    decoder.decode_frames([frame(pb, {OPTION: full(pb)})], np.zeros(4, TICK))
    assert buffer["kind"][:4].tolist() == [AuxKind.GREEKS, AuxKind.BAR, AuxKind.BAR, 0]
    assert "aux_dropped" not in counted(decoder)
    for wrong in (np.zeros(5, AUX), np.zeros(500, TICK)):
        with pytest.raises(ValueError, match="AUX array"):
            decoder.aux_out(wrong)


def test_market_status(pb: ModuleType) -> None:
    message = pb.FeedResponse(type=2, currentTs=TIME_MS)
    message.marketInfo.segmentStatus["NSE_EQ"] = 2
    message.marketInfo.segmentStatus["MCX_FO"] = 0
    message.marketInfo.segmentStatus["LSE_EQ"] = 3  # in nobody's table
    message.marketInfo.casMarketStatus["NSE_EQ"].CopyFrom(pb.StatusInfo(status="CAS_M_STOP", updatedTime=5))
    message.marketInfo.preOpenSessionStatus["BSE_EQ"].CopyFrom(pb.StatusInfo(status="NEW_WORD"))
    decoder = decoder_of()
    ticks, aux = decoder.decode_both(bytes(message.SerializeToString()), 8)
    assert len(ticks) == 0 and counted(decoder) == {"market_infos": 1}
    assert_same(ticks, aux, make_twin(KEYS).frame(message.SerializeToString()), 8)
    assert (aux["slot"] == NO_SLOT).all()
    assert [_upstox_decode.SEGMENTS[part] for part in aux["part"]] == ["NSE_EQ", "MCX_FO", "NSE_EQ", "BSE_EQ"]
    assert decoder.markets() == {
        ("NSE_EQ", 1): (2, 0), ("MCX_FO", 1): (0, 0), ("NSE_EQ", 2): (2, 5), ("BSE_EQ", 3): (-1, 0),
    }  # fmt: skip
    decoder.decode_frame(bytes(message.SerializeToString()))
    assert counted(decoder) == {"market_infos": 2}
    decoder.aux_out(None, (AuxKind.MARKET,))
    decoder.decode_frame(bytes(message.SerializeToString()))
    assert counted(decoder) == {"market_infos": 3, "aux_dropped": 4}


def test_frames_into_one_array_and_checksum(pb: ModuleType) -> None:
    decoder, out = decoder_of(), np.zeros(3, TICK)
    frames = [frame(pb, {OPTION: full(pb), SHARE: full(pb, 5.0)}), b"", frame(pb, {SHARE: full(pb, 6.0)})]
    assert decoder.decode_frames(frames, out, 8) == 3
    assert out["last_px"].tolist() == [500, 21930, 600] and out["recv_ns"].tolist() == [8, 8, 8]
    tokens = (out["slot"] * 256 + 1).tolist()
    assert decoder.checksum == tick_checksum(tokens, out["last_px"], out["volume"]) != 0
    with pytest.raises(ValueError, match="room for 3"):
        decoder.decode_frames([frames[0], frames[0]], out)
    with pytest.raises(ValueError, match="TICK"):
        decoder.decode_frames(frames, np.zeros(3, np.int64))
    assert tuple(decoder.counts()) == COUNTERS["feed"]
    assert list(decoder.malformed) == ["price_range", "message", "not_finite"]


def test_what_the_constructor_refuses() -> None:
    slots, scales, steps = np.zeros(2, np.uint32), np.full(2, 100.0), np.zeros(2, np.int32)
    keys = ["NSE_FO|1", "NSE_FO|2"]
    wrong: list[tuple[str, tuple[Any, ...]]] = [
        ("2 keys, but 1 slots", (keys, slots[:1], scales, steps)),
        ("scales must be", (keys, slots, scales.astype(np.float32), steps)),
        ("tick_px must be", (keys, slots, scales, steps.astype(np.int64))),
        ("there twice", (["A|1", "A|1"], slots, scales, steps)),
        ("has 0 bytes", (["", "A|1"], slots, scales, steps)),
        ("has 56 bytes", (["A" * 56, "A|1"], slots, scales, steps)),
        ("has no slot", (keys, slots + np.uint32(NO_SLOT), scales, steps)),
        ("units per rupee", (keys, slots, scales * 0, steps)),
        ("units per rupee", (keys, slots, scales * math.nan, steps)),
        ("tick size of -1", (keys, slots, scales, steps - np.int32(1))),
    ]
    for match, arguments in wrong:
        with pytest.raises(ValueError, match=match):
            UpstoxDecoder(*arguments)
    assert UpstoxDecoder([], slots[:0], scales[:0], steps[:0]).decode_frame(b"\x08\x01").size == 0
