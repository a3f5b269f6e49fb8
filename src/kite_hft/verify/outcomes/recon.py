"""Layer 6, by hand or CI, cold: `verify recon`: whatever happened while nobody looked, a start finds it.

Virtual time. An engine trades, dies, and the account goes on without it: orders fill in part or are
cancelled by the broker, strangers trade by hand and by triggers, the risk desk closes positions,
products are converted, the journal has lost its end. Then the engine starts, in the same run or in a
new one that goes on from it.

Held against the exchange's own books: positions are equal (once a person has told apart an order of ours
and a stranger's twin, where the broker has dropped the tags); two starts from the same state give every
order the same number; a second start changes nothing and writes nothing that would; what cannot be
explained (an order that is gone, fills that are taken back, a position out of nothing) keeps the engine
from ACTIVE, by name, until a person ends it with `kite-hft resolve`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from kite_hft.layout import OrderStatus, Side
from kite_hft.memory.journal import Kind, Record
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.order import EXTERNAL
from kite_hft.verify.brokers.choosing import add_broker, limits_of, words_of
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.desk.bench import Bench, Desk, MemoryJournal
from kite_hft.verify.desk.line import FINE, UNSENT, Strike
from kite_hft.verify.outcomes.recon_deeds import Deeds

HORIZON_S: Final = 180.0
SLOTS: Final = 6
CHANGING: Final = frozenset(
    {Kind.INTENT, Kind.CALL, Kind.ANSWER, Kind.REPORT, Kind.TRADE, Kind.RESOLVED, Kind.WITHDRAWN}
    | {Kind.REFUSED, Kind.GTT, Kind.PLAN, Kind.GROUP, Kind.COMMAND}
)
"""Records that change a book; of EXTERNAL only some do."""
EXTERNAL_CHANGING: Final = frozenset({"orders", "fills", "cuts", "adopted"})
Names = dict[int, tuple[str, str, int]]


class Case:
    """One seed: a day until the engine dies, what happens then, and the starts."""

    def __init__(self, seed: int, broker: BrokerSide = KITE_SIDE) -> None:
        self.seed = seed
        rng = self.rng = random.Random(seed)
        self.bench = Bench(limits_of(broker), seed, keep_tags=rng.random() < 0.8, broker=broker)
        self.line = self.bench.line
        self.slots = self.bench.tradable[:SLOTS]
        self.journal = MemoryJournal()
        self.wrong: list[str] = []
        self.deeds = Deeds(self.bench, rng, self.journal, self.slots)
        for slot in self.slots[:2]:
            if rng.random() < 0.3:
                row, px = self.bench.instruments[slot], self.bench.prices.last[slot]
                self.bench.exchange.account.carry_in(row, broker.carried, rng.choice((-40, 25)), px)
                self.deeds.done["carried in"] += 1

    # Before

    def live(self) -> None:
        """The engine trades, and dies."""
        rng, desk = self.rng, Desk(self.bench, journal=self.journal)
        self.line.strike = self._strike
        desk.start()
        for _ in range(rng.randint(1, 10)):
            slot, side = rng.choice(self.slots), rng.choice(list(Side))
            px, step = self.bench.prices.last[slot], max(self.bench.instruments[slot].tick_px, 1)
            away = rng.choice((5, -10, -30))
            px += away * step if side == Side.BUY else -away * step
            desk.wish(slot, side, rng.randint(1, 50), px)
            desk.run(rng.choice((0.01, 0.1, 1.0)))
        desk.run(rng.choice((0.0, 0.005, 3.0)))
        self.line.dead_process()
        self.line.strike = lambda request: FINE
        self.bench.exchange.step(self.bench.clock.real)

    def _strike(self, request: HttpRequest) -> Strike:
        return self.rng.choice(self.line.ambiguous) if self.rng.random() < 0.1 else FINE

    # The starts

    def run(self) -> list[str]:
        """The whole case; what is wrong."""
        self.live()
        self.deeds.diverge()
        same_run = not self.deeds.done["lost tail"] and self.rng.random() < 0.5
        first = self._numbers(same_run)
        desk = self._start(same_run)
        if self.deeds.broken is None:
            if not desk.stage.active:
                return [*self.wrong, f"not ACTIVE: {desk.stage.unexplained or 'no reason'}"]
        else:
            self._ended_by_a_person(desk)
        second = _names(desk)
        if first is not None and self.deeds.broken is None and first != second:
            self.wrong.append(f"two starts gave other numbers: {first} and {second}")
        desk.run(6.0)
        self._doubts_ended(desk)
        self._positions(desk)
        self._again(desk, same_run)
        return self.wrong

    def _start(self, same_run: bool, journal: MemoryJournal | None = None) -> Desk:
        history = list(self.journal.records)
        if same_run:
            mine = journal or self.journal
            desk = Desk(self.bench, history=history, journal=mine, restarted=True)
        else:
            desk = Desk(
                self.bench, run=2, history=history, journal=journal or MemoryJournal(), continues=["100000"]
            )
        desk.start(20.0)
        return desk

    def _numbers(self, same_run: bool) -> Names | None:
        """A start whose calls go nowhere: the numbers that it gives. None: nothing to compare."""
        if self.deeds.broken is not None:
            return None
        self.line.strike = lambda request: UNSENT
        desk = self._start(same_run, MemoryJournal(list(self.journal.records)))
        self.line.dead_process()
        self.line.strike = lambda request: FINE
        self.deeds.settle()
        return _names(desk)

    def _ended_by_a_person(self, desk: Desk) -> None:
        assert self.deeds.broken is not None
        name, how, order_id = self.deeds.broken
        desk.run(8.0)
        if desk.stage.active:
            self.wrong.append(f"ACTIVE although {name} cannot be explained")
            return
        if name not in desk.stage.unexplained:
            self.wrong.append(f"{name} is not named: {desk.stage.unexplained!r}")
        if not any(alert["code"] == "NOT_RECONCILED" for alert in desk.alerts):
            self.wrong.append("nobody was told")
        words = {"name": name, "how": how, "order_id": order_id, "by": "campaign"}
        desk.stage.control({"do": "resolve", "ask": "1", **words}, self.bench.clock.mono)
        desk.run(15.0)
        if not desk.stage.active:
            self.wrong.append(f"not ACTIVE after a person's word on {name}: {desk.stage.unexplained}")

    def _doubts_ended(self, desk: Desk) -> None:
        """An order of ours beside a stranger's twin, or whose row has lost its tag, is for a person, who says
        which row it is, or that none is (a stranger's of another quantity, after a power cut). Until then
        neither counts: what they filled is nobody's. People are asked when it could have been found absent,
        not before.
        """
        book = desk.stage.book
        if any(order.status is OrderStatus.AMBIGUOUS for order in book.live()):
            desk.run(HORIZON_S + 20.0)
        told = {alert["key"] for alert in desk.alerts}
        asked = 0
        for order in book.live():
            if order.status is not OrderStatus.AMBIGUOUS or f"{order.order_no} doubt" not in told:
                continue
            terms = (order.slot, order.side, order.product, order.quantity)
            alike = [
                row.order_id
                for row in self.bench.exchange.orders.values()
                if row.tag is None and book.by_id(row.order_id) is None
                if terms == (row.slot, row.request.side, row.request.product, row.now.quantity)
            ]
            asked += 1
            word = {"do": "resolve", "ask": f"doubt {asked}", "by": "campaign", "name": str(order.order_no)}
            word |= {"how": "present", "order_id": alike[0]} if alike else {"how": "absent"}
            desk.stage.control(word, self.bench.clock.mono)
            desk.run(6.0)

    def _positions(self, desk: Desk) -> None:
        ours: Counter[tuple[int, int]] = Counter()
        for position in desk.stage.book.positions.values():
            ours[position.slot, position.product] += position.quantity
        account = self.bench.exchange.account
        theirs = Counter({(slot, int(product)): p.net for (slot, product), p in account.positions.items()})
        for key in {*ours, *theirs}:
            if ours[key] != theirs[key]:
                self.wrong.append(f"position {key}: {ours[key]}, at the exchange {theirs[key]}")

    def _again(self, desk: Desk, same_run: bool) -> None:
        """A second start right behind the first: the same book, and no record that changes anything."""
        self.line.dead_process()
        self.deeds.settle()
        before, names, held = _orders(desk), _names(desk), _held(desk)
        written = desk.journal.records
        history = written if same_run else [*self.journal.records, *written]
        journal = MemoryJournal(list(written))
        again = Desk(self.bench, run=1 if same_run else 2, history=history, journal=journal, restarted=True,
                     continues=[] if same_run else ["100000"])  # fmt: skip
        at = len(journal.records)
        again.start(20.0)
        again.run(3.0)
        if not again.stage.active:
            self.wrong.append(f"second start: not ACTIVE: {again.stage.unexplained}")
        for record in journal.records[at:]:
            if changes(record):
                self.wrong.append(f"second start wrote {record.kind.name} {record.data()}")
        for what, one, two in (
            ("orders", before, _orders(again)),
            ("numbers", names, _names(again)),
            ("positions", held, _held(again)),
        ):
            if one != two:
                differ = sorted({*one.items()} ^ {*two.items()}, key=str)[:4]
                self.wrong.append(f"second start: other {what}: {differ}")


def changes(record: Record) -> bool:
    """It would change a book that is replayed."""
    if record.kind is Kind.EXTERNAL:
        return any(record.data().get(name) for name in EXTERNAL_CHANGING)
    return record.kind in CHANGING


def _names(desk: Desk) -> Names:
    orders = desk.stage.book.orders.values()
    return {o.order_no: (o.order_id, o.tag, o.strategy) for o in orders if o.order_id}


def _orders(desk: Desk) -> dict[int, tuple[Any, ...]]:
    """What a start does not ask of the broker anew. An adopted order's fills before that are EXTERNAL's."""
    return {
        o.order_no: (o.status, o.filled, o.order_id)
        for o in desk.stage.book.orders.values()
        if o.strategy != EXTERNAL
        and o.status not in (OrderStatus.NEW, OrderStatus.REFUSED, OrderStatus.AMBIGUOUS, OrderStatus.SENT)
    }


def _held(desk: Desk) -> dict[tuple[int, int, int], int]:
    positions = desk.stage.book.positions
    return {key: p.quantity for key, p in positions.items() if p.quantity}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify recon", description=__doc__)
    add_broker(made)
    made.add_argument("--cases", type=int, default=10_000, help="days that end badly (default 10,000)")
    made.add_argument("--seed", type=int, default=1, help="first seed; each seed is one case")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The campaign; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    found = run(options.cases, options.seed, side_of(options.broker))
    print(json.dumps(found))
    return int(not found["ok"])


def run(cases: int, seed: int, broker: BrokerSide = KITE_SIDE) -> dict[str, Any]:
    """`cases` cases from `seed` on."""
    began = time.monotonic()
    wrong: list[dict[str, Any]] = []
    done: Counter[str] = Counter()
    for number in range(cases):
        case = Case(seed + number, broker)
        if problems := case.run():
            again = f"python -m kite_hft.verify recon{words_of(broker)} --cases 1 --seed {case.seed}"
            wrong.append({"seed": case.seed, "wrong": problems[:10], "again": again})
        done += case.deeds.done
        show_progress(number + 1, cases, f"{time.monotonic() - began:.0f} s")
        if len(wrong) >= 10:
            break
    return {
        "campaign": "recon", "broker": broker.name, "ok": not wrong, "cases": number + 1,
        "divergences": dict(sorted(done.items())),
        "wrong": wrong, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
