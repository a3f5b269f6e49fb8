"""Market calls: dumps and their packing, dates of the candle call, trigger ranges."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from mock_shapes import differences, mock
from sim_tools import AUTH, NOW, SECOND, TABLE, api_of, ask, book_of, exchange_at

from kite_hft.sim.kite.market import SPAN_DAYS
from kite_hft.trading.instruments import EXTRA_COLUMNS, parse_csv

TOKEN = 779521
DAY = 86_400 * SECOND


def candles(start: str, end: str, interval: str = "minute", token: object = TOKEN, more: str = "") -> object:
    api = api_of(exchange_at())
    api.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000, close=9_900), NOW)
    status, data = ask(
        api, "GET", f"/instruments/historical/{token}/{interval}", f"from={start}&to={end}{more}"
    )
    return data["candles"] if status == 200 else (status, data)


def test_the_dump_is_packed_for_those_who_can_unpack_it() -> None:
    api = api_of(exchange_at())
    plain = api.handle("GET", "/instruments", [], AUTH, b"", NOW)
    packed = api.handle("GET", "/instruments", [], AUTH | {"accept-encoding": "gzip, deflate"}, b"", NOW)
    assert plain.headers == () and packed.headers == (("Content-Encoding", "gzip"),)
    assert gzip.decompress(packed.body) == plain.body and plain.content_type == packed.content_type
    extended = api.handle("GET", "/instruments", [("extended", "1")], AUTH, b"", NOW)
    assert parse_csv(extended.body.decode().splitlines()).rows == TABLE.rows
    more = f",{','.join(EXTRA_COLUMNS[:2])}".encode()
    assert extended.body.splitlines()[0] == plain.body.splitlines()[0] + more


@pytest.mark.data
def test_the_dump_has_the_official_columns_and_numbers(data_dir: Path) -> None:
    lines = api_of(exchange_at()).handle("GET", "/instruments", [], AUTH, b"", NOW).body.decode().splitlines()
    official = (data_dir / "kite/instruments_all.csv").read_text().splitlines()
    assert lines[0] == official[0]
    assert lines[1] == "779521,3045,SBIN,,0.0,,0.0,0.05,1,EQ,NSE,NSE"
    assert lines[3] == "256265,1001,NIFTY 50,,0.0,,0.0,0.0,0,EQ,INDICES,NSE"


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2025-12-12 09:15:00", "2025-12-12 09:17:00", "09:15", "09:17"),
        ("2025-12-12 09:15:01", "2025-12-12 09:17:59", "09:16", "09:17"),
        ("2025-12-12T15:28:00", "2025-12-13T00:00:00", "15:28", "15:29"),
        ("2025-12-12 15:00", "2025-12-12 15:01", "15:00", "15:01"),
        ("2025-12-12", "2025-12-12", "09:15", "15:29"),  # a bare date: all of the day
        ("2025-12-12", "2025-12-14", "09:15", "15:29"),  # and no bars at the weekend
    ],
)
def test_both_ends_are_inside(start: str, end: str, first: str, last: str) -> None:
    rows = candles(start, end)
    assert isinstance(rows, list)
    assert rows[0][0] == f"2025-12-12T{first}:00+0530" and rows[-1][0] == f"2025-12-12T{last}:00+0530"


@pytest.mark.parametrize(
    ("start", "end", "interval", "token", "more"),
    [
        ("", "2025-12-12", "day", TOKEN, ""), ("2025-12-12", "", "day", TOKEN, ""),
        ("12-12-2025", "2025-12-12", "day", TOKEN, ""), ("2025-13-01", "2025-13-02", "day", TOKEN, ""),
        ("2025-12-13", "2025-12-12", "day", TOKEN, ""), ("2025-12-12", "2025-12-12", "hour", TOKEN, ""),
        ("2025-12-12", "2025-12-12", "day", 1, ""), ("2025-12-12", "2025-12-12", "day", "NSE:SBIN", ""),
        ("2025-12-12", "2025-12-12", "day", TOKEN, "&oi=maybe"),
        ("2025-12-12", "2025-12-12", "day", TOKEN, "&continuous=1"),  # a share has no series
    ],
)  # fmt: skip
def test_refused(start: str, end: str, interval: str, token: object, more: str) -> None:
    assert candles(start, end, interval, token, more) == (400, "InputException")


@pytest.mark.parametrize("interval", SPAN_DAYS)
def test_the_longest_span_in_whole_days(interval: str) -> None:
    api = api_of(exchange_at())
    path, longest = f"/instruments/historical/{TOKEN}/{interval}", SPAN_DAYS[interval]
    query = [("from", "2018-01-01 00:00:00"), ("to", "")]
    end = {60: "2018-03-02", 100: "2018-04-11", 200: "2018-07-20", 400: "2019-02-05", 2000: "2023-06-24"}
    query[1] = ("to", f"{end[longest]} 23:59:59")
    assert api.handle("GET", path, query, AUTH, b"", NOW).status == 200
    query[0] = ("from", "2017-12-31 23:59:59")
    answer = api.handle("GET", path, query, AUTH, b"", NOW)
    assert answer.status == 400 and f"interval exceeds max limit: {longest} days".encode() in answer.body


@pytest.mark.data
def test_candles_look_like_the_official_mocks(data_dir: Path) -> None:
    span = ("2025-12-12 09:15:00", "2025-12-12 09:20:00")
    assert differences(candles(*span), [mock(data_dir, "historical_minute.json")["candles"]]) == []
    with_oi = candles(*span, more="&oi=1&continuous=0")
    assert differences(with_oi, [mock(data_dir, "historical_oi.json")["candles"]]) == []


@pytest.mark.data
def test_trigger_ranges(data_dir: Path) -> None:
    api = api_of(exchange_at())
    for side, bounds in (("buy", (90.0, 100.0)), ("SELL", (100.0, 110.0))):
        data = ask(api, "GET", f"/instruments/trigger_range/{side}", "i=NSE:SBIN&i=NSE:NO&i=NFO:SIMCE")[1]
        assert differences(data, [mock(data_dir, "trigger_range.json")]) == []
        assert set(data) == {"NSE:SBIN"}
        assert (data["NSE:SBIN"]["lower"], data["NSE:SBIN"]["upper"]) == bounds
    assert ask(api, "GET", "/instruments/trigger_range/hold", "i=NSE:SBIN") == (400, "InputException")
    assert ask(api, "GET", "/instruments/trigger_range/buy") == (400, "InputException")
