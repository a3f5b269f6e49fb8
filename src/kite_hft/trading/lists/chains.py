"""Layer 2, supervisor, strategies' hosts and verbs, cold: option chains from the day's list.

A chain is one underlying's options of one expiry: strikes ascending, a call and a put beside each where they
are listed. What a feed knows of an option (last price, Greeks, open interest) is laid beside it by token.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.columns import Columns, day_number, day_of
from kite_hft.trading.lists.universe import nearest


@dataclass(frozen=True, slots=True)
class Pair:
    """One strike, in rupees. call, put: rows of the list; None: not listed."""

    strike: float
    call: int | None
    put: int | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Options of one underlying and expiry. expiries: all of its options that live, ascending; monthly: those
    that are the last of a month. futures: rows that end on or behind the expiry, nearest first."""

    underlying: str
    exchange: str
    expiry: dt.date
    expiries: tuple[dt.date, ...]
    monthly: frozenset[dt.date]
    pairs: tuple[Pair, ...]
    futures: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    @property
    def strikes(self) -> tuple[float, ...]:
        return tuple(pair.strike for pair in self.pairs)

    def at_the_money(self, price: float) -> int:
        """Place of the strike nearest to the price; of two equally near the lower."""
        return nearest(self.strikes, price)

    def around(self, price: float, each_side: int) -> Chain:
        """The strike at the money and so many on either side."""
        middle = self.at_the_money(price)
        return replace(self, pairs=self.pairs[max(0, middle - each_side) : middle + each_side + 1])

    def rows(self) -> list[int]:
        """All options of it, calls and puts by strike."""
        return [row for pair in self.pairs for row in (pair.call, pair.put) if row is not None]

    def beside(self, columns: Columns, values: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Strike by strike with what is known of each option, by token: Greeks of a feed, last prices. A row:
        strike, call, put; of each its key, token and the values, or None."""

        def option(row: int | None) -> dict[str, Any] | None:
            if row is None:
                return None
            token = int(columns.token[row])
            return {"key": columns.key(row), "token": token, **values.get(token, {})}

        for pair in self.pairs:
            yield {"strike": pair.strike, "call": option(pair.call), "put": option(pair.put)}


def underlyings(columns: Columns, exchange: str | None = None) -> list[str]:
    """Names that options are listed on, ascending."""
    mask = columns.kind.are(["CE", "PE"])
    if exchange is not None:
        mask &= columns.exchange.are([exchange])
    return sorted(columns.name.words[code] for code in np.unique(columns.name.codes[mask]))


def chain(
    columns: Columns,
    underlying: str,
    day: dt.date,
    expiry: dt.date | str = "nearest",
    exchange: str | None = None,
) -> Chain:
    """The options of an underlying that end on a day: a date, "nearest", "next", "monthly" (the nearest that
    is the last of a month), or "weekly".

    Raises:
        InstrumentError: no such underlying or expiry; the message says what there is. Two exchanges list it
            and none is named.
    """
    rows = columns.contracts(underlying, exchange)
    rows = rows[~columns.over(day)[rows]]
    options = rows[columns.kind.are(["CE", "PE"])[rows]]
    if not options.size:
        alike = [name for name in underlyings(columns) if name.startswith(underlying[:3].upper())]
        hint = f"; there are {', '.join(alike[:5])}" if alike else ""
        raise InstrumentError(f"no option on {underlying!r} in the list of {day}{hint}")
    places = sorted({columns.exchange.text(int(row)) for row in options})
    if len(places) > 1:
        raise InstrumentError(f"options on {underlying} are listed on {' and '.join(places)}: say which")
    monthly = {day_of(d) for d in np.unique(columns.expiry[options[columns.monthly[options]]])}
    expiries = tuple(day_of(d) for d in np.unique(columns.expiry[options]))
    chosen = _chosen(underlying, expiry, expiries, monthly)
    at = options[columns.expiry[options] == day_number(chosen)]
    found: dict[int, list[int | None]] = {}
    for row in at.tolist():
        side = 0 if columns.kind.text(row) == "CE" else 1
        found.setdefault(int(columns.strike_px[row]), [None, None])[side] = row
    scale = int(columns.scale[at[0]])
    pairs = tuple(Pair(px / scale, *found[px]) for px in sorted(found))
    futures = rows[columns.kind.are(["FUT"])[rows] & (columns.expiry[rows] >= day_number(chosen))]
    futures = futures[np.argsort(columns.expiry[futures], kind="stable")]
    return Chain(underlying, places[0], chosen, expiries, frozenset(monthly), pairs, tuple(futures.tolist()))


def _chosen(
    underlying: str, expiry: dt.date | str, expiries: tuple[dt.date, ...], monthly: set[dt.date]
) -> dt.date:
    listed = ", ".join(day.isoformat() for day in expiries)
    if isinstance(expiry, dt.date):
        if expiry not in expiries:
            raise InstrumentError(f"no option on {underlying} ends on {expiry}; there are {listed}")
        return expiry
    some = {
        "nearest": expiries,
        "next": expiries[1:],
        "monthly": tuple(day for day in expiries if day in monthly),
        "weekly": tuple(day for day in expiries if day not in monthly),
    }
    if expiry not in some:
        raise InstrumentError(f"expiry {expiry!r}: a date YYYY-MM-DD, or {', '.join(some)}")
    if not some[expiry]:
        raise InstrumentError(f"no {expiry} expiry of options on {underlying}; there are {listed}")
    return some[expiry][0]
