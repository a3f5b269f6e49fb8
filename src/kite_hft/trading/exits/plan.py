"""Layer 2, orders process, cold: the exits of one position as a plan, and what the price makes of it.

Pure. A plan has a stop, a target, a trailing distance and a time, each or none. At the broker it is one
order (in slices above the freeze quantity): the stop, which becomes a LIMIT at the target while the price
is there and a stop again when it leaves, so that never two of them can fill. Once the position is to be
closed, for whatever reason, the plan is OUT and does not come back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import IntentFlag, OrderType, Product, Side
from kite_hft.trading.exits.prices import on_grid
from kite_hft.trading.intents import Intent

Key = tuple[int, int, int]
"""(strategy, slot, product)."""
LEAVES: Final = 4
"""The price has left the target when it is a quarter of the way back to the stop."""


def named(instrument: str, key: Key) -> str:
    """How people are told of a position. It is the key of its alerts: what is over for one position stands
    on for another one in the same instrument.
    """
    return f"{instrument} {Product(key[2]).name} of strategy {key[0]}"


class Mode(enum.IntEnum):
    """What the order at the broker is."""

    STOP = 1
    TARGET = 2
    OUT = 3  # the position is being closed


@dataclass(slots=True)
class Plan:
    """Exits of (strategy, slot, product). Prices in the instrument's unit, 0: none.

    seq: the intent that asked for it. level_px: where the stop stands now; best_px: the best price since
    the position stands. side: of its orders, 0 while there is no position. until_ns: CLOCK_MONOTONIC.
    tries: how often a closing order has been priced anew; out_px: at which price, 0: at the market.
    """

    strategy: int
    slot: int
    product: int
    seq: int
    stop_px: int = 0
    target_px: int = 0
    trail_px: int = 0
    step_px: int = 0
    until_ns: int = 0
    order_type: int = 0
    gtt: bool = False
    side: int = 0
    mode: Mode = Mode.STOP
    why: str = ""
    level_px: int = 0
    best_px: int = 0
    tries: int = 0
    out_px: int = 0
    priced_ns: int = 0
    out_ns: int = 0  # since when it is OUT
    touched_ns: int = 0  # since when the price is at the stop or beyond it, 0: it is not
    plain_stop: bool = False  # SL-M was rejected: SL from now on
    refused: int = 0  # placements in a row
    undone: int = 0  # orders in a row that others cancelled soon after they stood
    retry_ns: int = 0
    began_ns: int = 0

    @property
    def key(self) -> Key:
        return self.strategy, self.slot, self.product

    @property
    def sign(self) -> int:
        """1: it protects a long position, so that a higher price is better."""
        return 1 if self.side == Side.SELL else -1

    @property
    def rests(self) -> bool:
        """An order of it belongs at the broker now."""
        return self.mode is Mode.OUT or bool(self.level_px or self.target_px)

    def begin(self, side: int, last_px: int, tick_px: int) -> None:
        """A position stands: its side is known, and trailing begins at the price."""
        self.side, self.best_px = side, last_px
        self.level_px = self.stop_px
        if self.trail_px and last_px:
            self._trail(last_px, tick_px)
        if not self.level_px and not self.trail_px and self.target_px:
            self.mode = Mode.TARGET

    def look(self, last_px: int, tick_px: int, now_ns: int) -> bool:
        """Take the price (0: none) and the time in; True: something changed that has to be journalled."""
        if self.mode is Mode.OUT:
            return False
        if self.until_ns and now_ns >= self.until_ns:
            self.leave("time", now_ns)
            return True
        if last_px <= 0:
            return False
        changed = bool(self.trail_px) and self._trail(last_px, tick_px)
        beyond = bool(self.level_px) and (last_px - self.level_px) * self.sign <= 0
        self.touched_ns = (self.touched_ns or now_ns) if beyond else 0
        return self.turn(last_px, tick_px) or changed

    def _trail(self, last_px: int, tick_px: int) -> bool:
        if (last_px - self.best_px) * self.sign > 0 or not self.best_px:
            self.best_px = last_px
        wanted = on_grid(self.best_px - self.sign * self.trail_px, tick_px, up=self.side == Side.BUY)
        if self.level_px and (wanted - self.level_px) * self.sign < max(self.step_px, tick_px, 1):
            return False
        self.level_px = wanted
        return True

    def turn(self, last_px: int, tick_px: int) -> bool:
        """Between stop and target; True: it turned."""
        if self.gtt or not (self.target_px and self.level_px):
            return False
        past = (last_px - self.target_px) * self.sign
        back = max(2 * tick_px, abs(self.target_px - self.level_px) // LEAVES)
        if self.mode is Mode.STOP and past >= 0:
            self.mode = Mode.TARGET
        elif self.mode is Mode.TARGET and -past >= back:
            self.mode = Mode.STOP
        else:
            return False
        return True

    def leave(self, why: str, now_ns: int, *, tries: int = 0) -> None:
        """From now on the position is closed: at the market, or at `tries` steps away from the price."""
        self.mode, self.why, self.tries = Mode.OUT, why, tries
        self.priced_ns = self.out_ns = now_ns

    def kind(self, *, market_stops: bool) -> OrderType:
        """The type of the resting stop. `market_stops`: the exchange takes SL-M here."""
        if self.order_type == OrderType.SL or self.plain_stop or not market_stops:
            return OrderType.SL
        return OrderType.SLM

    def payload(self, ahead_ns: int, ended: str = "") -> dict[str, Any]:
        """Journal record PLAN. `ahead_ns`: CLOCK_REALTIME - CLOCK_MONOTONIC."""
        record: dict[str, Any] = {
            "strategy": self.strategy,
            "slot": self.slot,
            "product": self.product,
            "seq": self.seq,
            "stop": self.stop_px,
            "target": self.target_px,
            "trail": self.trail_px,
            "step": self.step_px,
            "until_real_ns": self.until_ns + ahead_ns if self.until_ns else 0,
            "type": self.order_type,
            "gtt": self.gtt,
            "side": self.side,
            "mode": self.mode.name,
            "why": self.why,
            "level": self.level_px,
            "best": self.best_px,
        }
        return record | ({"ended": ended} if ended else {})


def asked_for(intent: Intent, now_ns: int) -> Plan:
    """What an EXITS intent asks for."""
    return Plan(
        intent.strategy,
        intent.slot,
        intent.product,
        seq=intent.strategy_seq,
        stop_px=intent.trigger_px,
        target_px=intent.px,
        trail_px=intent.trail_px,
        step_px=intent.step_px,
        until_ns=intent.deadline_ns,
        order_type=intent.order_type,
        gtt=bool(intent.flags & IntentFlag.GTT),
        began_ns=now_ns,
    )


def plan_of(data: dict[str, Any], ahead_ns: int, now_ns: int) -> Plan:
    """The plan of a PLAN record, as an earlier process left it."""
    until_ns = data["until_real_ns"] - ahead_ns if data["until_real_ns"] else 0
    return Plan(
        strategy=data["strategy"],
        slot=data["slot"],
        product=data["product"],
        seq=data["seq"],
        stop_px=data["stop"],
        target_px=data["target"],
        trail_px=data["trail"],
        step_px=data["step"],
        until_ns=max(until_ns, 1) if until_ns else 0,
        order_type=data["type"],
        gtt=data["gtt"],
        side=data["side"],
        mode=Mode[data["mode"]],
        why=data["why"],
        level_px=data["level"],
        best_px=data["best"],
        priced_ns=now_ns,
        out_ns=now_ns,
        began_ns=now_ns,
    )
