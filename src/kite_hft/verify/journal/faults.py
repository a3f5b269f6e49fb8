"""Layer 6, campaigns, cold: the disk fails at every write, sync and fallocate of a run, one after another.

The order stage and the journal writer are the real ones; the disk (disk.py) says ENOSPC or EIO, or
takes in half a record, at the n-th call of a kind, from then on or only once. Once is the hard one: a
sync that is tried again succeeds without the data being there. After that

  the stage is HALTED, and no order leaves any more;
  each order that the broker ever saw has its INTENT: in the file, with fsync_before_send on the disk;
  nothing was synced again after a sync that failed;
  every order that still rests at the broker can be cancelled, and is.

A fallocate that fails means that the disk is nearly full: HALTED as well, with the journal whole.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from kite_hft.layout import IntentKind
from kite_hft.memory.journal import JournalError, scan
from kite_hft.verify.journal.crash_states import Wrong
from kite_hft.verify.journal.disk import Faults
from kite_hft.verify.journal.world import World

ACTS: Final = 30
RESERVE: Final = (4096, 2048)
"""Small, so that a run asks for more now and then."""
CALM: Final = {"unanswered": 0.05}
_SETTLE_STEPS: Final = 60
_CALLS: Final = ("write", "sync", "allocate")


@dataclass(frozen=True, slots=True)
class Case:
    """One run. fault: where the disk fails; mode and seed: of the world."""

    fault: Faults
    fsync_first: bool
    seed: int

    def __str__(self) -> str:
        f = self.fault
        call = next(name for name in _CALLS if getattr(f, name) >= 0)
        how = "half a record" if f.short else errno.errorcode[f.number]
        mode = "fsync" if self.fsync_first else "default"
        return f"{mode}:{call}:{getattr(f, call)}:{how}:{'lasting' if f.lasting else 'once'}"


@dataclass(slots=True)
class Counted:
    """What the runs did. struck: a fault was met. cancelled: orders that were, after it."""

    runs: int = 0
    struck: int = 0
    sent_before: int = 0
    sent_after: int = 0
    cancelled: int = 0


def measure(seed: int, *, fsync_first: bool) -> dict[str, int]:
    """How many calls of each kind a run without faults makes after its header."""
    world = _world(seed, fsync_first)
    _trade(world)
    return {"write": world.disk.writes, "sync": world.disk.syncs, "allocate": world.disk.allocates}


def cases(seed: int, *, enospc: bool, eio: bool) -> Iterator[Case]:
    """A fault at each call of each kind, in both modes; the header's own are left out: nothing began."""
    numbers = [number for number, wanted in ((errno.ENOSPC, enospc), (errno.EIO, eio)) if wanted]
    for fsync_first in (False, True):
        calls = measure(seed, fsync_first=fsync_first)
        for number in numbers:
            for lasting in (True, False):
                base = Faults(number=number, lasting=lasting)
                for at in range(1, calls["write"]):
                    yield Case(replace(base, write=at), fsync_first, seed)
                    if number == errno.ENOSPC:
                        yield Case(replace(base, write=at, short=True), fsync_first, seed)
                for at in range(1, calls["sync"]):
                    yield Case(replace(base, sync=at), fsync_first, seed)
                if number == errno.ENOSPC and lasting:
                    for at in range(1, calls["allocate"]):
                        yield Case(replace(base, allocate=at), fsync_first, seed)


def case_of(text: str, seed: int) -> Case:
    """The case that its text names (`str(case)`).

    Raises:
        ValueError, AttributeError: there is none of that name.
    """
    mode, call, at, how, lasting = text.split(":")
    short = how == "half a record"
    number = errno.ENOSPC if short else int(getattr(errno, how))
    fault = Faults(number=number, short=short, lasting=lasting == "lasting")
    if call not in _CALLS:
        raise ValueError(f"{call!r} is none of {_CALLS}")
    setattr(fault, call, int(at))
    return Case(fault, mode == "fsync", seed)


def run_case(case: Case, counted: Counted) -> None:
    """One run with one fault.

    Raises:
        Wrong: a promise was broken.
    """
    world = _world(case.seed, case.fsync_first, case.fault)
    met = _trade(world)
    if not met and not world.disk.failed:
        return  # by its own chances this run had fewer calls
    counted.runs += 1
    counted.struck += 1
    before = len(world.broker.placed)
    world.run(2)  # what was seen beside is heard now
    if not world.stage.outbox.halted:
        raise Wrong("not HALTED")
    at_halt = len(world.broker.placed)
    for _ in range(ACTS):
        world.place()
        world.step()
    world.run(_SETTLE_STEPS)
    low_only = case.fault.allocate >= 0
    after = len(world.broker.placed) - at_halt
    if after and not low_only:
        raise Wrong(f"{after} orders left after the halt")
    opened = [order for order in world.stage.book.orders.values() if order.opening]
    late = {order.tag for order in opened} & set(world.broker.placed[at_halt:])
    if late:
        raise Wrong(f"{len(late)} orders that open left after the halt")
    counted.sent_before, counted.sent_after = counted.sent_before + before, counted.sent_after + after
    _every_order_has_its_intent(world)
    if world.disk.syncs_after_failure:
        raise Wrong(f"{world.disk.syncs_after_failure} syncs after one that failed")
    counted.cancelled += cancel_all(world)


def _world(seed: int, fsync_first: bool, fault: Faults | None = None) -> World:
    world = World(seed, fsync_first=fsync_first, reserve=RESERVE, chance=CALM)
    if fault is not None:
        world.disk.faults = fault
    return world


def _trade(world: World) -> bool:
    """A short day; True as soon as the disk has failed."""
    for _ in range(400):
        if world.stage.active or world.disk.failed:
            break
        world.step()
    for _ in range(ACTS):
        if world.disk.failed:
            return True
        world.act()
        world.step()
    return bool(world.disk.failed)


def _every_order_has_its_intent(world: World) -> None:
    """In the bytes themselves: all that was written, or what a sync has covered."""
    disk = world.disk
    data = bytes(disk.data[: disk.on_disk] if world.fsync_first else disk.data)
    try:
        found = scan(data)
    except JournalError as error:
        raise Wrong(f"the journal cannot be read any more: {error}") from None
    there = {record.data()["tag"] for record in found.records if record.kind.name == "INTENT"}
    missing = [tag for tag in world.broker.placed if tag not in there]
    if missing:
        raise Wrong(f"{len(missing)} orders at the broker have no INTENT there")


def cancel_all(world: World) -> int:
    """A person cancels what rests; returns how many orders that was."""
    world.broker.chance = {}
    world.run(_SETTLE_STEPS)
    done = 0
    for _ in range(4):
        for order in list(world.stage.book.live()):
            if order.order_id and order.order_no not in world.stage.desk.cancelling:
                world.change(order, IntentKind.CANCEL)
                done += 1
        world.run(_SETTLE_STEPS)
    if left := world.broker.live():
        raise Wrong(f"{len(left)} orders could not be cancelled")
    return done
