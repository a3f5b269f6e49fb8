"""Feed entries against protobuf's own parse and serialiser: every branch, every field, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from upstox_client.feeder.proto import MarketDataFeedV3_pb2 as schema
from upstox_sim import frame_dict, reserialised

from kite_hft.sim.upstox import frames as f

KEYS = ["NSE_EQ|INE002A01018", "NSE_FO|55775", "NSE_INDEX|Nifty 50"]
CELLS = f.key_cells(KEYS)
MODE_WORDS = {f.LTPC: None, f.OPTION_GREEKS: "option_greeks", f.FULL: "full_d5", f.FULL_D30: "full_d30"}


def random_rows(n: int, seed: int, extreme: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.zeros(n, f.FEED)
    for name in f.FEED.names or ():
        base = f.FEED[name].base
        shape = rows[name].shape
        if base.kind == "f":
            rows[name] = (
                rng.choice([0.0, -0.0, 1e300, -1.5, 219.3], shape) if extreme else rng.random(shape) * 1000
            )
        elif base.kind == "i":
            big = [0, 1, 2**62, -1, -(2**63), 300]
            rows[name] = rng.choice(big, shape) if extreme else rng.integers(0, 10**6, shape)
    rows["levels"] = rng.integers(0, f.LEVELS + 1, n) if extreme else f.LEVELS
    rows["parts"] = rng.integers(0, 32, n) if extreme else 15
    rows["cas_eligible"] = rng.integers(0, 2, n)
    return rows


@pytest.mark.parametrize("mode", [f.LTPC, f.OPTION_GREEKS, f.FULL, f.FULL_D30])
@pytest.mark.parametrize("extreme", [False, True])
def test_bytes_are_those_of_protobufs_own_serialiser(mode: int, extreme: bool) -> None:
    rows = random_rows(200, mode, extreme)
    rows["index"] = np.arange(200) % 5 == 0
    slots = np.where(rows["index"], 2, np.arange(200) % 2)
    entries = f.encode_entries(rows, slots, np.full(3, mode, np.uint8), CELLS)
    for entry, slot in zip(entries, slots.tolist(), strict=True):
        data = f.frame(f.LIVE_FEED, [entry], 1_765_771_373_160)
        assert reserialised(data) == data
        (told,) = frame_dict(data)["feeds"].items()
        assert told[0] == KEYS[slot] and told[1].get("requestMode") == MODE_WORDS[mode]


def parsed(rows: np.ndarray, slot: int, mode: int) -> Any:
    (entry,) = f.encode_entries(rows, np.array([slot]), np.full(3, mode, np.uint8), CELLS)
    message = schema.FeedResponse.FromString(f.frame(f.LIVE_FEED, [entry], 5))
    return message.feeds[KEYS[slot]]


def test_each_field_lands_where_the_schema_has_it() -> None:
    rows = random_rows(1, 7)
    row, feed = rows[0], parsed(rows, 1, f.FULL).fullFeed.marketFF
    assert (feed.ltpc.ltp, feed.ltpc.ltt, feed.ltpc.ltq, feed.ltpc.cp) == (
        row["ltp"], row["ltt"], row["ltq"], row["cp"],
    )  # fmt: skip
    for i, quote in enumerate(feed.marketLevel.bidAskQuote):
        assert (quote.bidQ, quote.bidP, quote.askQ, quote.askP) == tuple(
            row[name][i] for name in ("bid_q", "bid_p", "ask_q", "ask_p")
        )
    greeks = feed.optionGreeks
    assert [greeks.delta, greeks.theta, greeks.gamma, greeks.vega, greeks.rho] == row["greeks"].tolist()
    for bar, name, word in zip(feed.marketOHLC.ohlc, ("day", "minute"), ("1d", "I1"), strict=True):
        assert [bar.open, bar.high, bar.low, bar.close] == row[name].tolist()
        assert (bar.interval, bar.vol, bar.ts) == (word, row[f"{name}_vol"], row[f"{name}_ts"])
    same = {"atp": "atp", "vtt": "vtt", "oi": "oi", "iv": "iv", "tbq": "tbq", "tsq": "tsq", "iep": "iep",
            "rp": "rp", "ieq": "ieq", "iiqTotal": "iiq_total", "iiqM": "iiq_market"}  # fmt: skip
    assert {word: getattr(feed, word) for word in same} == {word: row[name] for word, name in same.items()}
    assert feed.casEligible == bool(row["cas_eligible"])


def test_what_is_left_out_is_absent_and_not_empty() -> None:
    rows = random_rows(1, 3)
    rows["parts"] = f.DAY_PART
    feed = parsed(rows, 1, f.FULL).fullFeed.marketFF
    assert not feed.HasField("marketLevel") and not feed.HasField("optionGreeks")
    assert [bar.interval for bar in feed.marketOHLC.ohlc] == ["1d"]
    rows["parts"] = f.GREEKS_PART
    rows["greeks"] = 0
    assert parsed(rows, 1, f.FULL).fullFeed.marketFF.HasField("optionGreeks")


def test_an_auction_price_in_ltpc_is_present_also_at_zero() -> None:
    rows = random_rows(1, 3)
    rows["parts"], rows["iep"] = f.AUCTION_PART, 0.0
    ltpc = parsed(rows, 0, f.LTPC).ltpc
    assert ltpc.HasField("iep") and ltpc.iep.value == 0.0
    rows["parts"] = 0
    assert not parsed(rows, 0, f.LTPC).ltpc.HasField("iep")


def test_thirty_levels_go_on_where_five_end() -> None:
    rows = random_rows(1, 3)
    rows["bid_p"], rows["ask_p"] = 100 - np.arange(5) * 0.05, 100.05 + np.arange(5) * 0.05
    quotes = parsed(rows, 1, f.FULL_D30).fullFeed.marketFF.marketLevel.bidAskQuote
    assert len(quotes) == 30
    assert [round(q.bidP, 2) for q in quotes] == [round(100 - i * 0.05, 2) for i in range(30)]
    assert [round(q.askP, 2) for q in quotes] == [round(100.05 + i * 0.05, 2) for i in range(30)]
    assert [q.bidQ for q in quotes[5:10]] == rows["bid_q"][0].tolist()


def test_a_placeholder_is_an_empty_ltpc() -> None:
    data = f.frame(f.INITIAL_FEED, [f.placeholder("NSE_FO|1", f.FULL)], 9)
    assert frame_dict(data) == {
        "feeds": {"NSE_FO|1": {"ltpc": {}, "requestMode": "full_d5"}}, "currentTs": "9",
    }  # fmt: skip
    assert reserialised(data) == data


def test_market_info_tells_segments_and_auctions() -> None:
    data = f.market_info(
        {"NSE_EQ": 0, "NSE_FO": 2}, {"NSE_EQ": ("CTS_CLOSE", 7)}, {"BSE_EQ": ("PRE_OPEN_END", 8)}, 9
    )
    message = schema.FeedResponse.FromString(data)
    assert MessageToDict(message) == {
        "type": "market_info", "currentTs": "9",
        "marketInfo": {
            "segmentStatus": {"NSE_EQ": "PRE_OPEN_START", "NSE_FO": "NORMAL_OPEN"},
            "casMarketStatus": {"NSE_EQ": {"status": "CTS_CLOSE", "updatedTime": "7"}},
            "preOpenSessionStatus": {"BSE_EQ": {"status": "PRE_OPEN_END", "updatedTime": "8"}},
        },
    }  # fmt: skip
