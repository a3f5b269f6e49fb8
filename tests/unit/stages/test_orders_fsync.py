"""Orders that wait for the disk, and a journal that fails beside: what leaves, and what must not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from orders_world import PX, S, World, error, filled, limits

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.stages.orders import Orders
from kite_hft.trading.book import Book, Cut
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.replay import replay
from kite_hft.trading.sending.asides import Aside

CONFIG = OrdersConfig(limits(), fsync_before_send=True)
FAILED = "journal sync failed: Input/output error"


@dataclass
class Disk:
    """What the ports say of it."""

    synced: int = 0
    state: tuple[str, str] = ("", "")
    more: dict[str, object] = field(default_factory=dict)


def world(disk: Disk, config: OrdersConfig = CONFIG, **more: object) -> World:
    """An active stage on a disk that is fast until then."""
    disk.synced = 2**62
    ports = {"synced_seq": lambda: disk.synced, "journal_state": lambda: disk.state} | more
    return World(config=config, more=ports).start()


def stopped(world: World, disk: Disk) -> None:
    """From here on nothing reaches the disk."""
    disk.synced = len(world.journal.records)


def test_an_order_leaves_only_when_its_record_is_on_the_disk() -> None:
    disk = Disk()
    day = world(disk)
    stopped(day, disk)
    day.send(1)
    day.run(0.4)
    assert day.journal.kinds().count("INTENT") == 1 and not day.broker.calls("POST")
    assert day.status(1) is OrderStatus.SENT and day.kinds(1) == ["SENT"]  # a crash now would not know
    assert not day.stage.idle
    disk.synced = len(day.journal.records) - 1
    day.step()
    assert not day.broker.calls("POST")
    disk.synced += 1
    day.step(2)
    assert len(day.broker.calls("POST")) == 1 and day.kinds(1) == ["SENT", "ACCEPTED"]


def test_the_default_mode_does_not_wait() -> None:
    disk = Disk()
    day = world(disk, replace(CONFIG, fsync_before_send=False))
    disk.synced = 0
    day.send(1)
    assert len(day.broker.calls("POST")) == 1


def test_several_leave_with_one_sync_and_in_their_order() -> None:
    disk = Disk()
    day = world(disk)
    stopped(day, disk)
    for seq in (1, 2, 3):
        day.send(seq, px=PX - 5 * seq)
    disk.synced = len(day.journal.records)
    day.step()
    prices = [request.body.decode().split("price=")[1].split("&")[0] for request in day.broker.calls("POST")]
    assert prices == sorted(prices, reverse=True) and len(prices) == 3


def test_a_modification_waits_and_a_cancel_does_not() -> None:
    disk = Disk()
    day = world(disk)
    day.send(1)
    day.send(2, px=PX - 5)
    stopped(day, disk)
    day.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    day.send(4, kind=IntentKind.CANCEL, target_seq=2)
    assert not day.broker.calls("PUT") and len(day.broker.calls("DELETE")) == 1
    disk.synced = len(day.journal.records)
    day.step(2)
    assert len(day.broker.calls("PUT")) == 1 and day.order(1).quantity == 20


def test_an_order_that_is_cancelled_while_it_waits_for_the_disk_never_leaves() -> None:
    disk = Disk()
    day = world(disk)
    stopped(day, disk)
    day.send(1)
    day.send(2, px=PX - 5)
    day.send(3, kind=IntentKind.CANCEL, target_seq=1)
    disk.synced = 2**62
    day.step(4)
    assert [request.method for request in day.broker.sent if request.method != "GET"] == ["POST"]
    assert day.status(1) is OrderStatus.REFUSED and day.status(2) in WORKING
    assert not day.stage.desk.cancelling and day.stage.book.worst_case(0) == 10
    replayed = Book(day.table)
    replay(day.journal.records, replayed, day.table, 0)
    assert replayed.orders[1].status is OrderStatus.REFUSED


def test_an_entry_that_waits_past_its_deadline_never_leaves_and_an_exit_does() -> None:
    disk = Disk()
    day = world(disk)
    day.send(1)
    filled(day, 10)
    stopped(day, disk)
    day.send(2, px=PX - 5, slot=1)
    day.send(3, side=Side.SELL)
    day.run(3.0)
    assert day.status(2) is OrderStatus.REFUSED and day.reason(2) == "THROTTLE_DEADLINE"
    assert day.status(3) is OrderStatus.SENT
    disk.synced = 2**62
    day.run(3.0)
    assert len(day.broker.calls("POST")) == 2 and day.status(3) is OrderStatus.OPEN
    replayed = Orders(replace(day.stage._ports, history=list(day.journal.records)), CONFIG).book
    replay(day.journal.records, replayed, day.stage._ports.instruments, 0)
    assert replayed.orders[2].status is OrderStatus.REFUSED  # as the journal tells it, too


def test_an_exit_that_waited_while_something_else_closed_its_position_never_leaves() -> None:
    disk = Disk()
    day = world(disk)
    day.send(1)
    filled(day, 10)
    stopped(day, disk)
    day.send(2, side=Side.SELL, qty=4)
    day.send(3, side=Side.SELL, qty=6)
    day.stage.book.cut(Cut(1, 0, int(Product.MIS), -4, -4 * PX))
    disk.synced = len(day.journal.records) - 1
    day.step(2)
    assert day.status(2) in WORKING, "of 10 held 6 are left"
    filled(day, 4)
    day.stage.book.cut(Cut(1, 0, int(Product.MIS), -2, -2 * PX))
    disk.synced = 2**62
    day.step(2)
    assert day.status(3) is OrderStatus.REFUSED and day.reason(3) == "FROZEN"
    assert len(day.broker.calls("POST")) == 2


@pytest.mark.parametrize("fsync_first", [True, False])
def test_a_sync_that_failed_halts_and_only_cancels_leave(fsync_first: bool) -> None:
    disk = Disk()
    day = world(disk, replace(CONFIG, fsync_before_send=fsync_first))
    day.send(1)
    filled(day, 4)
    stopped(day, disk)
    day.send(2, px=PX - 5, slot=1)
    n = len(day.broker.calls("POST"))
    disk.state = (FAILED, "")
    day.step(2)
    assert day.stage.outbox.halted == FAILED and "JOURNAL_FAILED" in day.codes()
    if fsync_first:
        assert day.status(2) is OrderStatus.REFUSED and day.reason(2) == "JOURNAL_FAILED"
    day.send(3, px=PX - 5, slot=1)
    day.send(4, side=Side.SELL, qty=4)
    day.send(5, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    disk.synced = 2**62
    day.run(1.0)
    assert len(day.broker.calls("POST")) == n and not day.broker.calls("PUT")
    assert day.reason(3) == "HALTED" and day.reason(4) == "JOURNAL_FAILED"
    day.send(6, kind=IntentKind.CANCEL, target_seq=1)
    day.run(4.0)
    assert len(day.broker.calls("DELETE")) == 1 and day.order(1).status in TERMINAL


def test_a_disk_that_is_nearly_full_halts_openings_and_exits_pass() -> None:
    disk = Disk()
    day = world(disk)
    day.send(1)
    filled(day, 10)
    disk.state = ("", "the disk is nearly full")
    day.step()
    assert day.stage.outbox.halted == "the disk is nearly full" and "DISK_LOW" in day.codes()
    day.send(2, px=PX - 5, slot=1)
    day.send(3, side=Side.SELL)
    assert day.reason(2) == "HALTED" and len(day.broker.calls("POST")) == 2
    day.do("resume")
    day.step()
    assert day.stage.outbox.halted  # the reason still stands
    disk.state = ("", "")
    day.step()
    day.do("resume")
    day.send(4, px=PX - 5, slot=1)
    day.run(3.0)
    assert not day.stage.outbox.halted and day.status(4) is OrderStatus.OPEN


def test_stopping_and_a_kill_take_back_what_waits() -> None:
    for how in ("stop", "halt"):
        disk = Disk()
        day = world(disk)
        stopped(day, disk)
        day.send(1)
        if how == "stop":
            day.stage.begin_stop(day.clock.mono)
        else:
            day.do("halt", reason="by hand")
        disk.synced = 2**62
        day.step(3)
        assert day.status(1) is OrderStatus.REFUSED and not day.broker.calls("POST")
        answers = [r.data() for r in day.journal.records if r.kind is Kind.ANSWER]
        assert answers[-1]["outcome"] == "unsent"


def test_a_slow_disk_bunches_nothing() -> None:
    """Ten calls in any 1.25 s at the broker, however the syncs come."""
    disk, left = Disk(), list[int]()
    day = world(disk, replace(CONFIG, entry_wait_s=30.0))
    submit = day.broker.submit

    def timed(request_id: int, request: object) -> None:
        if request.method == "POST":  # type: ignore[attr-defined]
            left.append(day.clock.mono)
        submit(request_id, request)  # type: ignore[arg-type]

    day.broker.submit = timed  # type: ignore[method-assign]
    stopped(day, disk)
    for seq in range(1, 31):
        day.wish(seq, px=PX - 5 * seq, qty=1)
    for n in range(80):
        if n % 11 == 10:
            disk.synced = len(day.journal.records)
        day.run(0.1)
    assert len(left) > 10 and not day.stage.outbox.halted
    for i, at in enumerate(left):
        assert sum(at - 1_250_000_000 < other <= at for other in left[: i + 1]) <= 10


def test_a_cool_down_that_begins_meanwhile_holds_entries_back_and_lets_exits_pass_singly() -> None:
    """The broker answered 429 while they waited for the disk."""
    disk = Disk()
    day = world(disk, replace(CONFIG, entry_wait_s=30.0))
    day.send(1, qty=20)
    filled(day, 20)
    day.run(3.0)
    day.broker.on_call = lambda request: None if request.method == "POST" else day.broker.accept(request)
    day.send(2, px=PX - 5, slot=1)
    request_id = day.stage._calls.last_id
    stopped(day, disk)
    day.broker.on_call = None
    day.send(3, px=PX - 5, slot=1)
    day.send(4, side=Side.SELL, qty=1)
    day.send(5, side=Side.SELL, qty=1)
    assert {day.status(seq) for seq in (3, 4, 5)} == {OrderStatus.SENT}
    n = len(day.broker.calls("POST"))
    day.broker.ready.append((request_id, error(429, "NetworkException", "Too many requests")))
    day.step()
    disk.synced = 2**62
    day.step()
    assert day.status(2) is OrderStatus.REJECTED and day.status(3) is OrderStatus.SENT
    for more in (0, 1, 2, 2):
        assert len(day.broker.calls("POST")) == n + more, "one exit a second, and no entry"
        day.run(CONFIG.limits.cooldown_urgent_gap_s)
    assert day.status(3) is OrderStatus.SENT
    day.run(CONFIG.limits.cooldown_after_429_s)
    assert len(day.broker.calls("POST")) == n + 3 and day.status(3) is OrderStatus.OPEN


def test_what_is_dropped_while_it_waits_keeps_no_place() -> None:
    disk, killed = Disk(), [""]
    day = world(disk, killed=lambda: killed[0])
    throttle, budget = day.stage.desk.throttle, day.stage.desk.egress.budget
    day.run(2.0)
    stopped(day, disk)
    for seq in range(1, 9):
        day.wish(seq, px=PX - 5 * seq, qty=1)
    day.step()
    assert budget.entry_free_ns > day.clock.mono and throttle.placed_today == 8
    killed[0] = "enough"
    day.step()
    assert budget.entry_free_ns <= day.clock.mono and throttle.placed_today == 0
    killed[0] = ""
    day.stage.states.unkill()
    for seq in range(11, 19):
        day.wish(seq, px=PX - 5 * seq, qty=1)
    day.step()
    disk.synced = len(day.journal.records)
    day.stage.states.reducing = "a test"  # their records are on the disk, and the gate says no
    day.step()
    assert not day.broker.calls("POST") and {day.reason(seq) for seq in range(11, 19)} == {"REDUCING"}
    assert budget.entry_free_ns <= day.clock.mono and throttle.placed_today == 0


def test_one_that_leaves_does_not_count_in_the_place_of_one_that_waits_on() -> None:
    disk = Disk()
    day = world(disk, replace(CONFIG, entry_wait_s=30.0))
    day.broker.on_call = lambda request: None if request.method == "DELETE" else day.broker.accept(request)
    for seq in range(1, 11):
        day.wish(seq, px=PX - 5 * seq, qty=1)
    day.run(4.0)
    assert len(day.broker.calls("POST")) == 10
    stopped(day, disk)
    day.send(11, px=PX - 60, qty=1)
    day.send(12, px=PX - 65, qty=1)
    disk.synced += 1
    day.clock.advance(10_000_000)
    day.step()
    assert len(day.broker.calls("POST")) == 11
    day.run(1.0)
    before = len(day.broker.sent)
    day.run(1.3)
    reads = len(day.broker.sent) - before
    for seq in range(1, 11):
        day.wish(20 + seq, kind=IntentKind.CANCEL, target_seq=seq)
    day.step()
    assert len(day.broker.calls("DELETE")) + reads == 9, "the place of the one that waits is not theirs"
    disk.synced = 2**62
    day.step()
    assert len(day.broker.calls("POST")) == 12 and not day.stage.outbox.halted


def test_what_the_second_count_has_keeps_its_place_in_the_first() -> None:
    """Orders that crossed the border and then got no record; the cancels behind them wait their turn."""
    day = world(Disk(), replace(CONFIG, fsync_before_send=False))
    day.send(1, qty=20)
    filled(day, 20)
    for seq in (2, 3, 4, 5, 6):
        day.send(seq, px=PX - 5 * seq, qty=1)
    day.run(3.0)
    day.journal.fail = True
    for seq in range(10, 17):
        day.send(seq, side=Side.SELL, qty=1)
    assert day.reason(16) == "JOURNAL_FAILED"
    for seq in (2, 3, 4, 5, 6):
        day.send(20 + seq, kind=IntentKind.CANCEL, target_seq=seq)
    day.run(2.0)
    assert len(day.broker.calls("DELETE")) == 5
    assert not [text for text in day.alerts if "egress" in text or "CANCEL_FAILED" in text]


@pytest.mark.parametrize("older", [True, False])
def test_after_a_standstill_what_waited_for_the_disk_needs_places_anew(older: bool) -> None:
    """Other calls have taken them: nine exits and nine deletions of triggers are more than a window takes."""
    disk = Disk()
    day = world(disk)
    day.send(1, qty=40)
    day.step(2)
    filled(day, 40)
    day.run(3.0)
    stopped(day, disk)
    for seq in range(10, 19):
        day.wish(seq, side=Side.SELL, px=PX + 5, qty=1)
    day.quote()
    day.step(2)
    assert len(day.stage.desk.staging) == 9
    times: list[int] = []
    submit = day.broker.submit

    def noted(request_id: int, request: HttpRequest) -> None:
        times.append(day.clock.mono)
        submit(request_id, request)

    day.broker.submit = noted  # type: ignore[method-assign]
    day.clock.advance(3 * S)
    day.quote()
    call = HttpRequest("GET", "/user/margins")
    for _ in range(9):
        aside = Aside("GTT", call, lambda answer, now_ns: None, urgent=True)
        day.stage.keeper.asides.offer(aside, day.clock.mono - older)
    disk.synced = 2**62
    day.step(3)
    assert len(times) == 10, "the window is full, and no more"
    day.run(4.0)
    assert all(sum(at - 5 * S // 4 < other <= at for other in times) <= 10 for at in times)
    assert not day.stage.outbox.halted and not day.stage.desk.staging
    assert {day.status(seq) for seq in range(10, 19)} == {OrderStatus.OPEN}


def test_what_is_taken_back_after_a_standstill_takes_no_place_from_anybody() -> None:
    disk = Disk()
    day = world(disk)
    stopped(day, disk)
    for seq in range(1, 6):
        day.wish(seq, px=PX - 5 * seq)
    day.quote()
    day.step(2)
    assert len(day.stage.desk.staging) == 5
    day.clock.advance(3 * S)
    day.step(2)
    assert not day.stage.desk.staging and day.reason(1) == "THROTTLE_DEADLINE"
    assert day.stage.desk.egress.budget.entry_free_ns <= day.clock.mono
    disk.synced = 2**62
    for seq in range(10, 18):
        day.wish(seq, px=PX - 5 * (seq - 9))
    day.quote()
    day.step(2)
    assert len(day.broker.calls("POST")) == 8
