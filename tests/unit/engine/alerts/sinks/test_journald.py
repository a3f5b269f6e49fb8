"""Alerts as journal entries: fields, priority, and a journal that is not there."""

from __future__ import annotations

from pathlib import Path

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.sinks.journald import JournaldSink, fields_of

ROW = {"number": 3, "event": "reminder", "code": "NAKED_POSITION", "severity": "CRITICAL", "key": "NSE:X MIS",
       "text": "10 bare", "account": "A"}  # fmt: skip


def test_the_fields_of_an_entry() -> None:
    assert fields_of(ROW) == {
        "MESSAGE": "still CRITICAL NAKED_POSITION NSE:X MIS: 10 bare", "PRIORITY": "2",
        "SYSLOG_IDENTIFIER": "kite-hft", "KITE_HFT_CODE": "NAKED_POSITION", "KITE_HFT_KEY": "NSE:X MIS",
        "KITE_HFT_SEVERITY": "CRITICAL", "KITE_HFT_EVENT": "reminder", "KITE_HFT_NUMBER": "3",
        "KITE_HFT_ACCOUNT": "A",
    }  # fmt: skip


def test_a_journal_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    sink = JournaldSink(tmp_path / "no", ManualClock())
    sink.put(ROW)
    (outcome,) = sink.poll()
    assert "No such file" in outcome.failure and sink.tally.failed == 1 and not sink.busy()
