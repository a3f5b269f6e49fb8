"""Layer 2, supervisor and verbs, cold: which instruments of the day's lists a run trades, by rules.

A universe is names, and rules each of which picks rows: all conditions of a rule must hold, a row is in when
a rule picks it. What a rule leaves out is counted with its reason, what was asked for by name is told by
name. Nothing here reads a file or asks a server: prices and market capitalisations are handed in.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.columns import Columns, Mask, NotListed, Rows, day_number
from kite_hft.trading.lists.masters import Masters, why_not_tradable

INDEX: Final = "INDEX"
"""As a kind: an index, which is looked at and never traded. Rules without it leave indices out."""
POSITIONS: Final = {"nearest": 0, "next": 1}
CLASSES: Final = ("weekly", "monthly")
EXAMPLES: Final = 3
_DAYS: Final = 1 << 20
PriceOf = Callable[[str, str], float | None]
"""(exchange, underlying) -> its price in rupees, None: not known."""


@dataclass(frozen=True, slots=True)
class Expiries:
    """Which contracts by their end. position: 0 the nearest, 1 the next, None: all; of those of `kind`
    (weekly,
    monthly: the last of a month; "": both), and between `after` and `before`, neither included.
    """

    position: int | None = None
    kind: str = ""
    on: dt.date | None = None
    before: dt.date | None = None
    after: dt.date | None = None


@dataclass(frozen=True, slots=True)
class Strikes:
    """Which options by strike, in rupees. around: a price by underlying; of others the last one. With
    percent: no further from it; with each_side: so many strikes on either side of the nearest; low, high:
    both included.
    """

    around: Mapping[str, float] = field(default_factory=dict)
    percent: float | None = None
    each_side: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that hold together; an empty one is none. of: symbols of shares, or underlyings of
    contracts.
    market_cap: (from, to) in crore rupees, both included.
    """

    exchanges: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    underlyings: frozenset[str] = frozenset()
    of: frozenset[str] | None = None
    expiry: Expiries | None = None
    strikes: Strikes | None = None
    market_cap: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Universe:
    """What is asked for. names: each a mapping of columns to names of one instrument (Masters.same).
    untradable: rows stay in although no order for them would pass (to look at). largest: more is an error, 0:
    no bound.
    """

    title: str = ""
    names: tuple[Mapping[str, str | int], ...] = ()
    rules: tuple[Rule, ...] = ()
    without: frozenset[str] = frozenset()
    untradable: bool = False
    largest: int = 0

    @property
    def needs_caps(self) -> bool:
        return any(rule.market_cap is not None for rule in self.rules)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why rows are not in. count: how many; examples: a few of them, or all that were asked for by name."""

    why: str
    count: int
    examples: tuple[str, ...]
    named: bool = False

    def __str__(self) -> str:
        more = f" and {self.count - len(self.examples):,} more" if self.count > len(self.examples) else ""
        return f"{self.why}: {', '.join(self.examples)}{more}"


@dataclass(slots=True)
class Selection:
    """rows: of the leading list, in the order in which they were picked, each once."""

    rows: list[int] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def select(
    universe: Universe,
    masters: Masters,
    price_of: PriceOf = lambda exchange, underlying: None,
    caps: Mapping[str, float] | None = None,
) -> Selection:
    """What a universe picks from the day's lists. caps: EXCHANGE:SYMBOL, symbol or ISIN -> crore rupees.

    Raises:
        InstrumentError: two names of one instrument contradict each other; nothing, or too much, is picked.
    """
    found = Selection()
    rows: dict[int, None] = dict.fromkeys(_named(universe.names, masters, found))
    for number, rule in enumerate(universe.rules, 1):
        picked = _Picker(
            masters.rows, masters.day, found, f"rule {number}" if len(universe.rules) > 1 else ""
        )
        rows |= dict.fromkeys(picked.pick(rule, price_of, caps or {}).tolist())
    for name in sorted(universe.without):
        for row in masters.rows.rows_of(name) or _of_symbol(masters.rows, name):
            rows.pop(row, None)
    if universe.largest and len(rows) > universe.largest:
        raise InstrumentError(
            f"the universe picks {len(rows):,} instruments, more than its `largest` of "
            f"{universe.largest:,}: narrow "
            "the rules, or raise it"
        )
    found.rows = list(rows) if universe.untradable else _tradable(list(rows), masters, found)
    if not found.rows:
        whys = "; ".join(map(str, found.left_out)) or "it names nothing"
        raise InstrumentError(f"the universe picks no instrument: {whys}")
    return found


def _of_symbol(columns: Columns, name: str) -> list[int]:
    """Shares of a bare symbol, on every exchange."""
    return [row for exchange in ("NSE", "BSE") for row in columns.rows_of(f"{exchange}:{name}")]


def _named(names: Iterable[Mapping[str, str | int]], masters: Masters, found: Selection) -> Iterable[int]:
    missing: list[str] = []
    for words in names:
        try:
            yield masters.rows.resolve(masters.same(words).token)
        except NotListed:
            missing.append(str(next(iter(words.values()))))
    if missing:
        found.left_out.append(LeftOut("not in today's list", len(missing), tuple(missing), named=True))


def _tradable(rows: list[int], masters: Masters, found: Selection) -> list[int]:
    kept, reasons = [], {}
    for row, joined in zip(rows, masters.looked_up(rows), strict=True):
        why = "" if joined.is_index else why_not_tradable(joined, masters.day)
        if why:
            reasons[joined.key] = why
        else:
            kept.append(row)
    for why, count in Counter(reasons.values()).most_common():
        keys = [key for key, text in reasons.items() if text == why]
        found.left_out.append(LeftOut(f"not tradable, {why}", count, tuple(keys[:EXAMPLES])))
    return kept


class _Picker:
    """One rule on one list: narrows the rows, condition by condition, and counts what each leaves out."""

    def __init__(self, columns: Columns, day: dt.date, found: Selection, where: str) -> None:
        self._columns, self._day, self._found = columns, day, found
        self._where = f"{where}, " if where else ""
        self._rows: Rows = np.arange(len(columns))

    def pick(self, rule: Rule, price_of: PriceOf, caps: Mapping[str, float]) -> Rows:
        columns = self._columns
        mask = np.ones(len(columns), np.bool_)
        for words, wanted in (
            (columns.exchange, rule.exchanges), (columns.segment, rule.segments),
            (columns.name, rule.underlyings),
        ):  # fmt: skip
            if wanted:
                mask &= words.are(wanted)
        kinds = ~columns.is_index
        if rule.kinds:
            kinds &= columns.kind.are(rule.kinds)
            kinds |= columns.is_index & (INDEX in rule.kinds)
        mask &= kinds
        self._rows = np.flatnonzero(mask)
        if rule.of is not None:
            self._keep(self._is_of(rule.of), "not in the file of names")
        self._keep(~columns.over(self._day)[self._rows], "expired")
        if rule.expiry is not None:
            self._keep(self._ends(rule.expiry), "another expiry")
        if rule.strikes is not None:
            self._strikes(rule.strikes, price_of)
        if rule.market_cap is not None:
            self._caps(rule.market_cap, caps)
        return self._rows

    def _keep(self, mask: Mask, why: str) -> None:
        out = self._rows[~mask]
        self._rows = self._rows[mask]
        if out.size:
            examples = tuple(self._columns.key(int(row)) for row in out[:EXAMPLES])
            self._found.left_out.append(LeftOut(f"{self._where}{why}", int(out.size), examples))

    def _is_of(self, names: Collection[str]) -> Mask:
        columns, rows = self._columns, self._rows
        share = columns.kind.are(["EQ"])[rows]
        by_name = columns.name.are({name.rpartition(":")[2] for name in names})[rows]
        symbol = [columns.symbol[row] in names or columns.key(row) in names for row in rows.tolist()]
        return np.where(share, np.array(symbol, np.bool_), by_name)

    def _ends(self, wanted: Expiries) -> Mask:
        rows, ends = self._rows, self._columns.expiry[self._rows]
        mask: Mask = ends != 0
        if wanted.on is not None:
            mask &= ends == day_number(wanted.on)
        if wanted.before is not None:
            mask &= ends < day_number(wanted.before)
        if wanted.after is not None:
            mask &= ends > day_number(wanted.after)
        if wanted.kind:
            monthly = self._columns.monthly[rows]
            mask &= monthly if wanted.kind == "monthly" else ~monthly
        if wanted.position is not None:
            at = np.flatnonzero(mask)
            mask[at] = _places(_groups(self._columns, rows[at]), ends[at]) == wanted.position
        return mask

    def _strikes(self, wanted: Strikes, price_of: PriceOf) -> None:
        """Only options: shares and futures that a rule picks have no strike and stay."""
        columns, rows = self._columns, self._rows
        strike = columns.strike_px[rows] / columns.scale[rows]
        mask, option = np.ones(rows.size, np.bool_), columns.kind.are(["CE", "PE"])[rows]
        if wanted.low is not None:
            mask &= ~option | (strike >= wanted.low)
        if wanted.high is not None:
            mask &= ~option | (strike <= wanted.high)
        if wanted.percent is not None or wanted.each_side is not None:
            unpriced = np.zeros(rows.size, np.bool_)
            for pair in sorted(
                {(columns.exchange.text(r), columns.name.text(r)) for r in rows[option].tolist()}
            ):
                ours = option & columns.exchange.are([pair[0]])[rows] & columns.name.are([pair[1]])[rows]
                price = wanted.around.get(pair[1]) or price_of(*pair)
                if price is None:
                    unpriced |= ours
                    continue
                if wanted.percent is not None:
                    mask &= ~ours | (np.abs(strike - price) <= price * wanted.percent / 100)
                if wanted.each_side is not None:
                    mask &= ~ours | _near(strike, columns.expiry[rows], ours, price, wanted.each_side)
            if unpriced.any():
                self._keep(~unpriced, "no price of the underlying is known")
                mask = mask[~unpriced]
        self._keep(mask, "strike out of range")

    def _caps(self, bounds: tuple[float, float], caps: Mapping[str, float]) -> None:
        values = np.array([cap_of(self._columns, row, caps) for row in self._rows.tolist()], np.float64)
        unknown = np.isnan(values)
        self._keep(~unknown, "market capitalisation not known")
        values = values[~unknown]
        self._keep(
            (values >= bounds[0]) & (values <= bounds[1]),
            f"market capitalisation not between {bounds[0]:,g} and {bounds[1]:,g} crore",
        )


def cap_of(columns: Columns, row: int, caps: Mapping[str, float]) -> float:
    """Crore rupees of a share, or of a contract's underlying; NaN: not known."""
    if columns.kind.text(row) != "EQ":
        name = columns.name.text(row)
        return caps.get(f"NSE:{name}", caps.get(name, np.nan))
    symbol, isin = columns.symbol[row], columns.upstox_key[row].partition("|")[2]
    for name in (columns.key(row), isin, symbol):
        if name and name in caps:
            return caps[name]
    return float("nan")


def _groups(columns: Columns, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64[n]: equal for contracts that have a series of expiries in common."""
    future = columns.kind.are(["FUT"])[rows].astype(np.int64)
    exchange, name = columns.exchange.codes[rows].astype(np.int64), columns.name.codes[rows].astype(np.int64)
    return (exchange << 40) + (name << 1) + future


def _places(
    groups: np.ndarray[tuple[int], np.dtype[np.int64]], ends: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64[n]: 0 for the nearest expiry of a row's group, 1 for the next, ..."""
    if not groups.size:
        return groups
    _, small = np.unique(groups, return_inverse=True)
    known, at = np.unique(small.astype(np.int64) * _DAYS + ends, return_inverse=True)
    first = np.append(True, np.diff(known // _DAYS) != 0)
    start = np.maximum.accumulate(np.where(first, np.arange(known.size), 0))
    return np.asarray((np.arange(known.size) - start)[at], np.int64)


def _near(
    strike: np.ndarray[tuple[int], np.dtype[np.float64]],
    expiry: np.ndarray[tuple[int], np.dtype[np.int32]],
    ours: Mask,
    price: float,
    each_side: int,
) -> Mask:
    """Of `ours`: the strike nearest to the price and so many on either side, of every expiry."""
    found = np.zeros(ours.size, np.bool_)
    for end in np.unique(expiry[ours]):
        these = ours & (expiry == end)
        known = np.unique(strike[these])
        middle = nearest(known, price)
        low, high = known[max(0, middle - each_side)], known[min(known.size - 1, middle + each_side)]
        found |= these & (strike >= low) & (strike <= high)
    return found


def nearest(strikes: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]], price: float) -> int:
    """Place of the strike at the money: the nearest one, of two equally near the lower.

    Raises:
        InstrumentError: there is no strike.
    """
    if not len(strikes):
        raise InstrumentError("no strike to choose from")
    return int(np.argmin(np.abs(np.asarray(strikes) - price)))
