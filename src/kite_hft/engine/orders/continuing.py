"""Layer 5, supervisor and orders process, cold: earlier runs of the day that did not come to an end.

A run whose supervisor was killed, or that left orders or positions, is continued by the next run of
the same account and IST day, when build, configuration, rules, broker and instruments are the same: its
journal is replayed before the new one, so that orders keep their strategy and their numbers. The
new journal names it (START, `continues`), and so on through the day.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from kite_hft._tally import Tally
from kite_hft.layout import LAYOUT_FINGERPRINT
from kite_hft.memory.journal import HEADER_BYTES, PAYLOAD_MAX, Header, JournalError, Kind, Record, Scan, scan
from kite_hft.trading.book import Book
from kite_hft.trading.costs import Schedule
from kite_hft.trading.day_so_far import DaySoFar, Sums, of_today, read
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.pnl import CostBook, account
from kite_hft.trading.recovery.numbering import next_seqs
from kite_hft.trading.recovery.replay import RecoveryError, replay

JOURNAL: Final = "journal.bin"
REPORT: Final = "report.json"
START_BYTES: Final = HEADER_BYTES + 2 * PAYLOAD_MAX
"""The START record of a journal, which may hold the sums of many contracts, stands well within them."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Runs to go on from, oldest first. `refused`: why the last one, although unfinished, is not."""

    folders: tuple[Path, ...] = ()
    records: tuple[Record, ...] = ()
    refused: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(folder.name for folder in self.folders)

    def next_seqs(self) -> dict[int, int]:
        """Strategy -> the next strategy_seq that it may use."""
        return next_seqs([self.records])


def broker_name(mode: str, api_url: str, run: str, *, own: bool) -> str:
    """Which broker a journal is about. own: a simulator or exchange that lives only as long as the run."""
    return f"{mode} {api_url or 'paper'}" + (f" of run {run}" if own else "")


def find_earlier(
    folder: Path,
    config_hash: int,
    broker: str,
    instruments: InstrumentTable,
    *,
    build: int = 0,
    rules_hash: int = 0,
) -> Earlier:
    """What the run in `folder` has to go on from; empty when the last one ended with nothing open.

    Runs of another broker (paper, a simulator) are passed over. So is an ended one of another build,
    configuration or rules: it went on from none of ours, and what it did the broker's books tell.

    build, rules_hash: of this run; 0: not compared.
    """
    over: set[str] = set()  # runs that an ended one has gone on from
    for other, found in _newest_first(folder):
        if other.name in over:
            continue
        if isinstance(found, str):
            return Earlier(refused=f"the journal of run {other.name} cannot be read: {found}")
        start = _start(found.records)
        if start is None:
            continue  # it died before it could do anything
        if start.get("broker") != broker:
            continue
        another = _another(found.header, build, config_hash, rules_hash)
        if _finished(found.records):
            if not another:
                return Earlier()
            over.update(str(name) for name in start.get("continues", ()))
            continue
        if another:
            return Earlier(refused=f"run {other.name} {another}")
        return _chain(other, found, start, instruments)
    return Earlier()


def chain_of(folder: Path) -> tuple[Path, ...]:
    """Folders of the runs that the run in `folder` goes on from, oldest first.

    Raises:
        JournalError: its journal cannot be read. OSError: there is none.
    """
    start = _start(scan((folder / JOURNAL).read_bytes()).records) or {}
    return tuple(folder.parent / name for name in start.get("continues", ()))


def day_records(folder: Path) -> tuple[Record, ...]:
    """All records that the book of the run in `folder` follows from: earlier runs first.

    Raises:
        JournalError, OSError: one of the journals cannot be read, or is corrupt.
    """
    return tuple(record for part in (*chain_of(folder), folder) for record in _trusted(part))


def _trusted(folder: Path) -> tuple[Record, ...]:
    """The records of a run's journal.

    Raises:
        JournalError: it cannot be read, or is corrupt: what stands behind the bad record is missing. OSError:
        there is none.
    """
    found = scan((folder / JOURNAL).read_bytes())
    if found.tail == "corrupt":
        raise JournalError(f"the journal of run {folder.name} is corrupt: {found.detail}")
    return found.records


def day_net_paise(
    folder: Path,
    broker: str,
    chain: Sequence[str],
    instruments: InstrumentTable,
    charges: Callable[[], Schedule | None] = lambda: None,
) -> int:
    """Net result of the day's runs on this broker that the run in `folder` does not go on from (`chain`:
    names of those that it does): by their reports, and of one that was killed before it could write one by
    its journal, what it still held at cost. Of one that does not fit today's instruments nothing is known.

    charges(): what orders cost on this day.
    """
    nets: dict[str, int] = {}
    told_by_later: set[str] = {folder.name, *chain}
    for path in folder.parent.glob(f"*/{JOURNAL}"):
        try:
            with path.open("rb") as file:
                start = _start(scan(file.read(START_BYTES)).records) or {}
            if start.get("broker") != broker or path.parent.name in (folder.name, *chain):
                continue
            nets[path.parent.name] = _net_paise(path.parent, instruments, charges)
            told_by_later.update(str(name) for name in start.get("continues", ()))
        except (JournalError, OSError, ValueError, RecoveryError):
            continue
    return sum(net for name, net in nets.items() if name not in told_by_later)


def day_so_far(
    folder: Path,
    broker: str,
    chain: Sequence[str],
    instruments: InstrumentTable,
    limits: RiskLimits,
    now_real_ns: int,
) -> DaySoFar | None:
    """What the limits of the day have counted in runs on this broker before the one in `folder`: by the END
    record of the newest, or by all its records when it died. None: there is none, or the run goes on with
    the newest (`chain`: names of those that it goes on with), whose journal tells. Of one that does not fit
    today's instruments nothing is known.
    """
    for other, found in _newest_first(folder):
        if other.name in chain:
            return None
        if isinstance(found, str) or (start := _start(found.records)) is None:
            continue
        if start.get("broker") != broker:
            continue
        with contextlib.suppress(JournalError, RecoveryError, OSError, msgspec.ValidationError):
            told = _told(other, found.records, instruments, limits, now_real_ns)
            return told if of_today(told, now_real_ns) else None
    return None


def _told(
    folder: Path,
    records: Sequence[Record],
    instruments: InstrumentTable,
    limits: RiskLimits,
    now_real_ns: int,
) -> DaySoFar:
    last = records[-1]
    if last.kind is Kind.END and "day" in (data := last.data()):
        return read(data["day"])
    book = Book(instruments)
    before = [record for part in chain_of(folder) for record in scan((part / JOURNAL).read_bytes()).records]
    found = replay([*before, *records], book, instruments, 0)
    sums = Sums(Tally(limits), Guards(limits), found.conduct, instruments, _names(records), 0)
    sums.recount(found.day, found.openings, found.guards)
    return sums.now(found.day, found.runs, now_real_ns)


def _names(records: Sequence[Record]) -> dict[int, str]:
    """Strategy number -> name, as the run was configured (coding.py)."""
    for record in records:
        if record.kind is Kind.COMMAND and (data := record.data()).get("do") == "strategies":
            return {int(number): str(row["name"]) for number, row in data["strategies"].items()}
    return {}


def _net_paise(folder: Path, instruments: InstrumentTable, charges: Callable[[], Schedule | None]) -> int:
    try:
        return int(json.loads((folder / REPORT).read_text("utf-8"))["pnl_paise"]["net"])
    except (OSError, ValueError, KeyError, TypeError):
        book = Book(instruments)
        parts = (*chain_of(folder), folder)  # of a damaged one what can be read counts: a loss is a loss
        records = [record for part in parts for record in scan((part / JOURNAL).read_bytes()).records]
        replay(records, book, instruments, 0)
        return account(book, instruments, CostBook(book, instruments, charges()), lambda slot: 0).net


def _newest_first(folder: Path) -> list[tuple[Path, Scan | str]]:
    """Other runs of the day with what their journals hold, or why they cannot be read."""
    found: list[tuple[int, Path, Scan | str]] = []
    for path in folder.parent.glob(f"*/{JOURNAL}"):
        if path.parent == folder:
            continue
        data = path.read_bytes()
        try:
            told = scan(data)
            found.append((told.header.created_real_ns, path.parent, told))
        except JournalError as error:
            # The header is on the disk before anything else is: without a whole one nothing was sent.
            if len(data) >= HEADER_BYTES and data.strip(b"\0"):
                found.append((path.stat().st_mtime_ns, path.parent, str(error)))
    return [(folder, told) for _, folder, told in sorted(found, key=lambda run: -run[0])]


def _another(header: Header, build: int, config_hash: int, rules_hash: int) -> str:
    """Why a journal is not gone on with by this run; "": it is one of the same."""
    same_layout = header.layout == LAYOUT_FINGERPRINT
    if build and header.build and not (same_layout and header.build == build):
        return (
            f"was traded by another build of kite_hft ({header.build:016x}, this one is {build:016x}): what "
            "it left is taken from the broker's books alone; start that build to go on with it"
        )
    if rules_hash and header.rules and header.rules != rules_hash:
        return "ran with other dated rules: put the files of that run back to go on with it"
    return "ran with another configuration or other rules" if header.config != config_hash else ""


def _start(records: Sequence[Record]) -> Mapping[str, Any] | None:
    first = next((record for record in records if record.kind is Kind.START), None)
    return first.data() if first else None


def _finished(records: Sequence[Record]) -> bool:
    """An orderly end with nothing open."""
    last = records[-1]
    if last.kind is not Kind.END:
        return False
    summary = last.data()
    if summary.get("alone"):  # its supervisor was gone: nobody has ended the day's work
        return False
    return not summary.get("orders") and not summary.get("positions")


def _chain(other: Path, found: Scan, start: Mapping[str, Any], instruments: InstrumentTable) -> Earlier:
    if found.tail == "corrupt":
        return Earlier(refused=f"the journal of run {other.name} is corrupt: {found.detail}")
    folders = (*(other.parent / str(name) for name in start.get("continues", ())), other)
    try:
        before = [record for part in folders[:-1] for record in _trusted(part)]
        records = (*before, *found.records)
        replay(records, Book(instruments), instruments, 0)
    except JournalError as error:
        return Earlier(refused=f"run {other.name} goes on from an earlier one: {error}")
    except (RecoveryError, OSError) as error:
        return Earlier(refused=f"the journal of run {other.name} does not fit: {error}")
    return Earlier(folders, records)
