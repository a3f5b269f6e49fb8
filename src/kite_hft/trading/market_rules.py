"""Layer 2, every process, cold: what exchanges and broker let through, read from dated rows.

config/rules/market_*.yaml holds tables whose rows carry valid_from, source and confidence; this
module picks the rows of one day and answers questions about an instrument. No limit and no time
stands here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kite_hft.layout import Side
from kite_hft.sessions import seconds_of_day
from kite_hft.trading.instruments import Instrument
from kite_hft.units import NS_PER_S

ANY: Final = "any"
TABLES: Final = (
    "forbidden", "protection", "freeze", "multiplier", "circuit", "limits", "gtt", "square_off",
    "closing_auction", "late_band", "auction_market", "restricted", "day_end", "expiry",
)  # fmt: skip
_NOTES: Final = frozenset(("valid_from", "valid_to", "source", "confidence", "broker"))

Row = Mapping[str, Any]


class MarketRulesError(ValueError):
    """A rules file that cannot be used; the message names table and row."""


@dataclass(frozen=True, slots=True)
class GttRules:
    """Rules of good-till-triggered orders."""

    order_types: tuple[str, ...]
    products: tuple[str, ...]
    buy_two_leg_fo_only: bool
    validity_days: int
    active_max: int
    listed_days: int


@dataclass(frozen=True, slots=True)
class SquareOff:
    """When the broker closes MIS of a class of instruments: ns after midnight IST, and his fee."""

    exchanges: tuple[str, ...]
    cas: bool
    at_ns: int
    fee_paise: int


@dataclass(frozen=True, slots=True)
class DayEnd:
    """How the engine's own day ends for a class of instruments, ns after midnight IST.

    Nothing is opened from entries_until on; what must not stay overnight is closed from close_from on
    and gone by flat_by.
    """

    exchanges: tuple[str, ...]
    cas: bool
    entries_until_ns: int
    close_from_ns: int
    flat_by_ns: int


@dataclass(frozen=True, slots=True)
class Expiry:
    """Contracts that settle in shares: trading days before the expiry from which nothing is opened.

    side: BUY or SELL is what is not opened, 0: both. exit_days: so many days before it, what is held
    must go; the times of that day are ns after midnight IST: from when people are told, from when it is
    closed where that is wished, and until when.
    """

    exchanges: tuple[str, ...]
    kinds: tuple[str, ...]
    indices: frozenset[str]
    side: int
    no_entry_days: int
    exit_days: int
    warn_from_ns: int
    close_from_ns: int
    flat_by_ns: int


@dataclass(frozen=True, slots=True)
class ClosingAuction:
    """Who takes part, when its reference price is made (ns after midnight IST), how far it reaches."""

    exchanges: tuple[str, ...]
    underlyings: bool
    symbols: frozenset[str]
    vwap_from_ns: int
    vwap_to_ns: int
    band_percent: float


@dataclass(frozen=True, slots=True)
class LateBand:
    """A narrower band at the end of the day around the last price at `start_ns`."""

    exchanges: tuple[str, ...]
    kinds: tuple[str, ...]
    start_ns: int
    end_ns: int
    percent: float
    indices: frozenset[str]

    def covers(self, row: Instrument) -> bool:
        """Futures of an index are spared."""
        return row.exchange in self.exchanges and row.kind in self.kinds and row.name not in self.indices


@dataclass(frozen=True, slots=True)
class Restriction:
    """One list of restricted instruments and what is closed for them."""

    name: str
    series: tuple[str, ...]
    symbols: frozenset[str]
    closed: frozenset[str]
    daily: bool = False  # it comes anew each day: without it nothing is known

    def holds(self, row: Instrument) -> bool:
        """Whether the instrument, its series or (for derivatives) its underlying is on the list."""
        named = row.key in self.symbols or (row.kind != "EQ" and row.name in self.symbols)
        return named or any(row.symbol.endswith(series) for series in self.series)


@dataclass(frozen=True, slots=True)
class MarketRules:
    """The rules of one day."""

    name: str
    day: dt.date
    limits: Mapping[str, int]
    gtt: GttRules
    square_offs: tuple[SquareOff, ...]
    closing_auctions: tuple[ClosingAuction, ...]
    late_bands: tuple[LateBand, ...]
    auction_windows: tuple[tuple[tuple[str, ...], int, int], ...]
    restrictions: tuple[Restriction, ...]
    day_ends: tuple[DayEnd, ...]
    expiries: tuple[Expiry, ...]
    _tables: Mapping[str, tuple[Row, ...]] = field(repr=False)

    def limit(self, name: str) -> int:
        """A single number of the table `limits`."""
        return self.limits[name]

    def forbids(self, what: str, row: Instrument) -> bool:
        """Whether an order type, validity, product or variety is not taken for an instrument."""
        return any(what in r["what"] for r in self._fitting("forbidden", row))

    def auto_protection(self, row: Instrument, last_px: int) -> float:
        """Market protection in percent of the last price when the broker chooses it."""
        for r in self._fitting("protection", row):
            if r["below_rupees"] is None or last_px < r["below_rupees"] * row.scale:
                return float(r["percent"])
        raise MarketRulesError(f"no protection row for {row.kind}; the last one needs below_rupees: null")

    def freeze(self, row: Instrument) -> int:
        """Largest quantity of one order; 0: none."""
        if row.freeze_quantity is not None:
            return row.freeze_quantity
        return int(self._one("freeze", row)["quantity"])

    def multiplier(self, row: Instrument) -> int:
        """Price x quantity x this = value."""
        return row.multiplier or int(self._one("multiplier", row)["value"])

    def circuit(self, row: Instrument, close_px: int) -> tuple[int, int]:
        """Lowest and highest price of the day, on the instrument's grid; (0, 0): no close known."""
        if close_px <= 0:
            return 0, 0
        rule, step = self._one("circuit", row), max(row.tick_px, 1)
        low = close_px * (10_000 - rule["down_bp"]) // 10_000
        high = close_px * (10_000 + rule["up_bp"]) // 10_000
        return max(-(-low // step) * step, step), high // step * step

    def closed(self, row: Instrument) -> dict[str, str]:
        """What is closed for an instrument -> the list that says so."""
        return {what: r.name for r in self.restrictions if r.holds(row) for what in r.closed}

    def closing_auction(self, row: Instrument, underlyings: frozenset[str]) -> ClosingAuction | None:
        """The closing auction that an instrument takes part in. `underlyings`: symbols on which
        derivatives are listed."""
        for auction in self.closing_auctions:
            if row.kind != "EQ" or row.is_index or row.exchange not in auction.exchanges:
                continue
            if row.key in auction.symbols or (auction.underlyings and row.symbol in underlyings):
                return auction
        return None

    def square_off(self, row: Instrument, cas: bool) -> SquareOff | None:
        """When MIS positions of an instrument are closed by the broker."""
        return next((s for s in self.square_offs if row.exchange in s.exchanges and s.cas == cas), None)

    def day_end(self, row: Instrument, cas: bool) -> DayEnd | None:
        """How our own day ends for an instrument."""
        return next((d for d in self.day_ends if row.exchange in d.exchanges and d.cas == cas), None)

    def expiry(self, row: Instrument) -> Expiry | None:
        """The rule of a contract that settles in shares; contracts on an index do not."""
        for rule in self.expiries:
            if row.exchange in rule.exchanges and row.kind in rule.kinds and row.name not in rule.indices:
                return rule
        return None

    def auction_window(self, row: Instrument) -> tuple[int, int] | None:
        """Buy-in auction of an instrument's exchange, ns after midnight IST: start, end."""
        return next(((a, b) for names, a, b in self.auction_windows if row.exchange in names), None)

    def with_list(self, name: str, symbols: Iterable[str]) -> MarketRules:
        """The rules with a daily list's symbols (EXCHANGE:SYMBOL, or an underlying's name) added.

        Raises:
            MarketRulesError: no such list.
        """
        if name not in {r.name for r in self.restrictions}:
            raise MarketRulesError(f"no restricted list is called {name!r}")
        more = frozenset(symbols)
        changed = [replace(r, symbols=r.symbols | more) if r.name == name else r for r in self.restrictions]
        return replace(self, restrictions=tuple(changed))

    def _fitting(self, table: str, row: Instrument) -> list[Row]:
        return [
            r
            for r in self._tables[table]
            if (r.get("exchanges", ANY) == ANY or row.exchange in r["exchanges"])
            and (r.get("kinds", ANY) == ANY or row.kind in r["kinds"])
        ]

    def _one(self, table: str, row: Instrument) -> Row:
        rows = self._fitting(table, row)
        if not rows:
            raise MarketRulesError(f"table {table} has no row for {row.exchange} {row.kind}")
        return rows[0]


def market_rules(data: Any, day: dt.date, broker: str = "") -> MarketRules:
    """The rules of `day` from the content of a rules file.

    broker: rows with this word in a column `broker` count before those that name none; rows of
    another broker do not count.

    Raises:
        MarketRulesError: a table is missing, unknown or has an unusable row.
    """
    if not isinstance(data, Mapping):
        raise MarketRulesError("a market rules file is a mapping of tables")
    unknown = set(data) - set(TABLES) - {"name", "valid_from"}
    missing = set(TABLES) - set(data)
    if unknown or missing:
        raise MarketRulesError(f"tables unknown: {sorted(unknown)}, missing: {sorted(missing)}")
    tables = {name: _rows_of_day(name, data[name], day, broker) for name in TABLES}
    try:
        return MarketRules(
            name=str(data["name"]),
            day=day,
            limits={r["name"]: int(r["value"]) for r in tables["limits"]},
            gtt=_gtt(tables["gtt"]),
            square_offs=tuple(
                SquareOff(tuple(r["exchanges"]), bool(r["cas"]), _ns(r["at"]), int(r["fee_paise"]))
                for r in tables["square_off"]
            ),
            closing_auctions=tuple(_closing_auction(r) for r in tables["closing_auction"]),
            late_bands=tuple(_late_band(r) for r in tables["late_band"]),
            auction_windows=tuple(
                (tuple(r["exchanges"]), _ns(r["start"]), _ns(r["end"])) for r in tables["auction_market"]
            ),
            restrictions=tuple(
                Restriction(
                    r["list"], tuple(r["series"]), frozenset(r["symbols"]), frozenset(r["closed"]),
                    bool(r.get("daily", False)),
                )
                for r in tables["restricted"]
            ),
            day_ends=tuple(
                DayEnd(
                    tuple(r["exchanges"]), bool(r["cas"]), _ns(r["entries_until"]), _ns(r["close_from"]),
                    _ns(r["flat_by"]),
                )
                for r in tables["day_end"]
            ),
            expiries=tuple(
                Expiry(
                    tuple(r["exchanges"]), tuple(r["kinds"]), frozenset(r["indices"]),
                    int(Side[r["side"]]) if r["side"] else 0, int(r["no_entry_days"]), int(r["exit_days"]),
                    _ns(r["warn_from"]), _ns(r["close_from"]), _ns(r["flat_by"]),
                )
                for r in tables["expiry"]
            ),
            _tables=tables,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise MarketRulesError(f"a row of the market rules cannot be read: {error!r}") from error


def _rows_of_day(table: str, rows: Any, day: dt.date, broker: str) -> tuple[Row, ...]:
    """Rows valid on the day and at the broker. Of rows that are about the same thing one remains: his own
    before one for all, then the newest."""
    newest: dict[str, Row] = {}
    for number, row in enumerate(rows):
        lacking = [name for name in ("valid_from", "source", "confidence") if name not in row]
        if lacking:
            raise MarketRulesError(f"table {table}, row {number + 1} has no {', '.join(lacking)}")
        if not row["valid_from"] <= day <= row.get("valid_to", dt.date.max):
            continue
        if row.get("broker", broker) != broker:
            continue
        key = repr([(n, row[n]) for n in _subject(row)])
        if key not in newest or _rank(row) >= _rank(newest[key]):
            newest[key] = row
    return tuple(newest.values())


def _rank(row: Row) -> tuple[bool, dt.date]:
    """Of two rows about the same thing the one that ranks higher counts."""
    return "broker" in row, row["valid_from"]


def _subject(row: Row) -> list[str]:
    """Columns that say what a row is about; the others are its answer."""
    names = ("what", "exchanges", "kinds", "below_rupees", "name", "list", "cas")
    return [name for name in names if name in row]


def _gtt(rows: tuple[Row, ...]) -> GttRules:
    if not rows:
        raise MarketRulesError("table gtt has no row for the day")
    row = max(rows, key=lambda r: r["valid_from"])
    values = {name: value for name, value in row.items() if name not in _NOTES}
    values |= {name: tuple(row[name]) for name in ("order_types", "products")}
    return GttRules(**values)


def _closing_auction(r: Row) -> ClosingAuction:
    return ClosingAuction(
        tuple(r["exchanges"]), bool(r["underlyings"]), frozenset(r["symbols"]),
        _ns(r["vwap_from"]), _ns(r["vwap_to"]), float(r["band_percent"]),
    )  # fmt: skip


def _late_band(r: Row) -> LateBand:
    return LateBand(
        tuple(r["exchanges"]), tuple(r["kinds"]), _ns(r["start"]), _ns(r["end"]), float(r["percent"]),
        frozenset(r["indices"]),
    )  # fmt: skip


def _ns(text: str) -> int:
    return seconds_of_day(text) * NS_PER_S
