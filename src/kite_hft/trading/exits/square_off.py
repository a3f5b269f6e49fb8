"""Layer 2, orders process, cold: the end of the day: what must not stay overnight is closed in time.

Positions in MIS are closed by class of instrument at the times of the dated rules (table `day_end`, moved
with the close on a special day): at once when the engine comes late. CNC, NRML and MTF stay, but for one
class, where the settings wish it (`exits.settlement: close`): contracts in NRML that are about to settle in
shares, on the days and at the times of table `expiry`; their triggers at the broker go first. Nothing is kept
in mind: what is due follows from book and clock, so that a restart goes on where the process before it died.

Before an order of ours gives way or another one leaves, the broker's positions are read: a stop that lies
at the broker stays there until it is proven that we can replace it, and what the broker has closed by
himself is not closed once more. From his own hour on, what his orders are about to close is left to them.
What is not closed is told at once when closing it does not get on, when it is late, and every minute after
that until it is.
"""

from __future__ import annotations

from typing import Any, Final

from kite_hft.layout import OrderType, Product
from kite_hft.memory.journal import Kind
from kite_hft.sessions import ist_text
from kite_hft.trading.book import Book
from kite_hft.trading.exits.closing import Closer, shorts_first
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.exits.prices import Market
from kite_hft.trading.exits.trigger import hold_up
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.trading.gate.facts import Closing
from kite_hft.trading.lifecycle import LIVE, WORKING
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.positions import Position
from kite_hft.trading.recovery.reader import BookReader
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import NS_PER_S

MIS, NRML = int(Product.MIS), int(Product.NRML)
Pair = tuple[int, int]
"""(slot, product)."""
PERIOD_NS: Final = 100_000_000
WAKE_NS: Final = NS_PER_S // 2
"""So often is it asked whether something is due."""
KNOWN_NS: Final = 15 * NS_PER_S
KNOWN_LATE_NS: Final = 4 * NS_PER_S
"""So old may the broker's positions be for a closing order to leave; the same from his own hour on."""
STUCK_NS: Final = 4 * NS_PER_S
"""A closing that does not get on for so long is told."""
FIRST_NS: Final = 3 * NS_PER_S
"""So long does an engine that came late have before anything is told."""
AGAIN_NS: Final = 60 * NS_PER_S
PAUSE_MAX_NS: Final = 30 * NS_PER_S


class SquareOff:
    """The steward of the day's end. Off where the market keeps no hours."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        reader: BookReader,
        closer: Closer,
        market: Market,
        triggers: Triggers,
    ) -> None:
        self._ports, self._book, self._outbox, self._reader = ports, book, outbox, reader
        self._closer, self._market, self._triggers = closer, market, triggers
        self._day_end = ports.facts.day_end
        self._settlement = ports.facts.settlement if config.settlement == "close" else None
        self.wake_ns = 0 if self._day_end is not None or ports.facts.settlement is not None else 2**62
        self.alive = self.suspended = False
        self.busy = False  # it is closing something, and gets on with it
        self._asked_ns = self._known_ns = -(2**62)  # when the positions were asked for, and are known of
        self._checks = -1
        self._moved: dict[Key, tuple[Any, int]] = {}  # what it looked like when it last got on, and when
        self._told: dict[Key, tuple[bool, int]] = {}  # whether it was late then, and when
        self._tried_ns: dict[Key, int] = {}
        self._failures: dict[Key, int] = {}  # in a row
        self._since_ns: dict[Key, int] = {}  # since when it is due
        self._begun: set[Key] = set()

    # When

    def wake(self, now_ns: int) -> None:
        """Look whether something is due."""
        self.wake_ns = now_ns + WAKE_NS
        was, self.alive = self.alive, self._anything()
        if self.alive and not was:
            self._outbox.stirred += 1

    def _anything(self) -> bool:
        if self.suspended:
            return False
        real_ns = self._ports.clock.real_ns()
        standing = {_pair(p) for p in self._book.positions.values() if _stands(p)}
        return bool(self._begun) or any(self._due_of(pair, real_ns) for pair in standing)

    def next_ns(self, now_ns: int) -> int:
        """Time alone makes an order due to be replaced, and a person due to be told."""
        return now_ns + PERIOD_NS

    def closing(self, key: Key) -> bool:
        """The position is closed because of the hour: nobody else places exits for it."""
        if not self.alive or self.suspended:
            return False
        return self._due_of(key[1:], self._ports.clock.real_ns()) is not None

    def _due_of(self, pair: Pair, real_ns: int) -> Closing | None:
        """The times of what is to be closed now."""
        slot, product = pair
        found: Closing | None = None
        if product == MIS:
            found = self._day_end(slot, real_ns) if self._day_end is not None else None
        elif product == NRML and self._settlement is not None:
            settles = self._settlement(slot, real_ns)
            found = Closing(settles.from_ns, settles.flat_ns) if settles is not None else None
        return found if found is not None and real_ns >= found.from_ns else None

    # What is done

    def act(self, now_ns: int, *, active: bool = True) -> int:
        """The next steps; returns how many orders and cancels that were. Not `active`: people are told."""
        if self.suspended:
            return 0
        real_ns = self._ports.clock.real_ns()
        due: dict[Pair, Closing] = {}
        for pair in {_pair(p) for p in self._book.positions.values() if _stands(p)}:
            if (closing := self._due_of(pair, real_ns)) is not None:
                due[pair] = closing
        held = shorts_first(p for p in self._book.positions.values() if _pair(p) in due and _ours(p))
        live = [o for o in self._book.live() if (o.slot, o.product) in due and o.strategy != EXTERNAL]
        done = self._close(held, live, due, now_ns, real_ns) if active else 0
        self._tell(held, due, "" if active else "the engine is not ACTIVE", now_ns, real_ns)
        under_way = any((p.open_buy or p.open_sell) and _key(p) not in self._told for p in held)
        self.busy = active and (done > 0 or under_way)
        return done

    def _close(
        self,
        held: list[Position],
        live: list[Order],
        due: dict[Pair, Closing],
        now_ns: int,
        real_ns: int,
    ) -> int:
        entries = [order for order in live if order.opening]
        for order in entries:
            self._closer.hands.cancel(order, now_ns)
        late = any(real_ns >= due[_pair(p)].broker_ns > 0 for p in held)
        waits = {_key(p) for p in held if self._triggered(p, now_ns)}
        again = not held or any(self._closer.refused(_key(p)) for p in held)
        self._know(now_ns, late=late, again=again and self._known_ns <= self._last_try_ns())
        done, sure = len(entries), {_pair(p): self._sure(due[_pair(p)], now_ns, real_ns) for p in held}
        ready = [p for p in held if sure[_pair(p)] and _key(p) not in waits]
        able = {_key(p) for p in ready if self._may_try(p, due[_pair(p)], now_ns, real_ns)}
        # What is not closed yet keeps its stop.
        keep = {_key(p) for p in held if self._closer.waits(p, held, now_ns, lambda p: _key(p) in able)}
        his = {_key(p) for p in ready if self._left_to_broker(p, due[_pair(p)], real_ns)}
        keep |= {_key(p) for p in held if _key(p) not in able} - his
        exits = [o for o in live if not o.opening and not self._kept(o, keep)]
        for order in self._closer.cancels(exits, now_ns):
            self._closer.hands.cancel(order, now_ns)
            done += 1
        for position in self._closer.due(held, now_ns, lambda p: _key(p) in able):
            self._begin(position)
            key = _key(position)
            self._tried_ns[key], self._failures[key] = now_ns, self._failures.get(key, -1) + 1
            self._closer.close(position, now_ns)
            done += 1
        if self._begun and not held and not live and self._known_ns > self._last_try_ns():
            self._end()
        return done

    def _triggered(self, position: Position, now_ns: int) -> bool:
        """A trigger at the broker could close it as well: it goes first, as far as it does so soon."""
        key = _key(position)
        if not self._triggers.stand(key):
            return False
        self._triggers.drop_all(now_ns, key)
        since_ns = self._since_ns.get(key, now_ns)
        self._triggers.give_up(since_ns, now_ns, key)
        return hold_up(self._triggers.standing.values(), key, since_ns, now_ns)

    def _kept(self, order: Order, keep: set[Key]) -> bool:
        """Its position is not closed yet, and it would close some of that, which others may have turned."""
        key = (order.strategy, order.slot, order.product)
        return key in keep and self._closer.hands.closes(order)

    def _last_try_ns(self) -> int:
        return max(self._tried_ns.values(), default=-(2**62))

    def _tradable(self, slot: int) -> bool:
        return self._market.takes_now(slot, OrderType.LIMIT)

    def _may_try(self, position: Position, times: Closing, now_ns: int, real_ns: int) -> bool:
        """Its closing order may leave: the phase takes one, a failed one is some time ago and explained by
        a read since, and no order of the broker's is about to close the same."""
        key = _key(position)
        if not self._tradable(position.slot):
            return False
        if self._left_to_broker(position, times, real_ns):
            return False
        refused = self._closer.refused(key)
        if self._closer.taken(key):
            self._failures[key] = 0
        if not refused:
            return True
        pause_ns = min(NS_PER_S << min(self._failures.get(key, 0), 6), PAUSE_MAX_NS)
        if now_ns - self._tried_ns.get(key, -PAUSE_MAX_NS) < pause_ns or self._known_ns <= self._tried_ns.get(
            key, 0
        ):
            return False
        self._closer.try_again(key)
        return True

    def _left_to_broker(self, position: Position, times: Closing, real_ns: int) -> bool:
        """His hour has come, and an order that is not ours is about to close it."""
        return real_ns >= times.broker_ns > 0 and self._strangers(position)

    def _strangers(self, position: Position) -> bool:
        """Somebody else's order that would close it is at work, by the last read of the order book."""
        instrument, buys = self._ports.instruments[position.slot], position.quantity < 0
        return any(
            row.token == instrument.token
            and row.product == position.product
            and (row.side.name == "BUY") == buys
            and row.status in LIVE
            and row.pending_quantity > 0
            and self._book.by_id(row.order_id) is None
            for row in self._reader.rows
        )

    # What the broker holds

    def _know(self, now_ns: int, *, late: bool, again: bool) -> None:
        """Keep the broker's positions known. late: his own hour has come; again: what is known is over."""
        polls = self._reader.polls
        if self._checks >= 0 and self._reader.checks > self._checks:
            if polls.checking is None and not polls.check_wanted:  # two reads of them agree, or the first did
                self._known_ns, self._checks = self._asked_ns, -1
            return
        age_ns, most_ns = now_ns - self._known_ns, (KNOWN_LATE_NS if late else KNOWN_NS) // 2
        if self._checks < 0 and polls.checking is None and (again or age_ns >= most_ns):
            self._asked_ns, self._checks = now_ns, self._reader.checks
            polls.check_wanted = True

    def _sure(self, times: Closing, now_ns: int, real_ns: int) -> bool:
        """What the broker holds is known well enough to send something."""
        late = real_ns >= times.broker_ns > 0
        return not self._reader.failing and now_ns - self._known_ns <= (KNOWN_LATE_NS if late else KNOWN_NS)

    # What is told

    def _begin(self, position: Position) -> None:
        key = _key(position)
        if key not in self._begun:
            self._begun.add(key)
            words = {"strategy": key[0], "slot": key[1], "product": key[2], "qty": position.quantity}
            self._outbox.journal(Kind.COMMAND, {"do": "square_off", "by": "the end of the day", **words})

    def _end(self) -> None:
        words = [f"{self._ports.instruments[slot].key} of strategy {s}" for s, slot, _ in sorted(self._begun)]
        self._outbox.journal(Kind.COMMAND, {"do": "squared_off", "by": "the end of the day", "flat": words})
        self._begun.clear()
        self._tried_ns.clear()
        self._failures.clear()

    def _tell(
        self, held: list[Position], due: dict[Pair, Closing], why: str, now_ns: int, real_ns: int
    ) -> None:
        open_ = {_key(p): p for p in held}
        for key in [key for key in self._told if key not in open_]:
            del self._told[key]
            name = self._name(key)
            self._outbox.alert("SQUARE_OFF_FLAT", f"{name} is closed", name)
        self._moved = {key: moved for key, moved in self._moved.items() if key in open_}
        self._since_ns = {key: self._since_ns.get(key, now_ns) for key in open_}
        for key, position in open_.items():
            last = self._closer.last(key)
            taken = last is not None and (last.status in WORKING or last.filled > 0)
            looks = (position.quantity, last.order_no if taken and last is not None else 0)
            if self._moved.get(key, (None, 0))[0] != looks:
                self._moved[key] = looks, now_ns
            times = due[key[1:]]
            late = real_ns >= times.flat_ns and now_ns - self._since_ns[key] >= FIRST_NS
            stuck = now_ns - self._moved[key][1] >= STUCK_NS
            told_late, told_ns = self._told.get(key, (False, -AGAIN_NS))
            if (late or stuck) and (now_ns - told_ns >= AGAIN_NS or late > told_late):
                self._told[key] = late, now_ns
                text = f"{self._name(key)} {position.quantity:+d} is not closed"
                hour = ist_text(times.flat_ns)[11:16]
                text = f"{text}, {'due' if late else 'to be flat'} by {hour}: {why or self._why(position)}"
                self._outbox.alert("SQUARE_OFF_NOT_FLAT", text, self._name(key))

    def _why(self, position: Position) -> str:
        """What keeps it from being closed."""
        last = self._closer.last(_key(position))
        if self._reader.failing:
            return "the broker's books cannot be read"
        if not self._tradable(position.slot):
            view = self._ports.facts.view(position.slot, self._ports.clock.real_ns())
            return f"phase {view.phase} takes no orders"
        if self._triggers.stand(_key(position)):
            return "a trigger of ours at the broker is not deleted yet"
        if self._strangers(position):
            return "an order that is not ours is at work"
        if not self._closer.hands.may_place:
            return "the broker takes no more orders today; what lies there already stays"
        if last is None:
            return self._closer.cause(_key(position)) or "the broker's positions are not known"
        if last.status in LIVE - WORKING:
            return f"order {last.order_no} has no answer"
        if last.status in WORKING:
            return f"order {last.order_no} rests at the broker"
        return f"order {last.order_no} is {last.status.name}{': ' * bool(last.message)}{last.message}"

    def _name(self, key: Key) -> str:
        return f"{self._ports.instruments[key[1]].key} {Product(key[2]).name} of strategy {key[0]}"


def _key(position: Position) -> Key:
    return position.strategy, position.slot, position.product


def _pair(position: Position) -> Pair:
    return position.slot, position.product


def _ours(position: Position) -> bool:
    return position.quantity != 0 and position.strategy != EXTERNAL


def _stands(position: Position) -> bool:
    """It is ours, and something is held or may still fill."""
    standing = position.quantity or position.open_buy or position.open_sell
    return bool(standing) and position.strategy != EXTERNAL
