"""A universe as people write it, and what is said of one that cannot be meant."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.universe import Expiries, Rule, Strikes, Universe
from kite_hft.trading.lists.universe_file import Names, parse_names, parse_universe


def files(name: str) -> Names:
    return {"nifty50.csv": [{"symbol": "NSE:SBIN"}, {"symbol": "NSE:RELIANCE"}]}[name]


def parsed(data: Any) -> Universe:
    return parse_universe(data, "u.yaml", files)


def test_all_that_can_be_said() -> None:
    found = parsed(
        {
            "title": "all",
            "instruments": ["NSE:SBIN", 779_521, "779521", "SBIN", {"instrument_key": "NSE_FO|1",
            "token": 2}],
            "lists": ["nifty50.csv"],
            "rules": [
                {
                    "exchanges": ["NFO"], "segments": ["NFO-OPT"], "kinds": ["CE"], "underlyings": ["NIFTY"],
                    "expiry": "next monthly", "strikes": {"around": 24_000, "each_side": 3, "from": 1,
                    "to": 9.5},
                },
                {"of": "nifty50.csv", "market_cap": {"from": 5_000, "to": 100_000}},
            ],
            "without": ["NSE:X"], "untradable": True, "largest": 10,
        }
    )  # fmt: skip
    assert [dict(words) for words in found.names] == [
        {"instrument": "NSE:SBIN"}, {"instrument": 779_521}, {"instrument": 779_521},
        {"instrument": "NSE:SBIN"},
        {"instrument_key": "NSE_FO|1", "token": 2}, {"symbol": "NSE:SBIN"}, {"symbol": "NSE:RELIANCE"},
    ]  # fmt: skip
    options, shares = found.rules
    assert options == Rule(
        frozenset({"NFO"}), frozenset({"NFO-OPT"}), frozenset({"CE"}), frozenset({"NIFTY"}), None,
        Expiries(1, "monthly"), Strikes({"NIFTY": 24_000.0}, None, 3, 1.0, 9.5),
    )  # fmt: skip
    assert shares.of == {"NSE:SBIN", "SBIN", "NSE:RELIANCE", "RELIANCE"} and shares.market_cap == (
        5_000,
        100_000,
    )
    assert (found.without, found.untradable, found.largest, found.title) == ({"NSE:X"}, True, 10, "all")


def test_a_list_is_a_universe() -> None:
    assert parsed(["NSE:SBIN"]) == Universe(names=({"instrument": "NSE:SBIN"},))
    assert parsed({"instruments": "NSE:SBIN"}) == Universe(names=({"instrument": "NSE:SBIN"},))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("nearest", Expiries(0)),
        ("next", Expiries(1)),
        ("weekly", Expiries(kind="weekly")),
        ("nearest weekly", Expiries(0, "weekly")),
        ("all", None),
        ("2026-08-25", Expiries(on=dt.date(2026, 8, 25))),
        (dt.date(2026, 8, 25), Expiries(on=dt.date(2026, 8, 25))),
        ({"before": dt.date(2026, 9, 1)}, Expiries(before=dt.date(2026, 9, 1))),
        ({"which": "next", "after": dt.date(2026, 9, 1)}, Expiries(1, after=dt.date(2026, 9, 1))),
    ],
)
def test_expiries(written: Any, meant: Expiries | None) -> None:
    assert parsed({"rules": [{"kinds": ["CE"], "expiry": written}]}).rules[0].expiry == meant


@pytest.mark.parametrize(
    ("written", "around"),
    [("last", {}), ({"NIFTY": 24_000}, {"NIFTY": 24_000.0}), (24_000, {"NIFTY": 24_000.0})],
)
def test_strikes(written: Any, around: dict[str, float]) -> None:
    rule = {"underlyings": ["NIFTY"], "strikes": {"around": written, "percent": 2}}
    assert parsed({"rules": [rule]}).rules[0].strikes == Strikes(around, 2.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rulez": [], "instruments": ["A"]}, r"u.yaml: unknown key 'rulez'; did you mean rules\?"),
        ({"rules": [{"kind": ["CE"]}]}, r"rules, number 1: unknown key 'kind'; did you mean kinds\?"),
        ({"rules": [{}]}, "has no condition: it would pick the whole list"),
        ({"rules": [{"kinds": ["CALL"]}]}, "kinds: CALL: known are CE, EQ, FUT, INDEX, PE"),
        (
            {"rules": [{"kinds": ["CE"], "expiry": "soon"}]},
            "expiry: 'soon': a date YYYY-MM-DD, all, or of nearest",
        ),
        ({"rules": [{"kinds": ["CE"], "expiry": "weekly monthly"}]}, "expiry"),
        ({"rules": [{"kinds": ["CE"], "expiry": {"before": "soon"}}]}, "before: 'soon' is no date"),
        ({"rules": [{"strikes": {}}]}, "needs percent, each_side, from or to"),
        ({"rules": [{"strikes": {"around": 24_000, "percent": 1}}]}, "one price is for one underlying"),
        ({"rules": [{"strikes": {"around": "x", "percent": 1}}]}, "around: 'x': a price"),
        ({"rules": [{"strikes": {"around": {"NIFTY": 0}, "percent": 1}}]}, "around: "),
        ({"rules": [{"strikes": {"percent": -1}}]}, "percent: -1.0 is below 0"),
        ({"rules": [{"strikes": {"each_side": 1.5}}]}, "each_side: 1.5 is no int"),
        ({"rules": [{"strikes": {"each_side": True}}]}, "each_side: True is no int"),
        ({"rules": [{"market_cap": {"from": 2, "to": 1}}]}, "from 2 is above to 1"),
        ({"rules": [5]}, "a rule is a mapping of keys, not 5"),
        ({"instruments": [None]}, "None names no instrument"),
        ({"instruments": [True]}, "True names no instrument"),
        ({"instruments": ["os.mkdir(1)"]}, "names no instrument"),
        ({"instruments": [{"token": ""}]}, "names no instrument"),
        ({"largest": "many", "instruments": ["A"]}, "largest: 'many' is no int"),
        ({}, "picks nothing: it needs instruments, lists or rules"),
        ("text", "a universe is a mapping of keys, not 'text'"),
    ],
)
def test_what_cannot_be_meant(data: Any, message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        parsed(data)


def test_an_index_file_of_the_exchange() -> None:
    lines = [
        "Company Name,Industry,Symbol,Series,ISIN Code",
        "State Bank of India,Banks,SBIN,EQ,INE062A01020",
        "Odd Ltd,Other,ODD,BE,INE000000001",
    ]
    assert parse_names(lines, "ind.csv") == [{"symbol": "NSE:SBIN"}, {"symbol": "NSE:ODD-BE"}]


def test_columns_of_names() -> None:
    lines = [
        "exchange,tradingsymbol,instrument_key,instrument_token",
        "BFO,SENSEX26,BSE_FO|843110,55785",
        ",,,5",
    ]
    assert parse_names(lines, "u.csv") == [
        {"symbol": "BFO:SENSEX26", "instrument_key": "BSE_FO|843110", "instrument_token": 55_785},
        {"instrument_token": 5},
    ]


def test_names_without_headings() -> None:
    lines = ["# mine", "", "SBIN", "NSE_FO|1,whatever", "738561"]
    assert [dict(row) for row in parse_names(lines, "u.csv")] == [
        {"instrument": "NSE:SBIN"}, {"instrument": "NSE_FO|1"}, {"instrument": 738_561}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "u.csv: no name of an instrument is in it"),
        (["symbol", ""], "no name of an instrument is in it"),
        (["symbol,token", "SBIN,12a"], "row 2: token '12a' is no number"),
        (["symbol,exchange", ",NSE"], "row 2: no name of an instrument in ',NSE'|row 2: no name"),
    ],
)
def test_lists_that_cannot_be_used(lines: list[str], message: str) -> None:
    with pytest.raises(InstrumentError, match=message):
        parse_names(lines, "u.csv")
