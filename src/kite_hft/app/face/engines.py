"""Layer 6, a user's program, cold: the engine behind a DataFeedService: one that runs already, or one of
its own.

An engine of its own never trades: it has no strategies, and with a broker's keys it runs in mode paper, in
which the order process has neither token nor address. Without keys it runs beside a simulator (mode sim).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from kite_hft.app.face.texts import FAILED, LOG, DataFeedError
from kite_hft.configuring.models.safety import AlertSection
from kite_hft.engine.runs.look import Look, mode_names
from kite_hft.engine.runs.runs import FEED_ACCOUNTS, RunNote, running
from kite_hft.memory.segment import SegmentError
from kite_hft.settings import Settings
from kite_hft.trading.instruments import InstrumentError, read_csv

START_S: Final = 90.0
STOP_S: Final = 90.0
LOOK_S: Final = 0.05
TAIL_LINES: Final = 12
ALREADY: Final = "an engine already runs on"


def own_settings(base: Settings, wanted: Mapping[str, str]) -> Settings:
    """The settings of an engine that only brings prices. wanted: instrument (or token) -> mode; empty: those
    of the configuration.

    Raises:
        SettingsError (a ValueError): what is wanted cannot be had of this broker.
    """
    keys = any((base.kite if b == "kite" else base.upstox).access_token for b in base.data_brokers)
    simulated = base.mode == "sim" and not keys
    feed = base.datafeed.model_dump()
    if wanted:
        modes = list(wanted.values())
        first = max(dict.fromkeys(modes), key=modes.count)
        feed |= {"instruments": list(wanted), "mode": first, "universe": None}
        feed["modes"] = dict(wanted)
    data = base.model_dump() | {
        "mode": "sim" if simulated else "paper",
        "datafeed": feed,
        "strategies": [],
        "alerts": AlertSection().model_dump(),
        "upstox": base.upstox.model_dump() | {"sandbox": False},
        "trading": base.trading.model_dump() | {"watchdog": False},
        "console": {},
    }
    return Settings.model_validate(data)


def fitting(settings: Settings, wanted: Iterable[str], account: str) -> RunNote | None:
    """A running engine on `account` with the prices that are wanted, of the same kind: the market's, or a
    simulator's."""
    for note in running():
        same = note.account == account and set(settings.data_brokers) <= set(note.data_brokers)
        if same and (note.mode == "sim") == (settings.mode == "sim") and knows(note, wanted):
            return note
    return None


def knows(note: RunNote, wanted: Iterable[str]) -> bool:
    """Whether all these instruments are in the run."""
    try:
        table = read_csv(Path(note.folder) / "instruments.csv")
        return all(table.resolve(name) for name in wanted)
    except (InstrumentError, OSError):
        return False


@dataclass(slots=True)
class OwnEngine:
    """An engine that this program has started. said: what it printed."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]
    note: RunNote | None = None

    def stop(self) -> int:
        """End it in order; its exit code."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said.close()
        return self.process.returncode

    def words(self) -> str:
        """Why it failed, or its last lines."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").splitlines()
        for at, line in enumerate(lines):
            if line.startswith(FAILED):
                return "\n".join([line.removeprefix(FAILED), *lines[at + 1 :]])
        return "\n".join(lines[-TAIL_LINES:]) or f"it said nothing (exit code {self.process.returncode})"


def start_engine(settings: Settings, config: Path | None, tokens: Sequence[str]) -> OwnEngine:
    """Start an engine and wait until its feeds are connected and `tokens` (names, too) are subscribed.

    config: the file that the settings come from, for the record in the run folder.

    Raises:
        DataFeedError: it did not come up; the message is the engine's own.
    """
    taken = {note.account for note in running()}
    for account in FEED_ACCOUNTS:
        if account in taken:
            continue
        engine = _launch(settings.model_copy(update={"account": account}), config)
        try:
            engine.note = await_prices(engine, tokens)
            return engine
        except DataFeedError as error:
            engine.stop()
            if ALREADY not in str(error):
                raise
        except BaseException:
            engine.stop()
            raise
    raise DataFeedError(
        f"{len(FEED_ACCOUNTS)} programs read prices on this machine already: stop one of them"
    )


def _launch(settings: Settings, config: Path | None) -> OwnEngine:
    said = tempfile.TemporaryFile()  # noqa: SIM115 OwnEngine.stop closes it
    process = subprocess.Popen(
        [sys.executable, "-m", "kite_hft.app.face.engine_child"],
        stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT,
        start_new_session=True, env=child_environment(os.environ),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        record = config
        if record is None:
            record = Path(folder) / "datafeed.yaml"
            record.write_text("# DataFeedService without a configuration file: every key has its default\n")
        engine = OwnEngine(process, said)
        told = {"settings": settings.model_dump(mode="json"), "config": str(record)}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(told).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: await_prices says why
        deadline = time.monotonic() + START_S
        while note_of(process.pid) is None and process.poll() is None and time.monotonic() < deadline:
            time.sleep(LOOK_S)
    return engine


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Without the variables that stand for keys of the configuration: the settings hold them already, and no
    secret is handed on where others of this user could read it."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(("KITE_", "UPSTOX_")) or name.startswith("KITE_HFT_")
    }


def note_of(pid: int) -> RunNote | None:
    """The note of the engine whose supervisor is process `pid`."""
    return next((note for note in running() if note.pid == pid), None)


def await_prices(engine: OwnEngine, names: Sequence[str]) -> RunNote:
    """Wait until connections are up and the instruments subscribed.

    Raises:
        DataFeedError: the engine has ended, or START_S are over.
    """
    deadline = time.monotonic() + START_S
    while engine.process.poll() is None:
        note = note_of(engine.process.pid)
        if note is not None and subscribed(note, names):
            return note
        if time.monotonic() > deadline:
            raise DataFeedError(f"no prices within {START_S:g} s; the engine says:\n{engine.words()}")
        time.sleep(LOOK_S)
    raise DataFeedError(engine.words())


def subscribed(note: RunNote, names: Sequence[str]) -> bool:
    """Whether every connection of a run is up, and these instruments have a mode."""
    try:
        table = read_csv(Path(note.folder) / "instruments.csv")
        look = Look.open(note)
    except (SegmentError, InstrumentError, OSError):
        return False  # it is just being made
    try:
        rows = look.connections(time.monotonic_ns())
        modes = modes_of(look, note)
        slots = [table.resolve(name).slot for name in names]
        return bool(rows) and all(row["connected"] for row in rows) and all(modes.get(s) for s in slots)
    except InstrumentError as error:
        raise DataFeedError(str(error)) from None
    finally:
        look.close()


def modes_of(look: Look, note: RunNote) -> dict[int, str]:
    """Slot -> streaming mode; "": not subscribed."""
    words, found = mode_names(note), dict[int, int]()
    for table in look.slot_stats().values():
        for slot, mode in enumerate(table["mode"].tolist()):
            found[slot] = max(found.get(slot, 0), mode)
    return {slot: words[mode] if mode else "" for slot, mode in found.items()}


def say_where(note: RunNote, own: bool, tell: Callable[[str], None] = LOG.info) -> None:
    """Whose prices these are."""
    kind = "the simulator's prices, not the market's" if note.mode == "sim" else "the market's prices"
    whose = "an engine of this program" if own else "the running engine (read only)"
    tell(f"{kind}, by {whose}: {note.title}, process {note.pid}, {note.folder}")
