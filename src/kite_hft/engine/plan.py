"""Layer 5, supervisor, cold: which processes a run has, and which shared memory between them.

Pure: from settings, instruments and the number of cores to a Plan. engine/deal.py says which
connection carries which instruments, engine/placing.py how each process waits and where it runs. A
stage is not a process: a feed and the worker of its connection share one (no wake-up between them)
until there is a core for each and one left for the house. A worker that drains several rings is
always a process of its own. ORDERS is always alone: it is the only process
that may reach the broker's REST host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kite_hft.engine.deal import deal, owners, together
from kite_hft.engine.placing import Place, describe, has_cores_of_their_own, is_hot, places_of
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.settings import Settings

TEXT_SLOTS: Final = 256
FRAME_SLOTS: Final = 1024
INPUT_SLOTS: Final = 1 << 14


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
    """One websocket connection and the slots that it carries, ascending."""

    number: int
    slots: tuple[int, ...]


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

    places: of each process, by its name.
    """

    processes: tuple[ProcessPlan, ...]
    segments: tuple[SegmentPlan, ...]
    connections: tuple[ConnectionPlan, ...]
    workers: tuple[WorkerPlan, ...]
    why: str
    places: Mapping[str, Place]

    def __str__(self) -> str:
        names = (f"{p.name} ({'+'.join(p.stages)})" for p in self.processes)
        return f"{self.why}: {', '.join(names)}; {describe(self.places)}"


def power_of_two(n: int) -> int:
    """The smallest power of two >= n."""
    return 1 << max(0, n - 1).bit_length()


def make_plan(
    settings: Settings,
    instruments: int,
    wanted: Sequence[tuple[int, ...] | None],
    cores: int,
    per_connection: int,
    connections_max: int,
    core_numbers: Sequence[int] | None = None,
) -> Plan:
    """The plan of a run.

    wanted: per configured strategy the slots it subscribes to, or None for all. per_connection and
    connections_max: what the broker's rules allow. An instrument that starts in mode off keeps its
    place, so that it can be subscribed at any time. core_numbers: which `cores` cores they are (0 to
    cores - 1 by default).

    Raises:
        PlanError: more instruments than the connections may carry, or fewer than connections.
    """
    count = _connection_count(settings, instruments, per_connection, connections_max)
    whole = [
        frozenset(range(instruments) if slots is None else slots)
        for section, slots in zip(settings.strategies, wanted, strict=True)
        if section.copies == "whole"
    ]
    groups = together(whole)
    dealt = deal(instruments, groups, count, per_connection)
    connections = tuple(ConnectionPlan(number, slots) for number, slots in enumerate(dealt))
    workers = _workers(settings, wanted, connections, owners(dealt, groups))
    packing = settings.performance.packing
    processes = _processes(settings, connections, workers, fused=packing == "fused")
    if packing == "auto":
        enough = has_cores_of_their_own(sum(map(is_hot, processes)), cores)
        packing = "separate" if enough else "fused"
        processes = _processes(settings, connections, workers, fused=not enough)
    segments = _segments(settings, instruments, connections, workers)
    places = places_of(settings, processes, core_numbers or range(cores))
    return Plan(processes, segments, connections, workers, _why(packing, cores, workers), places)


def _why(packing: str, cores: int, workers: Sequence[WorkerPlan]) -> str:
    connections = sum(len(worker.connections) for worker in workers)
    shared = max(len(worker.connections) for worker in workers)
    many = f", {connections} connections" if connections > 1 else ""
    spans = f", a strategy spans {shared} of them" if shared > 1 else ""
    return f"{packing} on {cores} core{'s' * (cores != 1)}{many}{spans}"


def _connection_count(settings: Settings, instruments: int, per_connection: int, most: int) -> int:
    needed = max(1, -(-instruments // per_connection))
    asked = settings.datafeed.connections
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
    return (*found, ProcessPlan("orders", ("orders",)))


def _segments(
    settings: Settings,
    instruments: int,
    connections: Sequence[ConnectionPlan],
    workers: Sequence[WorkerPlan],
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
