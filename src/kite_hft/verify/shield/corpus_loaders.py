"""Layer 6, campaign of formats, cold: every reader of a file that the product has, and a file of each.

A `Loader` reads one path. It must refuse with one of its own errors, in words, or say that there is nothing
(what falls under `nothing`). Some of the corpus says nothing to a reader of free text, and is no harm there:
`takes` names it.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft.brokers.kite.master import parse_columns
from kite_hft.brokers.limits import LimitsError, limits_from_mapping
from kite_hft.brokers.upstox.master import read_master
from kite_hft.engine.history import store
from kite_hft.engine.history.caps import FILE as CAPS
from kite_hft.engine.history.caps import read_caps
from kite_hft.engine.history.reading import NoHistory, read_history
from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.kdf import PBKDF2
from kite_hft.engine.keys.old_files import read_env, read_fernet
from kite_hft.engine.keys.vault import create, read, status
from kite_hft.engine.orders.evidence import EVIDENCE, day_calls
from kite_hft.engine.orders.latches import HOLDS, read_holds
from kite_hft.engine.orders.market_facts import names_of
from kite_hft.engine.plan import master_cache
from kite_hft.engine.plan.universes import read_universe
from kite_hft.engine.runs.runs import NOTE, read_note
from kite_hft.layout import SegmentKind
from kite_hft.memory import journal, segment, snapshots
from kite_hft.memory.header import SegmentError
from kite_hft.memory.journal_files import open_journal
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.memory.recording import Kind, Origin, Recording, RecordingError
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.plain import DATA_BYTES_MAX, plain_bytes
from kite_hft.sessions import CalendarError, Phases, session_from_calendar
from kite_hft.settings import SettingsError, load_yaml, read_settings
from kite_hft.sim.faults.schedule import load_faults
from kite_hft.sim.market.replay import ReplayError, open_replay
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.costs import ChargesError, schedule_from_mapping
from kite_hft.trading.history import DAY as DAY_ROW
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, read_csv, write_csv
from kite_hft.trading.lists.market_caps import MarketCapError
from kite_hft.trading.market_rules import MarketRulesError, market_rules

DAY: Final = dt.date(2026, 11, 20)
PASSWORD: Final = b"correct horse battery"
KEY: Final = "NSE:INFY"
EMPTY: Final[tuple[Any, ...]] = (None, {}, [], ())
WORDS: Final = frozenset(
    {"shell script", "newlines", "0 zeros", "0 random bytes", "0 bytes of ones", "utf-8 mark alone"}
    | {"json, {}", "json, null"}
)
"""Nothing but a remark, or nothing at all."""
Errors = tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Loader:
    """file: the name under which it is read, below a folder of its own. act: reads it. errors: how it
    refuses.

    nothing: answers that say that there is nothing. takes: what of the corpus it may take. make: a sound file
    at the path; None: there is none to damage. meaning: of an answer, for formats with room that means
    nothing: a damaged file that means what the sound one does is no miss.
    """

    file: str
    act: Callable[[Path], Any]
    errors: Errors
    nothing: tuple[Any, ...] = ()
    takes: frozenset[str] = frozenset()
    make: Callable[[Path], object] | None = None
    meaning: Callable[[Any], Any] = lambda answer: object()


def _table(n: int = 12) -> InstrumentTable:
    table, _ = default_instruments(n, 7)
    return table


def _calendar(path: Path) -> Any:
    rows = load_yaml(path)
    Phases(rows)
    return session_from_calendar(rows, "NSE", DAY)


def _kite_master(path: Path) -> Any:
    return parse_columns(plain_bytes(path, DATA_BYTES_MAX), str(path))


def _arrow(path: Path) -> None:
    listed = path.with_name("listed.csv")
    write_csv(_table(), listed)
    columns = parse_columns(listed.read_bytes())
    listed.unlink()
    mark = master_cache.Mark("kite", "kite", DAY.isoformat(), 1, len(columns), "ab" * 32)
    path.write_bytes(master_cache.packed(mark, columns))


def _parquet(path: Path) -> None:
    days = np.zeros(5, DAY_ROW)
    days["day"] = np.arange("2026-11-16", "2026-11-21", dtype="datetime64[D]")
    for name in ("open", "high", "low", "close"):
        days[name] = 100.0
    stored = store.Stored(KEY, 1, "", "kite", DAY, 1, DAY, days)
    store.write(path.parents[2], stored)


def _journal(path: Path) -> None:
    writer = JournalWriter(open_journal(path, allow_memory=True), header=journal.Header(1, 2, 3))
    for number in range(8):
        writer.append(journal.Kind.STATE, number, b'{"state": "active"}')
    writer.sync()


def _whole_journal(path: Path) -> Any:
    """As a start reads it: a tail that a crash left is told, and what stands before it holds."""
    found = journal.scan(plain_bytes(path, DATA_BYTES_MAX))
    if found.tail != "clean":
        raise journal.JournalError(f"{path}: {found.tail}: {found.detail}")
    return found


def _recording(path: Path) -> None:
    origin = Origin(Kind.FRAMES, 0, "ab" * 32, 1, 2, "kite")
    writer = RecordingWriter(path, origin, b"boot", 4096)
    for number in range(9):
        writer.write_frame(number, number, b"frame" * 20, number)
    writer.close()


def _whole_recording(path: Path) -> Recording:
    """As a person has it described: what one that ended in order has lost since is told."""
    found = Recording(path)
    if found.damaged or not found.closed:
        raise RecordingError(f"{path}: {found.damaged or 'not closed in order'}")
    return found


def _segment(path: Path) -> None:
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    made = segment.create(path.parent, "ticks", SegmentKind.TICK_RING, 16, **now)
    made.rename(path)


def _attach(path: Path) -> Any:
    with segment.attach(path, SegmentKind.TICK_RING, writable=False) as found:
        return found


def _snapshot(path: Path) -> None:
    writer = snapshots.SnapshotWriter(path.parent, "worker")
    for number in range(2):  # its halves are written in turn
        writer.write({"answer": number, "rows": np.arange(50)})
    writer.close()
    path.with_name("worker.1.snap").unlink()


def _config(path: Path) -> Any:
    return read_settings(path, None, {})


def _rules(parse: Callable[[Any], Any]) -> Callable[[Path], Any]:
    return lambda path: parse(load_yaml(path))


LISTS: Final = frozenset(
    {"json, 7", "json, null", "json, true", 'json, "text"', "csv, ragged", "csv, NUL", "csv, odd numbers"}
    | {"csv, 100,000 columns", "csv, carriage returns", "pickle, base64", "1 random bytes", "shell script"}
    | {"json, a key twice", *(f"{name}, its head alone" for name in ("GGUF", "ORC", "feather", "Parquet"))}
)
"""Words that could be names: nobody has an instrument of that name, which is told later."""
LOADERS: Final[dict[str, Loader]] = {
    "configuration": Loader("config.yaml", _config, (SettingsError,), takes=WORDS),
    "limits": Loader("limits.yaml", _rules(limits_from_mapping), (SettingsError, LimitsError)),
    "calendar": Loader("india.yaml", _calendar, (SettingsError, CalendarError)),
    "market rules": Loader(
        "market.yaml", _rules(lambda rows: market_rules(rows, DAY, "kite")), (SettingsError, MarketRulesError)
    ),
    "charges": Loader(
        "charges.yaml", _rules(lambda rows: schedule_from_mapping(rows, DAY)), (SettingsError, ChargesError)
    ),
    "faults": Loader("faults.yaml", load_faults, (SettingsError,), nothing=EMPTY),
    "universe": Loader("universe.yaml", read_universe, (SettingsError, InstrumentError)),
    "list of names": Loader("names.csv", read_universe, (InstrumentError,), takes=LISTS),
    "restriction list": Loader("asm.csv", names_of, (SettingsError,), nothing=EMPTY, takes=LISTS),
    "market caps": Loader(CAPS, lambda path: read_caps(path.parent), (MarketCapError,), nothing=EMPTY,
                          takes=LISTS),
    "Kite's instruments": Loader("instruments.csv", _kite_master, (InstrumentError, OSError),
                                 make=lambda path: write_csv(_table(), path),
                                 meaning=lambda found: found.table().rows),
    "Upstox's instruments": Loader("complete.json.gz", read_master, (InstrumentError,)),
    "instruments of a run": Loader("instruments.csv", read_csv, (InstrumentError, OSError)),
    "instrument cache": Loader(
        "kite-2026-11-20.arrow", master_cache.load, (master_cache.MasterError,), make=_arrow
    ),
    "stored bars": Loader("days/NSE/INFY.parquet", lambda path: store.read(path.parents[2], KEY),
                          (store.StoreError,), nothing=EMPTY, make=_parquet,
                          meaning=lambda found: (str(found), found.days.tobytes())),
    "metadata": Loader("metadata.json", lambda path: read_history(path, _table(), DAY), (NoHistory,)),
    "recording": Loader("frames-0.rec", _whole_recording, (RecordingError,), make=_recording,
                        meaning=lambda found: (found.origin, found.frames)),
    "replay": Loader("feed.jsonl", open_replay, (ReplayError,)),
    "packed replay": Loader("feed.csv.xz", open_replay, (ReplayError,)),
    "journal": Loader("journal.bin", _whole_journal, (journal.JournalError, OSError), make=_journal),
    "segment": Loader("ticks.seg", _attach, (SegmentError,), make=_segment,
                      meaning=lambda found: found.header.tobytes()),
    "snapshot": Loader("worker.0.snap", lambda path: snapshots.read_newest(path.parent, "worker"), (),
                       nothing=EMPTY, make=_snapshot,
                       meaning=lambda found: (found[0], found[1]["answer"], bytes(found[1]["rows"]))),
    "vault": Loader("credentials.vault", lambda path: read(path, PASSWORD), (VaultError,),
                    make=lambda path: create(path, PASSWORD, {"kite/default": {"api_key": "k"}}, PBKDF2)),
    "vault's state": Loader("credentials.vault", status, (VaultError,)),
    ".env": Loader(".env", lambda path: read_env(path, "default"), (VaultError,)),
    "older vault": Loader("credentials.encrypted", lambda path: read_fernet(path, PASSWORD, "default"),
                          (VaultError,)),
    "note of a run": Loader(NOTE, read_note, (), nothing=EMPTY),
    "held strategies": Loader(HOLDS, lambda path: read_holds(path.parent), (), nothing=EMPTY),
    "evidence": Loader(f"run/{EVIDENCE}", lambda path: day_calls(path.parents[1] / "other", "kite"), (),
                       nothing=EMPTY),
}  # fmt: skip
"""Name -> reader."""


def _endless(path: Path) -> None:
    while True:
        path.exists()


CARELESS: Final[dict[str, Loader]] = {
    "runs a program": Loader("a", lambda path: os.system("true"), ()),
    "takes all": Loader("a", lambda path: "taken", ()),
    "never ends": Loader("a", _endless, ()),
    "takes memory": Loader("a", lambda path: len(bytes(1 << 34)), ()),
    "fails in its own way": Loader("a", lambda path: dict[str, int]()["no such key"], (ValueError,)),
    "says nothing": Loader("a", lambda path: (_ for _ in ()).throw(ValueError()), (ValueError,)),
}
"""Readers with one fault each, which the campaign must find."""
