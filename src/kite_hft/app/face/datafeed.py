"""Layer 6, a user's program, cold: `from kite_hft import DataFeedService`: market data for a Python program.

    feed = DataFeedService(api_key=config.kite.api_key, access_token=access_token)
    feed.subscribe([738561, 5633], mode="quote")
    feed.add_tick_callback(lambda tick: print(tick.instrument_token, tick.last_price))
    feed.start()

The work is done by the engine's own processes: an engine that runs already is read, never disturbed;
otherwise one is started that brings prices and cannot trade. docs/python.md tells all of it.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from kite_hft.app.face.base import base_settings, with_login
from kite_hft.app.face.changeable import Changeable, Key
from kite_hft.app.face.engines import (
    OwnEngine,
    fitting,
    modes_of,
    own_settings,
    say_where,
    start_engine,
)
from kite_hft.app.face.following import Follower, Loss, TickCallback, Told
from kite_hft.app.face.history import PERIODS_S, Rings
from kite_hft.app.face.recording import Recording
from kite_hft.app.face.statistics import Statistics
from kite_hft.app.face.texts import LOG, DataFeedError
from kite_hft.app.face.ticks import columns
from kite_hft.configuring.models.broker import mode_of
from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.runs import RunNote
from kite_hft.memory.segment import SegmentError
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import Instrument, InstrumentError, InstrumentTable, read_csv

ASK_S: Final = 10.0
WAIT_STEP_S: Final = 0.2

Array = npt.NDArray[np.void]
Called = TypeVar("Called", bound=Callable[..., Any])


class Live:
    """What a started service holds. engine: None: the run is somebody else's."""

    def __init__(self, note: RunNote, engine: OwnEngine | None, told: Told) -> None:
        """Attach to a run, read-only.

        Raises:
            SegmentError, InstrumentError, OSError: it has just ended, or is of another build.
        """
        self.note, self.engine = note, engine
        self.table: InstrumentTable = read_csv(Path(note.folder) / "instruments.csv")
        shm, connections = Path(note.shm), len(note.connections)
        self.rings = Rings(shm, connections)
        self.look = Look.open(note)
        try:
            self.follower = Follower(shm, connections, self.table, np.zeros(len(self.table), np.bool_), told)
        except BaseException:
            self.look.close()
            raise
        self.statistics = Statistics(self.look, self.rings, self.follower, told)
        self.recording: Recording | None = None

    def close(self) -> None:
        """Let go of everything; an engine of our own is stopped in order."""
        if self.recording is not None:
            self.recording.stop()
        self.follower.stop()
        self.rings.close()
        self.look.close()
        if self.engine is not None and (code := self.engine.stop()):
            LOG.warning("the engine ended with exit code %d: see %s", code, self.note.folder)


class DataFeedService:
    """Live prices of a broker, or of a simulator on this machine.

    api_key, access_token: of today's login; empty: those of the configuration or of the vault; with none at
    all and `mode: sim` a simulator is started, and its prices are invented. broker: kite or upstox;
    default: the data broker of the configuration. settings: a Settings, or a path; default:
    $KITE_CONFIG_PATH or config/config.yaml, and the defaults where there is neither. attach: False: never
    read an engine that runs.

    `start` returns when prices come, and goes on in the background; `stop` ends it, `wait` waits until
    then. A script that ends without `stop` goes on with its callbacks until Ctrl-C.
    """

    def __init__(
        self,
        api_key: str = "",
        access_token: str = "",
        *,
        broker: str | None = None,
        settings: Settings | Path | str | None = None,
        attach: bool = True,
    ) -> None:
        """Raises SettingsError: the configuration cannot be used."""
        base, self._file = base_settings(settings, os.environ)
        base = with_login(base, broker, api_key, access_token)
        self.config = Changeable(base, lambda: self.running, self._changed)
        self._attach, self._wanted = attach, dict[str, str]()
        self._all = True  # nothing was ever asked for: callbacks get all of the run
        self._told, self._lock = Told(), threading.RLock()
        self._live: Live | None = None

    # Before and after the start

    @property
    def running(self) -> bool:
        """Whether prices come: it was started, and neither it nor its engine has ended."""
        live = self._live
        return live is not None and not live.follower.ended.is_set()

    def subscribe(self, instruments: Iterable[int | str], mode: str = "quote") -> None:
        """Ask for prices of instruments: tokens, EXCHANGE:SYMBOL names, or Upstox keys.

        mode: ltp, quote or full (Upstox: ltpc, option_greeks, full, full_d30). While it runs, an engine of
        our own that does not know an instrument is started again, which takes some seconds: subscribe
        before.

        Raises:
            SettingsError: no list, or the broker has no such mode. DataFeedError: an engine that runs already
            does not have an instrument. InstrumentError: there is none of that name or token.
        """
        names = _names(instruments)
        for broker in self.config.settings.data_brokers:
            try:
                mode_of(broker, mode)
            except ValueError as error:
                raise SettingsError(str(error)) from None
        with self._lock:
            before = self._wanted, self._all
            self._wanted, self._all = self._wanted | dict.fromkeys(names, mode), False
            if self._live is None:
                return
            try:
                self._more(self._live, names, mode)
            except (DataFeedError, InstrumentError):
                self._wanted, self._all = before
                if self._live is None:  # the engine with more instruments did not come up
                    self.start()
                raise

    def unsubscribe(self, instruments: Iterable[int | str]) -> None:
        """Callbacks get these instruments no more; without the last of them they get none.

        While it runs an instrument may be named otherwise than it was subscribed by; before, as it was.

        Raises:
            SettingsError: no list. InstrumentError: it runs, and there is none of that name or token.
        """
        gone = set(_names(instruments))
        with self._lock:
            if (live := self._live) is not None:
                slots = {live.table.resolve(name).slot for name in gone}
                gone = {name for name in self._wanted if live.table.resolve(name).slot in slots}
            self._wanted = {name: mode for name, mode in self._wanted.items() if name not in gone}
            if live is not None:
                self._choose(live)

    def add_tick_callback(self, callback: TickCallback) -> None:
        """Let `callback(tick)` be called for every tick of the subscribed instruments, in a thread of its
        own.

        Each tick is a copy (Tick). Callbacks come one after the other: one that takes longer than ticks come
        makes this program lose ticks, told by a warning and by `add_loss_callback`; never the engine.
        """
        self._told.ticks = [*self._told.ticks, _callable(callback)]

    def add_loss_callback(self, callback: Callable[[Loss], Any]) -> None:
        """Let `callback(Loss(connection, ticks, next_seq))` be called when ticks were passed over."""
        self._told.losses = [*self._told.losses, _callable(callback)]

    def start(self) -> None:
        """Begin, and return as soon as the connections are up and everything is subscribed.

        Raises:
            DataFeedError: no engine came up; its own words say why. SettingsError: see `subscribe`.
            VaultError: the vault has the keys, and cannot be read.
        """
        with self._lock:
            if self.running:
                raise DataFeedError("it is started already")
            self._let_go()
            self._live = self._open()
            self._choose(self._live)
            self._live.follower.start()
            if self.config.datafeed.store_ticks:
                self._record(True)
        atexit.unregister(self._to_the_end)
        if is_script():
            atexit.register(self._to_the_end)

    def stop(self) -> None:
        """End it. An engine of its own stops in order; one that ran before goes on."""
        atexit.unregister(self._to_the_end)
        with self._lock:
            self._let_go()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is stopped, its engine ends, or Ctrl-C (which stops it). False: `timeout` seconds are
        over before that."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while self.running:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                time.sleep(WAIT_STEP_S)
        except KeyboardInterrupt:
            self.stop()
        return True

    def __enter__(self) -> DataFeedService:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What may be asked while it runs

    def get_statistics(self) -> dict[str, Any]:
        """Figures of the feed and of this program, see statistics.py; zeros while it does not run."""
        live = self._live
        return live.statistics.now() if live is not None and self.running else Statistics.nothing(self._told)

    def get_latest_ticks(self, instrument: int | str, count: int = 1000, *, raw: bool = False) -> Array:
        """The newest ticks of an instrument that shared memory still holds, oldest first, at most `count`.

        A copy, validated against the writer, as an array of ticks.COLUMNS; raw: of layout.TICK, in the
        engine's own integers.
        """
        live, row = self._row(instrument)
        try:
            found = live.rings.newest(row.slot, count)
        except SegmentError as error:
            raise DataFeedError(f"the engine is gone: {error}") from None
        return found if raw else columns(found, row)

    def get_ohlc_bars(self, instrument: int | str, count: int = 100, *, period_s: int = 60) -> Array:
        """The newest closed bars of an instrument since `start`, oldest first, at most `count`; history.BARS.

        period_s: 1, 60, 300 or 900. A bar is closed by the first tick after its end.
        """
        if period_s not in PERIODS_S:
            raise DataFeedError(
                f"bars of {period_s} s are not made; choose one of {', '.join(map(str, PERIODS_S))}"
            )
        live, row = self._row(instrument)
        return live.follower.bars.newest(row, count, period_s)

    def instrument(self, instrument: int | str) -> Instrument:
        """What is known of an instrument of the run: symbol, lot, price grid, expiry.

        Raises:
            DataFeedError: it does not run. InstrumentError: it is not in the run.
        """
        return self._row(instrument)[1]

    # Inside

    def _row(self, instrument: int | str) -> tuple[Live, Instrument]:
        live = self._live
        if live is None:
            raise DataFeedError("it was not started: call start()")
        return live, live.table.resolve(str(instrument))  # also numpy's integers

    def _open(self) -> Live:
        """An engine that runs, or one of our own."""
        base = self.config.settings
        settings = own_settings(base, self._wanted)
        note = fitting(settings, self._wanted, base.account) if self._attach else None
        if note is not None:
            say_where(note, own=False)
            live = Live(note, None, self._told)
            self._say_poor(live)
            return live
        from kite_hft.engine.keys.password import hidden_prompt
        from kite_hft.engine.keys.taking import take_keys

        prompt = hidden_prompt("master password of the vault (not shown): ")
        settings = take_keys(
            settings, os.environ, time.time_ns(), prompt=prompt, say=LOG.warning, sinks=False
        )
        engine = start_engine(settings, self._file, list(self._wanted))
        assert engine.note is not None
        say_where(engine.note, own=True)
        try:
            return Live(engine.note, engine, self._told)
        except BaseException:
            engine.stop()
            raise

    def _say_poor(self, live: Live) -> None:
        """Where a running engine has an instrument in a smaller mode than is asked for: nothing is
        changed."""
        modes, words = (
            modes_of(live.look, live.note),
            ("", "ltp", "ltpc", "option_greeks", "quote", "full", "full_d30"),
        )
        for name, mode in self._wanted.items():
            has = modes.get(live.table.resolve(name).slot, "")
            if words.index(has) < words.index(mode):
                LOG.warning(
                    "%s: the running engine has it in mode %s, not %s; kite-hft subscribe changes that",
                    name, has or "off", mode,
                )  # fmt: skip

    def _choose(self, live: Live) -> None:
        """Whose ticks the callbacks get: what was subscribed; without any, all of the run."""
        mask = np.zeros(len(live.table), np.bool_)
        for name in self._wanted:
            mask[live.table.resolve(name).slot] = True
        live.follower.wanted = ~mask if self._all else mask

    def _more(self, live: Live, names: list[str], mode: str) -> None:
        """Subscriptions while it runs."""
        try:
            tokens = [live.table.resolve(name).token for name in names]
        except InstrumentError as error:
            if live.engine is None:
                raise DataFeedError(
                    f"{error}; the running engine knows what its datafeed.instruments names: add it there, "
                    "or make the service with attach=False"
                ) from None
            LOG.info("started again for more instruments: %s", ", ".join(names))
            self._let_go()
            self.start()
            return
        if live.engine is not None:
            try:
                ask(Path(live.note.control), {"do": "subscribe", "tokens": tokens, "mode": mode}, ASK_S)
            except ControlError as error:
                raise DataFeedError(str(error)) from None
        else:
            self._say_poor(live)
        self._choose(live)

    def _changed(self, key: Key, settings: Settings) -> None:
        """A setting was changed; refused by raising."""
        if not self.running or key != ("datafeed", "store_ticks"):
            if self.running and self._live is not None and self._live.recording is not None:
                raise SettingsError(f"{'.'.join(key)}: it records already: set store_ticks to False before")
            return
        with self._lock:
            self._record(settings.datafeed.store_ticks)

    def _record(self, on: bool) -> None:
        """Record from now on, or no more."""
        live = self._live
        assert live is not None
        if any("recorder" in process["stages"] for process in live.note.processes):
            if not on:
                raise SettingsError("the engine records since its start: stop() ends it")
            return
        if live.recording is not None:
            live.recording.stop()
            live.recording = None
        if on:
            live.recording = Recording(live.note, self.config.settings)

    def _let_go(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.close()

    def _to_the_end(self) -> None:
        """The script has ended and this was not stopped: its callbacks go on until Ctrl-C. Not after an
        error."""
        if getattr(sys, "last_value", None) is None:
            self.wait()
        self.stop()


def _names(instruments: Iterable[int | str]) -> list[str]:
    """What was asked for, as names.

    Raises:
        SettingsError: one name, whose letters would be taken for instruments, or no list at all.
    """
    if isinstance(instruments, str | bytes) or not isinstance(instruments, Iterable):
        raise SettingsError(f"{instruments!r}: a list of instruments is expected, as [{instruments!r}]")
    return [str(name) for name in instruments]


def _callable(callback: Called) -> Called:
    """The same.

    Raises:
        SettingsError: it cannot be called.
    """
    if not callable(callback):
        raise SettingsError(f"{callback!r}: a function is expected, which is called with each tick or loss")
    return callback


def is_script() -> bool:
    """Whether a file runs, and no interactive session, whose end is meant."""
    return hasattr(sys.modules.get("__main__"), "__file__") and not sys.flags.interactive
