"""The express way takes a plain placement that is alone, and leaves everything else to the parts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from express_twins import Direct, Shared, Watched, without
from orders_world import PX, World, filled, limits

from kite_hft.layout import IntentFlag, IntentKind, OrderStatus, OrderType, Side
from kite_hft.memory.journal import Header, JournalError, Kind
from kite_hft.memory.journal_writer import JournalWriter, OsFile
from kite_hft.memory.segment import make_directory
from kite_hft.trading.book import BookError
from kite_hft.trading.broker import RateWindow
from kite_hft.trading.intents import ENGINE_SEQ, intents_of
from kite_hft.trading.order import EXTERNAL, PROMISED
from kite_hft.trading.ports import OrdersConfig


def usual(**more: Any) -> World:
    return World(broker=Watched(), **more).start()


@pytest.fixture
def direct(tmp_path: Path) -> Iterator[World]:
    shared = Shared(make_directory(tmp_path, "queues"))
    world = Direct(shared, broker=Watched())
    yield world.start()
    del world.stage
    for name in ("intents", "texts", "_wishes", "_words"):
        setattr(world, name, None)
    shared.close()


def taken(world: World) -> int:
    """The number of the intent that went the express way last; 0: none did."""
    express = world.stage.express
    assert express is not None
    return express.last.strategy_seq if express.last is not None else 0


def test_a_plain_placement_is_sent_at_once_from_its_queue(direct: World) -> None:
    direct.quote()
    direct.wish(1)
    posted: list[tuple[str, int]] = []
    direct.broker.on_call = lambda request: posted.append((request.method, len(direct.journal.records)))  # type: ignore[func-returns-value]
    assert direct.stage.express is not None
    assert direct.stage.express.send(direct.clock.mono) == 1
    assert direct.journal.records[-1].kind is Kind.INTENT, "its record stands before it leaves"
    assert posted == [("POST", len(direct.journal.records))] and taken(direct) == 1
    assert direct.status(1) is OrderStatus.SENT and direct.intents.waiting() == 0


@pytest.mark.parametrize("strategy", [77, PROMISED, EXTERNAL])
def test_a_strategy_that_is_nobodys_is_refused_from_its_queue_too(direct: World, strategy: int) -> None:
    direct.quote()
    direct.wish(1, strategy=strategy)
    express = direct.stage.express
    assert express is not None
    assert not express.send(direct.clock.mono) and direct.intents.waiting() == 1
    direct.step(2)
    assert not direct.broker.calls("POST") and taken(direct) == 0
    refused = [r.data() for r in direct.journal.records if r.kind is Kind.REFUSED]
    assert [(r["strategy"], r["reason"]) for r in refused] == [(strategy, "BAD_INTENT")]


class Own(OsFile):
    """A file that is written in a way of its own."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self.full = False
        self.write_at = self._write  # type: ignore[assignment]

    def _write(self, data: bytes, offset: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(self._fd, data, offset)


class Telling(JournalWriter):
    """A journal with an `append` of its own, which is not passed by."""

    def append(self, kind: Kind, time_ns: int, payload: bytes) -> int:
        return super().append(kind, time_ns, payload + b" ")


@pytest.mark.parametrize(("kind", "file"), [(JournalWriter, OsFile), (JournalWriter, Own), (Telling, OsFile)])
def test_the_journals_bytes_are_those_of_the_parts(kind: Any, file: Any, tmp_path: Path) -> None:
    written = []
    for name in ("express", "parts"):
        path = tmp_path / name
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        journal: Any = kind(file(fd), header=Header(0, 0, 0))
        world = usual(journal=journal, more={"journal_state": journal.state})
        if name == "parts":
            without(world)
        for seq, more in ((1, {}), (2, {"order_type": OrderType.SL, "trigger_px": PX - 5}), (3, {"slot": 1})):
            world.clock.advance(2_000_000_000)
            world.send(seq, **more)
            world.step(2)
        assert len(world.broker.calls("POST")) == 3 and (name == "parts" or taken(world) == 3)
        written.append(path.read_bytes())
        os.close(fd)
    assert written[0] == written[1] and written[0].count(b'"tag"') >= 3


def test_a_disk_that_is_full_stops_what_the_express_way_begins(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "journal", os.O_RDWR | os.O_CREAT)
    file = Own(fd)
    journal: Any = JournalWriter(file, header=Header(0, 0, 0))
    world = usual(journal=journal, more={"journal_state": journal.state})
    end, file.full = journal.end, True
    world.send(1)
    assert not world.broker.calls("POST") and world.reason(1) == "JOURNAL_FAILED"
    assert "No space" in journal.failed and journal.end == end
    with pytest.raises(JournalError, match="No space"):
        journal.append(Kind.INTENT, 1, b"{}")
    os.close(fd)


def test_the_book_has_it_when_its_bytes_have_left_and_whatever_became_of_them(direct: World) -> None:
    express, book = direct.stage.express, direct.stage.book
    assert express is not None
    direct.quote()
    direct.wish(1)
    seen: list[int] = []

    def breaks(request: object) -> None:
        seen.append(len(book.orders))
        raise RuntimeError("the transport has broken down")

    direct.broker.on_call = breaks
    with pytest.raises(RuntimeError, match="broken down"):
        express.send(direct.clock.mono)
    assert seen == [0] and direct.journal.records[-1].kind is Kind.INTENT
    assert direct.order(1).sent_ns == direct.clock.mono and book.live_count() == 1
    assert book.positions[(1, direct.order(1).slot, direct.order(1).product)].open_buy == 10


def test_a_name_that_is_taken_is_told_before_anything_leaves(direct: World) -> None:
    express, stage = direct.stage.express, direct.stage
    assert express is not None
    direct.send(1)
    direct.step(3)
    records, sent = len(direct.journal.records), len(direct.broker.sent)
    stage.desk.last_order_no -= 1
    direct.quote()
    direct.wish(2)
    with pytest.raises(BookError, match="stands already"):
        express.send(direct.clock.mono)
    assert (len(direct.journal.records), len(direct.broker.sent)) == (records, sent)
    assert stage.book.live_count() == 1


def test_an_exit_goes_so_too_when_nothing_has_to_give_way() -> None:
    world = usual()
    world.send(1)
    filled(world, 10)
    world.step(2)
    world.send(2, side=Side.SELL, flags=IntentFlag.EXIT)
    assert taken(world) == 2 and not world.order(2).opening


def fill_window(world: World) -> None:
    for _ in range(10):
        world.stage.desk.egress.budget.left(world.clock.mono)


ODD: dict[str, Callable[[World], dict[str, Any] | None]] = {
    "at market": lambda world: {"order_type": OrderType.MARKET, "px": 0},
    "of a group": lambda world: {"group": 3, "legs": 2},
    "a cancel": lambda world: {"kind": IntentKind.CANCEL, "target_seq": 1},
    "a probe": lambda world: {"kind": IntentKind.PROBE},
    "sent before": lambda world: {"strategy_seq": 1},
    "a number of the engine's": lambda world: {"strategy_seq": ENGINE_SEQ + 5},
    "too late": lambda world: {"deadline_ns": world.clock.mono},
    "an unknown instrument": lambda world: {"slot": 99},
    "above the freeze quantity": lambda world: {"slot": 3, "qty": 1875},
    "refused": lambda world: {"px": PX + 1},
    "halted": lambda world: world.do("halt", reason="by hand"),
    "another one beside it": lambda world: world.wish(3),
    "one that waits": lambda world: world.stage.desk.throttle._entries.append(object()),  # type: ignore[arg-type]
    "a cool-down": lambda world: world.stage.desk.throttle.cool_down(world.clock.mono),
    "a full window": lambda world: fill_window(world),
    "a read that has waited": lambda world: setattr(world.stage.desk.egress.budget, "hold_ns", 0),
    "the day's cap": lambda world: setattr(world.stage.desk.throttle, "placed_today", 10**6),
    "something has stirred": lambda world: setattr(world.stage.outbox, "stirred", 10**6),
    "a journal that failed": lambda world: setattr(world.stage.outbox, "journal_failed", "full"),
    "a stage that is not active": lambda world: setattr(world.stage, "active", False),
    "an intent of an earlier process": lambda world: world.stage.intake._heads.__setitem__(0, 1),
    "time for the end of the day": lambda world: setattr(world.stage.keeper.square_off, "wake_ns", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_left_to_the_parts_and_nothing_has_happened(name: str) -> None:
    world = usual()
    world.send(1)
    world.step(2)
    world.quote()
    more = ODD[name](world) or {}
    seq = more.pop("strategy_seq", 2)
    world.wish(seq, **more)
    before = len(world.journal.records), len(world.broker.sent), world.stage.desk.last_order_no
    express, intent = world.stage.express, world.intents.rows[-1]
    assert express is not None and taken(world) == 1
    beside = len(world.intents.rows) > 1
    if not beside:
        assert not express.place(intents_of(intent.tobytes(), 1)[0], 0, world.clock.mono)
    else:
        world.step()
    after = len(world.journal.records), len(world.broker.sent), world.stage.desk.last_order_no
    assert taken(world) == 1 and (beside or after == before)


def test_texts_answers_and_a_latch_come_first(direct: World) -> None:
    direct.send(1)
    direct.step(2)
    express = direct.stage.express
    assert express is not None and taken(direct) == 1
    direct.quote()
    direct.wish(2)
    direct.stage.states.killed = "latched"
    assert not express.send(direct.clock.mono)
    direct.stage.states.killed = ""
    direct.stage.outbox.disk_low = "nearly full"
    assert not express.send(direct.clock.mono)
    direct.stage.outbox.disk_low = ""
    direct.broker.ready.append((0, None))  # type: ignore[arg-type]
    assert not express.send(direct.clock.mono)
    direct.broker.ready.clear()
    step, direct.step = direct.step, lambda n=1: None  # type: ignore[method-assign]
    direct.update(direct.row())
    assert not express.send(direct.clock.mono)
    direct.step = step  # type: ignore[method-assign]
    direct.step()
    assert len(direct.broker.calls("POST")) == 2


def test_a_latch_that_is_set_while_it_is_judged_stops_it() -> None:
    told = {"why": ""}
    world = usual(more={"killed": lambda: told["why"]})
    assert world.stage.express is not None

    class Setting(set[int]):
        def __contains__(self, slot: object) -> bool:
            told["why"] = "now"
            return False

    world.stale_slots = Setting()
    world.send(1)
    assert world.status(1) is OrderStatus.REFUSED and world.reason(1) == "KILLED"
    assert not world.broker.calls("POST") and world.stage.desk.throttle.placed_today == 0


def test_the_egress_gate_stops_what_the_budget_lets_through() -> None:
    rules = replace(limits(), order_windows=(RateWindow(2, 60.0),), all_windows=())
    world = usual(config=OrdersConfig(rules))
    world.send(1)
    budget = world.stage.desk.egress.budget
    for seq in (2, 3):
        budget.urgent_free_ns = budget.entry_free_ns = 0  # a budget that has lost count
        world.step(2)
        world.send(seq)
    assert len(world.broker.calls("POST")) == 2 and "egress" in world.stage.outbox.halted
    assert world.reason(3) == "HALTED"


def test_a_tag_that_was_placed_is_not_placed_again() -> None:
    world = usual()
    world.stage.desk.egress.gate.recall_tags([world.tags.tag(1)])
    world.send(1)
    assert not world.broker.calls("POST") and "second time" in world.stage.outbox.halted


def test_without_its_record_it_does_not_leave() -> None:
    world = usual()
    world.journal.fail = True
    world.send(1)
    assert not world.broker.calls("POST") and world.reason(1) == "JOURNAL_FAILED"
    assert world.stage.outbox.journal_failed
