"""What the order stage latches outside itself: the kill, and held strategies by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.latch import LatchWatch, read_latch
from kite_hft.engine.orders.latches import (
    HOLDS,
    kill_by_signal,
    latch_ports,
    read_holds,
    release_holds,
    write_holds,
)
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold

NAMES = {1: "one", 2: "two", 3: "two"}
CLOCK = ManualClock(5, 7)


def ports(folder: Path, told: list[str], broker: str = "live x") -> dict[str, Any]:
    return latch_ports(folder, LatchWatch(folder), broker, NAMES, CLOCK, lambda *words: told.append(words[0]))


def test_the_stage_latches_and_unlatches(tmp_path: Path) -> None:
    told: list[str] = []
    made = ports(tmp_path, told)
    assert made["killed"]() == "" and not made["kill_flat"]()
    made["kill"]("a loss", True)
    assert made["killed"]() == "a loss" and made["kill_flat"]() and made["killed_by"]() == "the order process"
    made["unkill"]("me")
    assert made["killed"]() == "" and read_latch(tmp_path) is None and told == []
    lost = ports(tmp_path / "missing", told)
    lost["kill"]("a loss", False)
    lost["keep_holds"]({1: Hold(HALTED, "x")})
    assert told == ["FILE_FAILED", "FILE_FAILED"]


def test_holds_are_kept_by_name_for_the_next_run_on_this_broker(tmp_path: Path) -> None:
    made = ports(tmp_path, [])
    assert made["holds"] == {}
    made["keep_holds"]({2: Hold(REDUCING, "losses"), 9: Hold(HALTED, "gone")})
    assert ports(tmp_path, [])["holds"] == {2: Hold(REDUCING, "losses"), 3: Hold(REDUCING, "losses")}
    assert ports(tmp_path, [], "sim y")["holds"] == {}, "another broker knows nothing of it"
    assert ports(tmp_path, [], "")["holds"] == {}, "nor one that lives as long as its run"
    ports(tmp_path, [], "")["keep_holds"]({})
    assert read_holds(tmp_path).keys() == {"two", "9"}
    release_holds(tmp_path, "two")
    assert read_holds(tmp_path, "live x").keys() == {"9"}
    release_holds(tmp_path, None)
    assert not (tmp_path / HOLDS).exists()
    release_holds(tmp_path, None)


def test_a_damaged_file_of_holds(tmp_path: Path) -> None:
    for said in ("", "[]", '{"broker": "x"}', '{"broker": "x", "holds": [1]}'):
        (tmp_path / HOLDS).write_text(said)
        assert read_holds(tmp_path) == {}
    write_holds(tmp_path, "x", {"a": Hold("of another version", "y")})
    assert read_holds(tmp_path) == {"a": Hold(HALTED, "y")}, "an unknown level is the worse one"


def test_the_signal_kills(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        kill_by_signal(tmp_path, CLOCK, "this test")
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    found = read_latch(tmp_path)
    assert found is not None and found.reason == "SIGUSR1 to this test" and found.at_ns == 7
