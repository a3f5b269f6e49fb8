"""Layer 5, supervisor, cold: the day's instruments of a run, from its brokers' lists.

A run on one broker trades what that broker's list has. A run on two reads both and joins them into one table,
in which every instrument is known to both: with another one its prices would come and no order could go,
or the other way round. What is traded is named by datafeed.instruments, or picked by datafeed.universe.

The lists of real brokers are kept for the day (engine/plan/masters.py). Those of a simulator are fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kite_hft.addresses import is_loopback
from kite_hft.brokers.table import upstox_master
from kite_hft.engine.history.caps import FILE as CAPS_FILE
from kite_hft.engine.market.past import metadata_folder
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.master_cache import cache_dir
from kite_hft.engine.plan.master_fetch import fetched, list_url
from kite_hft.engine.plan.masters import accesses_of, load_masters, masters_of
from kite_hft.engine.plan.session import Access, Session, SessionError
from kite_hft.engine.plan.universes import choose
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable, parse_csv
from kite_hft.trading.lists.columns import Columns
from kite_hft.trading.lists.joining import Joined, index_names, join
from kite_hft.trading.lists.masters import Masters

WHOLE_MAX: Final = 20_000
"""Of more instruments nobody means all."""
Say = Callable[[str], None]


def day_instruments(
    session: Session,
    settings: Settings,
    now_real_ns: int,
    say: Say = lambda text: None,
    caps_file: Path | None = None,
) -> InstrumentTable:
    """Today's master from the brokers, cut to what the configuration names. say: what a join left out.
    caps_file: see chosen_rows.

    Raises:
        SessionError: a broker did not answer, or its list is old, cut short or doubled.
        InstrumentError: a master, a configured name or the universe is unusable.
    """
    accesses = {access.broker: access for access in (*session.data, session.orders)}
    local = all(is_loopback(list_url(access)) for access in accesses.values())
    if local and settings.datafeed.universe is None:
        return _fetched_instruments(accesses, settings, now_real_ns, say)
    if local:
        masters = masters_of(settings, _fetched_columns(accesses), now_real_ns)
    else:
        # The session knows the keys; beside its brokers may stand one for freeze quantities alone.
        wanted = [accesses.get(access.broker, access) for access in accesses_of(settings)]
        masters = load_masters(settings, wanted, now_real_ns, cache_dir(os.environ), say)
    found = masters.joined(chosen_rows(masters, settings, session.data[0], say, caps_file))
    return _both(found, settings, say) if len(accesses) > 1 else found.table


def chosen_rows(
    masters: Masters, settings: Settings, access: Access, say: Say, caps_file: Path | None = None
) -> list[int]:
    """Rows of the leading list that the configuration names, or its universe picks. access: whose prices
    count. caps_file: market capitalisations of a universe that names none; None: those that are kept.

    Raises:
        InstrumentError: a name that is not there, a universe that picks nothing or too much, or all of a list
            that has too many.
    """
    universe, wanted = settings.datafeed.universe, settings.datafeed.instruments
    if universe is not None:
        found = choose(
            universe, masters, access, say, caps_file or metadata_folder(access.broker) / CAPS_FILE
        )
        for reason in found.left_out:
            say(f"universe: left out: {reason}")
        return found.rows
    if wanted != "all":
        return [masters.row_of(name) for name in dict.fromkeys(wanted)]
    if len(masters.rows) > WHOLE_MAX:
        raise InstrumentError(
            f"datafeed.instruments: all: the list has {len(masters.rows):,} instruments: name those that are "
            "traded in datafeed.instruments, or say by rules which they are in datafeed.universe"
        )
    return list(range(len(masters.rows)))


def _fetched_columns(accesses: dict[str, Access]) -> dict[str, Columns]:
    """The lists of simulators, by broker."""
    found = {"kite": Columns.of_table(kite_list(accesses["kite"]))} if "kite" in accesses else {}
    if "upstox" in accesses:
        found["upstox"] = Columns.of_table(upstox_list(accesses["upstox"], None, None))
    return found


def _fetched_instruments(
    accesses: dict[str, Access], settings: Settings, now_real_ns: int, say: Say
) -> InstrumentTable:
    """The lists of simulators, which have a few thousand rows, as they are read row by row."""
    wanted = settings.datafeed.instruments
    names = None if wanted == "all" else list(dict.fromkeys(wanted))
    if tuple(accesses) == ("upstox",):
        return upstox_list(accesses["upstox"], names, None)
    table = kite_list(accesses["kite"])
    if "upstox" not in accesses:
        return table if names is None else table.select([table.resolve(name) for name in names])
    day = trading_day(settings, now_real_ns)
    indices = index_names(load_yaml(settings.trading.indices), day)
    theirs = upstox_list(accesses["upstox"], None, table)
    return _both(join(table, theirs, indices=indices, day=day, wanted=names), settings, say)


def _both(found: Joined, settings: Settings, say: Say) -> InstrumentTable:
    """What both brokers know.

    Raises:
        SessionError: an instrument that is named is not known to both, or none is.
    """
    for line in found.lines():
        say(f"instruments: {line}")
    both: list[Instrument] = [row for row in found.table if row.upstox_key]
    if not both:
        raise SessionError("no instrument is in the lists of both brokers: compare the days of the lists")
    if settings.datafeed.instruments != "all" and len(both) < len(found.table):
        lacking = ", ".join(row.key for row in found.table if not row.upstox_key)
        raise SessionError(f"not known to both brokers: {lacking}; take them out of datafeed.instruments")
    return found.table.select(both)


def kite_list(access: Access) -> InstrumentTable:
    """Kite's instrument list.

    Raises:
        SessionError: it was refused. InstrumentError: it cannot be used.
    """
    try:
        lines = fetched(access).decode().splitlines()
    except UnicodeDecodeError as error:
        raise SessionError(f"the instrument list is no text: {error}") from None
    table = parse_csv(lines, "instrument list")
    if not len(table):
        raise SessionError("the instrument list is empty")
    return table


def upstox_list(access: Access, wanted: list[str] | None, beside: InstrumentTable | None) -> InstrumentTable:
    """Upstox's instrument list, or what of it is `wanted` or resembles the rows of `beside`.

    Raises:
        SessionError: it was refused. InstrumentError: it cannot be used.
    """
    return upstox_master(fetched(access), "Upstox's instrument list", wanted, beside)
