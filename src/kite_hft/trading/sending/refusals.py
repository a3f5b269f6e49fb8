"""Layer 2, orders process, hot: what stays of refusals: each by itself, and a flood of them by numbers.

A strategy that runs wild is refused a hundred thousand times a second. Each refusal is told to it, and
counted; but only so many have a record of their own. Of the others one record a second, strategy and reason
says how many they were. Orders that were refused before they left are forgotten in the end: that a number is
not used twice follows from the strategy's last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.order import Order
from kite_hft.units import NS_PER_S

PER_SECOND: Final = 500
PER_DAY: Final = 20_000
"""So many refusals of a strategy have a record and a row of their own."""
ORDERS_KEPT: Final = 1000
"""So many refused orders are remembered."""

Name = tuple[int, int]
"""(strategy, strategy_seq) of an intent."""
Write = Callable[[Kind, dict[str, Any], Name | None], bool]


@dataclass(slots=True)
class _Rate:
    second: int = -1
    in_second: int = 0
    today: int = 0


@dataclass(slots=True)
class _Flood:
    """Refusals of one strategy and reason that have no record yet."""

    last: int
    text: str
    count: int = 0


class Refusals:
    """One per outbox. fresh: the intent that is being taken in, and has no record yet: no other is counted
    in numbers, for a record that says that one waits must have one that says how it ended.
    """

    def __init__(self, write: Write, book: Book) -> None:
        self._write, self._book = write, book
        self.fresh: Name | None = None
        self._rates: dict[int, _Rate] = {}
        self._floods: dict[tuple[int, str], _Flood] = {}
        self._written_s = -1
        self._orders: deque[Order] = deque()

    def restore(self, per_strategy: dict[int, int]) -> None:
        """How many have a record of their own today."""
        self._rates = {strategy: _Rate(today=n) for strategy, n in per_strategy.items()}

    def record(self, intent: Intent, reason: Reason, text: str, now_ns: int) -> bool:
        """Journal a refusal; False: it was only counted."""
        name = (intent.strategy, intent.strategy_seq)
        rate = self._rates.get(intent.strategy)
        if rate is None:
            rate = self._rates[intent.strategy] = _Rate()
        second = now_ns // NS_PER_S
        if second != rate.second:
            rate.second, rate.in_second = second, 0
        few = rate.in_second < PER_SECOND and rate.today < PER_DAY
        if few or name != self.fresh or intent.strategy_seq >= ENGINE_SEQ:
            rate.in_second += 1
            rate.today += 1
            self._write(Kind.REFUSED, refused_payload(intent, reason, text), name if ends(reason) else None)
            return True
        key = (intent.strategy, reason.name)
        flood = self._floods.get(key)
        if flood is None:
            flood = self._floods[key] = _Flood(0, "")
        flood.count += 1
        flood.last, flood.text = max(flood.last, intent.strategy_seq), text
        return False

    def flush(self, now_ns: int, *, last: bool = False) -> None:
        """Once a second, and at the end: one record for each strategy and reason of a flood."""
        if not self._floods or (now_ns // NS_PER_S == self._written_s and not last):
            return
        self._written_s = now_ns // NS_PER_S
        floods, self._floods = self._floods, {}
        for (strategy, reason), flood in floods.items():
            data = {"strategy": strategy, "seq": flood.last, "reason": reason, "count": flood.count}
            self._write(Kind.REFUSED, data | {"text": f"the last of them: {flood.text}"}, None)

    def ended(self, order: Order, intent: Intent) -> None:
        """An order was refused before it left, and everybody was told: the oldest such is forgotten."""
        if intent.strategy_seq >= ENGINE_SEQ or intent.group or len(self._book.family(order)) > 1:
            return  # whoever made it for a strategy may ask for it
        self._orders.append(order)
        if len(self._orders) > ORDERS_KEPT:
            self._book.forget(self._orders.popleft())


def ends(reason: Reason) -> bool:
    """The refusal is the end of the intent: not of one that came twice, where the first goes its way."""
    return reason is not Reason.DUPLICATE_INTENT


def refused_payload(intent: Intent, reason: Reason, text: str) -> dict[str, Any]:
    """Journal record REFUSED: enough to tell the strategy once more."""
    return {
        "strategy": intent.strategy,
        "seq": intent.strategy_seq,
        "kind": intent.kind,
        "reason": reason.name,
        "text": text,
        "slot": intent.slot,
        "side": intent.side,
        "product": intent.product,
        "qty": intent.qty,
    }
