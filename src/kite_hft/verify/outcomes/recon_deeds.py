"""Layer 6, campaigns, cold: what happens to an account while no engine looks, for `verify recon`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from kite_hft.layout import OrderStatus, Product, Side
from kite_hft.memory.journal import Kind
from kite_hft.sim.exchange.orders import Order as SimOrder
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.trading.book import Book
from kite_hft.trading.exits.trigger import Leg, request_of
from kite_hft.trading.order import Order
from kite_hft.trading.recovery.replay import replay
from kite_hft.units import NS_PER_S
from kite_hft.verify.desk.bench import Bench, MemoryJournal

HORIZON_S: Final = 180.0


class Deeds:
    """Does some of them, from the seed; `done` counts which, `broken` is what nobody can explain.

    broken: (name, how, order id) that a person has to say of it.
    """

    def __init__(self, bench: Bench, rng: random.Random, journal: MemoryJournal, slots: list[int]) -> None:
        self.bench, self.rng, self.journal, self.slots = bench, rng, journal, slots
        self.done: Counter[str] = Counter()
        self.broken: tuple[str, str, str] | None = None

    def diverge(self) -> None:
        """What the account does while the engine is dead, some of it."""
        deeds: tuple[Callable[[], bool], ...] = (
            self._lost_tail, self._partial_fill, self._fill, self._cancelled, self._by_hand, self._risk_desk,
            self._square_off, self._trigger, self._converted,
        )  # fmt: skip
        self.bench.clock.advance(self.rng.choice((1, 30, 400)) * NS_PER_S)
        for deed in deeds:
            if self.rng.random() < 0.35 and deed():
                self.done[deed.__name__.strip("_").replace("_", " ")] += 1
        self.settle()
        if self.rng.random() < 0.15:
            self._break()

    def settle(self) -> None:
        """Let the broker come to rest; nobody hears of it."""
        for _ in range(20):
            self.bench.clock.advance(NS_PER_S // 10)
            self.bench.exchange.step(self.bench.clock.real)
        self.bench.broker.updates(self.bench.line.api)

    def _resting(self) -> list[SimOrder]:
        self.bench.exchange.step(self.bench.clock.real)
        return [o for o in self.bench.exchange.orders.values() if o.working and not o.done]

    def _lost_tail(self) -> bool:
        records = self.journal.records
        lost = self.rng.randint(1, 6)
        if len(records) - lost < 2:
            return False
        del records[-lost:]
        return True

    def _partial_fill(self) -> bool:
        resting = [order for order in self._resting() if order.remaining > 1]
        if not resting:
            return False
        order = self.rng.choice(resting)
        self.bench.exchange.desk.fill(
            order, self.rng.randrange(1, order.remaining), order.now.px, self.bench.clock.real
        )
        return True

    def _fill(self) -> bool:
        resting = self._resting()
        if resting:
            order = self.rng.choice(resting)
            self.bench.exchange.desk.fill(order, order.remaining, order.now.px, self.bench.clock.real)
        return bool(resting)

    def _cancelled(self) -> bool:
        resting = self._resting()
        if resting:
            self.bench.exchange.chain.expire(self.rng.choice(resting), self.bench.clock.real)
        return bool(resting)

    def _by_hand(self) -> bool:
        slot, side = self.rng.choice(self.slots), self.rng.choice(list(Side))
        px = self.bench.prices.last[slot] + (20 if side == Side.BUY else -20) * 5
        delivered: dict[str, Any] = {"product": Product.CNC} if side == Side.BUY else {}
        words: dict[str, Any] = self.rng.choice(({}, {"tag": "byhand"}, delivered))
        try:
            self.bench.by_hand(slot, side, self.rng.randint(1, 80), px, **words)
        except (KeyError, Refusal):
            return False
        return True

    def _risk_desk(self) -> bool:
        slot, side = self.rng.choice(self.slots), self.rng.choice(list(Side))
        exchange = self.bench.exchange
        return bool(
            exchange.rms_order(slot, side, self.rng.randint(1, 30), Product.MIS, self.bench.clock.real)
        )

    def _square_off(self) -> bool:
        return bool(self.bench.exchange.square_off_mis(self.bench.clock.real, [self.rng.choice(self.slots)]))

    def _trigger(self) -> bool:
        """Somebody's trigger fires."""
        slot = self.rng.choice(self.slots)
        row, px = self.bench.instruments[slot], self.bench.prices.last[slot]
        step = max(row.tick_px, 1)
        trigger_px, line = px + 2 * step, self.bench.line
        limit_px = px + 10 * step if line.broker.trigger_limit_apart else trigger_px
        leg = Leg(int(Side.BUY), 7, limit_px, trigger_px)
        answer = line.ask(line.broker.trigger_place(request_of(row, Product.CNC, [leg], px)))
        if answer.status != 200:
            return False
        self.bench.prices.last[slot] = trigger_px
        self.bench.tick([slot])
        return True

    def _converted(self) -> bool:
        """MIS becomes CNC, in part."""
        for slot in self.slots:
            position = self.bench.exchange.account.positions.get((slot, Product.MIS))
            if position is not None and position.day_net > 1:
                quantity = self.rng.randrange(1, position.day_net)
                try:
                    self.bench.exchange.convert(
                        self.bench.instruments[slot].key, Product.MIS, Product.CNC, Side.BUY, "day", quantity,
                        self.bench.clock.real,
                    )  # fmt: skip
                except Refusal:
                    return False
                return True
        return False

    # What nobody can explain

    def _break(self) -> None:
        """One thing that cannot be: `broken` says what a person will have to say of it."""
        deeds = [self._gone, self._taken_back, self._out_of_nothing]
        self.rng.shuffle(deeds)
        for deed in deeds:
            self.broken = deed()
            if self.broken is not None:
                self.done[f"unexplained: {deed.__name__.strip('_').replace('_', ' ')}"] += 1
                self.bench.clock.advance(round(HORIZON_S) * NS_PER_S)
                return

    def _known(self) -> list[tuple[Order, SimOrder]]:
        """Orders that the journal has by the broker's id, with the exchange's own."""
        book = Book(self.bench.instruments)
        replay(self.journal.records, book, self.bench.instruments, 0)
        orders = self.bench.exchange.orders
        return [(o, orders[o.order_id]) for o in book.orders.values() if o.order_id in orders]

    def _gone(self) -> tuple[str, str, str] | None:
        for ours, true in self._known():
            if ours.status in (OrderStatus.OPEN, OrderStatus.PENDING) and not true.now.filled:
                self.bench.exchange.chain.expire(true, self.bench.clock.real)
                del self.bench.exchange.orders[true.order_id]
                self.bench.broker.updates(self.bench.line.api)
                return str(ours.order_no), "absent", ""
        return None

    def _taken_back(self) -> tuple[str, str, str] | None:
        """The journal has more fills of an order than the broker tells now."""
        for ours, true in self._known():
            if true.remaining > 1 and ours.status is OrderStatus.OPEN and not true.now.filled:
                last = [r.data() for r in self.journal.records if r.kind is Kind.REPORT]
                told = next((d["report"] for d in last if d["no"] == ours.order_no), None)
                if told is None:
                    continue
                told = told | {"filled_quantity": true.now.filled + 1, "average_price": 100.0}
                payload = msgspec.json.encode({"no": ours.order_no, "report": told})
                self.journal.append(Kind.REPORT, self.bench.clock.real, payload)
                return str(ours.order_no), "present", true.order_id
        return None

    def _out_of_nothing(self) -> tuple[str, str, str] | None:
        slot = self.rng.choice(self.slots)
        row = self.bench.instruments[slot]
        position = self.bench.exchange.account.position(row, Product.MIS)
        position.buy_quantity += 1013  # no order of ours is so large
        return row.key, "present", ""
