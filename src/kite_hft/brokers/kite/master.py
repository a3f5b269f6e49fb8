"""Layer 2, supervisor and verbs, cold: Kite's instrument dump (GET /instruments) as columns.

Facts that shape this module: one CSV of 12 columns for all exchanges, some 100,000 rows, rebuilt once a day;
index rows have tick 0 and lot 0; `expiry` is YYYY-MM-DD or empty; `last_price` is stale and not read. It has
neither multiplier nor freeze quantity (trading/instruments.py reads the same file row by row, and says what
the columns mean).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.brokers.packed import unpacked
from kite_hft.trading.instruments import CSV_COLUMNS, DAY, EXTRA_COLUMNS, InstrumentError
from kite_hft.trading.lists.column_numbers import scales_of, units_of
from kite_hft.trading.lists.columns import Columns, Words
from kite_hft.trading.lists.list_checks import check_unique

if TYPE_CHECKING:
    import pyarrow as pa

REBUILT: Final = "08:30:00"
"""IST: from then on the broker's file is the day's (Kite says: fetch it about 08:30)."""
_INTEGERS: Final = ("instrument_token", "exchange_token")
_DECIMALS: Final = ("strike", "tick_size", "lot_size")
_REPEATED: Final = ("expiry", "exchange", "segment", "instrument_type", "name", "barred")


def parse_columns(data: bytes, where: str = "Kite instruments") -> Columns:
    """The dump's content as columns; equal to instruments.parse_csv row by row.

    Raises:
        InstrumentError: cut short, damaged, empty, a column missing, a token that stands twice, a price off
            its grid: with file and line.
    """
    data = unpacked(data, where)
    _refuse_no_text(data, where)
    table = _read(data, where)
    if not table.num_rows:
        raise InstrumentError(f"{where}: no instrument is in it: fetch it again")
    repeated, n = (
        {name: _words(table, name) for name in _REPEATED if name in table.column_names},
        table.num_rows,
    )
    if not data.endswith(b"\n"):
        _refuse_torn_end(repeated["exchange"], where)
    token = _tokens(table, where)
    scale = scales_of(token)
    tick_px, odd = units_of(_floats(table, "tick_size"), scale)
    _refuse(odd, where, "tick_size is no price of this instrument's unit")
    strike_px, odd = units_of(_floats(table, "strike"), scale, wide=True)
    _refuse(odd, where, "strike is no price of this instrument's unit")
    found = Columns(
        token=token,
        exchange_token=_numbers(table, "exchange_token"),
        tick_px=tick_px.astype(np.int32),
        lot_size=_lots(table, where),
        scale=scale,
        expiry=_days(repeated["expiry"], where),
        strike_px=strike_px,
        multiplier=_whole(table, "multiplier", where),
        freeze_quantity=_whole(table, "freeze_quantity", where),
        exchange=repeated["exchange"],
        segment=repeated["segment"],
        kind=repeated["instrument_type"],
        name=repeated["name"],
        barred=repeated.get("barred") or Words.of([""] * n),
        symbol=table["tradingsymbol"].to_pylist(),
        upstox_key=table["upstox_key"].to_pylist() if "upstox_key" in table.column_names else [""] * n,
    )
    check_unique(found, where, "line", 2)
    return found


def _refuse_no_text(data: bytes, where: str) -> None:
    """Damage in a column that nobody reads is damage, too."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InstrumentError(f"{where}, line {line}: this is no text: fetch it again") from None


def _read(data: bytes, where: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    head = data[: data.find(b"\n") if b"\n" in data else len(data)].decode("utf-8", "replace")
    names = [name.strip().strip('"') for name in head.split(",")]
    if missing := [name for name in CSV_COLUMNS if name not in names]:
        raise InstrumentError(f"{where}: columns missing: {', '.join(missing)}")
    wanted = [name for name in (*CSV_COLUMNS, *EXTRA_COLUMNS) if name in names and name != "last_price"]
    types: dict[str, Any] = {name: pa.string() for name in wanted}
    types |= {name: pa.dictionary(pa.int32(), pa.string()) for name in _REPEATED if name in wanted}
    types |= {name: pa.int64() for name in _INTEGERS} | {name: pa.float64() for name in _DECIMALS}
    try:
        return csv.read_csv(
            pa.py_buffer(data),
            read_options=csv.ReadOptions(use_threads=False, block_size=1 << 24),
            convert_options=csv.ConvertOptions(
                include_columns=wanted, column_types=types, null_values=[""], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise InstrumentError(
            f"{where}: cut short or damaged: {_said(str(error), names)}: fetch it again"
        ) from None


def _said(text: str, names: Sequence[str]) -> str:
    """The reader's words with our lines and columns: its `Row #n` is the line of the file."""
    text = re.sub(r"^CSV parse error: |CSV conversion error to \w+: ", "", text)
    text = re.sub(r"In CSV column #(\d+)", lambda found: names[int(found[1])], text)
    return re.sub(r"Row #(\d+):?", r"line \1:", text).partition("\n")[0]


def _words(table: pa.Table, name: str) -> Words:
    column = table[name].unify_dictionaries().combine_chunks()
    found = column.chunk(0) if hasattr(column, "chunk") else column
    return Words(np.asarray(found.indices.to_numpy(), np.int32), tuple(found.dictionary.to_pylist()))


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """int64[n]; an empty cell is 0."""
    return np.asarray(table[name].fill_null(0).to_numpy(), np.int64)


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(table[name].fill_null(0.0).to_numpy(), np.float64)


def _tokens(table: pa.Table, where: str) -> npt.NDArray[np.uint32]:
    found = _numbers(table, "instrument_token")
    _refuse((found <= 0) | (found >= 2**32), where, "instrument_token does not fit 32 bits")
    return found.astype(np.uint32)


def _lots(table: pa.Table, where: str) -> npt.NDArray[np.int64]:
    found = _floats(table, "lot_size")
    with np.errstate(invalid="ignore"):
        odd = ~(np.abs(found) < 2.0**53)
    _refuse(odd, where, "lot_size is no number")
    return found.astype(np.int64)


def _days(texts: Words, where: str) -> npt.NDArray[np.int32]:
    """Days since 1970, 0: none. Contracts share few days."""
    known = np.zeros(len(texts.words), np.int32)
    for code, text in enumerate(texts.words):
        try:
            if text and not DAY.fullmatch(text):  # numpy takes more: blanks, years of any length
                raise ValueError
            known[code] = np.datetime64(text, "D").astype(np.int64) if text else 0
        except ValueError:
            line = int(np.argmax(texts.codes == code)) + 2
            raise InstrumentError(f"{where}, line {line}: expiry {text!r} is no date YYYY-MM-DD") from None
    return known[texts.codes]


def _whole(table: pa.Table, name: str, where: str) -> npt.NDArray[np.int64]:
    """A column of ours (EXTRA_COLUMNS); an empty cell, or no such column, is 0: not known."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    try:
        texts = table[name].to_pylist()
        return np.fromiter((int(text) if text else 0 for text in texts), np.int64, len(texts))
    except (ValueError, OverflowError) as error:
        raise InstrumentError(f"{where}: {name}: {error}") from None


def _refuse(odd: npt.NDArray[np.bool_], where: str, words: str) -> None:
    if odd.any():
        raise InstrumentError(f"{where}, line {int(np.argmax(odd)) + 2}: {words}")


def _refuse_torn_end(exchange: Words, where: str) -> None:
    """Without a line end the last row may be half of one: NF is no exchange, NFO is."""
    if not (exchange.codes[:-1] == exchange.codes[-1]).any():
        raise InstrumentError(
            f"{where}, line {len(exchange.codes) + 1}: cut short: the last line ends with "
            f"{exchange.text(-1)!r} and no line end: fetch it again"
        )
