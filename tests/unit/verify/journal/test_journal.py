"""The journal's campaign in short; and a journal that is broken on purpose is caught by it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kite_hft.memory import journal as journal_format
from kite_hft.memory import journal_writer
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.staging import Staging
from kite_hft.verify.journal import journal
from kite_hft.verify.journal.crash_states import Tally, Wrong, enumerate_day, make_day
from kite_hft.verify.journal.disk import Disk, Op, states, window_at
from kite_hft.verify.journal.faults import Case, Counted, case_of, cases, run_case
from kite_hft.verify.journal.real_files import Skipped, run_real


def test_a_short_campaign_holds(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--crash-states", "short", "--most", "8", "--seed", "5"]
    assert journal.main(words) == 0
    line = json.loads(capsys.readouterr().out)
    for mode, found in line["crash_states"].items():
        assert found["operations"] >= 250 and found["torn"] > 500 and found["orders"] > 20, mode
        assert found["exhaustive"] > 0 < found["sampled"] and found["real"] > 0
    assert line["ok"] and line["crash_states"]["fsync"]["gap"] == 0 < line["crash_states"]["default"]["gap"]


@pytest.fixture(scope="module")
def faults() -> list[Case]:
    return list(cases(3, enospc=True, eio=True))


def run(chosen: list[Case]) -> tuple[Counted, list[str]]:
    counted, wrong = Counted(), []
    for case in chosen:
        try:
            run_case(case, counted)
        except Wrong as error:
            wrong.append(f"{case}: {error}")
    return counted, wrong


def test_a_sample_of_failing_calls_holds(faults: list[Case]) -> None:
    kinds = ("write", "sync", "allocate")
    sample = [case for kind in kinds for case in [c for c in faults if str(c).split(":")[1] == kind][::29]]
    assert {str(case).split(":")[1] for case in sample} == set(kinds)
    counted, wrong = run(sample)
    assert not wrong and counted.struck >= 20 and counted.cancelled > 15 and counted.sent_before > 50
    for case in sample:
        assert case_of(str(case), case.seed) == case


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_real_file_system_that_runs_full(kind: str) -> None:
    try:
        assert run_real(kind, 1)["cancelled"] > 0
    except Skipped as why:
        pytest.skip(str(why))


def liar(self: JournalWriter) -> int:
    """Says synced, and has not."""
    self.synced_seq = self.next_seq - 1
    return self.synced_seq


def all_synced(self: Staging, now_ns: int, passes: object) -> list[Any]:
    done = [staged.waiting for staged in self._staged]
    self._staged.clear()
    return done


def whole_without_checksum(data: bytes, at: int, seed: int) -> Any:
    found = WHOLE(data, at, seed)
    if found != "checksum does not hold":
        return found
    raw = bytearray(data)
    end = at + 40 + int.from_bytes(raw[at + 12 : at + 16], "little")
    raw[at + 4 : at + 8] = journal_format.zlib.crc32(raw[at + 8 : end], seed).to_bytes(4, "little")
    return WHOLE(bytes(raw), at, seed)


WHOLE = journal_format._whole
BROKEN: list[tuple[str, object, str, object, bool]] = [
    ("a sync that is none", JournalWriter, "sync", liar, False),
    ("orders do not wait for the disk", Staging, "synced", all_synced, True),
    ("a record without its checksum", journal_format, "_whole", whole_without_checksum, False),
    ("every bad record is corruption", journal_format, "_was_on_disk", lambda *words: True, False),
]


@pytest.mark.parametrize(
    ("thing", "name", "broken", "fsync"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_crash_states_catch(
    thing: object, name: str, broken: object, fsync: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(thing, name, broken)
    with pytest.raises(Wrong):
        for seed in range(6):
            day = make_day(seed, fsync_first=fsync, operations=120)
            enumerate_day(day, 12, random.Random(seed), tmp_path, Tally())


def retried(real: Callable[[JournalWriter], int]) -> Callable[[JournalWriter], int]:
    def sync(self: JournalWriter) -> int:
        self._sync_failed = False
        return real(self)

    return sync


def no_latch(self: Outbox, text: str) -> None:
    self.halted = self.halted or text


@pytest.mark.parametrize("what", ["retried", "no latch", "deaf"])
def test_failing_calls_catch(what: str, faults: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "retried":
        monkeypatch.setattr(JournalWriter, "sync", retried(JournalWriter.sync))
        behind = property(lambda self: self.next_seq - 1 > self.synced_seq)
        monkeypatch.setattr(JournalWriter, "behind", behind)
    elif what == "no latch":
        monkeypatch.setattr(Outbox, "_journal_failed", no_latch)
        monkeypatch.setattr(journal_writer, "_NEEDED", frozenset())
    else:
        monkeypatch.setattr(Outbox, "heed_journal", lambda self, failed, low: False)
    syncs = [case for case in faults if case.fault.sync >= 0]
    assert run(syncs[::6])[1]


def test_windows_hold_every_sector_as_it_may_stand() -> None:
    durable = b"d" * 600
    pending = [Op("write", 600, b"a" * 100), Op("write", 700, b"b" * 900)]
    window = window_at(durable, pending, b"\xee")
    assert sorted(window.versions) == [1, 2, 3]
    found = set(states(window, 64, random.Random(1)))
    assert window.combinations == 3 * 3 * 3 and len(found) >= 27
    assert all(state[:600] == durable for state in found)
    whole = durable + b"a" * 100 + b"b" * 900
    assert whole in found and durable in found and whole[:1024] in found
    middle = [state for state in found if len(state) == 1600 and state[1536:] == whole[1536:]]
    assert {state[1024:1536] for state in middle} == {b"\0" * 512, b"\xee" * 512, whole[1024:1536]}
    torn = {state[600:1024] for state in middle}
    assert torn == {bytes(424), b"a" * 100 + bytes(324), b"a" * 100 + b"b" * 324}


def test_the_disk_remembers_what_a_sync_covered() -> None:
    disk = Disk()
    disk.write_at(b"x" * 10, 0)
    disk.during_sync = lambda: disk.write_at(b"y" * 5, 10) and None
    disk.sync()
    assert disk.on_disk == 10 and [op.what for op in disk.log] == ["write", "begin", "write", "end"]
