"""Layer 5, metadata job, cold: one job: gather, then make metadata.parquet and metadata.json."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from kite_hft.brokers.table import history_of
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.history import metadata
from kite_hft.engine.history.beside import Beside
from kite_hft.engine.history.client import Fetch, HistoryClient, HistoryStopped
from kite_hft.engine.history.gathering import Gathering, Outcome
from kite_hft.engine.history.metadata import Metadata
from kite_hft.engine.history.pacing import Pacing, pacing_of
from kite_hft.engine.history.reaching import limits_of
from kite_hft.engine.plan.session import Session
from kite_hft.net.http import TransportConfigError, fetch
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.instruments import InstrumentTable, write_csv

LOCK: Final = ".lock"
INSTRUMENTS: Final = "instruments.csv"
CALL_S: Final = 15.0
"""An answer that takes longer is none."""


def nobody() -> None:
    """No engine can be on a simulator that the job has started."""


class FolderTaken(Exception):
    """Another job works on the folder."""


def patient_fetch(url: str, headers: Any, bind: str = "") -> tuple[int, bytes]:
    """GET; an address that must not be used is no address. bind: source address."""
    try:
        return fetch(url, headers, timeout_s=CALL_S, bind=bind)
    except TransportConfigError as error:
        raise HistoryStopped(f"{error}") from None


@dataclass(slots=True)
class Job:
    """What a job needs. say: told what a person should know; progress: (done, of all, instrument). pacing:
    of calls that others make as well; None: the job's own."""

    settings: Settings
    session: Session
    rows: InstrumentTable
    folder: Path
    since: dt.date | None = None
    until: dt.date | None = None
    again: bool = False
    say: Callable[[str], None] = lambda text: None
    progress: Callable[[int, int, str], None] = lambda done, of, name: None
    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], None] = time.sleep
    pacing: Pacing | None = None
    fetch: Fetch | None = None  # None: over HTTP, from the broker's source address

    def client(self) -> HistoryClient:
        """The broker's historical calls. Candles have a bucket of their own at Kite; at Upstox they count
        with all other reads, and both windows are kept.

        Raises:
            SettingsError, HistoryStopped: the rules file lacks what this needs.
        """
        access, limits = self.session.data[0], limits_of(self.settings)
        calls = history_of(access.broker)
        if not (limits.historical_windows or limits.other_windows):
            raise HistoryStopped(f"the rules of {limits.name} have no historical_windows: add them")
        return HistoryClient(
            calls,
            access.api_url,
            calls.headers(access.api_key, access.access_token),
            limits,
            self.fetch or partial(patient_fetch, bind=access.bind_address),
            self.pacing or pacing_of(limits, self.clock, self.sleep),
            self.say,
            Beside(self.settings, access, limits, self.clock).check
            if not self.session.own_simulator
            else nobody,
        )

    def run(self) -> tuple[Outcome, Metadata, HistoryStopped | None]:
        """Gather, then make the files, also of what an interrupted gathering brought.

        Raises:
            FolderTaken: see there. SettingsError: rules or calendar. OSError: a file cannot be written.
        """
        calendar = load_yaml(self.settings.trading.calendar)
        with taken(self.folder):
            write_csv(self.rows, self.folder / INSTRUMENTS)
            gathering = Gathering(
                self.folder, self.settings.broker, self.client(), self.clock, calendar, self.since, self.again
            )
            stopped = None
            try:
                for done, key in enumerate(gathering.run(self.rows), 1):
                    self.progress(done, len(self.rows), key)
            except HistoryStopped as error:
                stopped = error
            keys = [row.key for row in self.rows]
            made = metadata.make(self.folder, keys, calendar, self.clock.real_ns(), self.until)
        return gathering.outcome, made, stopped


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[None]:
    """The folder is ours.

    Raises:
        FolderTaken: another job's.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode(errors="replace").strip() or "unknown"
            raise FolderTaken(
                f"another metadata job works in {folder} ({holder}): let it end, or stop it"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"process {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(fd)
