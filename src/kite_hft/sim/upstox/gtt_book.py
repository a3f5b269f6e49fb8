"""Layer 4, simulator, cold: good-till-triggered orders as Upstox keeps and fires them.

A GTT has one to three rules. ENTRY waits for its trigger (or fires at once) and places a LIMIT
order at the trigger price. When that order is complete, TARGET and STOPLOSS are watched; the first
that is reached places a LIMIT order the other way, and the other rule ends. A trailing stop follows
the best price since. Prices in units, times ns since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kite_hft.layout import OrderType, Product, Side
from kite_hft.sim.exchange import orders as o
from kite_hft.sim.exchange.orders import NewOrder, Order, Refusal
from kite_hft.sim.upstox.answers import refusal
from kite_hft.trading.instruments import Instrument
from kite_hft.units import NS_PER_S

SINGLE, MULTIPLE = "SINGLE", "MULTIPLE"
ENTRY, TARGET, STOPLOSS = "ENTRY", "TARGET", "STOPLOSS"
ABOVE, BELOW, IMMEDIATE = "ABOVE", "BELOW", "IMMEDIATE"
PENDING, COMPLETED, FAILED, CANCELLED = "PENDING", "COMPLETED", "FAILED", "CANCELLED"
VALID_NS: Final = 365 * 86_400 * NS_PER_S
GAP_SHARE: Final = 10
"""A trailing gap is a tenth of the way from the last price to the stop at least."""


@dataclass(slots=True)
class Rule:
    """One rule and its fate. `gap_px`: of a trailing stop; 0: it does not trail."""

    strategy: str
    trigger_type: str
    trigger_px: int
    gap_px: int = 0
    status: str = PENDING
    message: str = ""
    order_id: str | None = None


@dataclass(slots=True)
class Gtt:
    """All rules of one id. `best_px`: since the exits are watched; 0: they are not yet."""

    gtt_id: str
    kind: str
    instrument: Instrument
    side: Side
    product: Product
    quantity: int
    rules: list[Rule]
    created_ns: int
    expires_ns: int
    best_px: int = 0
    held: int = 0  # what the entry bought or sold
    fired: str | None = None  # order of the entry

    @property
    def live(self) -> bool:
        return any(rule.status == PENDING for rule in self.rules)

    def rule(self, strategy: str) -> Rule | None:
        """The rule of a strategy."""
        return next((rule for rule in self.rules if rule.strategy == strategy), None)


@dataclass(slots=True)
class GttBook:
    """All GTTs of the account. `place(order, now_ns)` gives an order to the exchange."""

    place: Callable[[NewOrder, int], str]
    last_px: Callable[[int], int]
    all: dict[str, Gtt] = field(default_factory=dict)
    changed: dict[str, Gtt] = field(default_factory=dict)
    """With news since somebody emptied it."""
    _number: int = 0

    def add(self, gtt: Gtt, now_ns: int) -> str:
        """Keep a new one; an immediate entry fires now. Raises Refusal."""
        check_rules(gtt.kind, gtt.rules)
        self._check_gaps(gtt.instrument, gtt.rules)
        self._number += 1
        gtt.gtt_id = f"GTT-CU{gtt.gtt_id}{self._number:08d}"
        self.all[gtt.gtt_id] = gtt
        self.changed[gtt.gtt_id] = gtt
        entry = gtt.rule(ENTRY)
        if entry is not None and entry.trigger_type == IMMEDIATE:
            self._enter(gtt, entry, now_ns)
        return gtt.gtt_id

    def modify(self, gtt_id: str, kind: str, quantity: int, rules: Sequence[Rule]) -> str:
        """New terms: all of them before the entry has fired, then those of exits that still wait.

        Raises:
            Refusal: unknown, over, or terms that do not fit; then nothing has changed.
        """
        gtt = self._known(gtt_id)
        if not gtt.live:
            raise refusal("UDAPI1149", "The GTT order is over and cannot be modified.")
        if kind != gtt.kind:
            raise refusal("UDAPI1126", "The type of a GTT order cannot be changed.")
        entry = gtt.rule(ENTRY)
        is_open = entry is not None and entry.status != PENDING
        if is_open:
            if any(rule.trigger_type != IMMEDIATE for rule in rules):
                raise refusal("UDAPI1150", "Of an open GTT order only IMMEDIATE rules can be modified.")
            if quantity != gtt.quantity:
                raise refusal("UDAPI1148", "The quantity of an open GTT order cannot be modified.")
            check_distinct(rules)
            stands = {rule.strategy: rule for rule in gtt.rules}
            wanted = [rule for rule in rules if stands.get(rule.strategy, rule).status == PENDING]
            check_rules(kind, [*(stands | {rule.strategy: rule for rule in wanted}).values()])
        else:
            check_rules(kind, rules)
            wanted, stands = list(rules), {}
        self._check_gaps(gtt.instrument, wanted)
        gtt.quantity = quantity
        gtt.rules = list((stands | {rule.strategy: rule for rule in wanted}).values())
        self.changed[gtt_id] = gtt
        return gtt_id

    def cancel(self, gtt_id: str) -> str:
        """End what still waits. Raises Refusal."""
        gtt = self._known(gtt_id)
        if not gtt.live:
            raise refusal("UDAPI1149", "The GTT order is over and cannot be cancelled.")
        self._end(gtt, CANCELLED)
        return gtt_id

    def _known(self, gtt_id: str) -> Gtt:
        if gtt_id not in self.all:
            raise refusal("UDAPI1129", "No such GTT order.", 404)
        return self.all[gtt_id]

    def _check_gaps(self, row: Instrument, rules: Sequence[Rule]) -> None:
        """The gaps of stops that trail; before the first price the distance to it is not known."""
        for rule in rules:
            if not rule.gap_px:
                continue
            if rule.strategy != STOPLOSS:
                raise refusal("UDAPI1146", "A trailing gap is for STOPLOSS alone.")
            last = self.last_px(row.slot)
            if last and rule.gap_px * GAP_SHARE < abs(last - rule.trigger_px):
                raise refusal("UDAPI1151", "The trailing gap is too small.")

    # -- what happens to them

    def watched(self) -> set[int]:
        """Slots whose price matters."""
        return {gtt.instrument.slot for gtt in self.all.values() if gtt.live}

    def on_last(self, slot: int, px: int, now_ns: int) -> None:
        """The last price of a slot while its market is open."""
        for gtt in [g for g in self.all.values() if g.live and g.instrument.slot == slot]:
            entry = gtt.rule(ENTRY)
            if now_ns >= gtt.expires_ns:
                self._end(gtt, CANCELLED, "expired")
            elif entry is not None and entry.status == PENDING:
                if gtt.fired is None and _reached(entry, px):
                    self._enter(gtt, entry, now_ns)
            elif gtt.best_px:
                self._watch_exits(gtt, px, now_ns)

    def order_done(self, order: Order, now_ns: int) -> None:
        """An order of the account ended: an entry's brings its exits, or ends them."""
        for gtt in [g for g in self.all.values() if g.fired == order.order_id]:
            gtt.held = order.now.filled
            if order.now.filled:
                gtt.best_px = self.last_px(gtt.instrument.slot) or order.now.px
            else:
                entry = gtt.rule(ENTRY)
                if entry is not None and order.now.status == o.REJECTED:
                    entry.status, entry.message = FAILED, order.now.message or ""
                self._end(gtt, CANCELLED)
            self.changed[gtt.gtt_id] = gtt

    def _enter(self, gtt: Gtt, entry: Rule, now_ns: int) -> None:
        order = self._order(gtt, gtt.side, gtt.quantity, entry.trigger_px)
        if self._fire(gtt, entry, order, now_ns):
            gtt.fired = entry.order_id
        else:
            self._end(gtt, CANCELLED)

    def _watch_exits(self, gtt: Gtt, px: int, now_ns: int) -> None:
        long = gtt.side == Side.BUY
        gtt.best_px = max(gtt.best_px, px) if long else min(gtt.best_px, px)
        for rule in gtt.rules:
            if rule.status != PENDING:
                continue
            if rule.gap_px:
                trailed = gtt.best_px - rule.gap_px if long else gtt.best_px + rule.gap_px
                better = trailed > rule.trigger_px if long else trailed < rule.trigger_px
                rule.trigger_px = trailed if better else rule.trigger_px
            up = (rule.strategy == TARGET) == long
            if px >= rule.trigger_px if up else px <= rule.trigger_px:
                side = Side.SELL if long else Side.BUY
                self._fire(gtt, rule, self._order(gtt, side, gtt.held, rule.trigger_px), now_ns)
                self._end(gtt, CANCELLED)
                return

    def _order(self, gtt: Gtt, side: Side, quantity: int, px: int) -> NewOrder:
        step = max(gtt.instrument.tick_px, 1)
        return NewOrder(gtt.instrument, side, OrderType.LIMIT, gtt.product, quantity, px=px // step * step)

    def _fire(self, gtt: Gtt, rule: Rule, order: NewOrder, now_ns: int) -> bool:
        self.changed[gtt.gtt_id] = gtt
        try:
            rule.order_id, rule.status = self.place(order, now_ns), COMPLETED
        except Refusal as refused:
            rule.status, rule.message = FAILED, refused.message
        return rule.status == COMPLETED

    def _end(self, gtt: Gtt, status: str, message: str = "") -> None:
        for rule in gtt.rules:
            if rule.status == PENDING:
                rule.status, rule.message = status, message
        self.changed[gtt.gtt_id] = gtt


def _reached(entry: Rule, px: int) -> bool:
    """Whether an entry fires at this price; one that was changed to IMMEDIATE does at any."""
    if entry.trigger_type == IMMEDIATE:
        return True
    return px >= entry.trigger_px if entry.trigger_type == ABOVE else px <= entry.trigger_px


def check_distinct(rules: Sequence[Rule]) -> None:
    """No strategy twice. Raises Refusal."""
    if len({rule.strategy for rule in rules}) < len(rules):
        raise refusal("UDAPI1142", "A strategy is there twice.")


def check_rules(kind: str, rules: Sequence[Rule]) -> None:
    """Number and kinds of a GTT's rules. Raises Refusal."""
    if kind not in (SINGLE, MULTIPLE):
        raise refusal("UDAPI1126", "The 'type' is invalid.")
    if kind == SINGLE and len(rules) != 1:
        raise refusal("UDAPI1136", "A SINGLE GTT order has exactly one rule.")
    if kind == MULTIPLE and not 2 <= len(rules) <= 3:
        raise refusal("UDAPI1137", "A MULTIPLE GTT order has two or three rules.")
    strategies = [rule.strategy for rule in rules]
    if ENTRY not in strategies:
        raise refusal("UDAPI1141", "The ENTRY rule is missing.")
    check_distinct(rules)
    if any(r.strategy != ENTRY and r.trigger_type != IMMEDIATE for r in rules):
        raise refusal("UDAPI1143", "TARGET and STOPLOSS rules are IMMEDIATE.")
