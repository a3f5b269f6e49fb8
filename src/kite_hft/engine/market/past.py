"""Layer 5, supervisor and market process, cold: the days before, for strategies that ask for them.

`params: {history: FILE}` of a strategy names a metadata.json (kite-hft metadata). The supervisor reads it
before anything starts, says what it lacks, and copies it into the run folder: a worker that is started again
in the middle of the day reads the same, whatever was made of the file meanwhile.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kite_hft.clock import Clock
from kite_hft.configuring.absolute import HISTORY, HISTORY_KEPT
from kite_hft.configuring.models.market import StrategySection
from kite_hft.engine.history.reading import NoHistory, read_history
from kite_hft.engine.market.strategies import StrategyError
from kite_hft.engine.plan.days import trading_day
from kite_hft.engine.runs.run_folder import state_dir
from kite_hft.settings import Settings, load_yaml
from kite_hft.strategies.history import AHEAD, History
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.trading_days import TradingDays

NAMED: Final = 3


def metadata_folder(broker: str) -> Path:
    """Where `kite-hft metadata` puts what it gathers, unless told otherwise."""
    return state_dir(os.environ) / "metadata" / broker


def source_of(settings: Settings, section: StrategySection) -> Path | None:
    """The file that a strategy names; None: it names none.

    Raises:
        StrategyError: a path that depends on where the engine is started.
    """
    named = section.params.get(HISTORY)
    if named is None:
        return None
    if named == HISTORY_KEPT:
        return metadata_folder(settings.data_brokers[0]) / "metadata.json"
    path = Path(os.path.expanduser(str(named)))
    if not path.is_absolute():
        raise StrategyError(
            f"strategy {section.name!r}: history {str(named)!r} is no absolute path; give one, or "
            f"{HISTORY_KEPT!r} for the file that kite-hft metadata makes"
        )
    return path


def take_histories(
    settings: Settings, instruments: InstrumentTable, now_real_ns: int, folder: Path
) -> Iterator[str]:
    """Copy every file that a strategy names into the run folder, and say what it does not tell.

    Raises:
        StrategyError: a file is not there, or cannot be used.
    """
    day = trading_day(settings, now_real_ns)
    for section in settings.strategies:
        source = source_of(settings, section)
        if source is None:
            continue
        try:
            copy = _copy_of(folder, source)
            if not copy.exists():
                shutil.copyfile(source, copy)
                copy.chmod(0o600)
            history = read_history(copy, instruments, day)
        except OSError as error:
            raise StrategyError(
                f"strategy {section.name!r}: history {source}: {error.strerror}; kite-hft metadata makes it"
            ) from None
        except NoHistory as error:
            text = str(error).replace(str(copy), str(source))
            raise StrategyError(f"strategy {section.name!r}: history {text}") from None
        yield from _words(settings, section, instruments, history, day)


def past_of(
    settings: Settings, instruments: InstrumentTable, clock: Clock, folder: Path, section: StrategySection
) -> History | None:
    """What a worker makes a strategy with: reads the copy in the run folder. None: it names no file."""
    source = source_of(settings, section)
    if source is None:
        return None
    return read_history(_copy_of(folder, source), instruments, trading_day(settings, clock.real_ns()))


def _copy_of(folder: Path, source: Path) -> Path:
    return folder / f"history-{hashlib.sha256(str(source).encode()).hexdigest()[:8]}.json"


def _words(
    settings: Settings, section: StrategySection, instruments: InstrumentTable, history: History, day: dt.date
) -> Iterator[str]:
    names = section.instruments
    rows = list(instruments) if names == "all" else [instruments.resolve(name) for name in names]
    if unknown := [row.key for row in rows if history.as_of[row.slot] == 0]:
        yield f"WARNING: {section.name}: no history of {_some(unknown)}: averages are NaN there"
    if ahead := [row.key for row in rows if history.as_of[row.slot] == AHEAD]:
        before = day - dt.timedelta(days=1)
        yield (
            f"WARNING: {section.name}: the history of {_some(ahead)} has {day} in it already: none of it is "
            f"told, averages are NaN. kite-hft metadata --until {before} makes it as of the day before"
        )
    calendar = load_yaml(settings.trading.calendar)
    old: dict[dt.date, list[str]] = {}
    for row in rows:
        if (at := int(history.as_of[row.slot])) > 0:
            last = dt.date(at // 10_000, at // 100 % 100, at % 100)
            if TradingDays(calendar, row.exchange).next_open(last) < day:
                old.setdefault(last, []).append(row.key)
    for last, keys in sorted(old.items()):
        yield (
            f"WARNING: {section.name}: the history of {_some(keys)} ends on {last}, and days were "
            "traded since: run kite-hft metadata (or end-of-day every evening)"
        )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")
