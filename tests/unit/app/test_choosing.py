"""Whom a verb means that names no account: the one engine that runs; of two, a kill both, the others none."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kite_hft.app.steer import kill as kill_verb
from kite_hft.app.verbs import app
from kite_hft.engine.orders.latch import read_latch
from kite_hft.engine.runs import runs
from kite_hft.engine.runs.run_folder import account_tag
from kite_hft.engine.runs.runs import RunNote, announce
from kite_hft.memory.segment import start_ticks

NAMES = ("A", "B")


@dataclasses.dataclass
class Engines:
    """Notes of engines that run, below one state directory; whoever knocks at a control socket is seen."""

    root: Path
    home: Path
    doors: dict[str, socket.socket] = dataclasses.field(default_factory=dict)

    def begin(self, account: str, *, alive: bool = True) -> Path:
        """The account's folder, with a run in it."""
        folder = self.root / f"kite-{account}/2026-11-20/100000"
        shm = self.home / f"{account_tag('kite', account)}-100000"
        folder.mkdir(parents=True)
        shm.mkdir(parents=True)
        (folder.parent.parent / "latest").symlink_to("2026-11-20/100000")
        door = shm / "control.sock"
        self.doors[account] = listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(door))
        listener.listen(1)
        listener.setblocking(False)
        ticks = start_ticks(os.getpid()) + (not alive)
        announce(
            RunNote("kite", account, "sim", "100000", str(folder), str(shm), str(door), os.getpid(), ticks, 5)
        )
        return folder.parent.parent

    def hanging_up(self, account: str) -> list[bytes]:
        """From now on this engine hears every request and closes without an answer; what it has heard."""
        door, heard = self.doors[account], []
        door.settimeout(None)

        def serve() -> None:
            with contextlib.suppress(OSError):  # the door is shut at the end of the test
                while True:
                    with door.accept()[0] as caller:
                        heard.append(caller.recv(4096))

        threading.Thread(target=serve, daemon=True).start()
        return heard

    def knocked(self) -> list[str]:
        found = []
        for account, door in self.doors.items():
            try:
                door.accept()[0].close()
            except BlockingIOError:
                continue
            found.append(account)
        return found


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engines]:
    home = Path(tempfile.mkdtemp(prefix="kh-"))  # the name of a socket takes 108 bytes at most
    monkeypatch.setattr(runs, "shared_home", lambda: home)
    monkeypatch.setattr("kite_hft.app.steer.kill_follow.follow", lambda one, begun_ns, wait, flatten: 0)
    made = Engines(tmp_path / "s/kite_hft", home)
    yield made
    for door in made.doors.values():
        with contextlib.suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)
        door.close()
    shutil.rmtree(home)


def said(engines: Engines, *words: str, typed: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--state", str(engines.root.parent)], input=typed)
    return done.exit_code, done.output + (done.stderr if done.stderr_bytes else "")


@pytest.mark.parametrize(
    "words", [("stop", "--yes"), ("stop", "--flatten", "--yes"), ("halt", "why"), ("resume",), ("token",)]
)
def test_of_two_engines_none_is_guessed_and_both_are_named(engines: Engines, words: tuple[str, ...]) -> None:
    folders = [engines.begin(name) for name in NAMES]
    code, text = said(engines, *words, typed="kite-A\n")
    assert code == 1
    assert "several accounts: kite-A (running), kite-B (running); say which with --account NAME" in text
    assert engines.knocked() == [] and not any(read_latch(folder) for folder in folders)


@pytest.mark.parametrize("words", [("halt", "why"), ("token",), ("stop", "--yes")])
def test_the_only_engine_that_runs_needs_no_name(engines: Engines, words: tuple[str, ...]) -> None:
    engines.begin("A", alive=False)
    engines.begin("B")
    heard = engines.hanging_up("B")
    code, text = said(engines, *words, typed="token\n")
    assert "several" not in text and "kite-A" not in text and code == 1 and heard, text


def test_a_kill_without_a_name_means_every_engine_that_runs(engines: Engines) -> None:
    folders = [engines.begin(name) for name in NAMES]
    idle, prices = engines.begin("IDLE", alive=False), engines.begin("FEED")
    code, text = said(engines, "kill", "a fire")
    assert code == 0 and "2 engines run, all are meant: kite-A, kite-B" in text
    for folder in folders:
        latch = read_latch(folder)
        assert latch is not None and latch.reason == "a fire"
    assert read_latch(idle) is None and read_latch(prices) is None


def test_a_kill_with_a_name_means_that_account_alone(engines: Engines) -> None:
    one, other = (engines.begin(name) for name in NAMES)
    code, _ = said(engines, "kill", "why", "--account", "B")
    assert code == 0 and read_latch(one) is None and read_latch(other) is not None


def test_a_kill_of_several_that_do_not_run_is_no_guess(engines: Engines) -> None:
    folders = [engines.begin(name, alive=False) for name in NAMES]
    code, text = said(engines, "kill", "why")
    assert code == 1 and "several accounts: kite-A, kite-B" in text
    assert not any(read_latch(folder) for folder in folders)
    assert said(engines, "kill", "why", "--all")[0] == 0 and all(read_latch(folder) for folder in folders)


def test_a_latch_that_cannot_be_set_keeps_no_other_from_being_set(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (engines.begin(name) for name in NAMES)
    real = kill_verb.set_latch

    def full(folder: Path, *words: Any, **more: Any) -> Any:
        if folder == one:
            raise OSError(28, "No space left on device")
        return real(folder, *words, **more)

    monkeypatch.setattr(kill_verb, "set_latch", full)
    code, text = said(engines, "kill", "why")
    assert code == 1 and "kite-A: NOT killed" in text and read_latch(other) is not None
    assert kill_verb.latched([], "why", flatten=False) == ({}, [])
