"""Layer 5, supervisor and verbs, cold: the day's instrument lists, from the cache or from the brokers.

A list is fetched once a day and kept (master_cache.py). It is the day's from the time on at which the broker
makes it: one fetched earlier counts until then only. A list that is old, cut short or doubled is refused,
never replaced by yesterday's: yesterday's lots and contracts are not today's.

Lists of a server on this machine (a simulator) are a run's own: a run fetches them anew each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kite_hft.addresses import is_loopback
from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.brokers.table import master_columns, master_rebuilt
from kite_hft.configuring.models.broker import rules_of
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.master_cache import Mark, MasterError, load, newest_before, path_of, save
from kite_hft.engine.plan.master_fetch import fetched, list_url
from kite_hft.engine.plan.session import Access, SessionError, configured
from kite_hft.sessions import ist_date, ist_midnight_ns, seconds_of_day
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.columns import Columns
from kite_hft.trading.lists.joining import index_names
from kite_hft.trading.lists.list_checks import least_of, problems
from kite_hft.trading.lists.masters import Masters
from kite_hft.units import NS_PER_S

Say = Callable[[str], None]
WORDS: Final = {"kite": "Kite's instrument list", "upstox": "Upstox's instrument list"}


def quiet(_text: str) -> None:
    """Nobody listens."""


def source_of(access: Access) -> str:
    """What a list is kept as: the broker's name, with the server where it is not the broker's own."""
    host = urlsplit(list_url(access))
    ours = configured(Settings(), access.broker)
    if host.netloc == urlsplit(list_url(ours)).netloc:
        return access.broker
    return f"{access.broker}@{host.netloc.rpartition('@')[2].replace(':', '-')}"


def accesses_of(settings: Settings) -> list[Access]:
    """Whose lists a run with this configuration needs. Kite's has neither freeze quantities nor multipliers:
    Upstox's, which is open to all, is taken beside it, but for a server on this machine.
    """
    found = {broker: configured(settings, broker) for broker in settings.brokers}
    if "upstox" not in found and not is_loopback(list_url(found["kite"])):
        found["upstox"] = configured(settings, "upstox")
    return list(found.values())


def load_masters(
    settings: Settings,
    accesses: Iterable[Access],
    now_real_ns: int,
    cache: Path | None,
    say: Say = quiet,
    *,
    accept: bool = False,
    renew: bool = False,
) -> Masters:
    """The day's lists: kept ones that are still the day's, else fetched, checked and kept.

    cache: None: nothing is read and nothing kept. accept: also a list whose size changed so much. renew:
    fetch in any case. Upstox's list, where only its freeze quantities are wanted, may fail: it is said.

    Raises:
        MasterError: a list is old, cut short or doubled, or cannot be kept. SessionError: a broker did not
            answer. InstrumentError: a list cannot be read.
    """
    lists: dict[str, Columns] = {}
    for access in accesses:
        try:
            least = least_of(_extras(settings, access.broker))
            lists[access.broker] = one_list(
                access, now_real_ns, cache, say, accept=accept, renew=renew, least=least
            )
        except (SessionError, InstrumentError) as error:
            if access.broker in settings.brokers or not lists:
                raise
            say(
                f"instruments: {error}. Without {WORDS[access.broker]} freeze quantities and multipliers "
                "are not known: "
                "futures and options are not tradable"
            )
    return masters_of(settings, lists, now_real_ns)


def cached_masters(settings: Settings, now_real_ns: int, cache: Path) -> Masters:
    """The kept lists of the day, without asking a broker.

    Raises:
        MasterError: one is missing, damaged, or no longer the day's.
    """
    lists = {}
    for access in accesses_of(settings):
        mark, lists[access.broker] = kept(access, now_real_ns, cache)
        if not is_current(mark, now_real_ns):
            raise MasterError(
                f"{WORDS[access.broker]} was fetched before the broker made the day's "
                f"({master_rebuilt(access.broker)} IST): kite-hft instruments refresh"
            )
    return masters_of(settings, lists, now_real_ns)


def masters_of(settings: Settings, lists: dict[str, Columns], now_real_ns: int) -> Masters:
    """Lists that are at hand as one index. The names of indices are needed where two are joined."""
    day = trading_day(settings, now_real_ns)
    joins = len(lists) > 1
    return Masters(day, lists, index_names(load_yaml(settings.trading.indices), day) if joins else {})


def kept(access: Access, now_real_ns: int, cache: Path) -> tuple[Mark, Columns]:
    """The kept list of today.

    Raises:
        MasterError: there is none, or it does not prove itself.
    """
    return load(path_of(cache, source_of(access), ist_date(now_real_ns)))


def is_current(mark: Mark, now_real_ns: int) -> bool:
    """Whether a kept list is still the one that the broker has now."""
    today = ist_date(now_real_ns)
    made_ns = ist_midnight_ns(today) + seconds_of_day(master_rebuilt(mark.broker)) * NS_PER_S
    if mark.day != today.isoformat() or mark.fetched_real_ns > now_real_ns:
        return False
    return mark.fetched_real_ns >= made_ns or now_real_ns < made_ns


def _extras(settings: Settings, broker: str) -> Mapping[str, float]:
    """Of the broker's rules file.

    Raises:
        MasterError: it cannot be used.
    """
    path = rules_of(broker, settings.broker, settings.trading.rules)
    try:
        return limits_from_mapping(load_yaml(path)).extras
    except (SettingsError, ValueError) as error:
        raise MasterError(f"{path}: {error}") from None


def one_list(
    access: Access,
    now_real_ns: int,
    cache: Path | None,
    say: Say,
    *,
    accept: bool = False,
    renew: bool = False,
    least: Mapping[str, int] | None = None,
) -> Columns:
    """One broker's list of the day; see load_masters. least: instruments that each exchange has at least."""
    name, source, today = WORDS[access.broker], source_of(access), ist_date(now_real_ns)
    if cache is not None and not renew and path_of(cache, source, today).exists():
        try:
            mark, columns = kept(access, now_real_ns, cache)
            if is_current(mark, now_real_ns):
                return columns
            say(f"instruments: {name} was fetched before the broker made the day's: it is fetched again")
        except MasterError as error:
            say(f"instruments: {error}; it is fetched again")
    body = fetched(access)
    columns = master_columns(access.broker, body, name)
    digest = hashlib.sha256(body).hexdigest()
    before = None if cache is None else newest_before(cache, source, today)
    ours = is_loopback(list_url(access))
    rebuilt = master_rebuilt(access.broker)
    found = [] if ours else problems(columns, before and before[1], today, rebuilt, least)
    refused = [p.text for p in found if p.kind == "old" or not accept]
    if refused:
        raise MasterError(f"{name} is refused: {'; '.join(refused)}")
    for problem in found:
        say(f"instruments: {name}, accepted: {problem.text}")
    if before is not None and before[0].sha256 == digest:
        say(f"instruments: {name} is the same to the last byte as that of {before[0].day}")
    if cache is not None:
        mark = Mark(access.broker, source, today.isoformat(), now_real_ns, len(columns), digest, bool(found))
        save(cache, mark, columns)
    return columns


@dataclass(frozen=True, slots=True)
class ListState:
    """What is kept of one list. problem: "" or why it is not used, with the fix."""

    broker: str
    source: str
    path: Path
    mark: Mark | None
    problem: str


def states(settings: Settings, now_real_ns: int, cache: Path) -> list[ListState]:
    """Of every list that a run with this configuration needs: is the day's at hand?"""
    found = []
    for access in accesses_of(settings):
        source = source_of(access)
        path = path_of(cache, source, ist_date(now_real_ns))
        mark, problem = None, ""
        try:
            mark, _ = load(path)
            if not is_current(mark, now_real_ns):
                problem = "fetched before the broker made the day's list: kite-hft instruments refresh"
        except MasterError as error:
            problem = str(error)
        found.append(ListState(access.broker, source, path, mark, problem))
    return found


def repeated(settings: Settings, now_real_ns: int, cache: Path) -> list[str]:
    """The day's lists that are an earlier day's to the last byte, in words: contracts end and prices move, so
    that on a trading day its broker has not made it anew, or something on the way keeps it."""
    found = []
    for state in states(settings, now_real_ns, cache):
        before = newest_before(cache, state.source, ist_date(now_real_ns))
        if state.mark is not None and before is not None and state.mark.sha256 == before[0].sha256:
            found.append(f"{WORDS[state.broker]} is the same to the last byte as that of {before[0].day}")
    return found
