"""Layer 4, campaigns and tests, cold: the order process of a simulated day: how it begins, and how it dies.

As engine/orders (process.py, files.py) does it with files and segments: a process that is started again
in its run finds its journal, its queues and its counters; after a power cut a new run goes on from
the journals of the day, and shared memory is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kite_hft.memory.journal import Header, JournalError, Kind, Record, scan
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.sim.order_path.day import BOOT_MONO_NS
from kite_hft.sim.order_path.disk import VirtualFile
from kite_hft.sim.order_path.queues import EventQueue, IntentQueue
from kite_hft.stages.orders import Orders
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import encode_json
from kite_hft.trading.recovery.numbering import next_seqs
from kite_hft.trading.recovery.resuming import failed_payload
from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.order_path.world import OrdersWorld


def begin(world: OrdersWorld, *, restarted: bool) -> None:
    """A process starts: in the same run, or (after a power cut, and at first) in a new one."""
    if restarted:
        earlier = [record for file in world.journals[:-1] for record in world.records(file)]
        earlier += _reopen(world, world.journals[-1])
    else:
        earlier = [record for file in world.journals for record in world.records(file)]
        world.journals.append(world.disk.create())
        header = Header(1, 1, world.clock.real)
        world.writer = JournalWriter(world.journals[-1], header=header, on_failure=world.journal_failed)
        world.failure = ""
        world.flow.forget(next_seqs([earlier]))
    continues = () if restarted else tuple(f"run{n}" for n in range(1, world.run_number))
    world.checker.begins()
    writer = world.writer
    assert writer is not None
    ports = Ports(
        instruments=world.exchange.instruments,
        broker=world.network.broker,
        transport=world.network,
        clock=world.clock,
        journal=writer,
        synced_seq=lambda: writer.synced_seq,
        journal_state=writer.state,
        counters=world.counted,
        latest=world.prices,
        intents=(world.intents,),
        texts=(world.network.texts,),
        update_links=world.way.links,
        events=dict.fromkeys((1, 2, 3, 4), world.events),
        tags=Tags("sim", world.run_number),
        history=earlier,
        restarted=restarted,
        continues=continues,
        counted=dict(world.totals) if restarted else {},
        written=world.files.written(),
        on_order=lambda row: world.write_row(world.files.orders, row),
        on_trade=lambda row: world.write_row(world.files.trades, row),
        on_call=world.calls.append,
        calls_left=tuple(world.calls),
        alert=world.alert,
        fresh=lambda slot: slot not in world.stale,
        use_token=world.use_token,
        workers={0: (1, 2, 3, 4)},
        killed=lambda: world.latch[0] if world.latch else "",
        kill_flat=lambda: bool(world.latch and world.latch[1]),
        kill=lambda reason, flatten: world.set_latch(reason, flatten=flatten),
        unkill=world.end_kill,
        holds=dict(world.holds),
        keep_holds=world.keep_holds,
    )
    config = OrdersConfig(
        world.limits, world.day.risk, loopback=True, absence_horizon_s=world.day.horizon_s,
        poll_period_s=world.day.poll_s, positions_s=5 * world.day.poll_s, fsync_before_send=world.day.fsync,
        group_next=world.day.group_next, group_partial=world.day.group_partial,
        group_leg_s=world.day.group_leg_s, prove_address=world.seed % 2 == 1,
        entry_wait_s=world.day.entry_wait_s,
    )  # fmt: skip
    world.stage = Orders(ports, config)
    world.stage.stop_policy = world.day.stop
    world.stage.start()
    world.acts.tell_market()


def _reopen(world: OrdersWorld, file: VirtualFile) -> list[Record]:
    """As memory/journal_files.py does with a path; returns its records, with what is added to them.

    Raises:
        JournalError: the file is corrupt.
    """
    found = scan(bytes(file.data))
    if found.tail == "corrupt":
        raise JournalError(f"the journal is corrupt: {found.detail}")
    whole = found.end == len(file.data)
    file.truncate(found.end)
    file.written_anew()
    again = found if whole else scan(bytes(file.data))
    world.writer = JournalWriter(file, resume=again, on_failure=world.journal_failed)
    if not world.failure:
        return list(again.records)
    payload = encode_json(failed_payload(world.failure))
    seq = world.writer.append(Kind.STATE, world.clock.real, payload)
    world.failure = ""
    return [*again.records, Record(seq, Kind.STATE, world.clock.real, payload)]


def die(world: OrdersWorld, why: str) -> None:
    """The process is gone; the machine is down too, if `why` is a power cut."""
    world.note(f"! {why}")
    if world.stage is not None:
        world.totals = dict(world.stage.outbox.totals)
    world.checker.dies(why)
    world.stage, world.fuse, world.dead = None, 0, why
    world.still_until_ns = -1
    world.network.reborn()
    world.down_until_ns = world.now_ns + world.rng.randrange(NS_PER_S // 5, 2 * NS_PER_S)
    if why == "power_cut":
        gone = world.disk.power_cut()
        world.files.cut()
        world.note(f"  {gone} bytes of the disk are gone")
        world.checker.tail_cut()
        world.network.texts.frames.clear()
        world.way.begins_anew(world.down_until_ns + world.rng.randrange(NS_PER_S))
        world.prices.rows.clear()
        world.intents, world.events = IntentQueue(), EventQueue()
        world.intents.tick = world.events.tick = world.tick
        world.flow.intents, world.flow.events = world.intents, world.events
        world.clock.mono = BOOT_MONO_NS - world.now_ns % NS_PER_S
        world.run_number += 1
