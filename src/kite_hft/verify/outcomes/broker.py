"""Layer 6, by hand or CI, cold: `verify broker`: ambiguous answers never make two orders of one.

Virtual time. The real order stage places orders with a simulated broker whose answers to placements
are lost, late, cut or without a meaning, with and without an order behind them; whose books show
new orders up to 170 s late, with tags kept or dropped; whose order updates are lost, doubled, late
and out of order; whose reads fail now and then. Strangers place the like of our orders beside them.

Held against the exchange's own books: no placement left twice, none made two orders, each ambiguous
order came to the end that it has there within the absence horizon and two reads (or, where a
stranger's order, or one of our own with the same terms, could be it, or no order was ever answered
with its name, was left to a person), every order and every share is explained.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from kite_hft.brokers.kite.rest import STATUS
from kite_hft.layout import OrderStatus, OrderType, Side
from kite_hft.memory.journal import Kind
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.replay import replay
from kite_hft.units import NS_PER_S
from kite_hft.verify.brokers.choosing import add_broker, limits_of, words_of
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.desk.bench import LIMITS, Bench, Desk
from kite_hft.verify.desk.line import FINE, SLOW, UNSENT, Strike

PER_CASE: Final = 20
LAG_S_MAX: Final = 170.0
HORIZON_S: Final = 180.0
SLACK_S: Final = 30.0
"""Two reads of the book beyond the horizon (or beyond the lag), with some of them failing."""
QUIET_S: Final = 40.0
SLOTS: Final = 14
WISHES_MAX: Final = 500
"""So many wishes of a case may be refused, or answered plainly, before it goes on with fewer faults."""


class Case:
    """One seed: its weather, its orders, what was found."""

    def __init__(self, seed: int, faults: int = PER_CASE, broker: BrokerSide = KITE_SIDE) -> None:
        self.seed, self.faults = seed, faults
        rng = self.rng = random.Random(seed)
        self.bench = Bench(limits_of(broker), seed, keep_tags=rng.random() < 0.5, broker=broker)
        line = self.line = self.bench.line
        self.lag_share, self.read_share = rng.choice((0.0, 0.3, 0.7)), rng.choice((0.0, 0.02, 0.1))
        line.positions_lag, line.spoil_updates = rng.random() < 0.5, rng.random() < 0.7
        line.strike, line.lag, line.spoil_read = self._strike, self._lag, self._spoil
        config = OrdersConfig(
            self.bench.limits, LIMITS, entry_wait_s=5.0, absence_horizon_s=HORIZON_S, reject_storm=10**6
        )
        self.desk = Desk(self.bench, config=config)
        self.ambiguous = 0
        self.since: dict[int, int] = {}  # ambiguous orders -> when they became it
        self.took: dict[int, float] = {}  # seconds until they were resolved
        self.strangers: dict[str, tuple[int, Side]] = {}
        self.asked: set[int] = set()
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()

    # Weather

    def _strike(self, request: HttpRequest) -> Strike:
        chance = self.rng.random()
        if request.method != "POST":
            return self.rng.choice(self.line.ambiguous[:10]) if chance < 0.2 else FINE
        if chance < 0.65:
            self.ambiguous += 1
            return self.rng.choice(self.line.ambiguous)
        return UNSENT if chance < 0.7 else SLOW if chance < 0.8 else FINE

    def _lag(self) -> int:
        long = self.rng.random() < self.lag_share
        return round(self.rng.uniform(0, LAG_S_MAX if long else 0.5) * NS_PER_S)

    def _spoil(self, path: str) -> bool:
        return self.rng.random() < self.read_share

    # The day

    def run(self) -> list[str]:
        """The whole case; what is wrong."""
        desk = self.desk
        desk.start()
        if not desk.stage.active:
            return [f"not ACTIVE at the start: {desk.stage.unexplained}"]
        for _ in range(WISHES_MAX):
            if self.ambiguous >= self.faults or desk.stage.outbox.halted:
                break
            self._place()
            desk.run(self.rng.uniform(0.2, 1.5), self._look)
        end_ns = self.bench.clock.mono + round((LAG_S_MAX + HORIZON_S + QUIET_S) * NS_PER_S)
        self.line.strike = lambda request: FINE
        while self.bench.clock.mono < end_ns:
            desk.run(5.0, self._look)
            self._operator()
            if not self.since and not any(at > self.bench.clock.mono for at in self.line.shown_ns.values()):
                break
        self.line.spoil_read = lambda path: False
        desk.run(QUIET_S, self._look)
        self._judge()
        return self.wrong

    def _place(self) -> None:
        rng, bench = self.rng, self.bench
        slot = rng.choice(bench.tradable[:SLOTS])
        side, quantity = rng.choice(list(Side)), rng.randint(1, 60)
        px, step = bench.prices.last[slot], max(bench.instruments[slot].tick_px, 1)
        kind = rng.random()
        if kind < 0.2:
            px = 0  # at the market; its books may show it as a LIMIT: no stranger's order has its quantity
            quantity += 100
        else:
            away = 5 if kind < 0.7 else -rng.randint(5, 40)
            px += away * step if side == Side.BUY else -away * step
        self.desk.wish(slot, side, quantity, px)
        if rng.random() < 0.15:
            self._stranger(slot, side, quantity if rng.random() < 0.7 else quantity + 1, px)

    def _stranger(self, slot: int, side: Side, quantity: int, px: int) -> None:
        """Somebody's order like ours. Where nobody could tell them apart it differs: tags are dropped, or
        it is not known yet that they are kept, and ours may be hidden or missing.
        """
        if not (self.bench.keep_tags and px and self._limit_seen()):
            quantity += 1000
        px = px or self.bench.prices.last[slot]
        try:
            order_id = self.bench.by_hand(slot, side, quantity, px)
        except (KeyError, Refusal):
            return
        self.strangers[order_id] = (slot, side)

    def _limit_seen(self) -> bool:
        """A LIMIT order of ours has filled: the broker's books have shown its tag."""
        return any(
            order.order_type == OrderType.LIMIT and order.status is OrderStatus.COMPLETE
            for order in self.desk.stage.book.orders.values()
        )

    def _look(self) -> None:
        """Since when, and for how long, orders are ambiguous."""
        now_ns = self.bench.clock.mono
        live = {
            order.order_no
            for order in self.desk.stage.book.live_orders.values()
            if order.status is OrderStatus.AMBIGUOUS
        }
        for number in live - self.since.keys():
            self.since[number] = now_ns
        for number in self.since.keys() - live:
            self.took[number] = (now_ns - self.since.pop(number)) / NS_PER_S

    def _operator(self) -> None:
        """A person looks at the broker's app where the engine has left a doubt to him."""
        now_ns, stage = self.bench.clock.mono, self.desk.stage
        for number, since_ns in list(self.since.items()):
            if now_ns - since_ns < (HORIZON_S + SLACK_S) * NS_PER_S or number in self.asked:
                continue
            order = stage.book.orders[number]
            doubtful = any(a["key"] == f"{number} doubt" for a in self.desk.alerts)
            strange = (order.slot, order.side) in self.strangers.values()
            if not doubtful or not (strange or self._twin(order) or self._unknown()):
                continue  # the judge will say so
            self.asked.add(number)
            true_id = self._true_id(order)
            word = {"how": "present", "order_id": true_id} if true_id else {"how": "absent"}
            stage.control({"do": "resolve", "ask": str(number), "name": str(number), **word}, now_ns)

    def _unknown(self) -> bool:
        """No answer has named an order yet: nothing has told who places ours, in the broker's words."""
        book = self.desk.stage.book
        return not any(o.order_id and o.order_no not in self.asked for o in book.orders.values())

    def _twin(self, order: Order) -> bool:
        """Another order of ours with the same terms had no answer either: which of them a row is, no row
        without a tag tells.
        """
        return any(
            other is not order and other.order_no in {*self.since, *self.took}
            and (other.slot, other.side, other.quantity, other.product, other.order_type, other.px)
            == (order.slot, order.side, order.quantity, order.product, order.order_type, order.px)
            for other in self.desk.stage.book.orders.values()
        )  # fmt: skip

    # The judge

    def _true_id(self, order: Order) -> str:
        ids = [order_id for tag, made in self.line.placed if tag == order.tag for order_id in made]
        return ids[0] if ids else ""

    def _judge(self) -> None:
        stage, book = self.desk.stage, self.desk.stage.book
        say = self.wrong.append
        tags = Counter(tag for tag, _ids in self.line.placed)
        for tag, n in tags.items():
            if n > 1:
                say(f"{n} placements with tag {tag}")
        if stage.outbox.halted:
            say(f"halted: {stage.outbox.halted}")
        for tag, ids in self.line.placed:
            if len(ids) > 1:
                say(f"tag {tag} made {len(ids)} orders")
            order = book.by_tags((tag,))
            if order is None:
                say(f"the book has no order with tag {tag}")
            else:
                self._judge_order(order, ids[0] if ids else "")
        for number in self.since:
            say(f"order {number} is still ambiguous")
        known = {order.order_id for order in book.orders.values()} | stage._reconciler.externals.orders.keys()
        for order_id in self.bench.exchange.orders:
            if order_id not in known:
                say(f"order {order_id} of the exchange is not explained")
        self._judge_positions()
        self._judge_replay()

    def _judge_order(self, order: Order, true_id: str) -> None:
        say, what = self.wrong.append, f"order {order.order_no} ({self.line.struck[order.tag].name})"
        ours = (order.order_id, order.filled, order.status)
        if true_id:
            true = self.bench.order_of(true_id).now
            theirs = (true_id, true.filled, STATUS[true.status])
            if ours != theirs:
                say(f"{what} is {ours}, at the exchange {theirs}")
        elif order.status not in (OrderStatus.ABSENT, OrderStatus.REFUSED, OrderStatus.REJECTED):
            say(f"{what} is {order.status.name} and was never at the exchange")
        took = self.took.get(order.order_no)
        if took is None:
            return
        self.counts["resolved"] += 1
        lag_s = LAG_S_MAX if true_id else HORIZON_S
        if order.order_no in self.asked:
            self.counts["by a person"] += 1
        elif took > lag_s + SLACK_S:
            say(f"{what} took {took:.1f} s, more than {lag_s + SLACK_S:.0f} s")
        if order.status is OrderStatus.ABSENT and took < HORIZON_S and order.order_no not in self.asked:
            say(f"{what} was called absent after {took:.1f} s")
        self.counts["found" if true_id else "absent"] += 1

    def _judge_positions(self) -> None:
        account, ours = self.bench.exchange.account, Counter[tuple[int, int]]()
        for position in self.desk.stage.book.positions.values():
            ours[position.slot, position.product] += position.quantity
        theirs = Counter({(slot, int(product)): p.net for (slot, product), p in account.positions.items()})
        for key in {*ours, *theirs}:
            if ours[key] != theirs[key]:
                self.wrong.append(f"position {key}: {ours[key]}, at the exchange {theirs[key]}")

    def _judge_replay(self) -> None:
        """The journal alone gives the same orders, and tells every placement before it left."""
        book = Book(self.bench.instruments)
        replay(self.desk.journal.records, book, self.bench.instruments, 0)
        own = [o for o in self.desk.stage.book.orders.values() if o.strategy != EXTERNAL]
        for order in own:
            other = book.orders.get(order.order_no)
            if order.status in (OrderStatus.NEW, OrderStatus.REFUSED):
                continue
            if other is None or (other.status, other.filled, other.order_id) != (
                order.status, order.filled, order.order_id,
            ):  # fmt: skip
                self.wrong.append(f"order {order.order_no} is another one in the journal")
        intents = sum(1 for record in self.desk.journal.records if record.kind is Kind.INTENT)
        if intents != len(self.line.placed):
            self.wrong.append(f"{intents} records of placements, {len(self.line.placed)} placements")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify broker", description=__doc__)
    add_broker(made)
    made.add_argument("--faults", type=int, default=10_000, help="ambiguous placements (default 10,000)")
    made.add_argument("--seed", type=int, default=1, help="first seed; each seed is one case")
    made.add_argument("--one", action="store_true", help="only the case of --seed, and what was wrong in it")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The campaign; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    found = run(options.faults, options.seed, one=options.one, broker=side_of(options.broker))
    print(json.dumps(found))
    return int(not found["ok"])


def run(faults: int, seed: int, *, one: bool = False, broker: BrokerSide = KITE_SIDE) -> dict[str, Any]:
    """Cases from `seed` on, until so many ambiguous placements were made (or one case)."""
    began, done, cases = time.monotonic(), 0, 0
    wrong: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    kept: Counter[bool] = Counter()
    slowest = 0.0
    while done < faults:
        case = Case(seed + cases, PER_CASE if one else min(PER_CASE, faults - done), broker)
        problems = case.run()
        if problems:
            again = f"python -m kite_hft.verify broker{words_of(broker)} --one --seed {case.seed}"
            wrong.append({"seed": case.seed, "wrong": problems[:10], "again": again})
        cases, done = cases + 1, done + case.ambiguous
        counts += case.counts
        kinds.update(s.name for s in case.line.struck.values() if s in case.line.ambiguous)
        kept[case.bench.keep_tags] += case.ambiguous
        slowest = max(slowest, *(took for n, took in case.took.items() if n not in case.asked), 0.0)
        show_progress(done, faults, f"{time.monotonic() - began:.0f} s")
        if one or len(wrong) >= 10:
            break
    return {
        "campaign": "broker", "broker": broker.name, "ok": not wrong, "ambiguous": done, "cases": cases,
        **counts,
        "tags_kept": kept[True], "tags_dropped": kept[False], "kinds": dict(sorted(kinds.items())),
        "slowest_s": round(slowest, 1), "horizon_s": HORIZON_S, "lag_s_max": LAG_S_MAX,
        "wrong": wrong, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
