"""Layer 5, metadata job, cold: metadata.parquet and metadata.json out of the stored bars.

metadata.parquet has one row for each bar: every day, week and month of every instrument, with its averages.
metadata.json has for each instrument the newest bar of each kind and the averages, both of days that are
over, the bar of the day under way apart, what is missing and what looks wrong: it is read by people, and by
strategies at their start (strategies/history.py).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kite_hft.engine.history import replacing, store
from kite_hft.engine.history.reading import FORMAT
from kite_hft.engine.history.store import Stored, StoreError
from kite_hft.sessions import ist_text
from kite_hft.trading import trading_days
from kite_hft.trading.history import FRAMES, WINDOWS, Array, averages, fold, numbers, rests
from kite_hft.trading.trading_days import TradingDays

PARQUET: Final = "metadata.parquet"
JSON: Final = "metadata.json"
VOTERS: Final = 300
"""Instruments of an exchange that say what the market did."""
ROWS_HELD: Final = 1 << 18
_AVERAGES: Final = [f"average_{window}" for window in WINDOWS]
SCHEMA: Final = pa.schema(
    [("instrument", pa.dictionary(pa.int32(), pa.string())), ("frame", pa.dictionary(pa.int8(), pa.string())),
     ("first", pa.date32()), ("last", pa.date32()),
     *((name, pa.float64()) for name in ("open", "high", "low", "close")),
     ("volume", pa.int64()), ("oi", pa.int64()), ("days", pa.int32()), ("finished", pa.bool_()),
     *((name, pa.float64()) for name in _AVERAGES)]
)  # fmt: skip


@dataclass(slots=True)
class Metadata:
    """What was made. missing: days that are lacking, over all instruments; warnings: by instrument."""

    instruments: int = 0
    bars: int = 0
    missing: int = 0
    unchecked: int = 0
    as_of: str = ""
    warnings: dict[str, list[str]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Market:
    """What the instruments of an exchange say together."""

    calendar: TradingDays
    days: Array
    moves: dict[Any, float]


def make(
    folder: Path,
    keys: Sequence[str],
    calendar: Sequence[Any],
    now_ns: int,
    until: dt.date | None = None,
    out: Path | None = None,
) -> Metadata:
    """Write both files anew from what is stored of the instruments, into `out` (default: beside it).

    until: days after it are left out, as if it were the last one (for a replayed day).

    Raises:
        OSError: a file cannot be written; those before it stand.
    """
    made = Metadata()
    markets = {
        exchange: _market(folder, keys, TradingDays(calendar, exchange))
        for exchange in dict.fromkeys(key.partition(":")[0] for key in keys)
    }
    told: dict[str, Any] = {}

    def fill(path: Path) -> None:
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for table in _tables(_each(folder, keys, made, until), markets, made, told):
                writer.write_table(table)

    out = out or folder
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    replacing.replace(out / PARQUET, fill)
    made.instruments = len(told)
    made.as_of = max((row["day"]["last"] for row in told.values()), default="")
    whole = {
        "format": FORMAT,
        "made_at": f"{ist_text(now_ns)} IST",
        "as_of": made.as_of,
        "windows": list(WINDOWS),
        "instruments": told,
    }
    replacing.replace(out / JSON, lambda path: path.write_text(_text(whole), "utf-8"))
    return made


def _text(whole: dict[str, Any]) -> str:
    """JSON with one line for each instrument: readable, and a tenth of the lines."""
    rows = whole["instruments"].items()
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row, allow_nan=False)}" for key, row in rows)
    head = json.dumps({**whole, "instruments": {}}, indent=1)
    return head.replace('"instruments": {}', f'"instruments": {{\n{lines}\n }}') + "\n"


def _each(
    folder: Path, keys: Iterable[str], made: Metadata, until: dt.date | None = None
) -> Iterator[Stored]:
    for key in keys:
        try:
            stored = store.read(folder, key)
        except StoreError as error:
            made.damaged.append(str(error))
            continue
        if stored is not None and until is not None and stored.done > until:
            stored = replace(stored, done=until, days=stored.days[stored.days["day"] <= np.datetime64(until)])
        if stored is None or not (stored.days["day"][:1] <= np.datetime64(stored.done)).all():
            continue
        if len(stored.days):
            yield stored


def _market(folder: Path, keys: Sequence[str], calendar: TradingDays) -> _Market:
    mine = [key for key in keys if key.startswith(f"{calendar.exchange}:")][:VOTERS]
    many = [stored.days for stored in _each(folder, mine, Metadata())]
    return _Market(calendar, trading_days.voted(many), trading_days.market_moves(many))


def _tables(
    each: Iterable[Stored], markets: dict[str, _Market], made: Metadata, told: dict[str, Any]
) -> Iterator[pa.Table]:
    """The rows of metadata.parquet, a row group at a time; fills `made` and `told` on the way."""
    held: list[pa.Table] = []
    for stored in each:
        market = markets[stored.key.partition(":")[0]]
        row, tables = instrument(stored, market.calendar, market.days, market.moves)
        told[stored.key] = row
        made.missing += len(row["missing"])
        made.unchecked += not row["all_years_checked"]
        if row["warnings"]:
            made.warnings[stored.key] = row["warnings"]
        held += tables
        if sum(map(len, held)) >= ROWS_HELD:
            yield _whole(held, made)
            held = []
    if held:
        yield _whole(held, made)


def _whole(held: list[pa.Table], made: Metadata) -> pa.Table:
    table = pa.concat_tables(held).unify_dictionaries()
    made.bars += len(table)
    return table


def instrument(
    stored: Stored, calendar: TradingDays, market: Array, moves: dict[Any, float]
) -> tuple[dict[str, Any], list[pa.Table]]:
    """(the instrument's part of metadata.json, its bars by frame as rows of metadata.parquet)."""
    days = stored.days
    over = days[days["day"] <= np.datetime64(stored.done)]
    following = np.array([calendar.next_open(stored.done)], "M8[D]")
    lacking, checked = trading_days.missing(days, stored.done, calendar, market)
    row: dict[str, Any] = {
        "token": stored.token,
        "upstox_key": stored.upstox_key,
        "broker": stored.broker,
        "asked_at": f"{ist_text(stored.asked_ns)} IST",
        "since": str(days["day"][0]),
        "all_years_checked": checked,
        "missing": [day.isoformat() for day in lacking],
        "warnings": trading_days.jumps(days, moves),
    }
    tables = []
    for frame in FRAMES:
        bars = fold(days, frame)
        finished = numbers(bars["first"], frame) < numbers(following, frame)[0]
        tables.append(_table(stored.key, frame, bars, averages(bars["close"]), finished))
        settled = fold(over, frame)
        row[frame] = _newest(settled, bool(finished[len(settled) - 1]))
    row["under_way"] = _bar(fold(days, "day")[-1]) if len(over) < len(days) else None
    return row, tables


def _newest(bars: Array, finished: bool) -> dict[str, Any]:
    """The newest bar, of days that are over. rest, rest_next: see trading/history.rests."""
    rest, following = rests(bars["close"])
    return {
        **_bar(bars[-1]),
        "bars": len(bars),
        "finished": finished,
        "average": _by_window(averages(bars["close"])[-1]),
        "rest": _by_window(rest),
        "rest_next": _by_window(following),
    }


def _bar(bar: Any) -> dict[str, Any]:
    return {
        "first": str(bar["first"]),
        "last": str(bar["last"]),
        **{name: float(bar[name]) for name in ("open", "high", "low", "close")},
        "volume": int(bar["volume"]),
        "oi": int(bar["oi"]),
    }


def _by_window(values: Array) -> dict[str, float | None]:
    known = zip(WINDOWS, values.tolist(), strict=True)
    return {str(window): None if np.isnan(value) else round(value, 7) for window, value in known}


def _table(key: str, frame: str, bars: Array, mean: Array, finished: Array) -> pa.Table:
    n = len(bars)

    def one(text: str, kind: pa.DataType) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, kind.to_pandas_dtype())), pa.array([text]))

    columns = [one(key, pa.int32()), one(frame, pa.int8())]
    columns += [pa.array(bars[name]) for name in SCHEMA.names[2:11]]
    columns += [pa.array(finished)]
    columns += [pa.array(mean[:, i], mask=np.isnan(mean[:, i])) for i in range(len(WINDOWS))]
    return pa.table(columns, schema=SCHEMA)
