"""The files of the order process: begun, gone on with after a kill, and read back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.files import csv_sink, open_csv, open_run_journal, written
from kite_hft.memory import journal_files
from kite_hft.memory.journal import JournalError, Kind, scan
from kite_hft.memory.journal_files import failure_note, note_failure
from kite_hft.settings import Settings
from kite_hft.trading.records import ORDER_COLUMNS, TRADE_COLUMNS

CONFIG = {"build": 1, "config_hash": 2, "rules_hash": 9}


def test_a_full_disk_ends_a_csv_file_with_one_alert(tmp_path: Path) -> None:
    alerts: list[tuple[str, str, str]] = []

    def alarm(*words: str) -> None:
        alerts.append(words)  # type: ignore[arg-type]

    with open("/dev/full", "wb", buffering=0) as full:
        write = csv_sink(full, "orders.csv", ["a"], alarm)
        for n in range(3):
            write({"a": n})
    assert alerts == [
        ("FILE_FAILED", "orders.csv", "orders.csv is not written any more: No space left on device")
    ]
    with (tmp_path / "good.csv").open("wb", buffering=0) as good:
        csv_sink(good, "good.csv", ["a", "b"], alarm)({"a": 1, "b": "x,y"})
    assert (tmp_path / "good.csv").read_text().splitlines() == ["a,b", '1,"x,y"'] and len(alerts) == 1


def test_a_csv_file_is_gone_on_with_behind_its_last_whole_row(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    for number in (1, 2):
        with contextlib.ExitStack() as held:
            open_csv(path, ["a", "b"], lambda *words: None, held)({"a": number, "b": "x"})
        with path.open("a") as file:
            file.write("9,cut off he")
    with contextlib.ExitStack() as held:
        open_csv(path, ["a", "b"], lambda *words: None, held)
    assert path.read_text().split() == ["a,b", "1,x", "2,x"]


def test_the_journal_is_opened_again_behind_its_torn_tail(tmp_path: Path) -> None:
    clock = ManualClock(1, 2)
    with contextlib.ExitStack() as held:
        open_run_journal(CONFIG, Settings(), tmp_path, clock, held).writer.append(Kind.START, 3, b"{}")
    path = tmp_path / "journal.bin"
    path.write_bytes(path.read_bytes() + b"\x05\x00\x00")
    with contextlib.ExitStack() as held:
        journal = open_run_journal(CONFIG | {"restarted": True}, Settings(), tmp_path, clock, held)
        assert [record.kind for record in journal.records] == [Kind.START]
        assert "journal.bin.torn-1" in journal.set_aside
        journal.writer.append(Kind.END, 4, b"{}")
    found = scan(path.read_bytes())
    assert [record.kind.name for record in found.records] == ["START", "END"] and found.tail == "clean"
    assert found.header.rules == 9 and (tmp_path / "journal.bin.torn-1").read_bytes() == b"\x05\x00\x00"


def test_a_journal_that_failed_keeps_the_next_process_halted(tmp_path: Path) -> None:
    clock = ManualClock(1, 2)
    with contextlib.ExitStack() as held:
        open_run_journal(CONFIG, Settings(), tmp_path, clock, held)
    note_failure(tmp_path / "journal.bin", "journal sync failed: Input/output error")
    again = CONFIG | {"restarted": True}
    with contextlib.ExitStack() as held:
        journal = open_run_journal(again, Settings(), tmp_path, clock, held)
    (record,) = journal.records
    assert record.kind is Kind.STATE and "sync failed: Input/output error" in record.data()["halted"]
    assert record.data()["journal_failed"]
    with contextlib.ExitStack() as held:
        assert open_run_journal(again, Settings(), tmp_path, clock, held).records == (record,)
    assert not failure_note(tmp_path / "journal.bin").exists()


@pytest.mark.parametrize("left", [b"", b"KHFTJRN1\x02", bytes(63), bytes(4096)])
@pytest.mark.parametrize("note", ["", "journal write failed: Input/output error"])
def test_a_journal_without_a_whole_header_is_begun_anew_by_its_own_run(
    tmp_path: Path, left: bytes, note: str
) -> None:
    path, again = tmp_path / "journal.bin", CONFIG | {"restarted": True}
    path.write_bytes(left)
    if note:
        note_failure(path, note)
    with contextlib.ExitStack() as held:
        journal = open_run_journal(again, Settings(), tmp_path, ManualClock(1, 2), held)
        assert [note in record.data()["halted"] for record in journal.records] == [True] * bool(note)
        journal.writer.append(Kind.START, 3, b"{}")
    assert scan(path.read_bytes()).header.rules == 9 and not failure_note(path).exists()
    with contextlib.ExitStack() as held:
        journal = open_run_journal(again, Settings(), tmp_path, ManualClock(1, 2), held)
        assert journal.records[-1].kind is Kind.START


def test_a_write_that_fails_leaves_word_for_the_next_process(tmp_path: Path) -> None:
    def full(data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    with contextlib.ExitStack() as held:
        writer = open_run_journal(CONFIG, Settings(), tmp_path, ManualClock(1, 2), held).writer
        writer.write_at = full
        with pytest.raises(JournalError):
            writer.append(Kind.START, 3, b"{}")
    assert "No space left" in failure_note(tmp_path / "journal.bin").read_text()
    with contextlib.ExitStack() as held:
        again = open_run_journal(CONFIG | {"restarted": True}, Settings(), tmp_path, ManualClock(1, 2), held)
        assert [record.kind for record in again.records] == [Kind.STATE]


def test_a_damaged_header_is_no_beginning(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        open_run_journal(CONFIG, Settings(), tmp_path, ManualClock(1, 2), held)
    path = tmp_path / "journal.bin"
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    with contextlib.ExitStack() as held, pytest.raises(JournalError, match="is not"):
        open_run_journal(CONFIG | {"restarted": True}, Settings(), tmp_path, ManualClock(1, 2), held)


def test_orders_that_wait_for_the_disk_are_woken_by_its_sync(tmp_path: Path) -> None:
    settings = Settings.model_validate({"trading": {"fsync_before_send": True}})
    with contextlib.ExitStack() as held:
        wake_fd = os.eventfd(0)
        held.callback(os.close, wake_fd)
        journal = open_run_journal(CONFIG, settings, tmp_path, ManualClock(1, 2), held, wake_fd)
        seq = journal.writer.append(Kind.START, 3, b"{}")
        journal.wake()
        os.eventfd_read(wake_fd)  # waits for it
        assert journal.writer.synced_seq == seq


def test_only_live_refuses_a_folder_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_files, "in_memory", lambda fd: "tmpfs")
    for number, mode in enumerate(("sim", "paper", "live")):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = Settings().model_copy(update={"mode": mode})
        with contextlib.ExitStack() as held:
            if mode == "live":
                with pytest.raises(JournalError, match="power cut"):
                    open_run_journal(CONFIG, settings, folder, ManualClock(1, 2), held)
            else:
                open_run_journal(CONFIG, settings, folder, ManualClock(1, 2), held)


def test_what_the_files_of_a_day_hold_is_added_up(tmp_path: Path) -> None:
    for run, fills in (("a", [(1, 4, "400.10"), (2, 1, "7.00")]), ("b", [(1, 6, "600.00"), (1, 0, "-0.10")])):
        folder = tmp_path / run
        folder.mkdir()
        with contextlib.ExitStack() as held:
            trades = open_csv(folder / "trades.csv", TRADE_COLUMNS, lambda *words: None, held)
            for number, quantity, value in fills:
                trades({"order_no": number, "quantity": quantity, "value": value, "side": "SELL"})
            orders = open_csv(folder / "orders.csv", ORDER_COLUMNS, lambda *words: None, held)
            orders({"order_no": 1, "status": "OPEN" if run == "a" else "COMPLETE"})
            orders({"order_no": 2, "status": "OPEN"})
    found = written([tmp_path / "a", tmp_path / "b", tmp_path / "nothing"])
    assert found.trades == {1: (10, 100_000), 2: (1, 700)}
    assert found.orders == {1: "COMPLETE", 2: "OPEN"}, "the last row of each"


@pytest.mark.parametrize(
    "bad", [b"2,\xff\xfe\n", b"2\n", b"x,3,1.00\n", b"2,3,Infinity\n", b'2,"' + b"x" * 200_000 + b"\n"]
)
def test_a_damaged_row_keeps_no_order_process_from_starting(tmp_path: Path, bad: bytes) -> None:
    (tmp_path / "trades.csv").write_bytes(b"order_no,quantity,value\n1,4,400.10\n" + bad)
    (tmp_path / "orders.csv").write_bytes(b"order_no,status\n1,COMPLETE\n" + bad)
    found = written([tmp_path])
    assert found.trades == {1: (4, 40_010)} and found.orders == {1: "COMPLETE"}
    (tmp_path / "trades.csv").unlink()
    (tmp_path / "trades.csv").mkdir()
    assert written([tmp_path]).trades == {}
