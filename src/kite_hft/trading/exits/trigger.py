"""Layer 2, orders process, cold: one trigger at the broker (GTT), what it would do to a position. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import OrderRequest, TriggerReport, TriggerRequest
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.intents import Intent
from kite_hft.trading.positions import Position

Name = tuple[int, int]
"""(strategy, strategy_seq) of the intent that asked for it."""
DELIVERED: Final = frozenset({int(Product.CNC), int(Product.MTF)})
"""Products in which a sale cannot open a position: the broker takes it from the holdings alone."""


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
    all that waited beside it.
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
    failures: int = 0  # changes in a row that came to nothing
    again_ns: int = 0
    promised: int = 0
    replies: list[Intent] = field(default_factory=list)  # cancels and changes to be answered

    @property
    def name(self) -> Name:
        return self.strategy, self.seq

    @property
    def lost(self) -> bool:
        """It was sent, and whole reads of the list do not show it: it may still be on its way."""
        return self.unsure and not self.trigger_id and self.misses > 1

    @property
    def dying(self) -> bool:
        """It is to be deleted, and no call to that end is under way."""
        return self.wanted is None and not self.busy

    @property
    def key(self) -> tuple[int, int, int]:
        return self.strategy, self.slot, self.product

    @property
    def quantity(self) -> int:
        """What it may place at most: of two legs one fires."""
        return max(leg.quantity for leg in self.legs)

    def closes(self, position: Position) -> int:
        """How much of it would close something, were it to fire now; the rest would open."""
        leg = self.legs[0]
        if leg.side == Side.SELL:
            free = leg.quantity if self.product in DELIVERED else position.quantity
        else:
            free = -position.quantity
        return max(0, min(leg.quantity, free))

    def payload(self) -> dict[str, Any]:
        """What every GTT record says of it."""
        words: dict[str, Any] = {"strategy": self.strategy, "seq": self.seq}
        words |= {"slot": self.slot, "product": self.product}
        words |= {"for_exits": self.for_exits, "legs": [leg.words for leg in self.legs]}
        return words | {"closing": True} if self.closing else words

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

    def like(self, row: TriggerReport) -> bool:
        """Whether a row of the broker's list has its terms."""
        return legs_of(row) == self.legs


def legs_of(row: TriggerReport) -> tuple[Leg, ...]:
    """The terms of a row of the broker's list."""
    return tuple(Leg(int(leg.side), leg.quantity, leg.px, leg.trigger_px) for leg in row.legs)


def row_like(
    trigger: Trigger, token: int, rows: Sequence[TriggerReport], known: set[str]
) -> TriggerReport | None:
    """The one row that its unanswered placement may have made; several: a person has to look."""
    found = [r for r in rows if r.trigger_id not in known and r.token == token and trigger.like(r)]
    waiting = [row for row in found if row.active]  # earlier ones of the same terms stay in the list
    found = waiting or [r for r in found if any(leg.order_id for leg in r.legs)] or found
    return found[0] if len(found) == 1 else None


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
        data.get("closing", False), trigger_id=trigger_id,
        unsure=not trigger_id or do in ("delete", "modify"), wanted=None if do == "delete" else legs,
    )  # fmt: skip
