"""Layer 4, campaigns and tests, cold: what strategies ask for.

Three strategies wish at random, and not always sensibly: entries near and through the market, exits
of what they were told they hold, modifications, cancels, bursts, the same intent twice, prices off
the grid, quantities beyond the limits and beyond the freeze quantity. What lasts (exits that ORDERS keeps,
triggers, groups) stands in lasting_wishes.py; a fourth strategy does nothing but groups. Everything random
is the seed's.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from kite_hft.layout import IntentFlag, IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.sim.order_path import lasting_wishes
from kite_hft.sim.order_path.market import SLOTS, Market
from kite_hft.sim.order_path.queues import EventQueue, IntentQueue, Records, row_of
from kite_hft.trading.instruments import InstrumentTable

STRATEGIES: Final = (1, 2, 3)
GROUPER: Final = 4
"""The strategy that trades in groups alone: what it holds is the sum of its whole groups."""
PRODUCTS: Final = (Product.MIS, Product.NRML)
NO_TYPE: Final = 77
"""An order type that does not exist."""
_HEARD: Final = (
    "strategy", "strategy_seq", "kind", "status", "filled_qty", "slot", "product", "position"
)  # fmt: skip
S: Final = OrderStatus
ALIVE: Final = frozenset({S.SENT, S.PENDING, S.OPEN, S.TRIGGER_PENDING, S.AMBIGUOUS})


class Asked(NamedTuple):
    """What a strategy has asked for, and may change or cancel."""

    strategy: int
    seq: int
    slot: int
    product: int
    side: int


@dataclass(frozen=True, slots=True)
class Wish:
    """One intent as its strategy meant it."""

    kind: int
    slot: int
    side: int
    quantity: int
    px: int
    trigger_px: int
    order_type: int
    product: int
    flags: int
    at_ns: int
    sure: bool  # an exit of something that is surely there
    target_seq: int = 0
    group: int = 0
    leg: int = 0
    legs: int = 0


class Flow:
    """The strategies. `wished(name, wish)` is told of each intent that went into the queue; `held(strategy,
    slot, product)`: what the engine believes to be free to close there, and whether that is sure.
    """

    def __init__(
        self,
        rng: random.Random,
        table: InstrumentTable,
        market: Market,
        intents: IntentQueue,
        events: EventQueue,
        mono_ns: Callable[[], int],
    ) -> None:
        self.rng, self.table, self.market = rng, table, market
        self.intents, self.events, self.mono_ns = intents, events, mono_ns
        self.wished: Callable[[tuple[int, int], Wish], None] = lambda name, wish: None
        self.held: Callable[[int, int, int], tuple[int, bool]] = lambda strategy, slot, product: (0, False)
        self.next_seq: dict[int, int] = dict.fromkeys((*STRATEGIES, GROUPER), 1)
        self.last_told: dict[tuple[int, int], tuple[int, int, int]] = {}  # name -> (kind, status, filled)
        self.positions: dict[tuple[int, int, int], int] = {}
        self.placed: list[Asked] = []
        self.kept: list[tuple[int, int, int]] = []  # positions that exits were asked for
        self._last: Records | None = None
        self.doubled: Counter[tuple[int, int]] = Counter()  # intents that were pushed once more
        self.products = PRODUCTS
        self.patience_ns = 0  # so long may a new order that is no exit take to leave; 0: for ever
        self.limit_apart = True  # the limit of a trigger may lie elsewhere than its trigger price

    def forget(self, next_seq: dict[int, int]) -> None:
        """The machine went down: strategies are new, and number from where the journal knows."""
        self.next_seq = {strategy: next_seq.get(strategy, 1) for strategy in (*STRATEGIES, GROUPER)}
        self.last_told.clear()
        self.positions.clear()
        self.placed.clear()
        self.kept.clear()
        self._last = None

    def listen(self) -> None:
        """Take in what the engine has told."""
        events = self.events.take()
        if not len(events):
            return
        columns = [events[name].tolist() for name in _HEARD]
        for strategy, seq, kind, status, filled, slot, product, position in zip(*columns, strict=True):
            if seq:
                self.last_told[strategy, seq] = (kind, status, filled)
            self.positions[strategy, slot, product] = position

    def act(self) -> None:
        """One thing that a strategy does."""
        self.listen()
        rng = self.rng
        does = rng.choices(
            (self._enter, self._exit, self._modify, self._cancel, self._burst, self._odd,
             self._keep, self._drop, self._trigger, self._group),
            (30, 16, 14, 12, 6, 3, 18, 2, 7, 7),
        )[0]  # fmt: skip
        does(rng.choice(STRATEGIES))

    # What they do

    def _enter(self, strategy: int, quantity: int = 0) -> None:
        rng = self.rng
        slot = rng.choice(SLOTS)
        row, side = self.table[slot], rng.choice((Side.BUY, Side.SELL))
        lots = quantity or rng.choice((1, 2, 5, 10, 20))
        kind = rng.choices((OrderType.LIMIT, OrderType.MARKET, OrderType.SL, OrderType.SLM), (70, 20, 6, 4))[
            0
        ]
        if row.kind in ("CE", "PE") and kind is OrderType.SLM:
            kind = OrderType.SL
        px = self.market.px[slot] + 5 * rng.randrange(-6, 7)
        sign = 1 if side == Side.BUY else -1
        trigger = px + sign * 10 if kind in (OrderType.SL, OrderType.SLM) else 0
        self.wish(
            strategy,
            kind=IntentKind.PLACE,
            slot=slot,
            side=side,
            order_type=kind,
            product=Product.MIS if row.kind == "EQ" else rng.choice(self.products),
            validity=Validity.IOC if rng.random() < 0.05 else Validity.DAY,
            qty=row.lot_size * (rng.choice((1, 1, 2, 3, 4)) if row.lot_size > 1 else lots),
            px=0 if kind in (OrderType.MARKET, OrderType.SLM) else trigger + sign * 15 if trigger else px,
            trigger_px=trigger,
        )

    def _exit(self, strategy: int) -> None:
        held = [key for key, quantity in self.positions.items() if quantity and key[0] == strategy]
        if not held:
            self._enter(strategy)
            return
        key = self.rng.choice(held)
        quantity = self.positions[key]
        free, sure = self.held(*key)
        part = self.rng.choice((1.0, 1.0, 0.5))
        lot = self.table[key[1]].lot_size
        wanted = max(lot, round(abs(quantity) * part) // lot * lot)
        kind = self.rng.choices((OrderType.LIMIT, OrderType.MARKET, OrderType.SL), (3, 3, 2))[0]
        px, sign = self.market.px[key[1]], 1 if quantity > 0 else -1
        trigger = px - sign * 5 * self.rng.randrange(2, 12) if kind is OrderType.SL else 0
        sure = sure and free * quantity > 0 and abs(free) >= wanted and wanted % lot == 0
        sure = sure and not self.intents.waiting()  # what stands before it may take what it closes
        self.wish(
            key[0],
            sure=sure,
            kind=IntentKind.PLACE,
            slot=key[1],
            side=Side.SELL if quantity > 0 else Side.BUY,
            order_type=kind,
            product=key[2],
            validity=Validity.DAY,
            flags=IntentFlag.EXIT,
            qty=wanted,
            px=0 if kind is OrderType.MARKET else trigger - sign * 15 if trigger else px,
            trigger_px=trigger,
        )

    def alive(self, strategy: int) -> list[Asked]:
        """What a strategy has asked for lately, and was told to live."""
        mine = [asked for asked in self.placed[-40:] if asked.strategy == strategy]
        return [asked for asked in mine if self.last_told.get(asked[:2], (0, 0, 0))[1] in ALIVE]

    def _target(self, strategy: int) -> Asked | None:
        mine = self.alive(strategy)
        if self.rng.random() < 0.06:
            mine = [asked for asked in self.placed[-40:] if asked.strategy == strategy]
        return self.rng.choice(mine) if mine else None

    def _modify(self, strategy: int) -> None:
        target = self._target(strategy)
        if target is None:
            self._enter(strategy)
            return
        rng, lot = self.rng, self.table[target.slot].lot_size
        px = self.market.px[target.slot] + 5 * rng.randrange(-5, 6) if rng.random() < 0.7 else 0
        quantity = lot * rng.randrange(1, 25 if lot == 1 else 4) if not px or rng.random() < 0.5 else 0
        kind = rng.choice((*OrderType, NO_TYPE)) if rng.random() < 0.15 else 0
        away = 10 if target.side == Side.BUY else -10
        stops = kind in (OrderType.SL, OrderType.SLM)
        trigger = self.market.px[target.slot] + away if stops else 0
        self.wish(
            strategy, kind=IntentKind.MODIFY, slot=target.slot, product=target.product, target_seq=target.seq,
            qty=quantity, px=trigger + away if kind is OrderType.SL else px, order_type=kind,
            trigger_px=trigger,
        )  # fmt: skip

    def _cancel(self, strategy: int) -> None:
        target = self._target(strategy)
        if target is None:
            self._enter(strategy)
            return
        self.wish(
            strategy, kind=IntentKind.CANCEL, slot=target.slot, product=target.product, target_seq=target.seq
        )

    def _burst(self, strategy: int) -> None:
        for _ in range(self.rng.randrange(6, 16)):
            self.rng.choice((self._enter, self._enter, self._exit, self._cancel, self._modify))(strategy)

    def _keep(self, strategy: int) -> None:
        if not lasting_wishes.keep(self, strategy):
            self._enter(strategy)

    def _drop(self, strategy: int) -> None:
        lasting_wishes.drop(self, strategy)

    def _trigger(self, strategy: int) -> None:
        lasting_wishes.trigger(self, strategy)

    def _group(self, strategy: int) -> None:
        lasting_wishes.group(self, GROUPER)

    def _odd(self, strategy: int) -> None:
        """What a strategy with a fault in it sends."""
        rng = self.rng
        what = rng.randrange(8)
        if what == 0 and self._last is not None:
            if self.intents.push(self._last):  # the same intent again
                self.doubled[int(self._last["strategy"][0]), int(self._last["strategy_seq"][0])] += 1
            return
        odd: dict[str, Any] = (
            {"qty": 100_000},
            {"px": self.market.px[0] + 3},
            {"qty": 0},
            {"slot": 77},
            {"signal": math.nan},
            {"px": self.market.px[0] * 2},
            {"flags": IntentFlag.EXIT, "side": Side.SELL},
            {"kind": 9},
        )[what]
        words: dict[str, Any] = {
            "kind": IntentKind.PLACE, "slot": 0, "side": Side.BUY, "order_type": OrderType.LIMIT,
            "product": Product.MIS, "validity": Validity.DAY, "qty": 5, "px": self.market.px[0],
        }  # fmt: skip
        self.wish(strategy, **words | odd)

    def wish(self, strategy: int, *, sure: bool = False, **words: Any) -> None:
        """Push one intent with these words, and tell of it."""
        seq = self.next_seq[strategy]
        now_ns = self.mono_ns()
        if self.patience_ns and words["kind"] == IntentKind.PLACE and not words.get("flags"):
            words |= {"deadline_ns": now_ns + self.patience_ns}  # as the worker stamps it
        row = row_of(words | {"strategy": strategy, "strategy_seq": seq, "created_ns": now_ns})
        if not self.intents.push(row):
            return
        self.next_seq[strategy] = seq + 1
        self._last = row
        if words["kind"] in (IntentKind.PLACE, IntentKind.GTT) and words["slot"] < len(self.table):
            self.placed.append(Asked(strategy, seq, words["slot"], words["product"], words["side"]))
        wish = Wish(
            int(words["kind"]), words["slot"], int(words.get("side", 0)), words.get("qty", 0),
            words.get("px", 0), words.get("trigger_px", 0), int(words.get("order_type", 0)),
            int(words.get("product", 0)), int(words.get("flags", 0)), now_ns, sure,
            words.get("target_seq", 0), words.get("group", 0), words.get("leg", 0), words.get("legs", 0),
        )  # fmt: skip
        self.wished((strategy, seq), wish)
