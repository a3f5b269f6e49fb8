"""Layer 5, supervisor, cold: which processes a run has, and which shared memory between them.

Pure: from settings, instruments and the number of cores to a Plan. engine/plan/deal.py says which
connection carries which instruments, engine/plan/placing.py how each process waits and where it runs. A
stage is not a process: a feed and the worker of its connection share one (no wake-up between them)
until there is a core for each and one left for the house. A worker that drains several rings is
always a process of its own. ORDERS is always alone: it is the only process
that may reach the broker's REST host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kite_hft.engine.plan.deal import deal, owners, together
from kite_hft.engine.plan.placing import Place, describe, has_cores_of_their_own, is_hot, places_of
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.settings import Settings

TEXT_SLOTS: Final = 256
FRAME_SLOTS: Final = 1024
INPUT_SLOTS: Final = 1 << 14
AUX_SLOTS: Final = 1 << 14
UNREAD_SLOTS: Final = 64
"""Of the ring of a connection that brings no tick: its sink wants one."""
WITH_AUX: Final = frozenset({"upstox"})
"""Data brokers that send what AUX records are for."""


class PlanError(ValueError):
    """The configuration asks for what cannot be run; the message says what and why."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One shared-memory file."""

    name: str
    kind: SegmentKind
    capacity: int
    counters: int = 0
    histograms: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """One websocket connection, whose it is, and the slots that it carries, ascending."""

    number: int
    slots: tuple[int, ...]
    broker: str = "kite"


@dataclass(frozen=True, slots=True)
class Room:
    """What a data broker lets through: instruments on one connection, connections, and instruments on
    all of them together (None: as many as fit)."""

    per_connection: int
    connections: int
    instruments: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One compute stage: the rings it drains, and its strategies.

    strategies: (number from 1, index in settings.strategies, slots it is subscribed to; None: all
    slots of this worker's connections).
    """

    number: int
    connections: tuple[int, ...]
    strategies: tuple[tuple[int, int, tuple[int, ...] | None], ...]


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One child process and the stages in it, in the order of their steps."""

    name: str
    stages: tuple[str, ...]
    connection: int | None = None
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run. Processes stand in the order of the flow: stopped so, started the other way.

    places: of each process, by its name. updates: a connection for order updates alone, where they do not
    come with market data; it has no slots and no ring that anybody reads.
    """

    processes: tuple[ProcessPlan, ...]
    segments: tuple[SegmentPlan, ...]
    connections: tuple[ConnectionPlan, ...]
    workers: tuple[WorkerPlan, ...]
    why: str
    places: Mapping[str, Place]
    updates: ConnectionPlan | None = None

    @property
    def texts(self) -> tuple[int, ...]:
        """Numbers of the connections that bring order updates."""
        return (*(c.number for c in self.connections), *((self.updates.number,) if self.updates else ()))

    def __str__(self) -> str:
        names = (f"{p.name} ({'+'.join(p.stages)})" for p in self.processes)
        return f"{self.why}: {', '.join(names)}; {describe(self.places)}"


def power_of_two(n: int) -> int:
    """The smallest power of two >= n."""
    return 1 << max(0, n - 1).bit_length()


def updates_apart(settings: Settings) -> bool:
    """Whether order updates need a connection of their own: Kite sends them beside its market data, Upstox
    on a socket for that, and where prices come by HTTP there is none to share. A run that sends no order to a
    broker hears of none."""
    if settings.mode == "paper" or settings.upstox.sandbox:
        return False
    shares = settings.broker == "kite" and not settings.datafeed.is_polled
    return not (shares and settings.broker in settings.data_brokers)


def make_plan(
    settings: Settings,
    instruments: int,
    wanted: Sequence[tuple[int, ...] | None],
    cores: int,
    per_connection: int,
    connections_max: int,
    core_numbers: Sequence[int] | None = None,
    *,
    instruments_max: int | None = None,
    second: Room | None = None,
) -> Plan:
    """The plan of a run.

    wanted: per configured strategy the slots it subscribes to, or None for all. per_connection,
    connections_max and instruments_max: what the (first) data broker's rules allow. second: the same of
    the other data broker, where there are two: each of them carries all instruments. An instrument that
    starts in mode off keeps its
    place, so that it can be subscribed at any time. core_numbers: which `cores` cores they are (0 to
    cores - 1 by default).

    Raises:
        PlanError: more instruments than the connections may carry, or fewer than connections.
    """
    rooms = [Room(per_connection, connections_max, instruments_max), *([second] if second else [])]
    whole = [
        frozenset(range(instruments) if slots is None else slots)
        for section, slots in zip(settings.strategies, wanted, strict=True)
        if section.copies == "whole"
    ]
    groups = together(whole)
    dealt: list[tuple[int, ...]] = []
    brokers: list[str] = []
    for broker, room in zip(settings.data_brokers, rooms, strict=True):
        count = _connection_count(settings, instruments, room, broker)
        dealt += deal(instruments, groups, count, room.per_connection)
        brokers += [broker] * count
    connections = tuple(
        ConnectionPlan(number, slots, broker)
        for number, (slots, broker) in enumerate(zip(dealt, brokers, strict=True))
    )
    # Two connections that carry the same instruments are one worker's: it takes the fresher tick.
    shared = [*groups, *map(frozenset, dealt)] if second else groups
    workers = _workers(settings, wanted, connections, owners(dealt, shared))
    updates = ConnectionPlan(len(connections), (), settings.broker) if updates_apart(settings) else None
    packing = settings.performance.packing
    processes = _processes(settings, connections, workers, updates, fused=packing == "fused")
    if packing == "auto":
        enough = has_cores_of_their_own(sum(map(is_hot, processes)), cores)
        packing = "separate" if enough else "fused"
        processes = _processes(settings, connections, workers, updates, fused=not enough)
    segments = _segments(settings, instruments, connections, workers, updates)
    places = places_of(settings, processes, core_numbers or range(cores))
    why = _why(packing, cores, workers)
    return Plan(processes, segments, connections, workers, why, places, updates)


def _why(packing: str, cores: int, workers: Sequence[WorkerPlan]) -> str:
    connections = sum(len(worker.connections) for worker in workers)
    shared = max(len(worker.connections) for worker in workers)
    many = f", {connections} connections" if connections > 1 else ""
    spans = f", a strategy spans {shared} of them" if shared > 1 else ""
    return f"{packing} on {cores} core{'s' * (cores != 1)}{many}{spans}"


def _connection_count(settings: Settings, instruments: int, room: Room, broker: str) -> int:
    per_connection, most = room.per_connection, room.connections
    needed = max(1, -(-instruments // per_connection))
    asked = settings.datafeed.connections
    if room.instruments is not None and instruments > room.instruments:
        raise PlanError(
            f"{instruments:,} instruments are configured; {broker} carries {room.instruments:,} a user in "
            "these modes: name fewer in datafeed.instruments, or choose a smaller datafeed.mode"
        )
    if needed > most:
        raise PlanError(
            f"{instruments:,} instruments are configured; {most} connections of {per_connection:,} carry "
            f"{most * per_connection:,}: name fewer in datafeed.instruments"
        )
    if asked is None:
        return needed
    if asked > most:
        raise PlanError(f"datafeed.connections is {asked}; the broker allows {most}: ask for fewer")
    if asked < needed:
        raise PlanError(
            f"datafeed.connections is {asked}; {instruments:,} instruments need {needed} of "
            f"{per_connection:,}: leave the key out, or name fewer instruments"
        )
    if asked > instruments:
        raise PlanError(
            f"datafeed.connections is {asked}, for {instruments} instruments: a connection without any "
            "is not made; ask for fewer"
        )
    return asked


def _workers(
    settings: Settings,
    wanted: Sequence[tuple[int, ...] | None],
    connections: Sequence[ConnectionPlan],
    owned: Sequence[tuple[int, ...]],
) -> tuple[WorkerPlan, ...]:
    """The workers with their strategies. A strategy's first copy has its own number, from 1 in the
    order of the configuration; further copies come after all of those."""
    worker_of = {connection: number for number, numbers in enumerate(owned) for connection in numbers}
    home = {slot: worker_of[c.number] for c in connections for slot in c.slots}
    strategies: list[list[tuple[int, int, tuple[int, ...] | None]]] = [[] for _ in owned]
    further = len(settings.strategies)
    for index, (section, slots) in enumerate(zip(settings.strategies, wanted, strict=True)):
        if section.copies == "whole":
            strategies[home.get(slots[0], 0) if slots else 0].append((index + 1, index, slots))
            continue
        number = index + 1
        copies = 0
        for c in connections:
            if c.broker != connections[0].broker:
                continue  # the same instruments once more
            mine = c.slots if slots is None else tuple(sorted(set(slots) & set(c.slots)))
            if not mine:
                continue
            worker = worker_of[c.number]
            alone = slots is None and owned[worker] == (c.number,)
            if copies:
                further += 1
                number = further
            strategies[worker].append((number, index, None if alone else mine))
            copies += 1
    return tuple(
        WorkerPlan(number, numbers, tuple(strategies[number])) for number, numbers in enumerate(owned)
    )


def _processes(
    settings: Settings,
    connections: Sequence[ConnectionPlan],
    workers: Sequence[WorkerPlan],
    updates: ConnectionPlan | None,
    *,
    fused: bool,
) -> tuple[ProcessPlan, ...]:
    found: list[ProcessPlan] = []
    for worker in workers:
        if fused and len(worker.connections) == 1:
            number = worker.connections[0]
            found.append(ProcessPlan(f"market-{number}", ("feed", "compute"), number, worker.number))
            continue
        found += [ProcessPlan(f"feed-{n}", ("feed",), n) for n in worker.connections]
        found.append(ProcessPlan(f"compute-{worker.number}", ("compute",), None, worker.number))
    # Feeds end first, so that what they published is still computed.
    found.sort(key=lambda process: "feed" not in process.stages)
    if settings.datafeed.store_ticks:
        found.append(ProcessPlan("recorder", ("recorder",)))
    found.append(ProcessPlan("orders", ("orders",)))
    if updates is not None:  # up before ORDERS and down behind it: it hears all that becomes of its orders
        found.append(ProcessPlan("updates", ("updates",), updates.number))
    return tuple(found)


def _segments(
    settings: Settings,
    instruments: int,
    connections: Sequence[ConnectionPlan],
    workers: Sequence[WorkerPlan],
    updates: ConnectionPlan | None,
) -> tuple[SegmentPlan, ...]:
    queue = power_of_two(settings.performance.queue_size)
    share = -(-settings.performance.ring_buffer_size // len(connections))
    rows = max(1, instruments)
    frames = settings.datafeed.store_ticks and settings.datafeed.tick_storage_format != "binary"
    found = []
    for c in connections:
        found += [
            SegmentPlan(f"ticks-{c.number}", SegmentKind.TICK_RING, _ring_slots(share, len(c.slots))),
            SegmentPlan(f"latest-{c.number}", SegmentKind.LATEST_TABLE, rows),
            SegmentPlan(f"slots-{c.number}", SegmentKind.SLOT_STATS, rows),
            SegmentPlan(f"texts-{c.number}", SegmentKind.TEXT_QUEUE, TEXT_SLOTS),
            _counters("feed", f"-{c.number}"),
        ]
        if frames:
            found.append(SegmentPlan(f"frames-{c.number}", SegmentKind.FRAME_RING, FRAME_SLOTS))
        if settings.datafeed.aux and c.broker in WITH_AUX:
            found.append(SegmentPlan(f"aux-{c.number}", SegmentKind.AUX_RING, AUX_SLOTS))
    if updates is not None:
        found += [
            SegmentPlan(f"texts-{updates.number}", SegmentKind.TEXT_QUEUE, TEXT_SLOTS),
            SegmentPlan("updates-ring", SegmentKind.TICK_RING, UNREAD_SLOTS),
            SegmentPlan("updates-latest", SegmentKind.LATEST_TABLE, 1),
            _counters("feed", f"-{updates.number}"),
        ]
    for w in workers:
        found += [
            SegmentPlan(f"intents-{w.number}", SegmentKind.INTENT_QUEUE, queue),
            SegmentPlan(f"events-{w.number}", SegmentKind.EVENT_QUEUE, queue),
            SegmentPlan(f"inputs-{w.number}", SegmentKind.INPUT_RING, INPUT_SLOTS),
            _counters("compute", f"-{w.number}"),
        ]
    found.append(_counters("orders", ""))
    if settings.datafeed.store_ticks:
        found.append(_counters("recorder", ""))
    return tuple(found)


def _ring_slots(share: int, instruments: int) -> int:
    """Slots of one connection's ring: its share of performance.ring_buffer_size, and never less than
    what a subscription brings at once (the state of every instrument, twice), twice over."""
    return power_of_two(max(share, 4 * instruments))


def _counters(stage: str, suffix: str) -> SegmentPlan:
    names = len(COUNTERS[stage])
    return SegmentPlan(
        f"counters-{stage}{suffix}", SegmentKind.COUNTERS, names, names, len(HISTOGRAMS[stage])
    )
