"""Two brokers' instrument lists as one table: what joins, what differs, what is refused."""

from __future__ import annotations

import csv
import datetime as dt
import json
import lzma
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import joining as plain

from kite_hft.brokers.upstox.master import parse_master
from kite_hft.settings import load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable, parse_csv, read_csv
from kite_hft.trading.lists.joining import Joined, index_names, join

DAY = dt.date(2026, 8, 14)
FILE = Path("config/rules/indices_2026-08-03.yaml")
NAMES = {"NSE:NIFTY 50": "NSE_INDEX|Nifty 50", "NSE:NIFTY BANK": "NSE_INDEX|Nifty Bank"}


def share(symbol: str = "SBIN", number: int = 3045, **words: Any) -> Instrument:
    row = Instrument(0, number * 256 + 1, number, symbol, "NSE", "NSE", "EQ", 5, 1, name="STATE BANK")
    return replace(row, **words)


def call(strike: int = 24_000, number: int = 50_904, expiry: str = "2026-08-25", **words: Any) -> Instrument:
    row = Instrument(
        0, number * 256 + 2, number, f"NIFTY {strike} CE", "NFO", "NFO-OPT", "CE", 5, 65, name="NIFTY",
        expiry=expiry, strike_px=strike * 100,
    )  # fmt: skip
    return replace(row, **words)


def index(symbol: str, number: int, key: str = "") -> Instrument:
    return Instrument(
        0, number * 256 + 9, number, symbol, "NSE", "INDICES", "EQ", 0, 0, name=symbol, upstox_key=key
    )


def at_upstox(row: Instrument, **words: Any) -> Instrument:
    """What Upstox's list has of it."""
    key = f"NSE_EQ|{row.symbol}" if row.kind == "EQ" else f"NSE_FO|{row.exchange_token}"
    return replace(row, **({"multiplier": 1, "freeze_quantity": 1800, "upstox_key": key} | words))


def table(*rows: Instrument) -> InstrumentTable:
    return InstrumentTable(tuple(replace(row, slot=slot) for slot, row in enumerate(rows)))


def joined(kite: list[Instrument], upstox: list[Instrument], **more: Any) -> Joined:
    return join(table(*kite), table(*upstox), indices=NAMES, day=DAY, **more)


def test_shares_contracts_and_indices() -> None:
    ours = [share(), call(), index("NIFTY 50", 1001)]
    option = at_upstox(call(), symbol="NIFTY 24000 CE 25 AUG 26")
    theirs = [index("NIFTY", 26_000, "NSE_INDEX|Nifty 50"), option, at_upstox(share())]
    found = joined(ours, theirs)
    assert [row.upstox_key for row in found.table] == ["NSE_EQ|SBIN", "NSE_FO|50904", "NSE_INDEX|Nifty 50"]
    assert [row.symbol for row in found.table] == [row.symbol for row in ours], "Kite's names"
    assert [row.token for row in found.table] == [row.token for row in ours]
    assert [row.freeze_quantity for row in found.table] == [1800, 1800, None], "what Kite does not say"
    assert (found.joined, found.unmatched, found.differing, found.contradictions) == (3, (), (), ())
    assert found.lines() == ["3 of 3 instruments joined with Upstox's list"]
    assert not any(row.barred for row in found.table)


def test_a_key_that_kites_list_brings_along_does_not_count() -> None:
    found = joined([share(upstox_key="NSE_EQ|OLD"), index("X", 5, "NSE_INDEX|X")], [])
    assert found.joined == 0 and [row.upstox_key for row in found.table] == ["", ""]


def test_only_what_is_wanted() -> None:
    ours = [share(), call(), share("INFY", 1594)]
    found = joined(ours, [at_upstox(row) for row in ours], wanted=["NSE:INFY", "NSE:SBIN"])
    assert [(row.slot, row.key) for row in found.table] == [(0, "NSE:INFY"), (1, "NSE:SBIN")]
    with pytest.raises(InstrumentError, match="NSE:INF"):
        joined(ours, [], wanted=["NSE:INF"])


@pytest.mark.parametrize(
    "other",
    [
        at_upstox(call(), strike_px=2_400_005), at_upstox(call(), expiry="2026-08-26"),
        at_upstox(call(), kind="PE"), at_upstox(call(), name="BANKNIFTY"), at_upstox(call(), exchange="BFO"),
    ],
)  # fmt: skip
def test_one_other_term_is_another_contract(other: Instrument) -> None:
    found = joined([call()], [other])
    assert found.joined == 0 and [row.key for row in found.unmatched] == ["NFO:NIFTY 24000 CE"]


def test_a_series_is_another_instrument() -> None:
    found = joined([share("BYKE-BE", 7930)], [at_upstox(share("BYKE", 7929))])
    assert found.joined == 0
    assert joined([share("BYKE-BE", 7930)], [at_upstox(share("BYKE-BE", 7930))]).joined == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"lot_size": 75}, "lot size 65 at Kite, 75 at Upstox"),
        ({"tick_px": 10}, "tick size 0.05 at Kite, 0.10 at Upstox"),
        ({"freeze_quantity": 900}, "freeze quantity 1800 at Kite, 900 at Upstox"),
        ({"multiplier": 2}, "multiplier 1 at Kite, 2 at Upstox"),
        ({"barred": "a test instrument"}, "at Upstox: a test instrument"),
    ],
)
def test_a_difference_bars_from_openings(words: dict[str, Any], text: str) -> None:
    ours = replace(call(), freeze_quantity=1800, multiplier=1)
    found = joined([ours], [at_upstox(call(), **words)])
    (row,) = found.table
    assert row.upstox_key and text in row.barred
    assert row.lot_size == 65, "Kite's own numbers stay"
    if "barred" not in words:
        assert [str(d) for d in found.differing] == [text] and text in found.lines()[1]


def test_ids_that_are_used_again_are_told_apart_by_date() -> None:
    """The same id: another contract, which has expired, is history; one that lives is a contradiction."""
    old = at_upstox(call(25_000, expiry="2026-08-13"))
    found = joined([call()], [old])
    assert (found.joined, found.reused, found.contradictions) == (0, 1, ()) and not found.table[0].barred
    found = joined([call()], [replace(old, expiry="2026-08-14")])
    assert (found.joined, found.reused) == (0, 0)
    assert found.contradictions == (
        "NFO:NIFTY 24000 CE: its exchange id 50904 is NFO:NIFTY 25000 CE at Upstox",
    )
    assert "contradict" in found.table[0].barred and not found.table[0].upstox_key


def test_one_contract_with_two_ids_is_not_joined() -> None:
    found = joined([call()], [at_upstox(call(number=50_905))])
    assert found.joined == 0 and "50904 at Kite, 50905 at Upstox" in found.contradictions[0]
    assert "contradict" in found.table[0].barred


def test_expired_contracts_are_never_joined() -> None:
    old = call(expiry="2026-08-13")
    found = joined([old], [at_upstox(old)])
    assert found.joined == 0 and [row.key for row in found.past] == [old.key]
    assert joined([replace(old, expiry="2026-08-14")], [at_upstox(old, expiry="2026-08-14")]).joined == 1


def test_ambiguity_is_an_error_that_lists_the_candidates() -> None:
    two = [at_upstox(share()), at_upstox(share(number=9), upstox_key="NSE_EQ|OTHER", name="ANOTHER BANK")]
    with pytest.raises(InstrumentError) as error:
        joined([share()], two)
    for text in (
        "NSE:SBIN",
        "Kite: token 779521",
        "NSE_EQ|SBIN",
        "token 2305",
        "ANOTHER BANK",
        "NSE_EQ|OTHER",
    ):
        assert text in str(error.value)
    with pytest.raises(InstrumentError, match="cannot be told apart"):
        joined([call(), call(number=7, symbol="AGAIN")], [at_upstox(call())])
    others = [share("INFY", 1594), *[call(), call(number=7, symbol="AGAIN")]]
    assert joined(others, [at_upstox(others[0])], wanted=["NSE:INFY"]).joined == 1, "of what is wanted only"


def test_one_key_for_two_indices_is_an_error() -> None:
    rows = [index("NIFTY 50", 1001), index("NIFTY BANK", 1002)]
    both = dict.fromkeys(NAMES, "NSE_INDEX|Nifty 50")
    with pytest.raises(InstrumentError, match="50 for NSE:NIFTY 50, NSE:NIFTY BANK"):
        join(table(*rows), table(index("NIFTY", 26_000, "NSE_INDEX|Nifty 50")), indices=both, day=DAY)


def test_an_index_joins_by_the_table_of_names_alone() -> None:
    theirs = [index("NIFTY FMCG", 1001, "NSE_INDEX|NIFTY FMCG")]
    found = joined([index("NIFTY FMCG", 1001)], theirs)
    assert found.joined == 0 and len(found.unmatched) == 1


# The table of names


def row(**words: Any) -> dict[str, Any]:
    base = {"kite": "NSE:A", "upstox": "NSE_INDEX|A", "valid_from": dt.date(2020, 1, 1)}
    return base | {"source": "s", "confidence": "V"} | words


def test_the_file_of_names() -> None:
    found = index_names(load_yaml(FILE), DAY)
    assert found.items() >= NAMES.items() and found["BSE:SENSEX"] == "BSE_INDEX|SENSEX"
    assert found["NSE:INDIA VIX"] == "NSE_INDEX|India VIX" and len(found) > 20


def test_the_newest_row_of_the_day_counts() -> None:
    later = row(upstox="NSE_INDEX|C", valid_from=dt.date(2026, 8, 15))
    rows = [row(), row(upstox="NSE_INDEX|B", valid_from=dt.date(2026, 8, 14)), later]
    assert index_names({"indices": rows}, DAY) == {"NSE:A": "NSE_INDEX|B"}
    assert index_names({"indices": rows[::-1]}, DAY) == {"NSE:A": "NSE_INDEX|B"}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "a list `indices`"), ({"indices": []}, "a list `indices`"), ({"indices": {}}, "a list"),
        ({"indices": [{"kite": "NSE:A"}]}, "row 1: needs exactly"),
        ({"indices": [row(), row(more=1)]}, "row 2: needs exactly"),
        ({"indices": [row(kite="A")]}, "row 1: 'A'"), ({"indices": [row(upstox="NSE_EQ|A")]}, "row 1"),
        ({"indices": [row(valid_from="2020-01-01")]}, "row 1"),
        ({"indices": [row(), row(kite="NSE:B")]}, "two names of Kite's stand for NSE_INDEX.A"),
    ],
)  # fmt: skip
def test_a_file_of_names_that_cannot_be_used(data: Any, what: str) -> None:
    with pytest.raises(InstrumentError, match=what):
        index_names(data, DAY)


# Against the plain join

TERMS = st.tuples(
    st.sampled_from(["NFO", "BFO"]), st.sampled_from(["FUT", "CE"]), st.sampled_from(["NIFTY", "SBIN"]),
    st.sampled_from(["2026-08-13", "2026-08-14", "2026-08-25"]), st.sampled_from([0, 24_000]),
)  # fmt: skip
LISTS = st.lists(
    st.tuples(
        TERMS, st.integers(1, 4), st.sampled_from([65, 75]), st.sampled_from([5, 10]),
        st.sampled_from([None, 900, 1800]),
    ), max_size=5, unique_by=lambda row: (row[0][0], row[1]),
)  # fmt: skip


def made(rows: list[Any], prefix: str) -> list[tuple[Instrument, plain.Row]]:
    found = []
    for at, ((exchange, kind, name, expiry, strike), number, lot, tick, freeze) in enumerate(rows):
        low = {"NFO": 2, "BFO": 5}[exchange]
        instrument = Instrument(
            at, number * 256 + low, number, f"{prefix}{at}", exchange, f"{exchange}-X", kind, tick, lot,
            name=name, expiry=expiry, strike_px=strike * 100, freeze_quantity=freeze, multiplier=1,
            upstox_key=f"{exchange}|{number}" if prefix == "u" else "",
        )  # fmt: skip
        found.append(
            (instrument, (f"{prefix}{at}", exchange, kind, name, expiry, strike, number, lot, tick, freeze))
        )
    return found


@settings(max_examples=600, deadline=None)
@given(LISTS, LISTS)
def test_as_the_plain_join_says(kite_rows: list[Any], upstox_rows: list[Any]) -> None:
    ours, theirs = made(kite_rows, "k"), made(upstox_rows, "u")
    expected = plain.joined([row for _, row in ours], [row for _, row in theirs], DAY.isoformat())
    kite = table(*(instrument for instrument, _ in ours))
    upstox = InstrumentTable(tuple(instrument for instrument, _ in theirs))
    names = {instrument.upstox_key: instrument.symbol for instrument, _ in theirs}
    for instrument, (name, *_) in ours:
        verdict, *with_whom = expected[name]
        try:
            found = join(kite, upstox, indices={}, day=DAY, wanted=[instrument.token])
        except InstrumentError:
            assert verdict == "ambiguous", expected
            continue
        assert len(found.table) == 1
        row = found.table[0]
        assert [names[key] for key in [row.upstox_key] if key] == with_whom
        assert bool(row.barred) == (verdict in ("differs", "contradiction"))
        assert bool(found.past) == (verdict == "past") and found.reused == (verdict == "reused")
        assert bool(found.contradictions) == (verdict == "contradiction")
    if not any(verdict == ("ambiguous",) for verdict in expected.values()):
        whole = join(kite, upstox, indices={}, day=DAY)
        assert whole.joined == sum(len(verdict) == 2 for verdict in expected.values())


# The real lists, read once more by plain csv and json


@cache
def real(data_dir: Path) -> tuple[list[dict[str, Any]], InstrumentTable]:
    content = lzma.decompress((data_dir / "instruments/upstox_complete_2025-06.json.xz").read_bytes())
    return json.loads(content), parse_master(content)


@pytest.mark.data
def test_real_lists_of_different_years_share_no_contract(data_dir: Path) -> None:
    upstox, whole = real(data_dir)
    with lzma.open(data_dir / "instruments/kite_nfo_bfo_2026-08.csv.xz", "rt") as file:
        lines = file.read().splitlines()
    exchanges = {"NSE_FO": "NFO", "BSE_FO": "BFO"}
    ids, terms = {}, defaultdict(list)
    for found in upstox:
        if found["segment"] in exchanges:
            exchange = exchanges[found["segment"]]
            day = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=found["expiry"], minutes=330)
            ids[exchange, found["exchange_token"]] = f"{day:%Y-%m-%d}"
            name = (exchange, found["instrument_type"], found["underlying_symbol"], f"{day:%Y-%m-%d}")
            terms[*name, found["strike_price"]].append(found["instrument_key"])
    shared, lives, ended = 0, 0, 0
    for line in csv.DictReader(lines):
        key = (line["exchange"], line["instrument_type"], line["name"], line["expiry"], float(line["strike"]))
        shared += key in terms
        until = ids.get((line["exchange"], line["exchange_token"]))
        lives += until is not None and until >= "2026-08-14"
        ended += until is not None and until < "2026-08-14"
    assert shared == 0 and lives + ended == 10_637, "ids alone would join a quarter of all, all of it wrong"
    kite = parse_csv(lines)
    found = join(kite, whole, indices=index_names(load_yaml(FILE), DAY), day=DAY)
    assert (found.joined, len(found.unmatched)) == (0, 39_941)
    assert (len(found.contradictions), found.reused) == (lives, ended)
    assert sum(bool(row.barred) for row in found.table) == lives


@pytest.mark.data
def test_a_list_joins_with_itself(data_dir: Path) -> None:
    """Upstox's own rows in Kite's words: all that can be named joins, with no difference."""
    _rows, upstox = real(data_dir)
    day = dt.date(2025, 6, 13)
    rows = [row for row in upstox if not row.is_index and row.exchange in ("NSE", "NFO", "CDS")]
    kite = table(*(replace(row, upstox_key="", barred="") for row in rows))
    found = join(kite, upstox, indices={}, day=day)
    assert found.joined + len(found.past) == len(kite) == 51_668 and not found.unmatched
    assert not found.differing and not found.contradictions
    assert all(a.upstox_key == b.upstox_key for a, b in zip(found.table, rows, strict=True) if a.upstox_key)


@pytest.mark.data
def test_the_official_mock_dump_joins_by_symbol(data_dir: Path) -> None:
    """Shares of a dump of another year: symbol and series join, where NSE's ids agree."""
    kite = read_csv(data_dir / "kite/instruments_nse.csv")
    upstox, whole = real(data_dir)
    theirs = {}
    for found in upstox:
        if found["segment"] == "NSE_EQ":
            series = "" if found["instrument_type"] == "EQ" else f"-{found['instrument_type']}"
            theirs[found["trading_symbol"] + series] = int(found["exchange_token"])
    expected = sum(theirs.get(row.symbol) == row.exchange_token for row in kite)
    clash = sum(row.symbol in theirs and theirs[row.symbol] != row.exchange_token for row in kite)
    result = join(kite, whole, indices={}, day=dt.date(2025, 6, 13))
    assert result.joined == expected > 0
    assert clash <= len(result.contradictions)
