"""What a universe picks, against a slow twin, and why the rest is left out."""

from __future__ import annotations

import datetime as dt
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from master_tools import (
    DAY,
    MONTH,
    NEXT_MONTH,
    WEEK,
    at_upstox,
    columns,
    future,
    index,
    market,
    option,
    share,
)
from reference import universe as plain

from kite_hft.brokers.kite.master import parse_columns
from kite_hft.trading.instruments import Instrument, InstrumentError
from kite_hft.trading.lists.masters import Masters
from kite_hft.trading.lists.universe import (
    Expiries,
    Rule,
    Selection,
    Strikes,
    Universe,
    cap_of,
    nearest,
    select,
)

OPTIONS = frozenset({"CE", "PE"})


def masters(rows: list[Instrument] | None = None) -> Masters:
    """A list that knows everything: each row is tradable."""
    rows = [row if row.is_index else at_upstox(row) for row in (market() if rows is None else rows)]
    return Masters(DAY, {"kite": columns(*rows)}, {})


def keys(found: Selection, of: Masters) -> list[str]:
    return [of.rows.key(row) for row in found.rows]


def picked(
    rule: Rule, prices: dict[str, float] | None = None, caps: dict[str, float] | None = None
) -> list[str]:
    of = masters()
    return keys(select(Universe(rules=(rule,)), of, lambda _, name: (prices or {}).get(name), caps), of)


def test_rules_by_exchange_segment_kind_and_underlying() -> None:
    shares = ["NSE:SBIN", "NSE:RELIANCE"]
    assert picked(Rule(exchanges=frozenset({"NSE"}))) == shares, "indices only where they are asked for"
    assert picked(Rule(exchanges=frozenset({"NSE"}), kinds=frozenset({"EQ", "INDEX"}))) == [
        *shares,
        "NSE:NIFTY 50",
    ]
    assert picked(Rule(kinds=frozenset({"INDEX"}))) == ["NSE:NIFTY 50"]
    futures = picked(Rule(kinds=frozenset({"FUT"})))
    assert futures == picked(Rule(segments=frozenset({"NFO-FUT"}))) and len(futures) == 3
    assert picked(Rule(kinds=frozenset({"FUT"}), underlyings=frozenset({"SBIN"}))) == ["NFO:SBIN260825FUT"]
    assert len(picked(Rule(kinds=OPTIONS))) == 30
    assert picked(Rule(kinds=frozenset({"EQ", "FUT"}), of=frozenset({"SBIN"}))) == [
        "NSE:SBIN",
        "NFO:SBIN260825FUT",
    ]
    assert picked(Rule(of=frozenset({"NSE:SBIN"}))) == ["NSE:SBIN", "NFO:SBIN260825FUT"]


@pytest.mark.parametrize(
    ("expiry", "days"),
    [
        (Expiries(0), [WEEK]),
        (Expiries(1), [MONTH]),
        (Expiries(kind="weekly"), [WEEK]),
        (Expiries(kind="monthly"), [MONTH, NEXT_MONTH]),
        (Expiries(1, "monthly"), [NEXT_MONTH]),
        (Expiries(on=dt.date(2026, 8, 25)), [MONTH]),
        (Expiries(before=dt.date(2026, 8, 25)), [WEEK]),
        (Expiries(after=dt.date(2026, 8, 18), before=dt.date(2026, 9, 29)), [MONTH]),
        (Expiries(0, after=dt.date(2026, 8, 18)), [MONTH]),
    ],
)
def test_expiries(expiry: Expiries, days: list[str]) -> None:
    of = masters()
    found = select(Universe(rules=(Rule(kinds=OPTIONS, expiry=expiry),)), of)
    assert sorted({of.rows.row(row).expiry for row in found.rows}) == days


def strikes(found: Strikes, prices: dict[str, float] | None = None) -> list[int]:
    names = picked(Rule(kinds=frozenset({"CE"}), expiry=Expiries(0), strikes=found), prices)
    return [int(name[-7:-2]) for name in names]


def test_strikes_around_a_price() -> None:
    assert strikes(Strikes({"NIFTY": 24_010}, each_side=1)) == [23_950, 24_000, 24_050]
    assert strikes(Strikes({"NIFTY": 24_025}, each_side=0)) == [24_000], "of two equally near the lower"
    assert strikes(Strikes({"NIFTY": 20_000}, each_side=1)) == [23_900, 23_950], "below all of them"
    assert strikes(Strikes(percent=0.25), {"NIFTY": 24_000}) == [23_950, 24_000, 24_050], "the last price"
    assert strikes(Strikes(low=24_000, high=24_050)) == [24_000, 24_050]
    assert strikes(Strikes({"NIFTY": 24_000}, each_side=2, low=24_000)) == [24_000, 24_050, 24_100]


def test_without_a_price_no_option_is_picked() -> None:
    with pytest.raises(
        InstrumentError, match=r"picks no instrument: .*; no price of the underlying is known: NFO:N"
    ):
        strikes(Strikes(each_side=1))
    rule = Rule(exchanges=frozenset({"NFO"}), strikes=Strikes(each_side=1))
    assert all(name.endswith("FUT") for name in picked(rule)), "futures have no strike"


def test_market_capitalisation() -> None:
    caps = {"NSE:SBIN": 700_000.0, "RELIANCE": 50_000.0}
    rule = Rule(exchanges=frozenset({"NSE"}), market_cap=(5_000, 100_000))
    assert picked(rule, caps=caps) == ["NSE:RELIANCE"]
    of = masters()
    found = select(Universe(rules=(rule,)), of, caps={"RELIANCE": 5_000.0})
    assert str(found.left_out[0]) == "market capitalisation not known: NSE:SBIN"
    by_isin = columns(share("A", 1, upstox_key="NSE_EQ|INE1"), future("A", MONTH, 2))
    assert cap_of(by_isin, 0, {"INE1": 7.0}) == 7.0 and cap_of(by_isin, 1, {"NSE:A": 8.0}) == 8.0
    assert np.isnan(cap_of(by_isin, 0, {}))


def test_names_come_first_and_each_row_once() -> None:
    of = masters()
    wanted = Universe(
        names=({"instrument": "NSE:RELIANCE"}, {"instrument": 3045 * 256 + 1}, {"instrument": "NSE:GONE"}),
        rules=(Rule(exchanges=frozenset({"NSE"})),),
    )
    found = select(wanted, of)
    assert keys(found, of) == ["NSE:RELIANCE", "NSE:SBIN"]
    assert [(out.why, out.examples, out.named) for out in found.left_out] == [
        ("not in today's list", ("NSE:GONE",), True)
    ]


def test_names_that_contradict_each_other_are_an_error() -> None:
    names = {"symbol": "NSE:RELIANCE", "instrument_token": 3045}
    with pytest.raises(InstrumentError, match=r"NSE:RELIANCE .* NSE:SBIN"):
        select(Universe(names=(names,)), masters())


def test_what_is_taken_out_and_bounds() -> None:
    of, rule = masters(), Rule(exchanges=frozenset({"NSE"}))
    for name in ("NSE:SBIN", "SBIN"):
        assert keys(select(Universe(rules=(rule,), without=frozenset({name})), of), of) == ["NSE:RELIANCE"]
    with pytest.raises(InstrumentError, match="picks 2 instruments, more than its `largest` of 1"):
        select(Universe(rules=(rule,), largest=1), of)
    with pytest.raises(InstrumentError, match="picks no instrument"):
        select(Universe(rules=(Rule(exchanges=frozenset({"MCX"})),)), of)


def test_what_is_not_tradable_is_left_out_with_the_reason() -> None:
    rows = [share("A", 1), share("B", 2, barred="a test instrument"), future("A", MONTH, 3)]
    of = Masters(DAY, {"kite": columns(*rows)}, {})
    wanted = Universe(rules=(Rule(exchanges=frozenset({"NSE", "NFO"})),))
    found = select(wanted, of)
    assert keys(found, of) == ["NSE:A"]
    assert {out.why for out in found.left_out} == {
        "not tradable, a test instrument", "not tradable, multiplier and freeze quantity not known"
    }  # fmt: skip
    assert len(select(replace(wanted, untradable=True), of).rows) == 3
    watched = masters([index("NIFTY 50", 1)])
    assert select(Universe(names=({"instrument": "NSE:NIFTY 50"},)), watched).rows == [0], "to look at"


DAYS = ["2026-08-14", "2026-08-17", WEEK, MONTH, "2026-09-01", NEXT_MONTH]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["NFO", "BFO"]), st.sampled_from("AB"), st.sampled_from(["CE", "PE", "FUT"]),
            st.sampled_from(DAYS), st.integers(1, 9),
        ),
        min_size=1, max_size=25, unique=True,
    ),
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["", "weekly", "monthly"]),
    st.floats(0.5, 10),
    st.integers(0, 3),
)  # fmt: skip
def test_expiries_and_strikes_against_the_slow_twin(
    rows: list[tuple[str, str, str, str, int]], position: int | None, kind: str, price: float, each_side: int
) -> None:
    made = []
    for number, (exchange, name, what, expiry, strike) in enumerate(rows, 1):
        made.append(
            future(name, expiry, number, exchange=exchange)
            if what == "FUT"
            else option(name, strike, what, expiry, number, exchange)
        )
    of = masters(made)
    twins = [(*row[:4], 0.0 if row[2] == "FUT" else float(row[4])) for row in rows]
    assert of.rows.monthly.tolist() == [plain.monthly(twins, row) for row in twins]
    rule = Rule(kinds=frozenset({"CE", "PE", "FUT"}), expiry=Expiries(position, kind))
    assert chosen(rule, of) == plain.by_expiry(twins, DAY.isoformat(), position, kind)
    rule = replace(rule, expiry=None, strikes=Strikes({"A": price, "B": price}, each_side=each_side))
    alive = [at for at, row in enumerate(twins) if row[3] >= DAY.isoformat()]
    near = plain.near([twins[at] for at in alive], price, each_side)
    assert chosen(rule, of) == [alive[at] for at in near]


def chosen(rule: Rule, of: Masters) -> list[int]:
    try:
        return select(Universe(rules=(rule,), untradable=True), of).rows
    except InstrumentError:
        return []


def test_the_nearest_strike() -> None:
    assert nearest([1.0, 2.0, 4.0], 3.0) == 1 and nearest([1.0, 2.0, 4.0], 3.1) == 2
    with pytest.raises(InstrumentError, match="no strike"):
        nearest([], 1.0)


@pytest.mark.data
def test_a_real_universe(data_dir: Path) -> None:
    data = lzma.decompress((data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz").read_bytes())
    of = Masters(DAY, {"kite": parse_columns(data)}, {})
    rule = Rule(kinds=OPTIONS, underlyings=frozenset({"NIFTY", "SENSEX"}), expiry=Expiries(0),
                strikes=Strikes({"NIFTY": 24_113, "SENSEX": 78_000}, each_side=5))  # fmt: skip
    found = select(Universe(rules=(rule,), untradable=True), of)
    rows = [of.rows.row(row) for row in found.rows]
    assert len(rows) == 2 * 11 * 2
    assert {(row.exchange, row.expiry) for row in rows} == {("NFO", "2026-08-18"), ("BFO", "2026-08-20")}
    assert sorted({row.strike_px for row in rows if row.name == "NIFTY"})[5] == 2_410_000
    monthly = of.rows.table(np.flatnonzero(of.rows.monthly & of.rows.kind.are(["FUT"])))
    assert len(monthly) == 652, "every future ends on the last expiry of a month"
