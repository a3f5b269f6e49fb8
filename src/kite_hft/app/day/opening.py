"""Layer 6, by hand, cold: what a day is opened with: the keys of the vault, the day's instruments.

What cannot be had becomes a text, never an exception: doctor and morning say it among the rest.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kite_hft.addresses import is_loopback
from kite_hft.app.day.brokers import is_own
from kite_hft.app.day.facts import KeyFacts
from kite_hft.configuring.layers import Origin
from kite_hft.engine.keys.contents import ALERTS, Contents, VaultError, VaultMissing
from kite_hft.engine.keys.password import find_password
from kite_hft.engine.keys.taking import needs_vault, with_keys
from kite_hft.engine.keys.vault import default_path, read, status
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.plan.master import chosen_rows
from kite_hft.engine.plan.master_cache import cache_dir
from kite_hft.engine.plan.master_fetch import list_url
from kite_hft.engine.plan.masters import accesses_of, load_masters, repeated, states
from kite_hft.engine.plan.session import SessionError, configured
from kite_hft.settings import Loaded, Settings, SettingsError
from kite_hft.trading.instruments import InstrumentError, InstrumentTable
from kite_hft.trading.lists.masters import Masters

KEYS = ("api_key", "api_secret", "access_token", "sandbox_token")
SINKS = ("webhook", "telegram_bot_token", "heartbeat_url")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Opened:
    """What both the doctor and the morning start from.

    contents: of the vault. masters: the whole lists; None: there are none, and `no_masters` says why ("":
    they come with the simulator that the run starts). chosen: the instruments of the run. cores: those that
    it may use. cache: where the lists are kept; None: they are not.
    """

    settings: Settings
    config: Path
    root: Path
    now_ns: int
    day: dt.date
    keys: KeyFacts
    contents: Contents
    masters: Masters | None
    chosen: InstrumentTable
    no_masters: str
    cores: tuple[int, ...]
    cache: Path | None

    @property
    def account(self) -> Path:
        """The folder of the account."""
        return self.root / f"{self.settings.broker}-{self.settings.account}"

    @property
    def masters_age_s(self) -> float:
        """Age of the oldest list; 0: they were taken now."""
        if self.cache is None or self.masters is None:
            return 0.0
        marks = [row.mark for row in states(self.settings, self.now_ns, self.cache) if row.mark is not None]
        return max((self.now_ns - mark.fetched_real_ns for mark in marks), default=0) / 1e9

    @property
    def repeated_lists(self) -> tuple[str, ...]:
        """Lists of the day that are an earlier day's, in words."""
        if self.cache is None or self.masters is None:
            return ()
        return tuple(repeated(self.settings, self.now_ns, self.cache))


def open_day(
    loaded: Loaded,
    config: Path,
    root: Path,
    now_ns: int,
    *,
    fd: int | None,
    prompt: Callable[[], str] | None,
    environ: Mapping[str, str],
    say: Say = lambda text: None,
) -> Opened:
    """Keys and instruments. root: the state directory; fd, prompt: where the master password comes from."""
    keys, contents = unlocked(loaded, fd, prompt, environ, say)
    try:
        settings = with_keys(loaded.settings, contents)
    except VaultError as error:  # how somebody is told cannot be used
        keys = replace(keys, error=str(error))
        settings = with_keys(loaded.settings, contents, sinks=False)
    # A simulator's lists are its own for as long as it lives: they are not kept.
    local = all(is_loopback(list_url(access)) for access in accesses_of(settings))
    cache = None if local or settings.mode == "sim" else cache_dir(environ)
    masters, chosen, why = instruments_of(settings, now_ns, cache, say)
    day, cores = trading_day(settings, now_ns), tuple(sorted(os.sched_getaffinity(0)))
    return Opened(settings, config, root, now_ns, day, keys, contents, masters, chosen, why, cores, cache)


def unlocked(
    loaded: Loaded,
    fd: int | None,
    prompt: Callable[[], str] | None,
    environ: Mapping[str, str],
    say: Say,
) -> tuple[KeyFacts, Contents]:
    """What is to be said of the vault, and what it holds; it is opened only when the run needs it."""
    settings, inline = loaded.settings, inline_keys(loaded)
    path, needed = settings.credentials.file or default_path(environ), needs_vault(settings)
    exists = path.exists()
    if not needed:
        return KeyFacts(path, exists, inline=inline), {}
    try:
        status(path)  # before anybody is asked for a password
        password = find_password(fd=fd, prompt=prompt, environ=environ, say=lambda t: say(f"warning: {t}"))
        contents = read(path, password)
    except VaultMissing:
        return KeyFacts(path, False, needed, inline=inline), {}
    except VaultError as error:
        return KeyFacts(path, exists, needed, error=str(error), inline=inline), {}
    return KeyFacts(path, exists, needed, opened=True, inline=inline), contents


def inline_keys(loaded: Loaded) -> dict[str, Origin]:
    """Keys and tokens that the configuration has itself, as broker.key, and where each stands."""
    sections = {"kite": KEYS, "upstox": KEYS, ALERTS: SINKS}
    return {
        f"{section}.{key}": loaded.origin((section, key))
        for section, names in sections.items()
        for key in names
        if getattr(getattr(loaded.settings, section), key, "")
    }


def instruments_of(
    settings: Settings, now_ns: int, cache: Path | None, say: Say
) -> tuple[Masters | None, InstrumentTable, str]:
    """(the day's lists, the run's instruments out of them, why there are none)."""
    nothing = InstrumentTable(())
    if any(is_own(settings, configured(settings, name)) for name in settings.brokers):
        return None, nothing, ""
    try:
        masters = load_masters(settings, accesses_of(settings), now_ns, cache, say)
        rows = chosen_rows(
            masters, settings, configured(settings, settings.data_brokers[0]), lambda text: None
        )
        return masters, masters.joined(rows).table, ""
    except (SessionError, InstrumentError, SettingsError, OSError) as error:
        return None, nothing, str(error)
