"""Layer 5, orders process, cold: the journal, orders.csv and trades.csv of a run, opened or opened again."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from io import RawIOBase
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Header, Kind, Record
from kite_hft.memory.journal_files import (
    begun,
    failed_before,
    failure_note,
    give_back_reserves,
    keep_name,
    note_failure,
    open_journal,
    reopen_journal,
)
from kite_hft.memory.journal_writer import RESERVE_BYTES, JournalWriter, SyncBeside
from kite_hft.settings import Settings
from kite_hft.trading.ports import Written
from kite_hft.trading.records import encode_json
from kite_hft.trading.recovery.resuming import failed_payload

Alarm = Callable[[str, str, str], None]
"""Tells a person: (code, key, text)."""
_STATUSES: Final = frozenset(status.name for status in OrderStatus)


JOURNAL: Final = "journal.bin"


@dataclass(frozen=True, slots=True)
class RunJournal:
    """The run's journal while it is open. records: what it held when the process was restarted.

    wake: to be called after each step, so that what was written is synced. set_aside: what was kept of
    a torn tail, for people.
    """

    writer: JournalWriter
    records: tuple[Record, ...]
    wake: Callable[[], None]
    set_aside: str = ""


def open_run_journal(
    config: dict[str, Any],
    settings: Settings,
    folder: Path,
    clock: Clock,
    held: contextlib.ExitStack,
    wake_fd: int = -1,
) -> RunJournal:
    """The run's journal, opened or opened again, with the thread that syncs it. All ends with `held`.

    A journal that the process before could not write any more begins with that halt latched; one that was
    killed before its header was whole has done nothing, and is begun anew. wake_fd:
    an eventfd that is written after each sync when orders wait for it.

    Raises:
        JournalError: it cannot be written or trusted. OSError: it cannot be made.
    """
    path, memory = folder / JOURNAL, settings.mode != "live"
    reserve = RESERVE_BYTES if settings.mode != "sim" else 0

    def failed(text: str) -> None:
        note_failure(path, text)

    records: tuple[Record, ...] = ()
    set_aside = why = ""
    if config.get("restarted") and begun(path):
        again = reopen_journal(path, allow_memory=memory)
        held.callback(os.close, again.fd)
        writer = JournalWriter(again.fd, resume=again.found, reserve=reserve, on_failure=failed)
        records, set_aside, why = again.found.records, again.set_aside, again.failed
    else:
        if config.get("restarted"):
            path.unlink(missing_ok=True)
            why = failed_before(path)
        give_back_reserves(folder.parent.parent.glob(f"*/*/{JOURNAL}"))  # other runs of the account are over
        fd = open_journal(path, allow_memory=memory)
        held.callback(os.close, fd)
        header = Header(
            build=config["build"],
            config=config["config_hash"],
            rules=config.get("rules_hash", 0),
            created_real_ns=clock.real_ns(),
        )
        writer = JournalWriter(fd, header=header, reserve=reserve, on_failure=failed)
        keep_name(path)
    if why:
        records += (_halt(writer, why, clock),)
        failure_note(path).unlink()
    writer.top_up()
    held.callback(writer.finish)
    if settings.trading.fsync_before_send and wake_fd >= 0:
        syncing = SyncBeside(writer, on_sync=lambda: os.eventfd_write(wake_fd, 1), gather_s=0.0)
    else:
        syncing = SyncBeside(writer)
    syncing.start()
    held.callback(syncing.stop)
    return RunJournal(writer, records, syncing.wake, set_aside)


def _halt(writer: JournalWriter, why: str, clock: Clock) -> Record:
    """The halt that the process before could not write down."""
    payload = encode_json(failed_payload(why))
    time_ns = clock.real_ns()
    seq = writer.append(Kind.STATE, time_ns, payload)
    writer.sync()
    return Record(seq, Kind.STATE, time_ns, payload)


def csv_sink(
    file: RawIOBase, name: str, columns: Sequence[str], alarm: Alarm, *, header: bool = True
) -> Callable[[dict[str, Any]], None]:
    """Rows as they come, each on the disk's way before the next; `file` is unbuffered.

    A full disk ends the file with an alert and never reaches the stage: the journal is the record
    that stops trading, and cancels must go on.
    """
    failed = False

    def write(row: dict[str, Any]) -> None:
        nonlocal failed
        if failed:
            return
        text = io.StringIO()
        csv.DictWriter(text, columns).writerow(row)
        data = text.getvalue().encode()
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "written in part")
        except OSError as error:
            failed = True
            alarm("FILE_FAILED", name, f"{name} is not written any more: {error.strerror}")

    if header:
        write(dict(zip(columns, columns, strict=True)))
    return write


def open_csv(
    path: Path, columns: Sequence[str], alarm: Alarm, held: contextlib.ExitStack
) -> Callable[[dict[str, Any]], None]:
    """A sink that goes on behind the last whole row of the file, or begins it. It ends with `held`."""
    size = path.stat().st_size if path.exists() else 0
    if size:
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole < size:  # the process died inside a row: it is written once more
            os.truncate(path, whole)
        size = whole
    file = held.enter_context(path.open("ab", buffering=0))
    return csv_sink(file, path.name, columns, alarm, header=not size)


def written(folders: Iterable[Path]) -> Written:
    """What the csv files of these run folders hold, whole rows only. A row that is damaged counts as not
    written: these files are for people, and no order waits for them."""
    orders: dict[int, str] = {}
    trades: dict[int, tuple[int, int]] = {}
    for folder in folders:
        for row in _rows(folder / "orders.csv"):
            with contextlib.suppress(*_DAMAGED):
                if row["status"] in _STATUSES:
                    orders[int(row["order_no"])] = row["status"]
        for row in _rows(folder / "trades.csv"):
            with contextlib.suppress(*_DAMAGED):
                number, traded = int(row["order_no"]), int(row["quantity"])
                paise = int(Decimal(row["value"]) * 100)
                before = trades.get(number, (0, 0))
                trades[number] = (before[0] + traded, before[1] + paise)
    return Written(orders, trades)


_DAMAGED: Final = (ValueError, KeyError, TypeError, InvalidOperation, OverflowError)


def _rows(path: Path) -> Iterable[dict[str, str]]:
    try:
        data = path.read_bytes()
    except OSError:
        return
    text = data[: data.rfind(b"\n") + 1].decode(errors="replace")
    with contextlib.suppress(csv.Error):  # a quote that damage has made, and no end to it
        yield from csv.DictReader(io.StringIO(text))
