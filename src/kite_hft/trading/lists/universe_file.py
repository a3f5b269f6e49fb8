"""Layer 2, supervisor and verbs, cold: a universe as people write it: YAML with rules, or a list of names.

    title: NIFTY options near the money, and large shares
    instruments: [NSE:SBIN, "NSE_INDEX|Nifty 50", {instrument_key: "BSE_FO|843110", instrument_token: 843110}]
    lists: [nifty50.csv]
    rules:
      - {exchanges: [NFO], kinds: [CE, PE], underlyings: [NIFTY], expiry: nearest, strikes: {each_side: 10}}
      - {exchanges: [NSE], kinds: [EQ], of: nifty500.csv, market_cap: {from: 5000, to: 100000}}
    without: [NSE:YESBANK]
    largest: 3000

A key that is not known is an error with the nearest known one. A CSV is a list of names: with headings (the
exchange's own index files as they come: Symbol, Series), or one name a line.
"""

from __future__ import annotations

import csv
import datetime as dt
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.universe import CLASSES, POSITIONS, Expiries, Rule, Strikes, Universe

Names = list[Mapping[str, str | int]]
NamesOf = Callable[[str], Names]
"""The names in a file that the universe mentions."""

_SYMBOL: Final = ("symbol", "tradingsymbol", "ticker")
_KEY: Final = ("instrumentkey", "upstoxkey", "key")
_TOKEN: Final = ("instrumenttoken", "token")
_KINDS: Final = frozenset({"EQ", "FUT", "CE", "PE", "INDEX"})
_PLAIN: Final = frozenset({"", "EQ"})
_IN_NO_NAME: Final = frozenset("()[]{}<>\"'=;\\`$")
"""No exchange writes these in a symbol: the line is of another file."""


def parse_universe(data: Any, where: str, names_of: NamesOf) -> Universe:
    """A universe from the content of a YAML file.

    Raises:
        InstrumentError: an unknown key, or a value that cannot be meant; names file, key and fix.
    """
    if isinstance(data, list):
        data = {"instruments": data}
    words = _Section(data, where, "universe")
    names = [_name(entry, f"{where}: instruments") for entry in words.take("instruments", list, [])]
    for file in words.take("lists", list, []):
        names += names_of(str(file))
    rules = tuple(
        _rule(rule, f"{where}: rules, number {at}", names_of)
        for at, rule in enumerate(words.take("rules", list, []), 1)
    )
    found = Universe(
        title=words.take("title", str, ""),
        names=tuple(names),
        rules=rules,
        without=frozenset(map(str, words.take("without", list, []))),
        untradable=words.take("untradable", bool, False),
        largest=words.take("largest", int, 0),
    )
    words.end()
    if not found.names and not found.rules:
        raise InstrumentError(f"{where}: picks nothing: it needs instruments, lists or rules")
    return found


_CALLED: Final = re.compile(r"(?:[A-Za-z_]+[:|])?[A-Za-z0-9][A-Za-z0-9 &.,'()/*+%$@^~#_-]{0,90}")


def parse_names(lines: Iterable[str], where: str) -> Names:
    """The names in a CSV: by its headings, or the first column where it has none.

    Raises:
        InstrumentError: no name is in it; a token that is no number; what no instrument can be called.
    """
    try:
        rows = [row for row in csv.reader(lines) if row and any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InstrumentError(f"{where}: no list of names: {error}") from None
    rows = [row for row in rows if not row[0].lstrip().startswith("#")]
    heads = ["".join(c for c in head.lower() if c.isalnum()) for head in rows[0]] if rows else []
    columns = {head: at for at, head in enumerate(heads)}
    if not any(head in columns for head in (*_SYMBOL, *_KEY, *_TOKEN)):
        found = [_name(row[0].strip(), where) for row in rows]
    else:
        found = [_row(row, columns, f"{where}, row {at}") for at, row in enumerate(rows[1:], 2)]
    if not found:
        raise InstrumentError(f"{where}: no name of an instrument is in it")
    for name in (name for row in found for name in row.values() if isinstance(name, str)):
        if not _CALLED.fullmatch(name):
            raise InstrumentError(f"{where}: {name[:60]!r} is no name of an instrument")
    return found


def _row(row: Sequence[str], columns: Mapping[str, int], where: str) -> Mapping[str, str | int]:
    def cell(*heads: str) -> str:
        return next((row[columns[h]].strip() for h in heads if h in columns and columns[h] < len(row)), "")

    found: dict[str, str | int] = {}
    symbol, series = cell(*_SYMBOL), cell("series").upper()
    if symbol:
        exchange = cell("exchange").upper() or "NSE"
        named = symbol if ":" in symbol or "|" in symbol else f"{exchange}:{symbol}"
        found["symbol"] = named if series in _PLAIN else f"{named}-{series}"
    if key := cell(*_KEY):
        found["instrument_key"] = key if ":" in key or "|" in key else f"NSE:{key}"
    if token := cell(*_TOKEN):
        if not token.isdecimal():
            raise InstrumentError(f"{where}: token {token!r} is no number")
        found["instrument_token"] = int(token)
    if not found:
        raise InstrumentError(f"{where}: no name of an instrument in {', '.join(row)!r}")
    return found


def _name(entry: Any, where: str) -> Mapping[str, str | int]:
    """EXCHANGE:SYMBOL, Upstox key, token, a bare symbol of NSE, or a mapping of several names of one."""
    if isinstance(entry, Mapping):
        found = {str(column): _plain(name) for column, name in entry.items()}
        if found and all(name != "" for name in found.values()):
            return found
    elif isinstance(entry, str | int) and not isinstance(entry, bool):
        name = _plain(entry)
        if name != "" and not _IN_NO_NAME & set(str(name)):
            return {"instrument": name}
    raise InstrumentError(
        f"{where}: {entry!r} names no instrument: EXCHANGE:SYMBOL, an Upstox key or a token"
    )


def _plain(name: Any) -> str | int:
    if isinstance(name, int) and not isinstance(name, bool):
        return name
    text = str(name or "").strip()
    if text.isdecimal():
        return int(text)
    return text if not text or ":" in text or "|" in text else f"NSE:{text}"


def _rule(data: Any, where: str, names_of: NamesOf) -> Rule:
    words = _Section(data, where, "rule")
    kinds = frozenset(map(str, words.take("kinds", list, [])))
    if odd := kinds - _KINDS:
        raise InstrumentError(
            f"{where}: kinds: {', '.join(sorted(odd))}: known are {', '.join(sorted(_KINDS))}"
        )
    underlyings = frozenset(map(str, words.take("underlyings", list, [])))
    file = words.take("of", str, "")
    rule = Rule(
        exchanges=frozenset(map(str, words.take("exchanges", list, []))),
        segments=frozenset(map(str, words.take("segments", list, []))),
        kinds=kinds,
        underlyings=underlyings,
        of=_symbols(names_of(file)) if file else None,
        expiry=_expiry(words.take("expiry", object, None), f"{where}: expiry"),
        strikes=_strikes(words.take("strikes", object, None), f"{where}: strikes", underlyings),
        market_cap=_caps(words.take("market_cap", object, None), f"{where}: market_cap"),
    )
    words.end()
    if rule == Rule():
        raise InstrumentError(f"{where}: has no condition: it would pick the whole list")
    return rule


def _symbols(names: Names) -> frozenset[str]:
    """What a share, or an underlying, is called: with and without the exchange."""
    found = {str(name) for words in names for name in words.values() if isinstance(name, str)}
    return frozenset(found | {name.partition(":")[2] for name in found if name.startswith("NSE:")})


def _expiry(data: Any, where: str) -> Expiries | None:
    """`nearest`, `next monthly`, a date, or a mapping of after, before and those words under `which`."""
    if data is None or data == "all":
        return None
    if isinstance(data, dt.date):
        return Expiries(on=data)
    if isinstance(data, str):
        words = data.split()
        kinds = [word for word in words if word in CLASSES]
        places = [word for word in words if word in POSITIONS]
        if words and len(kinds) + len(places) == len(words) and len(kinds) < 2 and len(places) < 2:
            place = POSITIONS[places[0]] if places else None
            return Expiries(place, kinds[0] if kinds else "")
        try:
            return Expiries(on=dt.date.fromisoformat(data))
        except ValueError:
            raise InstrumentError(
                f"{where}: {data!r}: a date YYYY-MM-DD, all, or of nearest, next, weekly, monthly"
            ) from None
    parts = _Section(data, where, "expiry")
    which = parts.take("which", str, "all")
    chosen = _expiry(which, where) or Expiries()
    days = {name: parts.take(name, dt.date, None) for name in ("after", "before")}
    parts.end()
    return Expiries(chosen.position, chosen.kind, chosen.on, days["before"], days["after"])


def _strikes(data: Any, where: str, underlyings: frozenset[str]) -> Strikes | None:
    if data is None:
        return None
    words = _Section(data, where, "strikes")
    around = words.take("around", object, "last")
    if isinstance(around, int | float) and not isinstance(around, bool):
        if len(underlyings) != 1:
            raise InstrumentError(
                f"{where}: around: one price is for one underlying; write {{NAME: price, ...}}, or last"
            )
        around = {next(iter(underlyings)): around}
    if around == "last":
        around = {}
    if not isinstance(around, Mapping) or not all(
        isinstance(price, int | float) and price > 0 for price in around.values()
    ):
        raise InstrumentError(f"{where}: around: {around!r}: a price, {{NAME: price, ...}}, or last")
    found = Strikes(
        {str(name): float(price) for name, price in around.items()},
        words.take("percent", float, None, least=0.0),
        words.take("each_side", int, None, least=0),
        words.take("from", float, None, least=0.0),
        words.take("to", float, None, least=0.0),
    )
    words.end()
    if found == Strikes(found.around):
        raise InstrumentError(f"{where}: needs percent, each_side, from or to")
    return found


def _caps(data: Any, where: str) -> tuple[float, float] | None:
    if data is None:
        return None
    words = _Section(data, where, "market_cap")
    bounds: tuple[float, float] = (
        words.take("from", float, 0.0, least=0.0),
        words.take("to", float, float("inf"), least=0.0),
    )
    words.end()
    if bounds[0] > bounds[1]:
        raise InstrumentError(f"{where}: from {bounds[0]:g} is above to {bounds[1]:g} (crore rupees)")
    return bounds


class _Section:
    """A mapping whose keys are taken one by one; what is left at the end nobody knows."""

    def __init__(self, data: Any, where: str, what: str) -> None:
        if not isinstance(data, Mapping):
            raise InstrumentError(f"{where}: a {what} is a mapping of keys, not {data!r}")
        self._left, self._where, self._known = dict(data), where, set[str]()

    def take(self, key: str, kind: type, default: Any, *, least: float | None = None) -> Any:
        """The value of a key, checked."""
        self._known.add(key)
        if key not in self._left:
            return default
        value: Any = self._left.pop(key)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if kind is list and isinstance(value, str):
            value = [value]
        odd = isinstance(value, bool) and kind not in (bool, object)
        if odd or not (kind is object or isinstance(value, kind)):
            raise InstrumentError(f"{self._where}: {key}: {value!r} is no {kind.__name__}")
        if least is not None and not value >= least:
            raise InstrumentError(f"{self._where}: {key}: {value!r} is below {least:g}")
        return value

    def end(self) -> None:
        """Nothing may be left.

        Raises:
            InstrumentError: an unknown key; with the nearest known one.
        """
        for key in self._left:
            near = difflib.get_close_matches(str(key), self._known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(self._known))}"
            raise InstrumentError(f"{self._where}: unknown key {key!r}{hint}")
