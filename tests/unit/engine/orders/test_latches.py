"""What the order stage latches outside itself: the kill, and held strategies by name."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.latch import HISTORY, Latched, LatchWatch, read_latch
from kite_hft.engine.orders.latches import (
    HOLDS,
    Beside,
    disk,
    kill_by_signal,
    latch_ports,
    read_holds,
    release_holds,
    write_holds,
)
from kite_hft.engine.orders.unwritten import Kills
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold

NAMES = {1: "one", 2: "two", 3: "two"}
CLOCK = ManualClock(5, 7)


def ports(folder: Path, told: list[str], broker: str = "live x") -> dict[str, Any]:
    kills = Kills(folder, LatchWatch(folder), CLOCK, disk)
    kills.tell = lambda fields: told.append(fields["code"])
    return latch_ports(kills, broker, NAMES, lambda *words: told.append(words[0]))


def test_the_stage_latches_and_unlatches(tmp_path: Path) -> None:
    told: list[str] = []
    made = ports(tmp_path, told)
    assert made["killed"]() == "" and not made["kill_flat"]()
    made["kill"]("a loss", True)
    assert made["killed"]() == "a loss" and made["kill_flat"]() and made["killed_by"]() == "the order process"
    made["unkill"]("me")
    assert made["killed"]() == "" and read_latch(tmp_path) is None and told == []
    assert disk.settle(20.0)
    lines = (tmp_path / HISTORY).read_text().splitlines()
    assert [json.loads(line)["do"] for line in lines] == ["kill", "resume"]
    lost = ports(tmp_path / "missing", told)
    lost["kill"]("a loss", False)
    lost["keep_holds"]({1: Hold(HALTED, "x")})
    assert lost["killed"]() == "a loss" and not lost["kill_flat"]()
    assert told == ["FILE_FAILED", "FILE_FAILED"]


def test_holds_are_kept_by_name_for_the_next_run_on_this_broker(tmp_path: Path) -> None:
    made = ports(tmp_path, [])
    assert made["holds"] == {}
    made["keep_holds"]({2: Hold(REDUCING, "losses"), 9: Hold(HALTED, "gone")})
    assert ports(tmp_path, [])["holds"] == {2: Hold(REDUCING, "losses"), 3: Hold(REDUCING, "losses")}
    assert ports(tmp_path, [], "sim y")["holds"] == {}, "another broker knows nothing of it"
    assert ports(tmp_path, [], "")["holds"] is None, "nor one that lives as long as its run"
    ports(tmp_path, [], "")["keep_holds"]({})
    assert read_holds(tmp_path).keys() == {"two", "9"}
    release_holds(tmp_path, "two")
    assert read_holds(tmp_path, "live x").keys() == {"9"}
    release_holds(tmp_path, None)
    assert not (tmp_path / HOLDS).exists()
    release_holds(tmp_path, None)


def test_what_another_run_holds_takes_no_hold_away(tmp_path: Path) -> None:
    held, more = Hold(HALTED, "wild"), Hold(REDUCING, "losses")
    write_holds(tmp_path, "live x", {"alpha": held, "one": more})
    write_holds(tmp_path, "sim y", {"alpha": more})
    made = ports(tmp_path, [])  # its run has no alpha
    made["keep_holds"]({2: more})
    assert read_holds(tmp_path, "live x") == {"alpha": held, "two": more}
    made["keep_holds"]({})
    assert read_holds(tmp_path, "live x") == {"alpha": held}, "resumed, and its own alone"
    assert read_holds(tmp_path, "sim y") == {"alpha": more}
    release_holds(tmp_path, "alpha")
    assert not (tmp_path / HOLDS).exists(), "a person lets it go on everywhere"


def test_a_file_of_holds_as_it_was_written_before(tmp_path: Path) -> None:
    row = {"level": "reducing", "reason": "losses"}
    (tmp_path / HOLDS).write_text(json.dumps({"broker": "live x", "holds": {"two": row, "alpha": row}}))
    made = ports(tmp_path, [])
    assert made["holds"] == {2: Hold(REDUCING, "losses"), 3: Hold(REDUCING, "losses")}
    made["keep_holds"]({})
    assert read_holds(tmp_path, "live x").keys() == {"alpha"}


def test_a_damaged_file_of_holds(tmp_path: Path) -> None:
    for said in ("", "[]", '{"broker": "x"}', '{"broker": "x", "holds": [1]}'):
        (tmp_path / HOLDS).write_text(said)
        assert read_holds(tmp_path) == {}
        told: list[str] = []
        assert ports(tmp_path, told)["holds"] is None and told == ["FILE_FAILED"]
        release_holds(tmp_path, "a")
        assert (tmp_path / HOLDS).read_text() == said
    release_holds(tmp_path, None)
    assert not (tmp_path / HOLDS).exists()
    write_holds(tmp_path, "x", {"a": Hold("of another version", "y")})
    assert read_holds(tmp_path) == {"a": Hold(HALTED, "y")}, "an unknown level is the worse one"


def test_what_is_held_is_seen_to_the_disk_by_the_thread_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, synced, real = threading.Event(), [], os.fsync

    def slow(fd: int) -> None:
        assert answers.wait(60)
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        real(fd)

    made = ports(tmp_path, [])
    assert disk.settle(20.0)
    monkeypatch.setattr(os, "fsync", slow)
    keeps = threading.Thread(target=made["keep_holds"], args=({1: Hold(HALTED, "x")},), daemon=True)
    keeps.start()
    keeps.join(20.0)
    assert not keeps.is_alive() and read_holds(tmp_path).keys() == {"one"} and synced == []
    answers.set()
    assert disk.settle(20.0) and synced == [HOLDS, tmp_path.name]


def test_a_signal_whose_file_cannot_be_written_is_handed_on(tmp_path: Path) -> None:
    """By the supervisor to the order process, which remembers it."""
    before, kills = signal.getsignal(signal.SIGUSR1), list[tuple[Latched, str]]()
    try:
        kill_by_signal(tmp_path / "gone", CLOCK, "this test", lambda *words: kills.append(words))
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert kills == [(Latched("SIGUSR1 to this test", "signal SIGUSR1", 7), "No such file or directory")]


def test_the_signal_kills(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        kill_by_signal(tmp_path, CLOCK, "this test")
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    found = read_latch(tmp_path)
    assert found is not None and found.reason == "SIGUSR1 to this test" and found.at_ns == 7


@pytest.mark.parametrize("by_signal", [False, True])
def test_a_disk_that_hangs_keeps_nobody_from_the_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_signal: bool
) -> None:
    """The kill counts at once; that it is on the disk, and its line in the history, may wait."""
    answers, asked, real = threading.Event(), threading.Event(), os.fsync

    def hangs(fd: int) -> None:
        asked.set()
        assert answers.wait(60)
        real(fd)

    assert disk.settle(20.0)
    made = ports(tmp_path, [])
    monkeypatch.setattr(os, "fsync", hangs)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        if by_signal:
            kill_by_signal(tmp_path, CLOCK, "this test")
            os.kill(os.getpid(), signal.SIGUSR1)
        else:
            ended = threading.Thread(target=made["kill"], args=("a loss", True), daemon=True)
            ended.start()
            ended.join(20.0)
            assert not ended.is_alive(), "it waits for the disk"
            assert made["kill_flat"]()
        assert made["killed"]() and read_latch(tmp_path) is not None
        assert asked.wait(20.0) and not (tmp_path / HISTORY).exists() and not disk.settle(0.05)
        made["unkill"]("me")
        assert made["killed"]() == ""
    finally:
        signal.signal(signal.SIGUSR1, before)
        answers.set()
    assert disk.settle(20.0)
    said = [json.loads(line)["do"] for line in (tmp_path / HISTORY).read_text().splitlines()]
    assert said == ["kill", "resume"], "in order"


def test_without_a_thread_it_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[int] = []
    monkeypatch.setattr(threading.Thread, "start", none)
    beside = Beside()
    beside.start()
    job: Callable[[], None] = lambda: done.append(1)  # noqa: E731
    beside(job)
    assert done == [1] and beside.settle()
