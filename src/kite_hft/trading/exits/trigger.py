"""Layer 2, orders process, cold: one trigger at the broker (GTT), what it would do to a position. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import OrderRequest, TriggerLeg, TriggerReport, TriggerRequest
from kite_hft.trading.exits.plan import Key
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import Intent
from kite_hft.trading.positions import DELIVERED, Position
from kite_hft.trading.sending.budget import NEVER_NS
from kite_hft.units import NS_PER_S

Name = tuple[int, int]
"""(strategy, strategy_seq) of the intent that asked for it."""
MISSES: Final = 2
"""Reads of the whole list in a row without a trigger, until it counts as gone."""
LAG_NS: Final = 4 * NS_PER_S
"""So long may a list that was asked for lag behind what has fired: longer than from one read to the next."""
GOES_NS: Final = 3 * NS_PER_S
"""So long does the closing of a position wait until its triggers are gone."""
FAILED_MAX: Final = 3
"""When a change has come to nothing so often in a row a person is told."""
PAUSE_NS, PAUSE_MAX_NS = NS_PER_S, 30 * NS_PER_S
"""Before a change that came to nothing is asked for once more, doubled each time."""
TOLD_NS: Final = 15 * NS_PER_S
"""The same where one may have fired: what it has placed closes the position, and is not in the book yet."""


@dataclass(frozen=True, slots=True)
class Leg:
    """What is placed, and at which price of the instrument."""

    side: int
    quantity: int
    px: int
    trigger_px: int

    @property
    def words(self) -> tuple[int, int, int, int]:
        return self.side, self.quantity, self.px, self.trigger_px


@dataclass(slots=True)
class Trigger:
    """One trigger. `unsure`: a call about it was not answered with proof.

    for_exits: it is the stop and the target of a plan. wanted: the terms that it is to have next; None:
    it is to be deleted; the same as legs: nothing is to be done. busy: a call of it is under way. again_ns:
    before that a change that was refused is not asked for once more. promised: what of it counts in the
    book as a working order does. closing: when it was taken it would only have closed what was held, with
    all that waited beside it. claimed: an order is there that it may have placed, and the list has not told.
    ended_ns: it was thought absent then.
    """

    strategy: int
    seq: int
    slot: int
    product: int
    legs: tuple[Leg, ...]
    for_exits: bool = False
    closing: bool = False
    trigger_id: str = ""
    unsure: bool = False
    busy: bool = False
    wanted: tuple[Leg, ...] | None = ()
    changed_ns: int = 0
    misses: int = 0
    late_misses: int = 0  # of them past the absence horizon
    late_ns: int = 0  # when the first of these was asked for
    last_ns: int = 0  # and the last
    failures: int = 0  # changes in a row that came to nothing
    again_ns: int = 0
    seen_ns: int = 0  # a read of the list asked for then has shown it waiting
    promised: int = 0
    replies: list[Intent] = field(default_factory=list)  # changes that its strategy asked for
    asked: int = 0  # so many of them are in the last call
    sent: tuple[Leg, ...] = ()  # the terms of that call
    opened_px: int = 0  # the last price of when the gate counted it as an opening; 0: it did not
    tried_ns: int = NEVER_NS  # when its placing began to leave: all tries before that are proven unsent
    claimed: bool = False
    ended_ns: int = 0
    waits_ns: int = 0  # when the last read was asked for that shows it, or what may be it, as waiting

    @property
    def name(self) -> Name:
        return self.strategy, self.seq

    @property
    def lost(self) -> bool:
        """It was sent, and whole reads of the list do not show it: it may still be on its way."""
        return self.unsure and not self.trigger_id and self.misses >= MISSES and not self.claimed

    @property
    def unseen(self) -> bool:
        """The broker has named it, and whole reads of the list do not show it, nor did one before: that may
        lag behind the answer.
        """
        named = self.trigger_id != "" and not self.seen_ns
        return named and self.misses >= MISSES and not self.claimed

    def missed(self, asked_ns: int, horizon_ns: int) -> None:
        """A read of the list, asked for at `asked_ns`, does not show it: what left `horizon_ns` before that
        had come by then.
        """
        self.misses += 1
        if asked_ns - self.changed_ns >= horizon_ns:
            self.late_ns = self.late_ns if self.late_misses else asked_ns
            self.last_ns, self.late_misses = asked_ns, self.late_misses + 1

    def shown(self) -> None:
        """A read of the list shows it, or what may be it."""
        self.misses = self.late_misses = 0

    def gone(self, *, by_terms: bool) -> bool:
        """Two reads agree: of one that the list has shown at once, of any other past the absence horizon.

        by_terms: the list leaves out what has fired. There one that the broker has never named may have
        fired between the two, and nobody remembers it afterwards: a third read is waited for, with the order
        book between them, and for as long as its order may come late.
        """
        if self.seen_ns:
            return self.misses >= MISSES
        if by_terms and not self.trigger_id:
            return self.late_misses > MISSES and self.last_ns - self.late_ns >= LAG_NS
        return self.late_misses >= MISSES

    def untold(self, asked_ns: int) -> bool:
        """A read of the list, asked for at `asked_ns`, does not say how it stands: it may have fired."""
        return self.busy or asked_ns < self.changed_ns or 0 < self.misses < MISSES

    def waited(self, since_ns: int) -> bool:
        """The list has shown it waiting so long after `since_ns` that no order seen then is its own."""
        return self.trigger_id != "" and self.waits_ns >= since_ns + LAG_NS

    def tried(self, now_ns: int) -> None:
        """Its placing leaves, or is handed over to wait for a connection; once more when it had not left."""
        self.tried_ns = now_ns

    def not_yet(self, since_ns: int) -> bool:
        """It cannot have placed an order that was seen at `since_ns`."""
        return not self.trigger_id and since_ns < self.tried_ns

    def holds_up(self, since_ns: int, now_ns: int) -> bool:
        """The closing of its position, begun at `since_ns`, waits for it. A deletion that was refused as the
        trigger had fired, or not answered, is explained by the list alone.
        """
        doubt = self.unsure or self.claimed or (self.busy and self.seen_ns < since_ns)
        untold = not self.lost and doubt
        return now_ns - since_ns < (TOLD_NS if untold else GOES_NS)

    def told_soon(self, now_ns: int) -> bool:
        """What has become of its last change is still to be told by the list."""
        return now_ns - self.changed_ns < TOLD_NS

    def put_off(self, now_ns: int) -> None:
        """A change of it came to nothing, perhaps as it has fired: the list tells, and what is still wanted
        is asked for again, ever later.
        """
        self.unsure = True
        pause_ns = min(PAUSE_NS << min(self.failures, 5), PAUSE_MAX_NS)
        self.failures, self.again_ns = self.failures + 1, now_ns + pause_ns

    @property
    def owed(self) -> bool:
        """A change that came to nothing is still wanted."""
        return self.failures > 0 and self.wanted != self.legs

    def not_changed(self, instrument: str, why: object) -> str:
        """What a person is told when changes of it come to nothing again and again."""
        what = "deleted" if self.wanted is None else "changed"
        text = f"trigger {self.trigger_id} in {instrument} could not be {what} {self.failures} times in a row"
        return f"{text}, it stays as it is and is asked for ever more seldom: {why or 'it did not leave'}"

    def not_deleted(self, instrument: str) -> str:
        """What a person is told when its position is closed beside it."""
        number = self.trigger_id or self.seq
        return f"trigger {number} in {instrument} is not deleted, and its position closed: it may open one"

    @property
    def waits_as(self) -> str:
        """What its placing is called while it waits on for a connection, as an exit does; "": it does not."""
        own_exit = self.closing and not self.for_exits
        return f"trigger {self.seq} of strategy {self.strategy}" if own_exit else ""

    @property
    def dying(self) -> bool:
        """It is to be deleted, and no call to that end is under way."""
        return self.wanted is None and not self.busy

    @property
    def wants_list(self) -> bool:
        """The list is to be asked for it, again and again."""
        return self.unsure or self.misses > 0 or self.dying or self.owed

    @property
    def key(self) -> tuple[int, int, int]:
        return self.strategy, self.slot, self.product

    @property
    def terms(self) -> tuple[Leg, ...]:
        """What it may place: one of these. A change without an answer may have been made."""
        return self.legs + self.sent if self.busy or self.unsure else self.legs

    @property
    def quantity(self) -> int:
        """What it may place at most."""
        return max(leg.quantity for leg in self.terms)

    def closes(self, position: Position, beside: int = 0) -> int:
        """How much of it would close something, were it to fire now; the rest would open. beside: so much do
        others close that come first.
        """
        leg = self.legs[0]
        if leg.side == Side.SELL:
            free = leg.quantity if self.product in DELIVERED else position.quantity - beside
        else:
            free = -position.quantity - beside
        return max(0, min(leg.quantity, free))

    def relieves(self, wanted: tuple[Leg, ...] | None) -> bool:
        """Whether a change to `wanted` (None: its deletion) is urgent as a cancel is: it takes risk away, or
        keeps what protects a position in step with it.
        """
        if wanted is None or self.for_exits or self.closing:
            return True
        return max(leg.quantity for leg in wanted) < self.quantity

    def payload(self) -> dict[str, Any]:
        """What every GTT record says of it."""
        words: dict[str, Any] = {"strategy": self.strategy, "seq": self.seq}
        words |= {"slot": self.slot, "product": self.product}
        words |= {"for_exits": self.for_exits, "legs": [leg.words for leg in self.legs]}
        if self.opened_px:
            words |= {"opening": True, "ref_px": self.opened_px}
        return words | {"closing": True} if self.closing else words

    def through(self) -> list[int]:
        """The changes that the last call asked for have been made: their numbers, once."""
        done, self.replies, self.asked = self.replies[: self.asked], self.replies[self.asked :], 0
        return [intent.strategy_seq for intent in done]

    def fired(self, leg: TriggerLeg, held: Position) -> dict[str, Any]:
        """What a GTT record says of the order that it has placed for a leg. That of a plan is an exit also
        where it is more than what is left of the position: it is made to fit. That of one which only closes
        is an exit as far as something is held, whatever waits beside it: it has come first.
        """
        side, quantity = int(leg.side), leg.quantity
        room = held.quantity if side == Side.SELL else -held.quantity
        words = {"child": leg.order_id, "side": side, "qty": quantity, "px": leg.px}
        exits = self.for_exits or (self.closing and quantity <= room)
        return self.payload() | words | {"reducing": exits or held.reduces(side, quantity)}

    def alike(self, token: int, rows: Sequence[TriggerReport], known: set[str]) -> list[str]:
        """Waiting ones of the list that are nobody's and have its sides and prices: it is not proved absent.
        A change whose record was lost may have given it another quantity.
        """
        terms = [(leg.side, leg.px, leg.trigger_px) for leg in self.legs]
        return [
            row.trigger_id
            for row in rows
            if row.active and row.trigger_id not in known and row.token == token
            if [(leg.side, leg.px, leg.trigger_px) for leg in legs_of(row)] == terms
        ]

    def could_be(self, found: Sequence[str]) -> str:
        """What a person is told when the list does not say which one it is."""
        text = f"trigger {self.seq} of strategy {self.strategy} stays unknown: {', '.join(found)} could be it"
        return f"{text}; delete what is not wanted at the broker, and it is taken for absent"

    def placed_one_of(self, orders: Sequence[str]) -> str:
        """What a person is told when it has fired, and it cannot be told which order it has placed."""
        number, found = self.trigger_id or self.seq, ", ".join(orders)
        text = f"trigger {number} of strategy {self.strategy} is not in the list any more, and {found}"
        return f"{text} could be its order; see in the broker's app whose that is"

    def like(self, row: TriggerReport) -> bool:
        """Whether a row of the broker's list has its terms."""
        return legs_of(row) == self.legs

    def equals(self, other: Trigger) -> bool:
        """The broker has named neither, and both ask for the same."""
        terms = (self.slot, self.product, self.legs)
        unnamed = not (self.trigger_id or other.trigger_id or other.busy)
        return unnamed and terms == (other.slot, other.product, other.legs)

    def altered(self, row: TriggerReport, asked_ns: int, horizon_ns: int) -> bool:
        """A read of the list, asked for at `asked_ns`, shows other terms, and these are no old ones: what was
        changed `horizon_ns` before that has come. A change without an answer came late, or a person made one.
        """
        return row.active and not self.like(row) and asked_ns - self.changed_ns >= horizon_ns


def legs_of(row: TriggerReport) -> tuple[Leg, ...]:
    """The terms of a row of the broker's list."""
    return tuple(Leg(int(leg.side), leg.quantity, leg.px, leg.trigger_px) for leg in row.legs)


def closing_as(trigger: Trigger, token: int, rows: Iterable[TriggerReport]) -> list[TriggerReport]:
    """Waiting rows of the broker's list that would place something on the side and in the product of a
    trigger.
    """
    side = trigger.legs[0].side
    return [
        row
        for row in rows
        if row.active and row.token == token
        if any(leg.side == side and leg.product in (None, trigger.product) for leg in row.legs)
    ]


def hold_up(standing: Iterable[Trigger], key: Key, since_ns: int, now_ns: int) -> bool:
    """The closing of a position, begun at `since_ns`, waits for some of its triggers."""
    return any(trigger.key == key and trigger.holds_up(since_ns, now_ns) for trigger in standing)


def row_like(
    trigger: Trigger, token: int, rows: Sequence[TriggerReport], known: set[str], equals: int
) -> TriggerReport | None:
    """The one row that its unanswered placement may have made. equals: so many triggers of which nothing is
    known ask for the same, itself too: of no more rows than those it does not matter which is whose; of more
    a person has to look.
    """
    found = [r for r in rows if r.trigger_id not in known and r.token == token and trigger.like(r)]
    waiting = [row for row in found if row.active]  # earlier ones of the same terms stay in the list
    found = waiting or [r for r in found if any(leg.order_id for leg in r.legs)] or found
    return found[0] if 0 < len(found) <= equals else None


def request_of(instrument: Instrument, product: int, legs: Sequence[Leg], last_px: int) -> TriggerRequest:
    """What the broker is asked for; from which side a trigger is reached it takes from the last price."""
    orders = tuple(
        OrderRequest(instrument, Side(leg.side), OrderType.LIMIT, Product(product), Validity.DAY,
                     leg.quantity, leg.px)
        for leg in legs
    )  # fmt: skip
    return TriggerRequest(instrument, tuple(leg.trigger_px for leg in legs), last_px, orders)


def trigger_of(data: dict[str, Any]) -> Trigger:
    """The trigger of a GTT record, as an earlier process left it."""
    legs = tuple(Leg(*leg) for leg in data["legs"])
    trigger_id, do = data.get("id", ""), data.get("do")
    return Trigger(
        data["strategy"], data["seq"], data["slot"], data["product"], legs, data["for_exits"],
        data.get("closing", False), trigger_id=trigger_id, tried_ns=0,
        sent=tuple(Leg(*leg) for leg in data.get("sent", ())) if do == "modify" else (),
        unsure=not trigger_id or do in ("delete", "modify"),
        wanted=None if do == "delete" or data.get("unwanted") else legs,
    )  # fmt: skip
