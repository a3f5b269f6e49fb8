"""Layer 2, watchdog process, cold: what protects each position now, and in the next phases of the day.

Pure, and apart from what places the exits: from the broker's own books, the calendar's phases and the
time. A position is protected by what closes it when the price turns against it, as far as it is alive
*and does something in this phase*:

- a stop (SL, SL-M) that waits for its trigger, for the same instrument, product and other side, while
  the phase takes stops: where the closing auction begins they are gone;
- a good-till-triggered stop, in continuous trading only, which a person or the broker may have placed;
- an order at the target of an exit that the engine tends: it becomes a stop again when the price leaves the
  target, as long as the engine lives and the phase takes stops;
- for a short while (`closing_ns`) an order that closes the position at once: it is on its way out. The while
  begins with `Resting.since_ns`, which whoever follows the books sets: an order placed anew in the place of
  another one begins none.

The broker's own square-off of MIS is no protection against the price; it is told, as CNC and NRML have
none. Shares that were sold out of the holdings are no position. Before the day's continuous trading what
will be alive in it counts; after the last phase nothing trades and nothing is naked. Rules: specs of the
market, dated rows of config/calendar and config/rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kite_hft.sessions import AUCTION, CONTINUOUS, Phase

STOPS: Final = frozenset({"SL", "SL-M"})
WAITING: Final = "TRIGGER PENDING"
AFTER_MARKET: Final = ("AMO", "AFTER MARKET ORDER")
"""In the status of an order that the broker has taken for the next session: it closes nothing today."""
ENDED: Final = frozenset({"COMPLETE", "CANCELLED", "REJECTED", "CANCELLED AMO"})
ACTIVE: Final = "active"
TWO_LEG: Final = "two-leg"
OVERNIGHT: Final = "NRML"
DELIVERED: Final = frozenset({"CNC", "MTF"})
"""Products in which a sale opens nothing."""
PARTS_MAX: Final = 6
"""So many orders and triggers of one position are named, those that protect it first; of others how many."""


class Held(NamedTuple):
    """A position as the broker shows it. quantity: signed; price in rupees: the last one known."""

    key: str  # EXCHANGE:SYMBOL
    product: str  # MIS, CNC, NRML, MTF
    quantity: int
    price: float
    multiplier: int = 1


class Resting(NamedTuple):
    """An order of the broker's book. since_ns: when the watchdog first saw it in this form, or an order that
    it stands in the place of. filled: what it has traded.

    stop: it stands at the target of an exit, and is turned into a stop there (rupees) when the price leaves
    the target; 0: it is not. tended: the engine lives, which does that.
    """

    key: str
    product: str
    side: str  # BUY, SELL
    order_type: str
    status: str
    pending: int
    since_ns: int = 0
    order_id: str = ""
    stop: float = 0.0
    tended: bool = False
    filled: int = 0


class Leg(NamedTuple):
    """What a trigger places."""

    side: str
    product: str
    quantity: int


class Trigger(NamedTuple):
    """A good-till-triggered order. values[i] fires legs[i]; last_price: when it was placed."""

    key: str
    status: str
    kind: str  # single, two-leg
    values: tuple[float, ...]
    last_price: float
    legs: tuple[Leg, ...]


class Part(NamedTuple):
    """One kind of protection of a position: `SL 10`, and why it does nothing, if it does not."""

    what: str
    quantity: int
    lapsed: str = ""


@dataclass(frozen=True, slots=True)
class Cover:
    """What protects one position. naked: quantity without protection; naked_paise: its value."""

    held: Held
    phase: str
    parts: tuple[Part, ...]
    naked: int
    naked_paise: int
    square_off: str = ""  # when the broker closes it by himself, "HH:MM"; "": never
    settles: str = ""  # it settles in shares and has to go today, in words; "": not

    @property
    def name(self) -> str:
        return f"{self.held.key} {self.held.product}"

    def words(self) -> str:
        """`NSE:X MIS +10: SL 6; 4 without protection (Rs 4,000.00)`."""
        return f"{self.name} {self.state()}"

    def state(self) -> str:
        """The same without the name of the position."""
        parts = self.parts
        if len(parts) > PARTS_MAX:
            parts = tuple(sorted(parts, key=lambda part: bool(part.lapsed)))[:PARTS_MAX]
        told = [f"{p.what} {p.quantity}{f' ({p.lapsed})' if p.lapsed else ''}" for p in parts]
        if len(self.parts) > len(parts):
            told.append(f"and {len(self.parts) - len(parts)} more")
        if self.naked:
            told.append(f"{self.naked} without protection (Rs {self.naked_paise / 100:,.2f})")
        if self.square_off:
            told.append(f"the broker squares off about {self.square_off}")
        if self.settles:
            told.append(self.settles)
        return f"{self.held.quantity:+d}: {'; '.join(told) or 'nothing rests'}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of instruments and the day.

    phases: (exchange, takes part in the closing auction) -> the phases of the day; a pair that is not
    there is always open. cas, others: keys known to take part and known not to; a share in neither
    takes part where its exchange has an auction: the cautious side. square_offs: by the same pair. settling:
    contracts that settle in shares and have to go today -> (day of the expiry, "HH:MM" until when, from
    when that is told, epoch ns).
    """

    phases: Mapping[tuple[str, bool], Sequence[Phase]] = field(default_factory=dict)
    cas: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    square_offs: Mapping[tuple[str, bool], str] = field(default_factory=dict)
    closing_ns: int = 0
    settling: Mapping[str, tuple[str, str, int]] = field(default_factory=dict)

    def settles(self, held: Held, at_ns: int) -> str:
        """What is to be said of a contract that settles in shares, from the hour on at which it is."""
        last, until, warn_ns = self.settling.get(held.key, ("", "", 0))
        if not last or held.product != OVERNIGHT or at_ns < warn_ns:
            return ""
        return f"settles in shares on {last}, to go by {until}"

    def takes_part(self, key: str) -> bool:
        """Whether an instrument takes part in the closing auction."""
        exchange = key.partition(":")[0]
        return key in self.cas or (key not in self.others and (exchange, True) in self.phases)

    def day_of(self, key: str) -> Sequence[Phase] | None:
        """The phases of an instrument's day; None: it is always open."""
        return self.phases.get((key.partition(":")[0], self.takes_part(key)))

    def square_off(self, held: Held) -> str:
        """When the broker closes a position by himself; "" for every product but MIS."""
        pair = (held.key.partition(":")[0], self.takes_part(held.key))
        return self.square_offs.get(pair, "") if held.product == "MIS" else ""


class Hours(NamedTuple):
    """What the hour means for protection: is anything traded, and do stops and triggers do anything."""

    phase: str
    trades: bool
    stops: bool
    triggers: bool


def hours_at(phases: Sequence[Phase] | None, at_ns: int) -> Hours:
    """Of a day's phases at an instant (epoch ns)."""
    if phases is None:
        return Hours("always open", True, True, True)
    now = next((p for p in phases if p.start_ns <= at_ns < p.end_ns), None)
    coming = any(p.match == CONTINUOUS and p.start_ns > at_ns for p in phases)
    if now is None:
        # Before the first phase and between two: what will be alive counts, and nothing trades.
        return Hours("closed", False, coming, coming)
    if now.match == CONTINUOUS:
        return Hours(now.name, True, bool(STOPS & now.orders), True)
    trades = coming or now.match == AUCTION or any(p.start_ns > at_ns for p in phases)
    return Hours(now.name, trades, coming, coming)


def covers(
    positions: Iterable[Held],
    orders: Iterable[Resting],
    triggers: Iterable[Trigger],
    facts: Facts,
    at_ns: int,
    now_ns: int,
) -> list[Cover]:
    """What protects each open position, worst first.

    at_ns: the time of the market (epoch) that is judged; now_ns: the clock of Resting.since_ns.
    """
    alive = [order for order in orders if is_alive(order)]
    active = [trigger for trigger in triggers if trigger.status == ACTIVE]
    still = (
        held for held in positions if held.quantity > 0 or (held.quantity and held.product not in DELIVERED)
    )
    found = [_cover(held, alive, active, facts, at_ns, now_ns) for held in still]
    return sorted(found, key=lambda cover: (-cover.naked_paise, cover.name))


def _cover(
    held: Held,
    orders: Sequence[Resting],
    triggers: Sequence[Trigger],
    facts: Facts,
    at_ns: int,
    now_ns: int,
) -> Cover:
    hours = hours_at(facts.day_of(held.key), at_ns)
    parts = [
        *_order_parts(held, orders, hours, facts.closing_ns, now_ns),
        *_trigger_parts(held, triggers, hours),
    ]
    covered = sum(part.quantity for part in parts if not part.lapsed)
    naked = max(0, abs(held.quantity) - covered) if hours.trades or hours.stops else 0
    paise = round(naked * max(held.price, 0.0) * held.multiplier * 100)
    # A price of 0 must not make an unprotected position worth nothing.
    paise = max(paise, naked)
    words = facts.square_off(held), facts.settles(held, at_ns)
    return Cover(held, hours.phase, tuple(parts), naked, paise, *words)


def _order_parts(
    held: Held, orders: Sequence[Resting], hours: Hours, closing_ns: int, now_ns: int
) -> list[Part]:
    found: list[Part] = []
    side = closing_side(held)
    for order in orders:
        if (order.key, order.product, order.side) != (held.key, held.product, side):
            continue
        if closes_at_once(order):
            rests = now_ns - order.since_ns >= closing_ns
            what = (order.order_type, "rests, and stops no loss") if rests else ("closing order", "")
            found.append(Part(what[0], order.pending, what[1]))
        elif order.order_type in STOPS and order.status == WAITING:
            found.append(Part(order.order_type, order.pending, "" if hours.stops else "gone in this phase"))
        elif order.stop:
            found.append(Part("target", order.pending, _untended(held, order, hours)))
        else:
            found.append(Part(order.order_type, order.pending, "waits for the next session"))
    return found


def is_alive(order: Resting) -> bool:
    """Whether something of it can still be traded."""
    return order.status not in ENDED and order.pending > 0


def closes_at_once(order: Resting) -> bool:
    """Whether it is neither a stop that waits nor one at a target, nor kept for the next session."""
    if order.stop or (order.order_type in STOPS and order.status == WAITING):
        return False
    return not any(word in order.status for word in AFTER_MARKET)


def _untended(held: Held, order: Resting, hours: Hours) -> str:
    """Why an order at the target of an exit protects nothing; "": it does, as the engine makes it a stop."""
    if not order.tended:
        return "the engine does not answer, which would turn it into a stop"
    if not hours.stops:
        return "no stop is taken in this phase"
    if held.price > 0 and (held.price - order.stop) * held.quantity <= 0:
        return f"the price is beyond its stop {order.stop:.2f}"
    return ""


def _trigger_parts(held: Held, triggers: Sequence[Trigger], hours: Hours) -> list[Part]:
    side, lapsed = closing_side(held), "" if hours.triggers else "does nothing in this phase"
    return [
        Part("GTT", leg.quantity, lapsed)
        for trigger in triggers
        if trigger.key == held.key
        for leg in _stop_legs(trigger, side)
        if leg.product == held.product
    ]


def _stop_legs(trigger: Trigger, side: str) -> list[Leg]:
    """The legs that stop a loss of a position that `side` closes.

    A long one is stopped below the price, a short one above: of two legs it is the lower or the upper
    one (and their orders are one: either fires), of a single trigger the side on which it lies.
    """
    pairs = [(v, leg) for v, leg in zip(trigger.values, trigger.legs, strict=False) if leg.side == side]
    if not pairs:
        return []
    pick: Callable[..., tuple[float, Leg]] = min if side == "SELL" else max
    value, leg = pick(pairs, key=lambda pair: pair[0])
    if trigger.kind == TWO_LEG and len(pairs) > 1:
        return [leg]
    against = value <= trigger.last_price if side == "SELL" else value >= trigger.last_price
    return [leg] if against else []


def closing_side(held: Held) -> str:
    """The side that closes a position."""
    return "SELL" if held.quantity > 0 else "BUY"


def naked_paise(found: Iterable[Cover]) -> int:
    """Value of all that nothing protects."""
    return sum(cover.naked_paise for cover in found)


def lapse_ns(facts: Facts, positions: Iterable[Held]) -> int | None:
    """When the continuous trading of a held instrument first ends, epoch ns; None: never."""
    ends = [
        phase.end_ns
        for held in positions
        if held.quantity
        for phase in (facts.day_of(held.key) or ())
        if phase.match == CONTINUOUS
    ]
    return min(ends, default=None)
