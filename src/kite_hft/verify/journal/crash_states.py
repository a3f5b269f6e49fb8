"""Layer 6, campaigns, cold: every file that a power cut can leave of a journal, recovered and judged.

A day is a run of World (world.py) on a remembering disk (disk.py). Its log is cut at
every entry; each state of each cut goes through the real scan and replay and is held against

  the plain list of what was handed to the writer: the records are its beginning, byte for byte;
  what the writer had told as synced: all of it is there, also what the records say of it;
  the model's fold of that beginning (model.py): the book equals it;
  what the broker saw: with fsync_before_send each order has its INTENT.

Now and then the state becomes a real file, and the whole recovery runs on it: what is torn is kept
beside, the writer goes on behind it, and what it wrote is there.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import HEADER_BYTES, JournalError, Kind, Record, Scan, scan
from kite_hft.memory.journal_files import reopen_journal
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.trading.book import Book
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.recovery.replay import replay
from kite_hft.verify.journal.disk import Op, states, window_at
from kite_hft.verify.journal.model import Model
from kite_hft.verify.journal.world import World, instruments

OPERATIONS_PER_DAY: Final = 250
REAL_EVERY: Final = 997
"""Every so many states become a real file."""
STATUS_NAMES: Final = {int(status): status.name for status in OrderStatus}
OLD: Final = (b"\0", b"\xff", b'{"no": 12, "strategy": 1, "tag": "old data of the disk"}')


class Wrong(Exception):
    """A state that was not recovered as it must be."""


@dataclass
class Day:
    """A world that has run: its log, and what is due of every beginning of it.

    whole: all that was written. ends: where header and records end in it. payloads: what was handed over.
    truth: number of records -> (orders, positions) by the model.
    """

    world: World
    log: list[Op]
    whole: bytes
    ends: list[int]
    payloads: list[dict[str, Any]]
    truth: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    replayed: set[int] = field(default_factory=set)  # numbers of records that were compared


def make_day(seed: int, *, fsync_first: bool, operations: int = OPERATIONS_PER_DAY) -> Day:
    """Let a world run until its log has so many writes and syncs, and come to rest a little."""
    world = World(seed, fsync_first=fsync_first)
    world.begin()
    while sum(op.what in ("write", "end") for op in world.disk.log) < operations:
        world.act()
        world.run(world.random.randint(1, 3))
    if world.stage.outbox.halted:
        raise Wrong(f"the day itself went wrong: {world.stage.outbox.halted}")
    whole = bytes(world.disk.data)
    ends, at = [64], 64
    for _kind, _time, payload in world.tap.handed:
        at += 40 + len(payload)
        ends.append(at)
    if at != len(whole):
        raise Wrong(f"{len(whole)} bytes in the file, {at} were handed over")
    payloads = [json.loads(payload) for _, _, payload in world.tap.handed]
    return Day(world, world.disk.log, whole, ends, payloads)


@dataclass
class Tally:
    """What was looked at. gap: orders that the broker saw and a cut in the default mode forgot, at most."""

    states: int = 0
    cuts: int = 0
    exhaustive: int = 0
    sampled: int = 0
    torn: int = 0
    real: int = 0
    records: int = 0
    synced: int = 0
    orders: int = 0
    operations: int = 0
    gap: int = 0


def enumerate_day(
    day: Day, most: int, rng: random.Random, folder: Path, tally: Tally, only: int = -1
) -> None:
    """Every cut of the day's log, every state of it (up to `most` by combination). `only`: that cut alone.

    Raises:
        Wrong: says at which cut and state.
    """
    durable_end = begun = 0  # bytes on the disk; bytes written when the sync under way began
    pending: list[Op] = []
    at_begin = 0  # entries of `pending` that the sync under way covers
    size = 0
    sent: list[int] = []
    for number, op in enumerate([*day.log, Op("over")]):
        window = window_at(day.whole[:durable_end], pending, OLD[number % len(OLD)])
        if only in (-1, number) and op.what != "begin":  # beginning a sync changes nothing
            tally.cuts += 1
            if window.combinations <= most:
                tally.exhaustive += 1
            else:
                tally.sampled += 1
            for pick, state in enumerate(states(window, most, rng)):
                tally.states += 1
                try:
                    found = _judge(day, state, durable_end, sent, tally)
                    if tally.states % REAL_EVERY == 0 and found is not None:
                        _recover_for_real(state, found, folder / "journal.bin", day)
                        tally.real += 1
                except Wrong as error:
                    raise Wrong(f"cut {number}, state {pick}: {error}") from None
        if op.what == "write":
            pending.append(op)
            size = max(size, op.offset + len(op.data))
        elif op.what == "begin":
            at_begin, begun = len(pending), size
        elif op.what == "end":
            del pending[:at_begin]
            durable_end, at_begin = begun, 0
        elif op.what == "sent":
            sent.append(day.world.tap.intents[op.data.decode()])
    tally.records += len(day.payloads)
    tally.orders += len(sent)
    tally.operations += sum(op.what in ("write", "end") for op in day.log)
    tally.synced += sum(op.what == "end" for op in day.log)


def _judge(day: Day, state: bytes, durable_end: int, sent: list[int], tally: Tally) -> Scan | None:
    try:
        found = scan(state)
    except JournalError as error:
        if durable_end or sent:
            raise Wrong(f"unreadable: {error}") from None
        return None  # not even the header was there, and nothing had been sent
    n = len(found.records)
    tally.torn += found.tail == "torn"
    if found.tail == "corrupt":
        raise Wrong(f"called corrupt: {found.detail}")
    if found.end != day.ends[n] or state[: found.end] != day.whole[: found.end]:
        raise Wrong(f"{n} records that are not the first that were written")
    if found.end < durable_end:
        raise Wrong(f"{n} records, {found.end} bytes: {durable_end} were synced")
    if found.on_disk > max(durable_end, HEADER_BYTES):
        raise Wrong(f"the records say that {found.on_disk} bytes were synced: {durable_end}")
    if not _handed_over(day, found.records):
        raise Wrong("a record differs from what was handed over")
    missing = sum(seq > n for seq in sent)
    if missing and day.world.fsync_first:
        raise Wrong(f"{missing} orders left, and their INTENTs are not there")
    tally.gap = max(tally.gap, missing)
    if n not in day.replayed:
        _compare_books(day, found.records)
        day.replayed.add(n)
    return found


def _handed_over(day: Day, records: tuple[Record, ...]) -> bool:
    """Only the last: that those before are the same bytes was looked at already."""
    if not records:
        return True
    last = records[-1]
    return (last.kind.name, last.time_ns, last.payload) == day.world.tap.handed[len(records) - 1]


def _compare_books(day: Day, records: tuple[Record, ...]) -> None:
    n = len(records)
    if not day.truth:
        _fold_all(day)
    book = Book(instruments())
    replay(records, book, instruments(), 0)
    orders = {
        order.order_no: (order.status.name, order.filled, order.quantity, order.order_id)
        for order in book.orders.values()
        if order.strategy != EXTERNAL
    }
    held = {
        place: position.quantity
        for place, position in book.positions.items()
        if position.quantity and position.strategy != EXTERNAL
    }
    due_orders, due_held = day.truth[n]
    if orders != due_orders:
        differing = {no: (orders.get(no), due_orders.get(no)) for no in {*orders, *due_orders}
                     if orders.get(no) != due_orders.get(no)}  # fmt: skip
        raise Wrong(f"orders after {n} records (book, model): {differing}")
    if held != due_held:
        raise Wrong(f"positions after {n} records: {held}, by the model {due_held}")


def _fold_all(day: Day) -> None:
    """The model's orders and positions after each number of records."""
    model = Model(STATUS_NAMES)
    day.truth[0] = (model.after_a_crash(), model.positions())
    kinds = [kind for kind, _, _ in day.world.tap.handed]
    for number, (kind, data) in enumerate(zip(kinds, day.payloads, strict=True), 1):
        model.add(kind, data)
        day.truth[number] = (model.after_a_crash(), model.positions())


def _recover_for_real(state: bytes, found: Scan, path: Path, day: Day) -> None:
    """The file itself: opened again, gone on with, read again; what was torn lies beside."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    path.write_bytes(state)
    again = reopen_journal(path, allow_memory=True)
    with open(again.fd, "r+b", buffering=0):
        writer = JournalWriter(again.fd, resume=again.found)
        seq = writer.append(Kind.STATE, 1, b'{"halted": ""}')
        writer.sync()
    rest = state[found.end :]
    beside = [kept.read_bytes() for kept in path.parent.glob(f"{path.name}.torn-*")]
    if beside != ([rest] if rest.strip(b"\0") else []):
        raise Wrong(f"{len(rest)} bytes were torn, and {[len(kept) for kept in beside]} lie beside")
    after = scan(path.read_bytes())
    if after.tail != "clean" or seq != len(found.records) + 1 or after.records[:-1] != found.records:
        raise Wrong(f"gone on with, it is {after.tail} and has {len(after.records)} records")
    if after.records[-1].payload != b'{"halted": ""}' or after.on_disk < found.end:
        raise Wrong("what was written after the recovery is not there")
