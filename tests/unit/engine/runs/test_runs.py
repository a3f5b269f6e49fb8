"""Which engines run and which runs there were: found without touching anything."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kite_hft.engine.runs.run_folder import AccountLocked, account_tag, lock_account
from kite_hft.engine.runs.runs import (
    NoRun,
    RunNote,
    accounts,
    announce,
    choose,
    holds_lock,
    lives,
    lock_holder,
    newest_folder,
    read_note,
    running,
)
from kite_hft.engine.watchdog.handover import say_watched
from kite_hft.memory.segment import start_ticks


def note(root: Path, home: Path, account: str, run: str = "100000") -> RunNote:
    """A run of this process, announced."""
    folder = root / f"kite-{account}/2026-11-20/{run}"
    folder.mkdir(parents=True, exist_ok=True)
    shm = home / f"{account_tag('kite', account)}-{run}"
    shm.mkdir(parents=True, exist_ok=True)
    link = folder.parent.parent / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(f"2026-11-20/{run}")
    made = RunNote(
        "kite", account, "sim", run, str(folder), str(shm), str(shm / "control.sock"), os.getpid(),
        start_ticks(os.getpid()), 5,
    )  # fmt: skip
    announce(made)
    return made


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """(state root, shared-memory home)."""
    (tmp_path / "home").mkdir()
    return tmp_path / "state/kite_hft", tmp_path / "home"


def test_a_running_engine_is_found_by_its_note(places: tuple[Path, Path]) -> None:
    root, home = places
    made = note(root, home, "A")
    assert running(home) == [made] == [read_note(Path(made.folder) / "run.json")]
    (account,) = accounts(root, home)
    assert account.running == made and account.title == "kite-A"
    assert newest_folder(account) == (Path(made.folder), "")


def test_a_note_of_a_process_that_is_gone_is_no_engine(places: tuple[Path, Path]) -> None:
    root, home = places
    made = note(root, home, "A")
    announce(dataclasses.replace(made, start_ticks=made.start_ticks + 1))
    (account,) = accounts(root, home)
    assert running(home) == [] and account.running is None


def test_a_process_that_was_not_waited_for_lives_no_more() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ticks = start_ticks(child.pid)
    assert lives(child.pid, ticks) and not lives(child.pid, ticks + 1) and not lives(child.pid, 0)
    child.kill()
    while b") Z" not in Path(f"/proc/{child.pid}/stat").read_bytes():
        time.sleep(0.01)
    assert start_ticks(child.pid) == ticks and not lives(child.pid, ticks)
    child.communicate()
    assert not lives(child.pid, ticks)


def test_a_lock_is_seen_where_descriptors_are_shown_to_nobody(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user without privileges, of a process that shows its memory to nobody."""
    _, home = places
    lock = home / "kite-x.lock"
    lock.write_text(f"process {os.getpid()}")

    def closed(path: str) -> list[str]:
        raise PermissionError(path)

    monkeypatch.setattr(os, "listdir", closed)
    assert lock_holder(lock) == 0
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert lock_holder(lock) == os.getpid() and not holds_lock(1, lock)
    assert not holds_lock(os.getpid(), home / "none")


def test_an_engine_that_starts_is_told_by_its_lock_and_the_lock_stays_free(places: tuple[Path, Path]) -> None:
    root, home = places
    made = note(root, home, "A")
    announce(dataclasses.replace(made, pid=1, start_ticks=1))
    lock = home / f"{account_tag('kite', 'A')}.lock"
    assert lock_holder(lock) == 0
    lock.write_text(f"process {os.getpid()}")
    assert lock_holder(lock) == 0  # named, but not held: left by an engine that was killed
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert lock_holder(lock) == os.getpid()
        with lock.open("r+") as file:
            say_watched(file.fileno(), root)
        assert lock_holder(lock) == os.getpid(), "whoever watches stands below"
        with pytest.raises(AccountLocked, match=rf"on kite account A \(process {os.getpid()}\); stop it"):
            lock_account(home, account_tag("kite", "A"), "kite account A")
        (account,) = accounts(root, home)
        assert account.starting_pid == os.getpid()
        with pytest.raises(NoRun, match=f"still starting \\(process {os.getpid()}\\)"):
            choose([account], None, None, must_run=True)


def test_one_account_needs_no_name_and_several_are_named(places: tuple[Path, Path]) -> None:
    root, home = places
    with pytest.raises(NoRun, match="nothing has run"):
        choose(accounts(root, home), None, None)
    down = note(root, home, "A")
    announce(dataclasses.replace(down, pid=1, start_ticks=1))
    found = accounts(root, home)
    assert choose(found, None, None).name == "A" and choose(found, "A", "kite").name == "A"
    with pytest.raises(NoRun, match="no run of --account B; there are kite-A"):
        choose(found, "B", None)
    with pytest.raises(NoRun, match="no engine is running"):
        choose(found, None, None, must_run=True)
    note(root, home, "B")
    found = accounts(root, home)
    assert choose(found, None, None).name == "B"  # the only one that runs
    assert choose(found, "A", None).name == "A"
    note(root, home, "C")
    with pytest.raises(NoRun, match=r"several accounts: kite-B \(running\), kite-C \(running\)"):
        choose(accounts(root, home), None, None, must_run=True)


def test_an_engine_for_prices_never_stands_between_a_person_and_the_account(
    places: tuple[Path, Path],
) -> None:
    """A notebook's own engine, beside one that trades and beside one that is down (and may be killed)."""
    root, home = places
    note(root, home, "FEED")
    found = accounts(root, home)
    assert choose(found, None, None).name == choose(found, None, None, must_run=True).name == "FEED"
    real = note(root, home, "A")
    announce(dataclasses.replace(real, pid=1, start_ticks=1))
    found = accounts(root, home)
    assert choose(found, None, None).name == "A"  # it is down, and it is the one that is meant
    assert choose(found, None, None, must_run=True).name == choose(found, "FEED", None).name == "FEED"
    announce(real)
    note(root, home, "FEED2")
    found = accounts(root, home)
    assert choose(found, None, None).name == choose(found, None, None, must_run=True).name == "A"


def test_an_engine_of_another_state_directory_is_found_where_this_one_is_empty(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    root, home = places
    note(tmp_path / "elsewhere", home, "Z")
    assert [a.name for a in accounts(root, home)] == ["Z"]
    note(root, home, "A")
    assert [a.name for a in accounts(root, home)] == ["A"]


def test_the_newest_run_that_traded_counts(places: tuple[Path, Path]) -> None:
    root, home = places
    for run in ("095959", "100000-2", "100000-10"):
        made = note(root, home, "A", run)
        announce(dataclasses.replace(made, pid=1, start_ticks=1))
    (account,) = accounts(root, home)
    assert newest_folder(account) == (Path(made.folder), "")  # none traded: the newest
    older = Path(made.folder).parent / "100000-2"
    (older / "journal.bin").touch()
    assert newest_folder(account) == (older, "2026-11-20/100000-10")


def test_a_note_of_another_version_is_no_note(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for text in ("{", "[]", '{"broker": "kite"}', '{"unknown": 1}'):
        path.write_text(text)
        assert read_note(path) is None


def test_a_named_state_directory_means_no_other_engine(places: tuple[Path, Path], tmp_path: Path) -> None:
    """`kite-hft stop --state DIR` must never stop an engine of another directory."""
    root, home = places
    note(tmp_path / "elsewhere", home, "A")
    assert accounts(root, home, elsewhere=False) == []
    down = note(root, home / "other", "A")
    (account,) = accounts(root, home, elsewhere=False)
    assert account.running is None and account.folder == Path(down.folder).parent.parent
    (account,) = accounts(tmp_path / "elsewhere", home, elsewhere=False)
    assert account.running is not None


@pytest.mark.parametrize(
    "damage",
    [
        {"pid": "x"}, {"pid": None}, {"start_ticks": 1.5}, {"strategies": []}, {"strategies": {"x": "y"}},
        {"processes": None}, {"processes": [{}]}, {"processes": [{"name": "a", "stages": None}]},
        {"connections": ["a"]}, {"shm": 3},
    ],
)  # fmt: skip
def test_a_damaged_note_is_none(places: tuple[Path, Path], damage: dict[str, object]) -> None:
    made = note(*places, "A")
    path = Path(made.folder) / "run.json"
    assert read_note(path) == made
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    assert read_note(path) is None
    path.write_bytes(b"\xff{")
    assert read_note(path) is None
