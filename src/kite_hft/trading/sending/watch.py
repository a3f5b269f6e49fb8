"""Layer 2, orders process, cold: conditions that only time shows: old prices, answers that do not come."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kite_hft.layout import IntentKind, Severity
from kite_hft.trading.book import Book
from kite_hft.trading.order import EXTERNAL
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.trading.sending.work import Work
from kite_hft.units import NS_PER_S

PERIOD_NS = 500_000_000
UNANSWERED_NS = 2 * NS_PER_S
EXIT_UNANSWERED_NS = 8 * NS_PER_S // 10
"""An exit without an answer is told within a second: nobody knows whether its position still stands."""


class Watch:
    """`age_ns(slot, now_ns)`: of the newest tick, -1: there is none. `holds(work)`: it waits for a
    connection, of which somebody else tells: nothing of it has left that could have an answer.
    """

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        age_ns: Callable[[int, int], int],
        holds: Callable[[Work], bool],
    ) -> None:
        self._ports, self._book, self._outbox, self._age_ns = ports, book, outbox, age_ns
        self._holds = holds
        self._held_ns: dict[int, int] = {}  # order -> when it was seen to wait last
        self._stale_ns = round(config.stale_position_s * NS_PER_S)
        self._next_ns = -(2**62)
        self._stale: set[int] = set()
        self._without: dict[int, int] = {}  # slot -> since when it is held without any price
        self._unanswered: set[int] = set()

    def look(self, calls: Iterable[object], now_ns: int) -> None:
        """Raise and clear what is due; `calls`: everything unanswered."""
        self._calls(calls, now_ns)
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + PERIOD_NS
            self._positions(now_ns)
            self._clock()

    def next_ns(self, calls: Iterable[object], now_ns: int) -> int | None:
        """When an unanswered exit is to be told of; None: none is under way."""
        waits = [
            self._since_ns(work) + EXIT_UNANSWERED_NS
            for work in calls
            if isinstance(work, Work) and work.kind is IntentKind.PLACE and not work.order.opening
        ]
        return min((at for at in waits if at > now_ns), default=None)

    def _since_ns(self, work: Work) -> int:
        """When it left, as far as that was seen."""
        return max(work.sent_ns, self._held_ns.get(work.order.order_no, work.sent_ns))

    def _clock(self) -> None:
        """Nothing opens with a wrong wall clock (gate/facts.py): a person is told once, with the cause."""
        wrong = self._ports.facts.clock_wrong() if self._ports.facts.clock_wrong is not None else ""
        if wrong:
            self._outbox.alert("CLOCK", wrong)
        else:
            self._outbox.clear("CLOCK")

    def _positions(self, now_ns: int) -> None:
        held = {p.slot for p in self._book.positions.values() if p.quantity and p.strategy != EXTERNAL}
        open_ns = {slot: self._ports.open_for(slot) for slot in held}
        # In a closed session no price is due; in one that has just opened the first is still to come.
        ages = {s: min(self._age_ns(s, now_ns), since) for s, since in open_ns.items() if since >= 0}
        self._without = {s: self._without.get(s, now_ns) for s, age_ns in ages.items() if age_ns < 0}
        waited = {slot: now_ns - since_ns for slot, since_ns in self._without.items()}
        stale = {s: age_ns for s, age_ns in (ages | waited).items() if age_ns > self._stale_ns}
        for slot, age_ns in stale.items():
            key = self._ports.instruments[slot].key
            which = "no price at all" if slot in waited else "no fresh price"
            text = f"{key} is held and has {which} for {age_ns / NS_PER_S:.1f} s"
            self._outbox.alert("STALE_POSITION", text, key)
        for slot in self._stale - set(stale):
            self._outbox.clear("STALE_POSITION", self._ports.instruments[slot].key)
        self._stale = set(stale)

    def _calls(self, calls: Iterable[object], now_ns: int) -> None:
        late = set()
        placed = [w for w in calls if isinstance(w, Work) and w.kind is IntentKind.PLACE]
        held = {work.order.order_no: now_ns for work in placed if self._holds(work)}
        self._held_ns = {w.order.order_no: self._since_ns(w) for w in placed} | held
        for work in placed:
            opening, waited_ns = work.order.opening, now_ns - self._since_ns(work)
            if waited_ns >= (UNANSWERED_NS if opening else EXIT_UNANSWERED_NS):
                late.add(work.order.order_no)
                severity = Severity.WARNING if opening else Severity.CRITICAL
                text = f"order {work.order.order_no} has no answer for {waited_ns / 1e9:.1f} s"
                self._outbox.alert("AMBIGUOUS_ORDER", text, f"{work.order.order_no} unanswered", severity)
        for number in self._unanswered - late:
            self._outbox.clear("AMBIGUOUS_ORDER", f"{number} unanswered")
        self._unanswered = late
