"""The orders process around its stage: the journal and its sync thread, and who wakes whom."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.files import open_run_journal
from kite_hft.memory.journal import Kind, dump
from kite_hft.settings import Settings


def test_what_is_journalled_is_synced_beside_and_the_thread_ends_with_the_process(tmp_path: Path) -> None:
    config = {"build": 1, "config_hash": 2}
    with contextlib.ExitStack() as held:
        journal = open_run_journal(config, Settings(), tmp_path, ManualClock(1, 2), held)
        assert journal.records == ()
        seq = journal.writer.append(Kind.START, 3, b"{}")
        journal.wake()
        for _ in range(500):
            if journal.writer.synced_seq >= seq:
                break
            time.sleep(0.01)
        assert journal.writer.synced_seq == seq
    assert not [t for t in threading.enumerate() if t.name == "journal-sync"]
    header, record = dump(tmp_path / "journal.bin")
    assert header["build"] == f"{1:016x}" and record["kind"] == "START"
