"""Layer 2, metadata job and instrument filters, cold: what companies are worth, from a table of anybody's.

No broker's API tells it: the table is the user's choice (a file, or an address that gives one). CSV or JSON;
an instrument is named by `instrument` (NSE:SBIN), or by `exchange` and `symbol` (or `tradingsymbol`; without
an exchange: NSE); the value stands under market_cap_crore (1 crore = 10,000,000 rupees), market_cap (crores,
too) or market_cap_inr (rupees). JSON: a list of such objects, or {"NSE:SBIN": crores}.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

CRORE: Final = 10_000_000
COLUMNS: Final = ("exchange", "symbol", "market_cap_crore", "as_of", "source")
"""Of market_cap.csv."""
CRORES_MAX: Final = 1e8
"""More than all companies of the country are worth together: the value is in rupees."""
_VALUES: Final = {"market_cap_crore": 1.0, "market_cap": 1.0, "market_cap_inr": 1.0 / CRORE}


class MarketCapError(ValueError):
    """A table that cannot be used; the message says where and why."""


class MarketCaps(NamedTuple):
    """What is known. crores: EXCHANGE:SYMBOL -> crores of rupees. as_of: of which day; None: not said."""

    crores: Mapping[str, float]
    as_of: dt.date | None = None
    source: str = ""

    def within(self, key: str, least: float, most: float) -> bool | None:
        """Whether a company is worth least to most crores; None: not known."""
        found = self.crores.get(key)
        return None if found is None else least <= found <= most

    def age_days(self, today: dt.date) -> int | None:
        """How old it is; None: not said."""
        return None if self.as_of is None else (today - self.as_of).days


def parse(text: str, where: str) -> MarketCaps:
    """A table, CSV or JSON.

    Raises:
        MarketCapError: no table, a row without a value or name, or one that stands twice with two values.
    """
    begin = text.lstrip()[:1]
    rows = _json_rows(text, where) if begin in ("{", "[") else _csv_rows(text, where)
    found: dict[str, float] = {}
    days, sources = set(), set()
    for place, row in rows:
        key, value = _key(row, f"{where}, {place}"), _value(row, f"{where}, {place}")
        if value is None:
            continue
        if found.setdefault(key, value) != value:
            raise MarketCapError(f"{where}, {place}: {key} stands there twice, with two values")
        days.add(str(row.get("as_of") or ""))
        sources.add(str(row.get("source") or ""))
    if not found:
        raise MarketCapError(f"{where}: not one market cap in it")
    try:
        as_of = dt.date.fromisoformat(min(days)) if min(days) else None
    except ValueError:
        raise MarketCapError(f"{where}: as_of {min(days)!r} is no date") from None
    return MarketCaps(found, as_of, sources.pop() if len(sources) == 1 else "")


def csv_text(caps: MarketCaps) -> str:
    """market_cap.csv; `parse` reads it back."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    as_of = caps.as_of.isoformat() if caps.as_of else ""
    for key, value in sorted(caps.crores.items()):
        exchange, _, symbol = key.partition(":")
        writer.writerow([exchange, symbol, f"{value:.2f}", as_of, caps.source])
    return out.getvalue()


def _csv_rows(text: str, where: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise MarketCapError(f"{where}: no table: {error}") from None
    if not set(names) & set(_VALUES):
        raise MarketCapError(f"{where}: no column {', '.join(_VALUES)}; it has {', '.join(names) or 'none'}")
    reader.fieldnames = names
    try:
        return [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise MarketCapError(f"{where}: {error}") from None


def _json_rows(text: str, where: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MarketCapError(f"{where}: no JSON ({error})") from None
    if isinstance(data, dict):
        return [(str(key), {"instrument": key, "market_cap_crore": value}) for key, value in data.items()]
    if not all(isinstance(row, dict) for row in data):
        raise MarketCapError(f"{where}: JSON, but no list of objects")
    return [(f"row {i + 1}", row) for i, row in enumerate(data)]


def _key(row: Mapping[str, Any], where: str) -> str:
    whole = str(row.get("instrument") or "").strip()
    symbol = str(row.get("symbol") or row.get("tradingsymbol") or "").strip()
    if not whole and not symbol:
        raise MarketCapError(f"{where}: no instrument, and no symbol")
    return whole if ":" in whole else f"{str(row.get('exchange') or 'NSE').strip()}:{whole or symbol}"


def _value(row: Mapping[str, Any], where: str) -> float | None:
    """Crores; None: the cell is empty."""
    name = next((name for name in _VALUES if row.get(name) not in (None, "")), None)
    if name is None:
        return None
    try:
        value = float(str(row[name]).replace(",", "")) * _VALUES[name]
    except ValueError:
        raise MarketCapError(f"{where}: {name} {row[name]!r} is no number") from None
    if not math.isfinite(value) or value < 0:
        raise MarketCapError(f"{where}: {name} {row[name]!r} is no value")
    if value > CRORES_MAX:
        raise MarketCapError(
            f"{where}: {value:,.0f} crores: this is in rupees, call the column market_cap_inr"
        )
    return value
