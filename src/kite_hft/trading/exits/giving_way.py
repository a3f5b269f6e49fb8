"""Layer 2, orders process, cold: what exits of a position give way to, and what waits until they have.

What a strategy closes by itself comes before its exits, and so does what the engine closes for another
reason (a broken group). An order that its exits cover is held, for seconds, until they have given way; then
it is judged. What it was found to reduce may be closed by those very exits meanwhile: held, it is marked as
an exit, so that the gate lets it open nothing. One that is to turn the position is refused when exits have
closed a part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from kite_hft.layout import IntentFlag, IntentKind, Reason, Side
from kite_hft.trading.book import Book
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.stewards import Hands
from kite_hft.trading.gate.checks import more
from kite_hft.trading.gate.risk import Verdict, target_of
from kite_hft.trading.intents import ENGINE_SEQ, Intent, as_exit
from kite_hft.trading.sending.intake import Intake
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

HELD_NS: Final = 3 * NS_PER_S
"""So long does a strategy's own order wait for its exits to give way."""
MODIFY: Final = int(IntentKind.MODIFY)
BESIDE: Final = frozenset({Reason.MAX_EXPOSURE, Reason.MAX_WORKING_ORDERS, Reason.SELF_TRADE})
"""Why an order may be refused only because exits stand beside it."""
WRONG: Final = frozenset(
    {Reason.BAD_INTENT, Reason.UNKNOWN_INSTRUMENT, Reason.LOT_MULTIPLE, Reason.TICK_SIZE}
)
"""Why one is refused for what it is: waiting does not mend it, and exits pass these checks as entries do."""


class Held(NamedTuple):
    """What a strategy asks for that its exits have to give way to: so much more, until then at most.

    stood: the position when it asked.
    """

    intent: Intent
    key: Key
    quantity: int
    until_ns: int
    stood: int

    @property
    def turns(self) -> bool:
        """It is more than the position."""
        return not self.intent.flags & IntentFlag.EXIT


class GivingWay:
    """Holds what waits. peek(intent, now_ns): what the gate would say. covered(key): what exits may still
    fill. left(key): what is held, less what other live orders close of it. hands: they know whether the
    broker takes another order of a strategy today: else no exit gives way to one.
    """

    def __init__(
        self,
        book: Book,
        outbox: Outbox,
        intake: Intake,
        peek: Callable[[Intent, int], Verdict | None],
        covered: Callable[[Key], int],
        left: Callable[[Key], int],
        hands: Hands,
    ) -> None:
        self._book, self._outbox, self._intake, self._peek = book, outbox, intake, peek
        self._covered, self._left, self._hands = covered, left, hands
        self.held: list[Held] = []
        self._let: Intent | None = None  # what is being let go
        self.claims: Callable[[Key], int] = lambda key: 0  # what the engine is about to close besides

    def make_room(self, intent: Intent, now_ns: int) -> bool:
        """A strategy closes by itself what its exits cover, or more: it waits until they have given way.
        True: it does, or is refused.
        """
        target = target_of(intent, self._book)
        if intent.strategy_seq >= ENGINE_SEQ or (intent.kind == MODIFY and target is None):
            return False
        if intent is self._let:
            return False  # it has had its room: it does not wait a second time
        side, quantity = more(intent, target)
        terms = intent if target is None else target
        key = (intent.strategy, terms.slot, terms.product)
        position = self._book.positions.get(key)
        stood = position.quantity if position is not None else 0
        if quantity <= 0 or not stood or side != (Side.SELL if stood > 0 else Side.BUY):
            return False
        left, covered = self._left(key) - self.waiting(key), self._covered(key)
        if not covered or quantity <= left - covered:
            return False
        if (verdict := self._peek(intent, now_ns)) is not None:
            if verdict.reason in WRONG:
                return False  # and no good exit is to wait behind it
            if quantity > left and verdict.reason not in BESIDE:
                return False  # it would turn the position, and may not: nothing gives way to it
        if target is None and not self._hands.strategies_may_place:
            text = "the day has no more orders for strategies: the exits that stand there stay"
            self._outbox.refuse(intent, Reason.DAY_CAP, text, now_ns)
            return True
        held = intent if quantity > left else as_exit(intent)
        self.held.append(Held(held, key, quantity, now_ns + HELD_NS, stood))
        self._outbox.stirred += 1
        return True

    def waiting(self, key: Key) -> int:
        """So much of a position is to be closed by orders that are not out yet."""
        return sum(held.quantity for held in self.held if held.key == key) + self.claims(key)

    def let_go(self, now_ns: int) -> int:
        """Held orders for which there is room now, or which have waited too long; returns how many."""
        waiting, self.held = self.held, []
        for held in waiting:
            covered, closed = self._covered(held.key), self._closed(held)
            if closed and held.turns:
                text = f"exits have closed {closed} while it waited: it would turn what is not there any more"
                self._outbox.refuse(held.intent, Reason.FROZEN, text, now_ns)
            elif not covered or held.quantity <= self._left(held.key) - covered:
                self._let = held.intent
                self._intake.consider(held.intent, now_ns, left_over=True)
                self._let = None
            elif now_ns >= held.until_ns:
                text = f"its exits did not give way within {HELD_NS / NS_PER_S:g} s"
                self._outbox.refuse(held.intent, Reason.FROZEN, text, now_ns)
            else:
                self.held.append(held)
        return len(waiting) - len(self.held)

    def drop(self, now_ns: int) -> int:
        """Nothing is let go any more: all positions are being closed."""
        dropped, self.held = self.held, []
        for held in dropped:
            self._outbox.refuse(held.intent, Reason.FROZEN, "all positions are being closed", now_ns)
        return len(dropped)

    def _closed(self, held: Held) -> int:
        """So much of the position was closed since it waits."""
        now = self._book.standing(*held.key).quantity
        return max(0, abs(held.stood) - max(0, now if held.stood > 0 else -now))
