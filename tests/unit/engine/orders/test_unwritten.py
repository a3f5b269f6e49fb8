"""A kill whose latch file cannot be written: killed all the same, and the file is tried again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from orders_world import PX, S, World, filled, limits

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.latch import BY_HAND, HISTORY, NAME, Latched, LatchWatch, read_latch, set_latch
from kite_hft.engine.orders.latches import SIGNAL, disk, latch_ports
from kite_hft.engine.orders.process import at_beat, kills_of
from kite_hft.engine.orders.unwritten import RETRY_NS, Kills
from kite_hft.layout import OrderStatus, Side
from kite_hft.trading.alerts import CRITICAL
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig

NO_ROOM = OSError(28, "No space left on device")


class Account:
    """A folder that takes no file until it is `mended`, and who kills there. told: alerts."""

    def __init__(self, folder: Path, clock: ManualClock | None = None) -> None:
        self.folder = folder / "account"
        self.clock = clock or ManualClock(5 * S, 7)
        self.told: list[dict[str, Any]] = []
        self.alarms: list[str] = []
        self.jobs: list[Callable[[], None]] = []
        self.watch = LatchWatch(self.folder)
        self.kills = Kills(self.folder, self.watch, self.clock, self.jobs.append)
        self.kills.tell = lambda fields: self.told.append(dict(fields))
        self.ports = latch_ports(self.kills, "", {1: "one"}, lambda *words: self.alarms.append(words[2]))

    def mend(self) -> None:
        self.folder.mkdir()

    def wait(self, ns: int = RETRY_NS) -> None:
        """Time goes by; the thread beside does what it was given."""
        self.clock.mono += ns
        self.kills.look()
        while self.jobs:
            self.jobs.pop(0)()
        self.kills.look()


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def test_it_counts_from_then_on_and_a_person_is_told(account: Account) -> None:
    account.ports["kill"]("a loss", True)
    assert account.ports["killed"]() == "a loss" and account.ports["kill_flat"]()
    assert account.ports["killed_by"]() == "the order process"
    (told,) = account.told
    assert (told["code"], told["key"], told["severity"]) == ("FILE_FAILED", NAME, CRITICAL)
    assert f"{account.folder / NAME} cannot be written: No such file or directory" in told["text"]
    assert "one that is started later would not know it" in told["text"]
    account.ports["kill"]("another", False)
    assert account.ports["killed"]() == "a loss" and account.ports["kill_flat"](), "the first stands"
    assert len(account.told) == 1


def test_the_file_is_tried_again_every_few_seconds_until_it_is_there(account: Account) -> None:
    account.ports["kill"]("a loss", True)
    account.wait(RETRY_NS - 1)
    account.mend()
    account.wait(0)
    assert read_latch(account.folder) is None, "not yet"
    account.wait(1)
    assert read_latch(account.folder) == Latched("a loss", "the order process", 7, True)
    assert account.watch.unwritten is None and account.ports["killed"]() == "a loss"
    assert account.ports["kill_flat"]() and account.told[-1]["cleared"] and len(account.told) == 2
    account.wait()
    assert len(account.told) == 2
    account.ports["unkill"]("me")
    assert account.ports["killed"]() == "" and read_latch(account.folder) is None
    account.wait(3 * RETRY_NS)
    assert account.ports["killed"]() == "" and read_latch(account.folder) is None, "it does not come back"
    assert [json.loads(line)["do"] for line in (account.folder / HISTORY).read_text().splitlines()] == [
        "kill", "resume",
    ]  # fmt: skip


def test_a_try_that_fails_is_followed_by_another_and_a_new_cause_is_told(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.ports["kill"]("a loss", False)
    account.wait()
    account.wait()
    assert len(account.told) == 1 and account.ports["killed"]() == "a loss"
    account.mend()

    def full(*words: object, **more: object) -> int:
        raise NO_ROOM

    monkeypatch.setattr(os, "open", full)
    account.wait()
    assert "No space left on device" in account.told[-1]["text"] and len(account.told) == 2
    monkeypatch.undo()
    account.wait()
    assert read_latch(account.folder) is not None and account.told[-1]["cleared"]


def test_a_resume_does_not_end_what_no_file_says(account: Account) -> None:
    account.ports["kill"]("a loss", False)
    account.ports["unkill"]("me")
    assert account.ports["killed"]() == "a loss"
    (said,) = account.alarms
    assert "not resumed: KILLED in the order process alone" in said and str(account.folder / NAME) in said


def test_a_full_disk_that_has_no_room_for_the_words_closes_the_positions_all_the_same(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The empty file kills; that everything is to be closed stands in its words."""
    account.mend()

    def full(fd: int, data: bytes) -> int:
        raise NO_ROOM

    monkeypatch.setattr(os, "write", full)
    assert not set_latch(account.folder, "a loss", "me", 1, flatten=True).flatten, "what stands is told"
    account.ports["kill"]("a loss", True)
    assert account.ports["killed"]() == BY_HAND and account.ports["kill_flat"]()
    assert "no room for its words" in account.told[-1]["text"]
    account.wait()
    found = read_latch(account.folder)
    assert account.ports["kill_flat"]() and found is not None and not found.flatten
    monkeypatch.undo()
    account.wait()
    found = read_latch(account.folder)
    assert found is not None and found.flatten and account.watch.unwritten is None
    assert account.told[-1]["cleared"]


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_file_that_says_less_ends_it_all_when_it_is_taken_away(
    account: Account, monkeypatch: pytest.MonkeyPatch, by_hand: bool
) -> None:
    account.mend()

    def full(fd: int, data: bytes) -> int:
        raise NO_ROOM

    monkeypatch.setattr(os, "write", full)
    account.ports["kill"]("a loss", True)
    assert account.ports["killed"]()
    if by_hand:
        (account.folder / NAME).unlink()
    else:
        account.ports["unkill"]("me")
    monkeypatch.undo()
    assert account.ports["killed"]() == "" and not account.ports["kill_flat"]()
    account.wait()
    assert account.ports["killed"]() == "" and account.alarms == [] and account.told[-1]["cleared"]


def test_a_kill_that_was_latched_well_stands_in_for_nothing(account: Account) -> None:
    account.mend()
    account.ports["kill"]("a loss", True)
    assert account.watch.unwritten is None and account.told == []
    account.wait()
    (account.folder / NAME).unlink()
    assert account.ports["killed"]() == ""


def loser(account: Account, action: str) -> World:
    """Ten shares bought at 100, another entry that rests, a limit of 100 rupees, and the price falls."""
    config = OrdersConfig(limits(), max_daily_loss_paise=10_000, on_daily_loss=action)
    world = World(config=config, clock=account.clock, more=account.ports).start()
    world.send(1)
    filled(world, 10)
    world.send(2, slot=1, px=PX - 5)
    world.quote(PX - 1000)
    world.clock.advance(S)
    world.step(3)
    for _ in range(80):
        world.clock.advance(S // 20)
        world.quote(PX - 1000)
        world.step()
    return world


def test_a_limit_kills_without_the_file(tmp_path: Path) -> None:
    account = Account(tmp_path, ManualClock(1_000 * S, 1_800_000_000 * S))
    world = loser(account, "kill")
    assert world.stage.states.killed and not world.stage.outbox.halted
    assert world.status(2) is OrderStatus.CANCELLED and world.quantity() == 10
    world.send(3, slot=1)
    assert world.reason(3) == "KILLED"
    world.send(4, side=Side.SELL)
    assert world.status(4) in WORKING, "an exit passes"
    world.do("resume", by="a person")
    world.run(1)
    world.send(5, slot=1)
    assert world.stage.states.killed and world.reason(5) == "KILLED"
    commands = [r.data() for r in world.journal.records if r.kind.name == "COMMAND"]
    assert [data["do"] for data in commands] == ["kill", "resume"] and not commands[0]["flatten"]


def test_and_closes_what_is_held(tmp_path: Path) -> None:
    account = Account(tmp_path, ManualClock(1_000 * S, 1_800_000_000 * S))
    world = loser(account, "flatten")
    assert world.stage.states.killed and world.stage.flattening
    assert world.row()["transaction_type"] == "SELL" and world.row()["quantity"] == 10


def test_a_message_kills_as_well(tmp_path: Path) -> None:
    """`kite-hft kill` that could not write the file has the supervisor tell the order process."""
    account = Account(tmp_path, ManualClock(1_000 * S, 1_800_000_000 * S))
    world = World(clock=account.clock, more=account.ports).start()
    world.send(1)
    world.do("kill", reason="enough, me by kite-hft kill", flatten=False)
    world.run(4)
    assert world.stage.states.killed == "enough, me by kite-hft kill"
    assert world.status(1) is OrderStatus.CANCELLED and not world.stage.flattening
    world.do("kill", reason="more", flatten=True)
    world.run(0.5)
    assert world.stage.flattening


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(SIGNAL)
    yield
    signal.signal(SIGNAL, before)


def test_the_process_is_wired_so(tmp_path: Path, signals: None) -> None:
    """SIGUSR1, the beat that tells and tries again, and the thread beside."""
    clock, told, looked = ManualClock(5 * S, 7), list[Any](), list[int]()
    kills = kills_of(tmp_path / "account", clock)
    tell: Any = told.append
    kills.tell = tell
    os.kill(os.getpid(), signal.SIGUSR1)
    assert kills.watch.killed() == "SIGUSR1 to the order process" and kills.watch.by == "signal SIGUSR1"
    assert told == [], "a handler tells nobody"
    out: Any = type("Out", (), {"look": staticmethod(lambda: looked.append(1))})
    beat = at_beat(out, kills)
    beat()
    assert [fields["severity"] for fields in told] == [CRITICAL] and looked == [1]
    (tmp_path / "account").mkdir()
    clock.mono += RETRY_NS
    beat()
    assert disk.settle(20.0)
    beat()
    found = read_latch(tmp_path / "account")
    assert found is not None and found.reason == "SIGUSR1 to the order process" and told[-1]["cleared"]
    kills.watch.close()
