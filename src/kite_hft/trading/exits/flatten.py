"""Layer 2, orders process, cold: closing what the engine holds: at a stop, by a kill, when asked to.

All working orders are cancelled, exits too, and all triggers at the broker deleted, or they could fill beside
ours; then positions are closed (closing.py). A trigger that does not go holds nothing up for long; one that
may have fired holds its own position up for seconds, until the broker's list has told what it placed. Over
only when the broker's positions, read while nothing fills, show nothing of ours. What the account held beyond
our orders is not ours to close, and what was sold of it is not bought back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from kite_hft.trading.book import Book
from kite_hft.trading.exits.closing import Closer, key_of, shorts_first
from kite_hft.trading.exits.trigger import hold_up
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.ports import Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.recovery.adopting import closes_others
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

PERIOD_NS: Final = 100_000_000
CLOSING: Final = "closing"
"""Key of the alert while it goes on."""
LATE_NS: Final = 30 * NS_PER_S
"""What is not closed by then is told to a person, although nothing was refused."""


class Suspended(Protocol):
    """Somebody who must place nothing while everything is closed."""

    suspended: bool


class Flatten:
    """A steward that closes all positions, once it was told to `begin`."""

    def __init__(
        self,
        ports: Ports,
        book: Book,
        outbox: Outbox,
        reader: BookReader,
        closer: Closer,
        triggers: Triggers,
    ) -> None:
        self._ports, self._book, self._outbox, self._reader = ports, book, outbox, reader
        self._closer, self._triggers = closer, triggers
        self._began_ns = 0
        self.alive = False
        self.others: Sequence[Suspended] = ()  # they keep still meanwhile
        self._checks = -1  # comparisons of the positions when the last of ours was closed

    def begin(self) -> None:
        """Close everything, from the next step on."""
        if not self.alive:
            self._began_ns = self._ports.clock.mono_ns()
        self.alive = True
        for other in self.others:
            other.suspended = True
        self._outbox.stirred += 1

    def end(self) -> None:
        """No more of it: what it has placed is cancelled, and those who kept still act again."""
        if self.alive:
            for order in self._closer.placed(self._book.live()):
                self._closer.hands.cancel(order, self._ports.clock.mono_ns())
            self._closer.due((), self._ports.clock.mono_ns())  # what people were told of refusals is over
        self.alive = False
        for other in self.others:
            other.suspended = False
        self._outbox.clear("NOT_FLAT", CLOSING)
        self._outbox.stirred += 1

    def next_ns(self, now_ns: int) -> int:
        """Time alone makes an order due to be replaced."""
        return now_ns + PERIOD_NS

    def act(self, now_ns: int) -> int:
        """The next steps of closing everything; returns how many orders and cancels that were."""
        self._triggers.drop_all(now_ns)
        cancels = self._closer.cancels(self._live(), now_ns)
        for order in cancels:
            self._closer.hands.cancel(order, now_ns)
        held = self.open_positions()
        self._closer.try_late(held, now_ns)
        self._triggers.give_up(began_ns := self._began_ns, now_ns)
        standing = self._triggers.standing.values()
        waits = {id(p) for p in held if hold_up(standing, key_of(p), began_ns, now_ns)}
        due = self._closer.due(held, now_ns, lambda position: id(position) not in waits)
        for position in due:
            self._closer.close(position, now_ns)
        self._tell(held, now_ns)
        if self.done(now_ns):
            self.alive = bool(self.report())
            for other in self.others:
                other.suspended = self.alive
        return len(cancels) + len(due)

    def _tell(self, held: Sequence[Position], now_ns: int) -> None:
        """A person learns at once what does not go, and soon what lasts, while closing goes on."""
        late = now_ns - self._began_ns >= LATE_NS
        stuck = [position for position in held if late or self._closer.given_up(position)]
        if stuck:
            text = f"not closed yet, and still tried: {', '.join(self._names(stuck))}"
            self._outbox.alert("NOT_FLAT", text, CLOSING)
        elif not held:
            self._outbox.clear("NOT_FLAT", CLOSING)

    def _live(self) -> list[Order]:
        """Live orders but those that close what is not ours to close."""
        return [order for order in self._book.live() if not closes_others(self._book, order)]

    def open_positions(self) -> list[Position]:
        """Ours, shorts first; not what was sold out of the holdings."""
        ours = (p for p in self._book.positions.values() if p.quantity and p.strategy != EXTERNAL)
        return shorts_first(position for position in ours if not position.delivered)

    def done(self, now_ns: int) -> bool:
        """Nothing of ours is open, and the broker's positions, read since, agree."""
        held = self.open_positions()
        if any(not self._closer.stays(p, held) for p in held) or self._live() or self._triggers.standing:
            self._checks = -1
            return False
        if self._checks < 0:
            self._checks = self._reader.checks
            self._reader.polls.check_wanted = True
        return self._reader.checks > self._checks and not self._reader.polls.check_wanted

    def report(self) -> list[str]:
        """What could not be closed, in words."""
        return self._names(self.open_positions())

    def _names(self, held: Sequence[Position]) -> list[str]:
        keys = (self._ports.instruments[p.slot].key for p in held)
        return [f"{key} {p.quantity} of strategy {p.strategy}" for key, p in zip(keys, held, strict=True)]
