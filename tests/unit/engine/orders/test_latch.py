"""The kill latch: a file that says enough by being there."""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.orders import latch
from kite_hft.engine.orders.latch import (
    BY_HAND,
    NAME,
    Latched,
    LatchWatch,
    clear_latch,
    read_latch,
    set_latch,
)
from kite_hft.engine.orders.latches import SIGNAL, disk, kill_by_signal


def history(folder: Path) -> list[str]:
    return [json.loads(line)["do"] for line in (folder / latch.HISTORY).read_text().splitlines()]


def test_what_is_latched_stands_until_it_is_cleared(tmp_path: Path) -> None:
    assert read_latch(tmp_path) is None and clear_latch(tmp_path, "x", 1) is None
    assert set_latch(tmp_path, "  a wild\nstrategy ", "me", 5) == Latched("a wild strategy", "me", 5)
    assert set_latch(tmp_path, "another", "you", 6) == Latched("a wild strategy", "me", 5), "the first stands"
    assert set_latch(tmp_path, "another", "you", 7, flatten=True).flatten
    assert set_latch(tmp_path, "another", "you", 8).flatten, "and is never taken back"
    assert read_latch(tmp_path) == Latched("a wild strategy", "me", 5, True)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    was = clear_latch(tmp_path, "me", 9)
    assert was is not None and was.reason == "a wild strategy"
    assert read_latch(tmp_path) is None and history(tmp_path) == ["kill", "kill", "resume"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [latch.HISTORY]


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"reason": 1}', b"\xff", b"[" * 3000, b"null"])
def test_a_file_that_says_nothing_counts(tmp_path: Path, said: bytes) -> None:
    (tmp_path / NAME).write_bytes(said)
    found = read_latch(tmp_path)
    assert found is not None and found.reason == BY_HAND and not found.flatten
    with_watch = LatchWatch(tmp_path)
    assert with_watch.killed() == BY_HAND
    with_watch.close()


def test_links_and_folders_count_too(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "nowhere")
    watch = LatchWatch(tmp_path)
    assert read_latch(tmp_path) is not None and watch.killed()
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    assert watch.killed() and read_latch(tmp_path) is not None
    watch.close()


def test_an_empty_reason_is_still_a_kill(tmp_path: Path) -> None:
    set_latch(tmp_path, " ", "me", 1)
    watch = LatchWatch(tmp_path)
    assert watch.killed() == "no reason was given"
    (tmp_path / NAME).write_text(json.dumps({"reason": "", "by": "", "at_ns": 0, "flatten": False}))
    found = read_latch(tmp_path)
    assert found is not None and found.reason == BY_HAND, "who only looks sees the kill too"
    assert watch.killed() == BY_HAND
    watch.close()


def test_a_full_disk_still_latches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    set_latch(tmp_path, "x", "me", 1)
    monkeypatch.undo()
    assert read_latch(tmp_path) is not None


def test_a_folder_that_takes_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        set_latch(tmp_path / "missing", "x", "me", 1)


def test_the_watch_wakes_and_sees_every_change(tmp_path: Path) -> None:
    watch = LatchWatch(tmp_path)
    epoll = select.epoll()
    epoll.register(watch.fileno(), select.EPOLLIN)
    assert watch.killed() == "" and not watch.flatten() and watch.by == "" and not epoll.poll(0)
    set_latch(tmp_path, "stop", "me", 1)
    assert epoll.poll(5.0), "a new latch wakes whoever sleeps"
    watch.drain()
    assert not epoll.poll(0), "drained"
    assert (watch.killed(), watch.flatten(), watch.by) == ("stop", False, "me")
    set_latch(tmp_path, "stop", "me", 1, flatten=True)
    assert watch.flatten()
    clear_latch(tmp_path, "me", 2)
    assert epoll.poll(5.0) and watch.killed() == "" and not watch.flatten() and watch.by == ""
    (tmp_path / NAME).touch()
    assert watch.killed() == BY_HAND
    epoll.close()
    watch.close()
    watch.close()


def test_what_cannot_be_looked_at_is_killed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    watch = LatchWatch(tmp_path / "file")  # no folder: neither a watch nor a look is possible
    assert watch.fileno() == -1 and "cannot be looked at" in watch.killed() and not watch.flatten()
    found = read_latch(tmp_path / "file")
    assert found is not None and "cannot be looked at" in found.reason


CALLS = [
    (name, n) for name in ("open", "write", "link", "replace", "fsync", "unlink", "close") for n in (1, 2, 3)
]


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize(("name", "nth"), CALLS)
def test_a_signal_in_the_middle_loses_neither_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, nth: int, when: str
) -> None:
    """SIGUSR1 comes while the order process itself sets the latch, and wants everything closed."""
    calls, real = 0, getattr(os, name)

    def interrupted(*words: object, **more: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            signal.raise_signal(SIGNAL)
        found = real(*words, **more)
        if calls == nth and when == "behind":
            signal.raise_signal(SIGNAL)
        return found

    before = signal.getsignal(SIGNAL)
    kill_by_signal(tmp_path, ManualClock(1, 7), "orders")
    try:
        monkeypatch.setattr(os, name, interrupted)
        told = set_latch(tmp_path, "a loss", "the order process", 5, flatten=True)
        assert disk.settle(20.0)
        monkeypatch.undo()
    finally:
        signal.signal(SIGNAL, before)
    found = read_latch(tmp_path)
    assert found is not None and found.flatten and told.flatten, f"{name}: the flatten is lost"
    assert found.reason in ("a loss", "SIGUSR1 to orders") and found == told
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, latch.HISTORY]


def test_a_kill_by_another_process_meanwhile_keeps_its_flatten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes between the look and the write has set it first."""
    real, came = os.open, False

    def open_(*words: object, **more: object) -> int:
        nonlocal came
        if not came:
            came = True
            set_latch(tmp_path, "by hand", "a person", 3, flatten=True)
        return int(real(*words, **more))  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", open_)
    assert set_latch(tmp_path, "a loss", "the order process", 5).flatten
    assert read_latch(tmp_path) == Latched("by hand", "a person", 3, True), "the first reason stands"


def test_where_the_disk_knows_no_links_it_is_set_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*words: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    assert set_latch(tmp_path, "a loss", "me", 5, flatten=True) == read_latch(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, latch.HISTORY]
