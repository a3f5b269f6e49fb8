"""Layer 5, orders process, cold: the journal, orders.csv and trades.csv of a run, opened or opened again."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from io import RawIOBase
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Header, JournalWriter, Record, open_journal, reopen_journal, sync_until
from kite_hft.settings import Settings
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.ports import Written

Alarm = Callable[[str, str, str], None]
"""Tells a person: (code, key, text)."""
_ENDED: Final = frozenset(status.name for status in OrderStatus if status in TERMINAL)


def open_run_journal(
    config: dict[str, Any], settings: Settings, folder: Path, clock: Clock, held: contextlib.ExitStack
) -> tuple[JournalWriter, tuple[Record, ...]]:
    """The run's journal, with what it holds when the process was restarted; its sync thread runs beside.

    Both end with `held`.

    Raises:
        JournalError: it cannot be written or trusted.
    """
    path, in_memory = folder / "journal.bin", settings.mode != "live"
    records: tuple[Record, ...] = ()
    if config.get("restarted") and path.exists():
        fd, found = reopen_journal(path, allow_tmpfs=in_memory)
        held.callback(os.close, fd)
        journal, records = JournalWriter(fd, resume=found), found.records
    else:
        fd = open_journal(path, allow_tmpfs=in_memory)
        held.callback(os.close, fd)
        header = Header(build=config["build"], config=config["config_hash"], created_real_ns=clock.real_ns())
        journal = JournalWriter(fd, header=header)
    closing = threading.Event()
    syncing = threading.Thread(target=sync_until, args=(journal, closing), name="journal-sync", daemon=True)
    syncing.start()
    held.callback(syncing.join)
    held.callback(closing.set)
    return journal, records


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
    """What the csv files of these run folders hold, whole rows only."""
    orders: set[int] = set()
    trades: dict[int, tuple[int, int]] = {}
    for folder in folders:
        for row in _rows(folder / "orders.csv"):
            if row.get("status") in _ENDED:
                orders.add(int(row["order_no"]))
        for row in _rows(folder / "trades.csv"):
            number = int(row["order_no"])
            quantity, paise = trades.get(number, (0, 0))
            trades[number] = (quantity + int(row["quantity"]), paise + int(Decimal(row["value"]) * 100))
    return Written(frozenset(orders), trades)


def _rows(path: Path) -> Iterable[dict[str, str]]:
    if not path.exists():
        return
    data = path.read_bytes()
    text = data[: data.rfind(b"\n") + 1].decode()
    for row in csv.DictReader(io.StringIO(text)):
        with contextlib.suppress(ValueError, KeyError, InvalidOperation, TypeError):
            int(row["order_no"])
            yield row
