"""Layer 5, supervisor and verbs, cold: a universe file read, and what it needs to know of the day fetched.

Prices for strikes around the money come from the data broker: an underlying's nearest future, or the share
itself. Market capitalisations come from a table of the user's (trading/lists/market_caps.py): the one
that the file names, or the one that `kite-hft metadata` keeps.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft.brokers.table import last_prices
from kite_hft.brokers.values import AnswerError
from kite_hft.engine.plan.session import Access
from kite_hft.net.http import TransportConfigError, fetch
from kite_hft.plain import plain_text
from kite_hft.settings import load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentError
from kite_hft.trading.lists.market_caps import MarketCapError
from kite_hft.trading.lists.market_caps import parse as parse_caps
from kite_hft.trading.lists.masters import Masters
from kite_hft.trading.lists.universe import Selection, Universe, select
from kite_hft.trading.lists.universe_file import Names, parse_names, parse_universe

OLD_DAYS: Final = 7
"""Market capitalisations older than this are warned about."""
PAUSE_S: Final = 1.1
"""Between two calls for prices: the broker takes one a second."""
CAPS_KEY: Final = "market_caps"
Say = Callable[[str], None]


def read_universe(path: Path) -> tuple[Universe, Path | None]:
    """(a universe from a file, the table of market capitalisations that it names). CSV: a list of names.

    Raises:
        InstrumentError: it cannot be read or meant. SettingsError: no YAML.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        return Universe(title=path.stem, names=tuple(_names(path))), None
    data = load_yaml(path)
    caps = data.pop(CAPS_KEY, None) if isinstance(data, dict) else None
    if caps is not None and not isinstance(caps, str):
        raise InstrumentError(f"{path}: {CAPS_KEY}: {caps!r} is no file")
    found = parse_universe(data, str(path), lambda name: _names(path.parent / name))
    return found, None if caps is None else path.parent / os.path.expanduser(caps)


def _names(path: Path) -> Names:
    if path.suffix.lower() in (".yaml", ".yml"):
        return list(parse_universe(load_yaml(path), str(path), _no_lists).names)
    try:
        return parse_names(io.StringIO(plain_text(path, "utf-8-sig"), newline=""), str(path))
    except OSError as error:
        raise InstrumentError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InstrumentError(f"{path}: no text in UTF-8: {error}") from error


def _no_lists(name: str) -> Names:
    raise InstrumentError(f"a list of names mentions the list {name}: name both in the universe")


def choose(
    path: Path,
    masters: Masters,
    access: Access | None,
    say: Say,
    caps_file: Path,
    prices: Mapping[str, float] | None = None,
) -> Selection:
    """What the universe in a file picks from the day's lists. access: the broker whose prices count, None:
    nobody is asked. prices: by underlying, told by hand; they come first. caps_file: where market
    capitalisations are kept when the universe does not say.

    Raises:
        InstrumentError, SettingsError: the file, or what it picks, cannot be used.
    """
    universe, named = read_universe(path)
    caps = _caps(named or caps_file, masters.day, say) if universe.needs_caps else {}
    known = dict(prices or {})
    asked = last_prices_of(wanted_prices(universe, masters, known), masters, access, say)

    def price_of(exchange: str, underlying: str) -> float | None:
        return known.get(underlying, asked.get((exchange, underlying)))

    return select(universe, masters, price_of, caps)


def _caps(path: Path, day: dt.date, say: Say) -> Mapping[str, float]:
    try:
        found = parse_caps(path.read_text("utf-8-sig"), str(path))
    except FileNotFoundError:
        raise InstrumentError(
            f"{path}: no table of market capitalisations: fetch one with `kite-hft metadata --caps SOURCE`, "
            "or name "
            "your own in "
            f"the universe ({CAPS_KEY}: FILE)"
        ) from None
    except (OSError, UnicodeDecodeError, MarketCapError) as error:
        raise InstrumentError(f"market capitalisations: {error}") from error
    age = found.age_days(day)
    if age is None or age > OLD_DAYS:
        said = "do not say of which day they are" if age is None else f"are {age} days old"
        say(f"universe: the market capitalisations in {path} {said}: refresh them")
    return found.crores


def wanted_prices(universe: Universe, masters: Masters, known: Iterable[str] = ()) -> list[tuple[str, str]]:
    """(exchange, underlying) of all that a price is needed for."""
    columns, told = masters.rows, set(known)
    found: dict[tuple[str, str], None] = {}
    for rule in universe.rules:
        strikes = rule.strikes
        if strikes is None or (strikes.percent is None and strikes.each_side is None):
            continue
        mask = columns.kind.are(["CE", "PE"]) & ~columns.over(masters.day)
        if rule.exchanges:
            mask &= columns.exchange.are(rule.exchanges)
        names = columns.name.words
        pairs = np.unique(np.stack([columns.exchange.codes[mask], columns.name.codes[mask]], 1), axis=0)
        for place, name in pairs.tolist():
            text = names[name]
            wanted = not rule.underlyings or text in rule.underlyings
            if wanted and text not in told and text not in strikes.around:
                found[columns.exchange.words[place], text] = None
    return list(found)


def last_prices_of(
    pairs: Sequence[tuple[str, str]], masters: Masters, access: Access | None, say: Say
) -> dict[tuple[str, str], float]:
    """Last prices of underlyings, from a broker; of those that it does not tell there is none."""
    rows = {pair: row for pair in pairs if (row := _priced_by(pair, masters)) is not None}
    if not rows:
        return {}
    if access is None or not access.access_token:
        say("universe: no broker is asked for prices (no access token): give them, or log in")
        return {}
    kit = last_prices(access.broker)
    prices: dict[int, float] = {}
    wanted = list(
        {row.token: row for row in rows.values() if access.broker == "kite" or row.upstox_key}.values()
    )
    for at in range(0, len(wanted), kit.keys_max):
        if at:
            time.sleep(PAUSE_S)
        part = wanted[at : at + kit.keys_max]
        try:
            status, body = fetch(
                access.api_url + kit.path(part),
                kit.headers(access.api_key, access.access_token),
                bind=access.bind_address,
            )
            if status != 200:
                raise AnswerError(f"HTTP {status}: {body[:120]!r}")
            prices |= kit.parse(body, part)
        except (OSError, TransportConfigError, AnswerError) as error:
            say(f"universe: {access.broker} tells no prices: {error}")
            break
    return {pair: prices[row.token] for pair, row in rows.items() if row.token in prices}


def _priced_by(pair: tuple[str, str], masters: Masters) -> Instrument | None:
    """Whose price stands for an underlying: its nearest future on the exchange, else the share itself."""
    exchange, name = pair
    columns = masters.rows
    rows = columns.contracts(name, exchange)
    futures = rows[columns.kind.are(["FUT"])[rows] & ~columns.over(masters.day)[rows]]
    chosen: Any = futures[np.argmin(columns.expiry[futures])] if futures.size else None
    if chosen is None:
        shares = [row for place in ("NSE", "BSE") for row in columns.rows_of(f"{place}:{name}")]
        chosen = shares[0] if shares else None
    return None if chosen is None else masters.joined([int(chosen)]).table[0]
