"""The power fails while exits stand at the broker, and the journal's end is gone: none of them is doubled."""

from __future__ import annotations

from typing import Any

import pytest
from exits_tools import armed, exits, guard, holding
from gtt_tools import GTT, Gtts, entry
from journal_tools import after
from orders_world import PX, S, World, filled, limits

from kite_hft.layout import IntentKind, OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.asides import HANG_NS

EXITS: dict[str, Any] = {
    "kind": IntentKind.EXITS, "flags": 2, "order_type": 0, "side": 0, "qty": 0, "validity": 0,
}  # fmt: skip


class Disk:
    """Takes everything at once, until it hangs."""

    def __init__(self, *, fsync_first: bool = False, state: tuple[str, str] = ("", "")) -> None:
        self.synced, self.state = 2**62, state
        ports = {"synced_seq": lambda: self.synced, "journal_state": lambda: self.state}
        config = OrdersConfig(limits(), fsync_before_send=fsync_first)
        self.world = World(config=config, more=ports).start()
        self.gtts = Gtts(self.world)

    def hang(self) -> None:
        """From here on nothing reaches it."""
        self.synced = len(self.world.journal.records)


def power_cut(world: World, synced: int) -> World:
    """What was not synced is gone; the next process of the run finds the rest."""
    del world.journal.records[synced:]
    return after(world)


@pytest.mark.parametrize("fsync_first", [False, True])
def test_a_trigger_leaves_only_when_its_record_is_on_the_disk(fsync_first: bool) -> None:
    disk = Disk(fsync_first=fsync_first)
    world, gtts = disk.world, disk.gtts
    disk.hang()
    entry(world)
    assert not gtts.calls and world.stage.keeper.busy
    disk.synced = len(world.journal.records)
    world.run(0.1)
    assert gtts.calls == ["POST"] and world.kinds(1) == ["ACCEPTED"]
    disk.hang()
    world.send(2, kind=IntentKind.MODIFY, target_seq=1, px=PX - 85, trigger_px=PX - 90, qty=0, order_type=0)
    world.run(0.3)
    assert gtts.calls == ["POST"]
    disk.synced = 2**62
    world.run(0.1)
    assert gtts.calls == ["POST", "PUT"]
    disk.hang()
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(0.1)
    assert gtts.calls == ["POST", "PUT", "DELETE"], "what takes risk away waits for no disk"


@pytest.mark.parametrize("fsync_first", [False, True])
def test_a_disk_that_hangs_holds_a_strategys_trigger_up_for_as_long(fsync_first: bool) -> None:
    disk = Disk(fsync_first=fsync_first)
    disk.hang()
    entry(disk.world)
    disk.world.run(HANG_NS / S + 5.0)
    assert not disk.gtts.calls
    disk.synced = 2**62
    disk.world.run(0.1)
    assert disk.gtts.calls == ["POST"]


def test_one_that_waits_for_the_disk_is_taken_back_before_it_has_left() -> None:
    disk = Disk()
    disk.hang()
    entry(disk.world)
    disk.world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    disk.world.run(0.1)
    assert disk.world.kinds(1) == ["CANCELLED"] and not disk.world.stage.keeper.triggers.standing
    disk.synced = 2**62
    disk.world.run(1.0)
    assert not disk.gtts.calls


@pytest.mark.parametrize("fsync_first", [False, True])
def test_that_of_a_plan_protects_and_waits_a_second_at_most_where_orders_do_not_wait(
    fsync_first: bool,
) -> None:
    disk = Disk(fsync_first=fsync_first)
    planned(disk)
    disk.world.run(HANG_NS / S + 1.0)
    assert disk.gtts.calls == ([] if fsync_first else ["POST"])


def planned(disk: Disk) -> None:
    """10 shares, and exits that are asked for while the disk hangs."""
    disk.world.send(1, product=Product.CNC)
    filled(disk.world, 10)
    disk.world.run(0.3)
    disk.hang()
    disk.world.send(2, product=Product.CNC, trigger_px=PX - 100, px=PX + 200, **EXITS)


def hung_and_cut(more: int = 2) -> tuple[World, World, Gtts]:
    """A plan's trigger has left without its record, and the power fails. more: records of the plan (2: as it
    was asked for, and as it began) that have reached the disk all the same.
    """
    disk = Disk()
    planned(disk)
    synced = disk.synced + more
    disk.world.run(HANG_NS / S + 1.0)
    assert disk.gtts.calls == ["POST"]
    return disk.world, power_cut(disk.world, synced).start(), disk.gtts


def test_the_trigger_of_a_plan_whose_record_is_lost_is_known_again() -> None:
    _, other, gtts = hung_and_cut()
    other.run(1.0)
    assert gtts.calls == ["POST"] and "TRIGGER_ADOPTED" in other.codes(), "no second one beside it"
    (trigger,) = other.stage.keeper.triggers.standing.values()
    assert trigger.trigger_id == "100" and trigger.for_exits
    gtts.world = other
    other.broker.on_call = gtts.call
    other.send(3, product=Product.CNC, side=Side.SELL, px=PX, qty=10)
    other.run(1.5)
    assert gtts.rows[100]["status"] == "deleted", "it is ours to take away"


def test_so_it_is_when_the_exits_are_asked_for_anew() -> None:
    """Nothing of the plan has reached the disk: its strategy asks once more."""
    _, other, gtts = hung_and_cut(0)
    other.run(1.0)
    assert not other.stage.keeper.plans.plans
    other.send(7, product=Product.CNC, trigger_px=PX - 100, px=PX + 200, **EXITS)
    other.run(1.0)
    assert gtts.calls == ["POST"] and "TRIGGER_ADOPTED" in other.codes()
    later = after(other).start()
    later.run(1.0)
    assert gtts.calls == ["POST"] and len(later.stage.keeper.triggers.standing) == 1


def test_one_at_other_prices_is_told_and_ours_placed_beside_it() -> None:
    _, other, gtts = hung_and_cut(0)
    gtts.world = other
    other.broker.on_call = gtts.call
    other.run(1.0)
    other.send(7, product=Product.CNC, trigger_px=PX - 200, px=PX + 200, **EXITS)
    other.run(1.0)
    assert [row["status"] for row in gtts.rows.values()] == ["active", "active"]
    assert any(text.startswith("TRIGGER_UNKNOWN") and "100 in" in text for text in other.alerts)


def test_what_this_process_has_seen_placed_is_nobodys_never() -> None:
    """Its own exits were dropped and their trigger deleted; the list as last read still shows it."""
    disk = Disk()
    world, gtts = disk.world, disk.gtts
    world.send(1, product=Product.CNC)
    filled(world, 10)
    for seq in (2, 4):
        world.send(seq, product=Product.CNC, trigger_px=PX - 100, px=PX + 200, **EXITS)
        world.run(0.5)
        world.stage.reader.want_triggers()
        world.run(1.5)
        world.send(seq + 1, product=Product.CNC, trigger_px=0, px=0, **EXITS)
        world.run(0.3)
    assert gtts.calls == ["POST", "DELETE"] * 2 and "TRIGGER_ADOPTED" not in world.codes()


def test_one_that_waits_for_a_disk_that_fails_never_leaves() -> None:
    disk = Disk(fsync_first=True)
    disk.hang()
    entry(disk.world)
    disk.state = ("journal sync failed: Input/output error", "")
    disk.world.run(0.5)
    assert not disk.gtts.calls and disk.world.reason(1) == "JOURNAL_FAILED"


def test_others_go_before_one_that_waits_for_the_disk() -> None:
    disk = Disk(fsync_first=True)
    world, gtts = disk.world, disk.gtts
    entry(world)
    disk.hang()
    world.send(2, **(GTT | {"px": PX - 195, "trigger_px": PX - 200}))
    world.send(3, kind=IntentKind.CANCEL, target_seq=1)
    world.run(0.2)
    assert gtts.calls == ["POST", "DELETE"]


def test_no_second_trigger_is_laid_for_a_plan_after_a_power_cut() -> None:
    disk = Disk()
    world, gtts = disk.world, disk.gtts
    world.send(1, product=Product.CNC)
    filled(world, 10)
    world.run(0.3)
    planned = len(world.journal.records) + 2  # the plan as it was asked for, and as it began
    disk.synced = planned
    world.send(2, product=Product.CNC, trigger_px=PX - 100, px=PX + 200, **EXITS)
    world.run(0.3)
    assert not gtts.calls, "nobody would know it again"
    other = power_cut(world, planned).start()
    other.run(1.0)
    assert len(other.stage.keeper.plans.plans) == 1
    assert [row["status"] for row in gtts.rows.values()] == ["active"]


def test_a_stop_whose_record_is_lost_is_cancelled_before_the_plan_places_its_own() -> None:
    world = holding()
    before = len(world.journal.records)
    exits(world, trigger_px=PX - 100)
    first = armed(world)
    plan = [at for at, r in enumerate(world.journal.records) if r.kind is Kind.PLAN and at >= before]
    other = power_cut(world, plan[-1] + 1).start()
    assert other.stage.outbox.halted and "ORDER_ADOPTED" in other.codes()
    posts, cancels = len(other.broker.calls("POST")), len(other.broker.calls("DELETE"))
    other.run(0.2)
    assert len(other.broker.calls("POST")) == posts, "nothing is placed beside it"
    assert len(other.broker.calls("DELETE")) >= max(cancels, 1) and "STOP_GAVE_WAY" in other.codes()
    other.broker.rows[first.order_id] |= {"status": "CANCELLED", "pending_quantity": 0}
    other.run(4.0)
    second = guard(other)
    assert second.quantity == 10 and second.order_id != first.order_id and second.status not in TERMINAL
    live = [row for row in other.broker.rows.values() if row["status"] not in ("COMPLETE", "CANCELLED")]
    assert len(live) == 1 and second.side == Side.SELL
    assert other.stage.book.by_id(first.order_id).status is OrderStatus.CANCELLED
