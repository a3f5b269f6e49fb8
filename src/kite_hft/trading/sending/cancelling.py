"""Layer 2, orders process, hot where a cancel is under way: when one has failed, when it goes out again, and
which go before exits that wait.

A cancel is over when its order is, and never given up before: after a first try at once come others, later
and later. One that the broker took has failed, too, when the book goes on to show the order at work.

Cancels and exits wait in one lane, first come, first served. After a kill the cancel of each order that opens
goes before the exits that wait: it takes risk away at once, and cannot be refused for margin. Only the first
one does. So an exit waits for no more cancels than there are such orders, however often those fail.
"""

from __future__ import annotations

from typing import Final

from kite_hft.layout import IntentKind, OrderStatus
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.sending.throttle import Throttle
from kite_hft.trading.sending.work import Work
from kite_hft.units import NS_PER_S

PAUSE_NS: Final = 50_000_000
PAUSE_MAX_NS: Final = 5 * NS_PER_S
"""Between two tries, doubled each time: an order may be held up at the broker for 83 s and more."""
TRIES: Final = 40
SELDOM_NS: Final = 30 * NS_PER_S
"""After so many tries they come this seldom."""
TAKEN_NS: Final = 3 * NS_PER_S
"""A cancel that the broker took has failed when a read asked for so much later shows the order at work."""


class CancelTries:
    """The cancels of orders (by number) so far."""

    def __init__(self) -> None:
        self._failed: dict[int, int] = {}
        self._told_ns: dict[int, int] = {}  # when the last one failed, or was taken

    def taken(self, number: int, now_ns: int) -> None:
        """The broker said yes."""
        self._told_ns[number] = now_ns

    def failed(self, number: int, now_ns: int) -> int:
        """One more has failed; returns how many that are."""
        self._failed[number] = self._failed.get(number, 0) + 1
        self._told_ns[number] = now_ns
        return self._failed[number]

    def not_carried_out(self, number: int, shown: OrderStatus | None, asked_ns: int) -> bool:
        """By a read asked for at `asked_ns` that has `shown` the order: the one that was taken has failed."""
        longest_ns = SELDOM_NS if shown is OrderStatus.PENDING else TAKEN_NS  # the former: CANCEL PENDING
        return shown in WORKING and asked_ns - self._told_ns.get(number, 0) >= longest_ns

    def due(self, number: int, asked_ns: int, now_ns: int) -> bool:
        """The same of one that failed: it is time for the next."""
        told_ns, tries = self._told_ns.get(number, 0), self._failed.get(number, 0)
        pause_ns = min(PAUSE_NS << min(tries, 10), PAUSE_MAX_NS) if tries > 1 else 0
        return asked_ns >= told_ns and now_ns - told_ns >= (SELDOM_NS if tries >= TRIES else pause_ns)


class CancelsFirst:
    """Of one desk: the orders (by number) whose next cancel goes before exits, or whose has."""

    def __init__(self, throttle: Throttle[Work]) -> None:
        self._throttle = throttle
        self._turns: dict[int, bool] = {}  # False: its cancel went before exits already

    def give_turn(self, number: int) -> None:
        """The cancel of an order goes before exits, once: one that waits, or else its next."""
        if number not in self._turns:
            waits = self._throttle.put_first(
                lambda work: work.kind is IntentKind.CANCEL and work.order.order_no == number
            )
            self._turns[number] = not waits

    def takes_turn(self, number: int) -> bool:
        """A cancel is offered to the throttle: whether it goes before exits."""
        first = self._turns.get(number, False)
        if first:
            self._turns[number] = False
        return first

    def forget(self) -> None:
        """The kill is over: cancels stand in line again."""
        self._turns.clear()
