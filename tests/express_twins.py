"""Two order stages that live through the same: one with the express way, one without."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from orders_world import Queue, ScriptedBroker, World, intent_row

from kite_hft import _queue
from kite_hft.layout import SegmentKind
from kite_hft.memory.segment import attach, create
from kite_hft.trading.broker import HttpRequest


class Watched(ScriptedBroker):
    """Says whether an answer is there, as the transport does whose sockets somebody else looked at. An answer
    is on its way until `poll` has been asked once more. stood: what `standing` of its stage was, by call.
    """

    def submit(self, request_id: int, request: HttpRequest) -> None:
        if "stage" in self.__dict__:
            self.stood = [*self.__dict__.get("stood", []), standing(self.stage, self.journal)]
        arrived, self.ready = self.ready, []
        super().submit(request_id, HttpRequest(*request))
        self.underway = [*self.__dict__.get("underway", []), *self.ready]
        self.ready = arrived

    def poll(self) -> list[tuple[int, Any]]:
        answers = super().poll()
        self.ready += self.__dict__.get("underway", [])
        self.underway: list[tuple[int, Any]] = []
        return answers

    def quiet(self, now_ns: int) -> bool:
        return not self.ready or self.hold


def standing(stage: Any, journal: Any) -> tuple[object, ...]:
    """What must stand before a call leaves: its record, its place in the budget, its count at the egress
    gate, its value in the day's tally, the number that its strategy may not use again.
    """
    desk = stage.desk
    throttle, budget, gate = desk.throttle, desk.egress.budget, desk.egress.gate
    return (
        journal.records[-1] if journal.records else None,
        (throttle.placed_today, throttle.last_ns, budget.urgent_free_ns, budget.entry_free_ns),
        (sorted(gate._placed), [list(times) for _, _, times in gate._both]),
        (stage.gate.tally.gross_paise, dict(stage.intake.last_seq), desk.last_order_no),
    )


def watch(world: World) -> World:
    """Note what stands whenever a call leaves."""
    world.broker.stage, world.broker.journal = world.stage, world.journal  # type: ignore[attr-defined]
    return world


class Shared:
    """Queues in shared memory, as the engine has them."""

    def __init__(self, folder: Path) -> None:
        self._held = []
        self.ends: list[tuple[Any, Any]] = []
        for kind in (SegmentKind.INTENT_QUEUE, SegmentKind.TEXT_QUEUE):
            path = create(folder, kind.name.lower(), kind, 64, now_mono_ns=1, now_real_ns=1)
            for _ in range(2):
                self._held.append(attach(path, kind, writable=True, claim=False))
            views = [held.view for held in self._held[-2:]]
            self.ends.append((_queue.QueueProducer(views[0]), _queue.QueueConsumer(views[1])))

    def close(self) -> None:
        self.ends.clear()
        for held in self._held:
            held.close()


class Direct(World):
    """Its intents and texts come by `Shared`."""

    def __init__(self, shared: Shared, **more: Any) -> None:
        (self._wishes, intents), (self._words, texts) = shared.ends
        super().__init__(intents=intents, texts=texts, **more)

    def wish(self, strategy_seq: int, **more: Any) -> None:
        assert self._wishes.push(intent_row(strategy_seq, created_ns=self.clock.mono, **more)) == 1

    def update(self, row: dict[str, Any], **more: Any) -> None:
        mine = Queue()
        texts, self.texts = self.texts, mine
        step, self.step = self.step, lambda n=1: None  # type: ignore[method-assign]
        super().update(row, **more)
        self.texts, self.step = texts, step  # type: ignore[method-assign]
        assert self._words.push(mine.rows[0]) == 1
        self.step()


def without(world: World) -> World:
    """The same stage, every intent on the parts' own way."""
    world.stage.express = world.stage.intake.express = None
    return world


def state(world: World) -> dict[str, Any]:
    """All that two stages which have done the same have in common."""
    stage = world.stage
    desk, outbox, book = stage.desk, stage.outbox, stage.book
    throttle, budget, gate = desk.throttle, desk.egress.budget, desk.egress.gate
    rings = [*budget._all, *budget._open, *budget._reads]
    lanes = [list(throttle._urgent), list(throttle._entries)]
    return {
        "journal": [(r.seq, r.kind, r.time_ns, r.payload) for r in world.journal.records],
        "requests": [tuple(request) for request in world.broker.sent],
        "stood": world.broker.__dict__.get("stood"),
        "events": [bytes(event.tobytes()) for event in world.told],
        "counters": world.counters.values,
        "times": world.counters.samples,
        "alerts": world.alerts,
        "rows": (world.order_rows, world.trade_rows),
        "orders": [dataclasses.astuple(order) for order in book.orders.values()],
        "live": list(book.live_orders),
        "positions": {key: dataclasses.astuple(held) for key, held in book.positions.items()},
        "in_play": dict(book.in_play()),
        "throttle": [throttle.placed_today, throttle.last_ns, throttle.deadline_ns, throttle._cool_until_ns],
        "waiting": [[(w.item.order.order_no, *w[1:]) for w in lane] for lane in lanes],
        "budget": [budget.urgent_free_ns, budget.entry_free_ns, budget.hold_ns],
        "rings": [(ring.n, ring.at, ring.span_ns, list(ring.times)) for ring in rings],
        "egress": ([(n, span, list(times)) for n, span, times in gate._both], gate._placed),
        "conduct": (dict(outbox.conduct.contracts), dict(outbox.conduct.strategies)),
        "tally": (stage.gate.tally.gross_paise, stage.gate.tally.different),
        "numbers": (desk.last_order_no, stage.intake.last_seq, stage.intake._heads),
        "desk": (desk.cancelling, desk.modifying, desk.unjudged),
        "outbox": (outbox.totals, outbox.refused, outbox.halted, outbox.journal_failed, outbox.journal_seq),
        "told": (outbox.stirred, outbox.journalled, outbox.why),
        "calls": [(number, str(type(item))) for number, item in stage._calls._under_way.items()],
        "states": stage.states.words(),
        "stage": (stage.active, stage.stopping, stage.flattening),
    }


def different(one: World, other: World) -> str:
    """Where two stages differ; empty: nowhere."""
    first, second = state(one), state(other)
    return "; ".join(f"{k}: {first[k]!r} != {second[k]!r}"[:900] for k in first if first[k] != second[k])
