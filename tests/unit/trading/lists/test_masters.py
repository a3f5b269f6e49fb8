"""Two brokers' lists as one index: every name finds its instrument, and contradicting names are an error."""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from master_tools import DAY, MONTH, WEEK, at_upstox, columns, future, index, market, numbered, option, share

from kite_hft.brokers.kite.master import parse_columns
from kite_hft.brokers.upstox.master_columns import parse_columns as parse_upstox
from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable
from kite_hft.trading.lists.columns import Columns, NotListed
from kite_hft.trading.lists.joining import Joined, join
from kite_hft.trading.lists.masters import Masters, facts, why_not_tradable

INDICES = {"NSE:NIFTY 50": "NSE_INDEX|Nifty 50"}


def masters(kite: list[Instrument] | None = None, upstox: list[Instrument] | None = None) -> Masters:
    ours = market() if kite is None else kite
    if upstox is None:
        upstox = [at_upstox(row) for row in reversed(ours) if not row.is_index]
        upstox.append(index("NIFTY", 26_000, upstox_key="NSE_INDEX|Nifty 50"))
    return Masters(DAY, {"kite": columns(*ours), "upstox": columns(*upstox)}, INDICES)


def test_every_name_finds_the_joined_instrument() -> None:
    found = masters()
    for row in market():
        key = "NSE_INDEX|Nifty 50" if row.is_index else at_upstox(row).upstox_key
        same = [found.instrument(name) for name in (row.key, row.token, key)]
        assert len(set(same)) == 1 and same[0].key == row.key and same[0].upstox_key == key
        if not row.is_index:
            assert (same[0].multiplier, same[0].freeze_quantity) == (1, 1800), "what Kite does not say"


def test_contracts_by_terms() -> None:
    import datetime as dt

    found = masters().contract("NIFTY", dt.date.fromisoformat(WEEK), "PE", 23_950)
    assert (found.kind, found.strike_px, found.freeze_quantity) == ("PE", 2_395_000, 1800)


def test_an_upstox_key_that_kite_does_not_know() -> None:
    alone = at_upstox(share("ONLY", 77))
    with pytest.raises(NotListed, match=r"NSE_EQ\|77 \(NSE:ONLY\) is in Upstox's list alone"):
        masters(upstox=[alone]).row_of("NSE_EQ|77")
    with pytest.raises(NotListed, match=r"'NSE_EQ\|78' is not in today's list"):
        masters(upstox=[alone]).row_of("NSE_EQ|78")


def test_names_of_one_instrument_agree() -> None:
    found = masters()
    row = found.instrument("NFO:NIFTY26082523900CE")
    for names in (
        {"instrument_key": row.upstox_key, "instrument_token": row.token},
        {"instrument_key": row.upstox_key, "instrument_token": row.exchange_token},
        {"symbol": row.key, "instrument_key": row.upstox_key},
        {"instrument_token": row.token},
    ):
        assert found.same(names) == row


def test_names_of_two_instruments_name_both() -> None:
    found = masters()
    row, other = found.instrument("NFO:NIFTY26082523900CE"), found.instrument("NSE:SBIN")
    with pytest.raises(InstrumentError) as error:
        found.same({"instrument_key": row.upstox_key, "instrument_token": other.token})
    assert row.key in str(error.value) and other.key in str(error.value) and "derived" in str(error.value)
    with pytest.raises(InstrumentError, match=r"is NFO:NIFTY26082523900CE .* is NSE:SBIN .*two instruments"):
        found.same({"instrument_key": row.upstox_key, "symbol": "NSE:SBIN"})
    with pytest.raises(InstrumentError, match="but token 55785 is no token of today's list"):
        found.same({"key": row.upstox_key, "token": 55_785})
    with pytest.raises(InstrumentError, match=r"token 3045 is NSE:SBIN .*an exchange's own number"):
        found.same({"key": row.upstox_key, "token": 3045})
    with pytest.raises(InstrumentError, match="no name"):
        found.same({})


def test_what_cannot_be_told_apart_is_barred_where_it_is_only_looked_at() -> None:
    twins = [share("A", 1), replace(share("A", 2), symbol="A"), share("B", 3)]
    found = masters(kite=twins, upstox=[at_upstox(share("B", 3))])
    with pytest.raises(InstrumentError, match="cannot be told apart"):
        found.joined([0, 2])
    shown = found.looked_up([0, 1, 2])
    assert [bool(row.barred) for row in shown] == [True, True, False] and shown[2].upstox_key == "NSE_EQ|3"


def test_one_list_alone() -> None:
    rows = [at_upstox(row) for row in market() if not row.is_index]
    found = Masters(DAY, {"upstox": columns(*rows)}, INDICES)
    assert found.rows is found.lists["upstox"] and found.instrument("NSE_EQ|3045").key == "NSE:SBIN"
    assert found.joined([0, 2]).joined == 2
    old = Masters(DAY, {"kite": columns(future("A", "2026-08-14", 1))}, {}).joined([0])
    assert len(old.past) == 1 and old.joined == 0


def test_why_an_instrument_is_not_tradable() -> None:
    good = at_upstox(option("NIFTY", 24_000, "CE", MONTH, 1))
    assert why_not_tradable(good, DAY) == "" and facts(good, DAY)["tradable"] is True
    cases = {
        "an index is not traded": index("NIFTY 50", 1),
        "they differ": replace(good, barred="they differ"),
        "expired on 2026-08-14": replace(good, expiry="2026-08-14"),
        "multiplier and freeze quantity not known": option("NIFTY", 24_000, "CE", MONTH, 1),
        "freeze quantity not known": replace(good, freeze_quantity=None),
        "tick size and lot size not known": replace(good, tick_px=0, lot_size=0),
    }
    for why, row in cases.items():
        assert why_not_tradable(row, DAY) == why
    assert why_not_tradable(share("SBIN", 1), DAY) == "", (
        "a share needs neither multiplier nor freeze quantity"
    )
    assert facts(cases["freeze quantity not known"], DAY)["why_not"] == "freeze quantity not known"


def unplaced(found: Joined) -> Joined:
    """Without the places that left-out rows had in their list."""
    rows = {
        name: tuple(replace(row, slot=0) for row in getattr(found, name)) for name in ("unmatched", "past")
    }
    return replace(found, **rows)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[Instrument], list[Instrument]]:
    """Two lists with much in common and everything that may go wrong."""

    def some(side: int) -> list[Instrument]:
        found: list[Instrument] = []
        for _ in range(draw(st.integers(1, 8))):
            number = draw(st.integers(1, 6))
            kind = draw(st.sampled_from(["share", "option", "future"]))
            expiry = draw(st.sampled_from(["2026-08-14", WEEK, MONTH]))
            if kind == "share":
                row = share(draw(st.sampled_from("AB")), number)
            elif kind == "option":
                row = option("N", draw(st.sampled_from([100, 200])), "CE", expiry, number)
            else:
                row = future("N", expiry, number)
            row = replace(row, lot_size=draw(st.sampled_from([1, 65])))
            row = at_upstox(row) if side else row
            if all(row.token != other.token for other in found):
                found.append(row)
        return found

    return some(0), some(1)


@settings(max_examples=150, deadline=None)
@given(pairs(), st.data())
def test_chosen_rows_join_as_the_whole_lists_do(
    lists: tuple[list[Instrument], list[Instrument]], data: st.DataObject
) -> None:
    kite, upstox = lists
    chosen = data.draw(st.lists(st.integers(0, len(kite) - 1), min_size=1, unique=True))
    tables = [InstrumentTable(tuple(numbered(*rows))) for rows in lists]
    found = masters(kite, upstox)
    names = [kite[row].token for row in chosen]
    try:
        expected = join(*tables, indices=INDICES, day=DAY, wanted=names)
    except InstrumentError as error:
        with pytest.raises(InstrumentError) as raised:
            found.joined(chosen)
        assert str(raised.value) == str(error)
    else:
        assert unplaced(found.joined(chosen)) == unplaced(expected)


def real(data_dir: Path) -> Masters:
    folder = data_dir / "instruments"
    lists: dict[str, Columns] = {
        "kite": parse_columns(lzma.decompress((folder / "kite_nfo_bfo_2026-08.csv.xz").read_bytes())),
        "upstox": parse_upstox(lzma.decompress((folder / "upstox_complete_2025-06.json.xz").read_bytes())),
    }
    return Masters(DAY, lists, INDICES)


@pytest.mark.data
def test_real_lists_join_by_rows_as_they_do_whole(data_dir: Path) -> None:
    lists = real(data_dir).lists
    cut = {name: Columns.of_table(rows.table(range(0, len(rows), 5))) for name, rows in lists.items()}
    found = Masters(DAY, cut, INDICES)
    rows = list(range(0, len(found.rows), 19))
    names: list[str | int] = [int(found.rows.token[row]) for row in rows]
    whole = join(found.rows.table(), found.lists["upstox"].table(), indices=INDICES, day=DAY, wanted=names)
    part = found.joined(rows)
    assert unplaced(part) == unplaced(whole) and part.reused


@pytest.mark.data
def test_the_published_key_and_token_do_not_belong_together(data_dir: Path) -> None:
    """Upstox's list of June 2025 alone: 55785 is an option on NIFTY, no SENSEX one."""
    upstox = real(data_dir).lists["upstox"]
    found = Masters(DAY.replace(year=2025, month=6, day=12), {"upstox": upstox}, {})
    sensex = upstox.key(int(upstox.contracts("SENSEX", "BFO")[0]))
    with pytest.raises(InstrumentError, match=r"55785 is NFO:NIFTY 24650 CE 31 JUL 25 .*own number"):
        found.same({"instrument_key": sensex, "instrument_token": 55_785})
    assert found.same({"instrument_key": "NSE_FO|55785", "instrument_token": 55_785}).strike_px == 2_465_000
