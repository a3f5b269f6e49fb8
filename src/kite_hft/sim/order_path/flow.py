"""Layer 4, campaigns and tests, cold: what strategies ask for, and how prices move.

Three strategies wish at random, and not always sensibly: entries near and through the market, exits
of what they were told they hold, modifications, cancels, bursts, the same intent twice, prices off
the grid, quantities beyond the limits. Prices walk by ticks. Everything random is the seed's.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kite_hft.layout import TICK, IntentFlag, IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.sim.order_path.queues import EventQueue, IntentQueue, Records, row_of
from kite_hft.trading.instruments import Instrument, InstrumentTable

STRATEGIES: Final = (1, 2, 3)
PRODUCTS: Final = (Product.MIS, Product.NRML)


def instruments() -> InstrumentTable:
    """Two shares, a future, an option: all that the rules tell apart."""

    def row(slot: int, symbol: str, **more: Any) -> Instrument:
        words: dict[str, Any] = {"exchange": "NSE", "segment": "NSE", "kind": "EQ", "lot_size": 1, "low": 1}
        words |= more
        token = ((1000 + slot) << 8) + words.pop("low")
        return Instrument(
            slot=slot, token=token, exchange_token=1000 + slot, symbol=symbol, tick_px=5, **words
        )

    derivative: dict[str, Any] = {
        "name": "BETA",
        "expiry": "2026-12-29",
        "exchange": "NFO",
        "lot_size": 25,
        "multiplier": 1,
        "freeze_quantity": 100,
        "low": 2,
    }
    return InstrumentTable(
        (
            row(0, "ALPHA"),
            row(1, "BETA"),
            row(2, "BETA26DECFUT", segment="NFO-FUT", kind="FUT", **derivative),
            row(
                3, "BETA26DEC500CE", segment="NFO-OPT", kind="CE", strike_px=50_000, **derivative,
            ),
        )
    )  # fmt: skip


START_PX: Final = (10_000, 25_000, 30_000, 8_000)
LOTS: Final = (1, 1, 25, 25)
S: Final = OrderStatus
ALIVE: Final = frozenset({S.SENT, S.PENDING, S.OPEN, S.TRIGGER_PENDING, S.AMBIGUOUS})


@dataclass(slots=True)
class Market:
    """Prices of all instruments. `ticks(rng)` moves them and gives TICK rows for the exchange."""

    px: list[int] = field(default_factory=lambda: list(START_PX))
    volume: int = 0
    _rows: Records = field(default_factory=lambda: _blank_ticks())

    def ticks(self, rng: random.Random, jump: int = 0) -> Records:
        """The next snapshot of every instrument; `jump`: percent that one of them leaps by."""
        self.volume += rng.randrange(0, 60)
        leaps = rng.randrange(len(self.px)) if jump else -1
        depth = rng.randrange(2, 200)
        for slot, px in enumerate(self.px):
            moved = px + 5 * round(rng.gauss(0, 2.0 + px / 20_000))
            if slot == leaps:
                moved = px + px * jump // 500 * 5
            low, high = START_PX[slot] * 85 // 500 * 5, START_PX[slot] * 115 // 500 * 5
            self.px[slot] = px = min(max(moved, low), high)
            row = self._rows[slot]
            lot = LOTS[slot]
            row["last_px"], row["bid_px"], row["ask_px"], row["volume"] = (
                px,
                px - 5,
                px + 5,
                self.volume * lot,
            )
            row["bid_qty"][:2] = row["ask_qty"][:2] = depth if lot == 1 else lot * (depth // 40)
            row["bid_px_deep"][0], row["ask_px_deep"][0] = px - 10, px + 10
        return self._rows.copy()


def _blank_ticks() -> Records:
    rows = np.zeros(len(START_PX), TICK)
    rows["slot"] = np.arange(len(START_PX))
    rows["close_px"] = START_PX
    return rows


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
        self._rng, self._table, self._market = rng, table, market
        self.intents, self.events, self._mono_ns = intents, events, mono_ns
        self.wished: Callable[[tuple[int, int], Wish], None] = lambda name, wish: None
        self.held: Callable[[int, int, int], tuple[int, bool]] = lambda strategy, slot, product: (0, False)
        self.next_seq: dict[int, int] = dict.fromkeys(STRATEGIES, 1)
        self.last_told: dict[tuple[int, int], tuple[int, int, int]] = {}  # name -> (kind, status, filled)
        self.positions: dict[tuple[int, int, int], int] = {}
        self._placed: list[tuple[int, int, int, int]] = []  # strategy, seq, slot, product
        self._last: Records | None = None
        self.doubled: Counter[tuple[int, int]] = Counter()  # intents that were pushed once more
        self.products = PRODUCTS

    def forget(self, next_seq: dict[int, int]) -> None:
        """The machine went down: strategies are new, and number from where the journal knows."""
        self.next_seq = {strategy: next_seq.get(strategy, 1) for strategy in STRATEGIES}
        self.last_told.clear()
        self.positions.clear()
        self._placed.clear()
        self._last = None

    def listen(self) -> None:
        """Take in what the engine has told."""
        for event in self.events.take():
            strategy, seq = int(event["strategy"]), int(event["strategy_seq"])
            if seq:
                told = (int(event["kind"]), int(event["status"]), int(event["filled_qty"]))
                self.last_told[strategy, seq] = told
            self.positions[strategy, int(event["slot"]), int(event["product"])] = int(event["position"])

    def act(self) -> None:
        """One thing that a strategy does."""
        self.listen()
        rng = self._rng
        does = rng.choices(
            (self._enter, self._exit, self._modify, self._cancel, self._burst, self._odd),
            (38, 22, 13, 13, 8, 4),
        )[0]
        does(rng.choice(STRATEGIES))

    # What they do

    def _enter(self, strategy: int, quantity: int = 0) -> None:
        rng = self._rng
        slot = rng.choice((0, 0, 1, 2, 3))
        row, side = self._table[slot], rng.choice((Side.BUY, Side.SELL))
        lots = quantity or rng.choice((1, 2, 5, 10, 20))
        kind = rng.choices((OrderType.LIMIT, OrderType.MARKET, OrderType.SL, OrderType.SLM), (70, 20, 6, 4))[
            0
        ]
        if row.kind == "CE" and kind is OrderType.SLM:
            kind = OrderType.SL
        px = self._market.px[slot] + 5 * rng.randrange(-6, 7)
        sign = 1 if side == Side.BUY else -1
        trigger = px + sign * 10 if kind in (OrderType.SL, OrderType.SLM) else 0
        self._wish(
            strategy,
            kind=IntentKind.PLACE,
            slot=slot,
            side=side,
            order_type=kind,
            product=Product.MIS if row.kind == "EQ" else rng.choice(self.products),
            validity=Validity.IOC if rng.random() < 0.05 else Validity.DAY,
            qty=row.lot_size * (min(lots, 2) if row.lot_size > 1 else lots),
            px=0 if kind in (OrderType.MARKET, OrderType.SLM) else trigger + sign * 15 if trigger else px,
            trigger_px=trigger,
        )

    def _exit(self, strategy: int) -> None:
        held = [key for key, quantity in self.positions.items() if quantity and key[0] == strategy]
        if not held:
            self._enter(strategy)
            return
        key = self._rng.choice(held)
        quantity = self.positions[key]
        free, sure = self.held(*key)
        part = self._rng.choice((1.0, 1.0, 0.5))
        lot = self._table[key[1]].lot_size
        wanted = max(lot, round(abs(quantity) * part) // lot * lot)
        freeze = self._table[key[1]].freeze_quantity
        wanted = min(wanted, freeze) if freeze else wanted
        kind = self._rng.choice((OrderType.LIMIT, OrderType.MARKET))
        sure = sure and free * quantity > 0 and abs(free) >= wanted and wanted % lot == 0
        sure = sure and not self.intents.waiting()  # what stands before it may take what it closes
        self._wish(
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
            px=0 if kind is OrderType.MARKET else self._market.px[key[1]],
        )

    def _target(self, strategy: int) -> tuple[int, int, int, int] | None:
        mine = [placed for placed in self._placed[-40:] if placed[0] == strategy]
        alive = [p for p in mine if self.last_told.get(p[:2], (0, 0, 0))[1] in ALIVE]
        if alive and self._rng.random() < 0.9:
            mine = alive
        return self._rng.choice(mine) if mine else None

    def _modify(self, strategy: int) -> None:
        target = self._target(strategy)
        if target is None:
            self._enter(strategy)
            return
        rng, lot = self._rng, self._table[target[2]].lot_size
        px = self._market.px[target[2]] + 5 * rng.randrange(-5, 6) if rng.random() < 0.7 else 0
        quantity = lot * rng.randrange(1, 25 if lot == 1 else 4) if not px or rng.random() < 0.5 else 0
        self._wish(
            strategy, kind=IntentKind.MODIFY, slot=target[2], product=target[3], target_seq=target[1],
            qty=quantity, px=px,
        )  # fmt: skip

    def _cancel(self, strategy: int) -> None:
        target = self._target(strategy)
        if target is not None:
            self._wish(
                strategy, kind=IntentKind.CANCEL, slot=target[2], product=target[3], target_seq=target[1]
            )

    def _burst(self, strategy: int) -> None:
        for _ in range(self._rng.randrange(6, 16)):
            self._rng.choice((self._enter, self._enter, self._exit, self._cancel, self._modify))(strategy)

    def _odd(self, strategy: int) -> None:
        """What a strategy with a fault in it sends."""
        rng = self._rng
        what = rng.randrange(8)
        if what == 0 and self._last is not None:
            if self.intents.push(self._last):  # the same intent again
                self.doubled[int(self._last["strategy"][0]), int(self._last["strategy_seq"][0])] += 1
            return
        odd: dict[str, Any] = (
            {"qty": 100_000},
            {"px": self._market.px[0] + 3},
            {"qty": 0},
            {"slot": 77},
            {"signal": math.nan},
            {"px": self._market.px[0] * 2},
            {"flags": IntentFlag.EXIT, "side": Side.SELL},
            {"kind": 9},
        )[what]
        words: dict[str, Any] = {
            "kind": IntentKind.PLACE, "slot": 0, "side": Side.BUY, "order_type": OrderType.LIMIT,
            "product": Product.MIS, "validity": Validity.DAY, "qty": 5, "px": self._market.px[0],
        }  # fmt: skip
        self._wish(strategy, **words | odd)

    def _wish(self, strategy: int, *, sure: bool = False, **words: Any) -> None:
        seq = self.next_seq[strategy]
        now_ns = self._mono_ns()
        row = row_of(words | {"strategy": strategy, "strategy_seq": seq, "created_ns": now_ns})
        if not self.intents.push(row):
            return
        self.next_seq[strategy] = seq + 1
        self._last = row
        if words["kind"] == IntentKind.PLACE and words["slot"] < len(self._table):
            self._placed.append((strategy, seq, words["slot"], words["product"]))
        wish = Wish(
            int(words["kind"]), words["slot"], int(words.get("side", 0)), words.get("qty", 0),
            words.get("px", 0), words.get("trigger_px", 0), int(words.get("order_type", 0)),
            int(words.get("product", 0)), int(words.get("flags", 0)), now_ns, sure,
            words.get("target_seq", 0),
        )  # fmt: skip
        self.wished((strategy, seq), wish)
