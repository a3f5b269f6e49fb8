"""ORDERS killed at any write, commit, push or call, and started again: nothing lost, nothing doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from orders_world import PX, MemoryJournal, Queue, ScriptedBroker, World, form, limits

from kite_hft.layout import EventKind, IntentKind, OrderStatus, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.ports import OrdersConfig, Written


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Fuse:
    """Kills at the n-th step from now; 0: never."""

    left: int = 0

    def step(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                raise Killed

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call` with a step before and a step after it."""

        def stepped(*args: Any) -> Any:
            self.step()
            result = call(*args)
            self.step()
            return result

        return stepped


class Day:
    """A broker, queues, files and a journal that outlive the process; `world` is the process."""

    def __init__(self) -> None:
        self.fuse = Fuse()
        self.broker, self.journal = ScriptedBroker(), MemoryJournal()
        self.intents, self.texts, self.events = Queue(), Queue(), Queue()
        self.order_rows: list[dict[str, Any]] = []
        self.trade_rows: list[dict[str, Any]] = []
        self.told: list[Any] = []
        self.counted: dict[str, int] = {}
        self.kills = 0
        for thing, name in (
            (self.journal, "append"), (self.intents, "commit"),
            (self.events, "push"), (self.broker, "submit"),
        ):  # fmt: skip
            setattr(thing, name, self.fuse.around(getattr(thing, name)))
        self.world = World()
        self.begin(restarted=False)

    def begin(self, *, restarted: bool) -> None:
        """A new process."""
        clock = self.world.clock
        trades: Counter[int] = Counter()
        value: Counter[int] = Counter()
        for row in self.trade_rows:
            trades[row["order_no"]] += row["quantity"]
            value[row["order_no"]] += int(Decimal(row["value"]) * 100)
        written = Written(
            {row["order_no"]: row["status"] for row in self.order_rows},
            {number: (trades[number], value[number]) for number in trades},
        )
        self.world = World(
            broker=self.broker,
            clock=clock,
            journal=self.journal,
            history=list(self.journal.records) if restarted else [],
            config=OrdersConfig(limits(), loopback=True, absence_horizon_s=4.0),
            intents=self.intents,
            texts=self.texts,
            events=self.events,
            more={"restarted": restarted, "counted": self.counted, "written": written},
        )
        # Rows outlive the process as files do; a kill may come before and after a row.
        self.world.order_rows, self.world.trade_rows = self.order_rows, self.trade_rows
        for name, rows in (("on_order", self.order_rows), ("on_trade", self.trade_rows)):
            object.__setattr__(self.world.stage._ports, name, self.fuse.around(rows.append))
        self.world.told = self.told
        self.world.stage.start()

    def act(self, action: Callable[[], object]) -> None:
        """Do it; a kill on the way is followed by new processes until one lives."""
        try:
            action()
        except Killed:
            self.kill()

    def kill(self) -> None:
        while True:
            self.kills += 1
            self.broker.ready.clear()  # answers that nobody takes
            self.broker.on_call = None
            self.counted = dict(self.world.stage.outbox.totals)
            try:
                self.begin(restarted=True)
                return
            except Killed:
                continue

    def settle(self) -> None:
        """Let everything come to rest, without further kills."""
        self.fuse.left = 0
        self.broker.on_call = None
        self.world.run(12.0, step_s=0.2)


class CrashMachine(RuleBasedStateMachine):
    """A strategy's wishes, the broker's doings, and kills."""

    def __init__(self) -> None:
        super().__init__()
        self.day = Day()
        self.day.act(lambda: self.day.world.run(3.0))
        self.seq = 0
        self.sent: dict[int, IntentKind] = {}

    def wish(self, **fields: Any) -> None:
        self.seq += 1
        self.sent[self.seq] = fields.get("kind", IntentKind.PLACE)
        self.day.world.wish(self.seq, **fields)

    @rule(
        side=st.sampled_from(Side), slot=st.integers(0, 1), quantity=st.integers(1, 12),
        steps=st.integers(0, 2), flags=st.integers(0, 1),
    )  # fmt: skip
    def place(self, side: Side, slot: int, quantity: int, steps: int, flags: int) -> None:
        self.day.world.quote()
        self.wish(side=side, slot=slot, qty=quantity, flags=flags)
        self.day.act(lambda: self.day.world.step(steps))

    @rule(n=st.integers(9, 14))
    def place_more_than_may_leave(self, n: int) -> None:
        self.day.world.quote()
        for _ in range(n):
            self.wish(qty=1, px=PX - 5)
        self.day.act(lambda: self.day.world.step())

    @precondition(lambda self: self.seq)
    @rule(data=st.data(), kind=st.sampled_from([IntentKind.CANCEL, IntentKind.MODIFY]))
    def change(self, data: Any, kind: IntentKind) -> None:
        placed = [seq for seq, what in self.sent.items() if what is IntentKind.PLACE]
        target = data.draw(st.sampled_from(placed))
        order = self.day.world.stage.book.by_strategy(1, target)
        slot = order.slot if order else 0
        self.wish(kind=kind, target_seq=target, slot=slot, qty=data.draw(st.integers(1, 20)), px=0)
        self.day.act(lambda: self.day.world.step(2))

    @precondition(lambda self: self.day.broker.rows)
    @rule(data=st.data(), told=st.booleans(), twice=st.booleans())
    def fill(self, data: Any, told: bool, twice: bool) -> None:
        row = self.day.broker.rows[data.draw(st.sampled_from(list(self.day.broker.rows)))]
        left = row["quantity"] - row["filled_quantity"]
        if row["status"] != "OPEN" or left <= 0:
            return
        row["filled_quantity"] += data.draw(st.integers(1, left))
        row["average_price"] = 100.0
        if row["filled_quantity"] == row["quantity"]:
            row["status"] = "COMPLETE"
        if told:
            for _ in range(1 + twice):
                self.day.act(lambda: self.day.world.update(dict(row)))

    @rule(entered=st.booleans(), status=st.sampled_from([0, 503, 504]))
    def answers_get_lost(self, entered: bool, status: int) -> None:
        broker = self.day.broker

        def call(request: HttpRequest) -> HttpResponse | TransportError:
            if entered or request.method != "POST":
                broker.accept(request)
            return HttpResponse(status, b"") if status else TransportError("reset", sent=True)

        broker.on_call = call

    @rule()
    def answers_come(self) -> None:
        self.day.broker.on_call = None

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.day.act(lambda: self.day.world.run(seconds, step_s=0.1))

    @rule(steps=st.integers(1, 12))
    def light_the_fuse(self, steps: int) -> None:
        self.day.fuse.left = steps

    @rule()
    def kill(self) -> None:
        self.day.fuse.left = 0
        self.day.kill()

    def teardown(self) -> None:
        day = self.day
        day.settle()
        stage, book = day.world.stage, day.world.stage.book
        assert stage.active and not stage.outbox.halted, stage.outbox.halted
        # Doubled: no tag, and no intent, reached the broker twice.
        tags = [form(request)["tag"] for request in day.broker.calls("POST")]
        assert len(tags) == len(set(tags))
        orders = [book.by_tags((tag,)) for tag in tags]
        assert None not in orders
        names = [(o.strategy, o.strategy_seq) for o in orders if o]
        assert len(names) == len(set(names))
        # Lost: the book has every order of the broker, as it stands there.
        for row in day.broker.rows.values():
            order = book.by_id(row["order_id"])
            assert order is not None
            assert (order.filled, order.status.name) == (row["filled_quantity"], row["status"])
        assert not day.intents.rows and stage.outbox.totals["external_orders"] == 0
        self.every_intent_has_its_word()
        self.strategies_know()
        self.rows_for_people_agree()

    def every_intent_has_its_word(self) -> None:
        journalled = {
            (record.data()["strategy"], record.data()["seq"])
            for record in self.day.journal.records
            if record.kind in (Kind.INTENT, Kind.REFUSED, Kind.WAITING, Kind.WITHDRAWN, Kind.CALL)
        }
        assert {(1, seq) for seq in self.sent} <= journalled
        book = self.day.world.stage.book
        ended = {
            record.data()["seq"]
            for record in self.day.journal.records
            if record.kind in (Kind.REFUSED, Kind.WITHDRAWN)
        }
        for seq, what in self.sent.items():
            if what is IntentKind.PLACE:
                assert book.by_strategy(1, seq) is not None or seq in ended, seq

    def strategies_know(self) -> None:
        status: dict[int, tuple[int, int]] = {}
        positions: dict[tuple[int, int], int] = {}
        refused = set()
        for event in self.day.told:
            positions[int(event["slot"]), int(event["product"])] = int(event["position"])
            seq = int(event["strategy_seq"])
            if event["kind"] == EventKind.REFUSED:
                refused.add(seq)
            elif seq:
                status[seq] = (int(event["status"]), int(event["filled_qty"]))
        book = self.day.world.stage.book
        for order in book.orders.values():
            if order.status in (OrderStatus.NEW, OrderStatus.REFUSED):
                continue
            assert status[order.strategy_seq] == (int(order.status), order.filled), order
        for (strategy, slot, product), position in book.positions.items():
            if strategy == 1 and position.fills:
                assert positions[slot, product] == position.quantity
        for seq, what in self.sent.items():
            if what is IntentKind.PLACE:
                assert seq in status or seq in refused, f"nobody told the strategy of {seq}"

    def rows_for_people_agree(self) -> None:
        filled: Counter[int] = Counter()
        for row in self.day.trade_rows:
            filled[row["order_no"]] += row["quantity"]
        rows = Counter(row["order_no"] for row in self.day.order_rows)
        book = self.day.world.stage.book
        for order in book.orders.values():
            assert filled[order.order_no] == order.filled, order
            if order.status in TERMINAL and order.status is not OrderStatus.ABSENT:
                assert rows[order.order_no] == 1, order
        totals = self.day.world.stage.outbox.totals
        intents = sum(1 for record in self.day.journal.records if record.kind is Kind.INTENT)
        assert totals["sent"] == intents


CrashMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestOrdersCrash = CrashMachine.TestCase
