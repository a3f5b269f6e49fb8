"""Layer 6, campaigns, cold: made-up situations for the gate, judged a second time by a plain reading.

Each situation is drawn from (seed, number): most of it as usual and a few things odd, for where
everything is odd the first rule hides all others. The plain reading is tests/reference/risk_rules.py of
the source tree; it shares no code with the product.
"""

from __future__ import annotations

import importlib.util
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from types import ModuleType
from typing import Any, Final

from kite_hft.verify.campaign import ROOT
from kite_hft.verify.risk import bench
from kite_hft.verify.risk.bench import DEFAULT, PX, Bench, table

TWIN: Final = ROOT / "tests/reference/risk_rules.py"
TOLD_MAX: Final = 10
STATUSES: Final = (1, 3, 4, 5, 5, 5, 6, 7, 8, 10)
PRODUCTS: Final = {"EQ": (3, 3, 3, 1, 1, 4), "FUT": (2, 2, 3), "CE": (2, 2, 3)}
TIMES: Final = (
    "11:00:00", "11:00:00", "11:00:00", "09:01:00", "09:06:00", "09:12:00", "09:15:00", "14:54:59",
    "14:55:00", "14:59:59",
    "15:00:00", "15:09:59", "15:10:00", "15:17:00", "15:22:00", "15:26:00", "16:14:59",
    "16:15:00", "16:30:00", "22:35:00", "22:50:00", "23:45:00",
)  # fmt: skip


@cache
def plain_reading() -> ModuleType:
    """The reference, loaded by its path.

    Raises:
        FileNotFoundError: this is no source tree.
    """
    spec = importlib.util.spec_from_file_location("risk_rules", TWIN)
    if spec is None or spec.loader is None or not TWIN.is_file():
        raise FileNotFoundError(f"{TWIN}: made-up situations need the source tree")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain_instruments() -> dict[int, dict[str, Any]]:
    """slot -> what the plain reading knows of it."""
    return {
        row.slot: {
            "symbol": row.symbol, "exchange": row.exchange, "kind": row.kind, "name": row.name,
            "expiry": row.expiry, "lot": row.lot_size, "tick": row.tick_px, "scale": row.scale,
            "multiplier": row.multiplier, "freeze": row.freeze_quantity, "index": row.is_index,
        }
        for row in table()
    }  # fmt: skip


class Draw:
    """One situation: `given` and `ask` in the words of the bench, and the same made plain."""

    def __init__(self, seed: int, number: int, broker: str = "kite") -> None:
        self.chance = random.Random(f"{seed} {number}")
        self.slot = self.chance.choice([0] * 8 + [1, 1, 3, 3, 3, 4, 5, 5, 8, 8, 9, 10, 10, 11, 2, 6, 7])
        row = table()[self.slot] if self.slot < len(table()) else table()[0]
        self.row, self.px = row, PX * row.scale // 100
        self.given: dict[str, Any] = {"broker": broker, "hours": True}
        self.given |= {"limits": {}, "states": {}, "price": {}}
        self.given["live"] = [self._live(n) for n in range(1, 1 + self.chance.choice([0, 0, 1, 1, 2, 3]))]
        self.given["held"] = [self._held() for _ in range(self.chance.choice([0, 1, 1, 2]))]
        self.ask = self._ask()
        for odd in self.chance.sample(ODD, self.chance.choice([0, 0, 1, 1, 2, 3])):
            odd(self)

    def near(self) -> int:
        """A price on the grid, near the last one."""
        step = self.row.tick_px
        return max(step, self.px + self.chance.choice([0, 0, 0, 1, -1, 2, -2, 20, -20, 90, -90]) * step)

    def lots(self) -> int:
        """A quantity of whole lots."""
        return self.row.lot_size * self.chance.choice([1, 1, 2, 5, 10, 24])

    def _live(self, number: int) -> dict[str, Any]:
        chance, quantity = self.chance, self.lots()
        other = chance.random() < 0.25
        kind = chance.choice([2, 2, 2, 1, 3, 4])
        px = self.near()
        return {
            "strategy": chance.choice([1, 1, 2]), "slot": 1 if other else min(self.slot, 11),
            "side": chance.choice([1, 2]), "order_type": kind, "px": px if kind in (2, 3) else 0,
            "trigger_px": px if kind in (3, 4) else 0, "product": chance.choice(PRODUCTS[self.row.kind][:3]),
            "status": chance.choice(STATUSES), "quantity": quantity, "number": number,
            "filled": chance.choice([0, 0, 0, quantity // 2]), "modifications": chance.choice([0, 0, 0, 24,
            25]),
            "quantity_max": chance.choice([0, 0, 0, quantity + self.row.lot_size]),
        }  # fmt: skip

    def _held(self) -> tuple[int, int, int, int]:
        chance = self.chance
        slot = chance.choice([min(self.slot, 11)] * 3 + [1])
        product = chance.choice(PRODUCTS[self.row.kind][:3])
        return chance.choice([1, 1, 2]), slot, product, self.lots() * chance.choice([1, -1])

    def _ask(self) -> dict[str, Any]:
        chance = self.chance
        kind = chance.choice([1] * 6 + [2, 2, 3]) if self.given["live"] else 1
        side, order_type, px = chance.choice([1, 2]), chance.choice([2, 2, 2, 1, 3, 4]), self.near()
        words = {
            "strategy_seq": 500, "strategy": 1, "slot": self.slot, "kind": kind, "side": side,
            "order_type": order_type, "product": chance.choice(PRODUCTS[self.row.kind]), "validity": 1,
            "flags": 0,
            "qty": self.lots(), "px": px if order_type in (2, 3) else 0, "signal": 0.0, "target_seq": 0,
            "trigger_px": self.near() if order_type in (3, 4) else 0,
        }  # fmt: skip
        if order_type == 3 and chance.random() < 0.9:  # a stop that could fill
            words["px"] = words["trigger_px"] + (3 - 2 * side) * chance.choice([0, 1]) * self.row.tick_px
        if kind == 1:
            return words
        chosen = chance.choice(self.given["live"])
        words |= {"target_seq": chosen["number"], "slot": chosen["slot"], "side": 0}
        words["order_type"] = chance.choice([0, 0, 0, 1, 2, 3, 4])
        words |= {
            "qty": chance.choice([0, self.lots()]),
            "px": chance.choice([0, self.near()]),
            "trigger_px": chance.choice([0, 0, self.near()]),
        }
        return words

    def plain(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """For the plain reading: everything said, nothing left to a default."""
        prices = {row.slot: (PX * row.scale // 100, 0.0) for row in table()} | self.given["price"]
        return DEFAULT | self.given | {"price": prices}, self.ask

    def bench(self) -> dict[str, Any]:
        """For the bench, which numbers live orders by their place."""
        live = [
            {k: v for k, v in o.items() if k != "number"} | {"strategy_seq": o["number"]}
            for o in self.given["live"]
        ]
        return self.given | {"live": live}


def _limit(name: str, *values: float) -> Callable[[Draw], None]:
    def odd(draw: Draw) -> None:
        draw.given["limits"] = draw.given["limits"] | {name: draw.chance.choice(values)}

    return odd


def _given(name: str, *values: Any) -> Callable[[Draw], None]:
    def odd(draw: Draw) -> None:
        draw.given[name] = draw.chance.choice(values)

    return odd


def _state(name: str, *values: Any) -> Callable[[Draw], None]:
    def odd(draw: Draw) -> None:
        draw.given["states"] = draw.given["states"] | {name: draw.chance.choice(values)}

    return odd


def _asked(name: str, *values: Any) -> Callable[[Draw], None]:
    def odd(draw: Draw) -> None:
        if name not in ("side", "validity", "product") or draw.ask["kind"] == 1:
            draw.ask[name] = draw.chance.choice(values)

    return odd


def _price(draw: Draw) -> None:
    slot = draw.chance.choice([draw.slot, 1])
    px = PX * table()[min(slot, 11)].scale // 100
    draw.given["price"] = {
        slot: draw.chance.choice([None, (0, 0.0), (-5, 0.0), (px, 2.0), (px, 2.1), (px * 2, 0.5)])
    }


def _band(draw: Draw) -> None:
    ages = draw.chance.choice([0.0, 180.0, 181.0])
    low, high = draw.px - 20 * draw.row.tick_px, draw.px + 20 * draw.row.tick_px
    draw.given["band"] = draw.chance.choice(
        [{}, {draw.slot: (low, high, ages)}, {draw.slot: (low, high, ages)}]
    )


def _sell_holding(draw: Draw) -> None:
    held = {"settled": draw.chance.choice([0, 5, 10, 50]), "t1": draw.chance.choice([0, 50]),
            "used": draw.chance.choice([0, 5]), "authorised": draw.chance.choice([0, 9, 100]),
            "ours": draw.chance.choice([0, 0, 5])}  # fmt: skip
    draw.given["holding"] = draw.chance.choice([{}, {draw.slot: held}, {draw.slot: held}])
    if draw.ask["kind"] == 1:
        draw.ask |= {"side": 2, "product": draw.chance.choice([1, 1, 1, 4])}


ODD: Final[list[Callable[[Draw], None]]] = [
    _limit("max_position_size", 1000.0, 2000.0, 5000.0, 1e9), _limit("max_order_value", 999.99, 1000.0,
    10_000.0),
    _limit("max_exposure", 1000.0, 3000.0, 10_000.0), _limit("max_order_quantity", 1, 74, 75, 150),
    _limit("max_positions", 1, 2), _limit("max_working_orders", 1, 2), _limit("min_funds", 500.0),
    _limit("price_collar_percent", 0.05, 1.0), _limit("btst", True),
    _given("at", *(f"2026-11-20 {time}" for time in TIMES)), _given("at",
    *(f"2026-11-20 {t}" for t in TIMES)),
    _given("hours", False), _given("clock", "stepped"), _given("parted", (0, 3), (1,)),
    _given("barred", (0, 3), (1,)), _given("funds", -1, 49_999, 50_000),
    _given("lists", (), ("fo_ban",), ("mis_blocked",), ("fo_ban", "mis_blocked")), _given("allow",
    ("NSE:SBIN",)),
    _given("listed", {"fo_ban": ["SBIN"]}, {"mis_blocked": ["NSE:SBIN"]}, {"suspended": ["NSE:SBIN"]}),
    _given("traded", (), (3, 4, 5)),
    _given("traffic", ({"messages": 100, "trades": 2}, {}), ({}, {"messages": 99}), ({"modifications": 800},
    {})),
    _state("token_dead", "gone"), _state("active", False), _state("halted", "h"), _state("reducing", "r"),
    _state("killed", "k"), _state("market_halted", True), _state("stale", (0,), (3,)),
    _state("held", (1, "x", "reducing"), (1, "x", "halted"), (2, "x", "reducing")),
    _asked("qty", 0, 1, 76, 1875, 3600, 18_000, 18_075, 2**32 - 1), _asked("px", -5, 7, PX + 1, PX + 505,
    2**31 - 1),
    _asked("trigger_px", -5, PX, PX + 1), _asked("signal", math.nan, math.inf), _asked("flags", 1, 2),
    _asked("side", 0, 3), _asked("order_type", 0, 9), _asked("product", 0, 9), _asked("validity", 2, 3, 9),
    _asked("kind", 7), _asked("target_seq", 77), _asked("slot", 1, 12), _given("at", "2026-11-20 14:55:00"),
    _price, _band, _sell_holding,
    _sell_holding,
]  # fmt: skip


def differ(
    seed: int,
    numbers: Iterable[int],
    tell: Callable[[int], None] = lambda done: None,
    *,
    broker: str = "kite",
) -> dict[str, Any]:
    """How many situations passed and were refused, by reason, and those where gate and reading differ."""
    told: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    instruments, done = plain_instruments(), 0
    for done, number in enumerate(numbers, 1):
        draw = Draw(seed, number, broker)
        expected = plain_reading().refusals(*draw.plain(), instruments)
        found = Bench(**draw.bench()).ask(**draw.ask)
        counts[found[0] if found else "passed"] += 1
        if (found is None) != (not expected) or (found is not None and found[0] not in expected):
            told.append({"case": number, "gate": found, "reading": sorted(expected)})
        tell(done)
        if len(told) >= TOLD_MAX:
            break
    return {"cases": done, "counts": dict(sorted(counts.items())), "differ": told}


def replayed(seed: int, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is given and asked in one situation."""
    draw = Draw(seed, number)
    return bench.DEFAULT | draw.given, draw.ask
