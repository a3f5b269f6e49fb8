"""Layer 2, orders process, cold: a group of intents, its legs, and its GROUP record. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kite_hft.trading.exits.plan import Key
from kite_hft.trading.intents import Intent
from kite_hft.trading.order import Order

Name = tuple[int, int]
"""(strategy, group)."""
DIED = "the order process ended while it was under way"


class Stage(enum.Enum):
    """How far a group is."""

    COMING = enum.auto()
    MARGIN = enum.auto()  # the broker was asked what it takes
    GOING = enum.auto()
    BROKEN = enum.auto()


@dataclass(slots=True)
class Leg:
    """One leg: the orders that it became (several above the freeze quantity). quantity: what was asked for.

    closing: numbers of the intents that close it again. asked_ns: since when others are to make room for the
    next of them, 0: they are not asked; claims: so much it needs. left: no order can close the rest. shrunk:
    the strategy's own orders that were to become smaller for it.
    """

    seq: int
    orders: list[Order] = field(default_factory=list)
    quantity: int = 0
    sent_ns: int = 0
    closing: list[int] = field(default_factory=list)
    asked_ns: int = 0
    claims: int = 0
    left: int = 0
    shrunk: set[int] = field(default_factory=set)

    @property
    def traded(self) -> int:
        """So much of it has filled."""
        return sum(order.filled for order in self.orders)

    @property
    def key(self) -> Key:
        """The position that it makes; only of one that has orders."""
        order = self.orders[0]
        return order.strategy, order.slot, order.product


@dataclass(slots=True)
class Group:
    """Legs in the order in which they go out, once all have come."""

    strategy: int
    group: int
    legs_due: int
    until_ns: int
    stage: Stage = Stage.COMING
    intents: list[Intent] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    at: int = 0  # the leg that is out
    why: str = ""  # it broke
    told: bool = False  # people know that it broke

    @property
    def name(self) -> Name:
        return self.strategy, self.group

    @property
    def whole(self) -> bool:
        """All that was asked for has filled, and nothing of it was closed again."""
        return all(leg.quantity == leg.traded > 0 and not leg.closing for leg in self.legs)

    def payload(self, **more: Any) -> dict[str, Any]:
        """Journal record GROUP."""
        words: dict[str, Any] = {"strategy": self.strategy, "group": self.group}
        words["legs"] = [leg.seq for leg in self.legs]
        words["quantities"] = [leg.quantity for leg in self.legs]
        if any(leg.closing for leg in self.legs):
            words["closing"] = [leg.closing for leg in self.legs]
        return words | ({"broken": self.why} if self.why else {}) | more


def group_of(data: dict[str, Any], orders_of: Callable[[int, int], list[Order]], now_ns: int) -> Group:
    """The group of a GROUP record, as an earlier process left it. orders_of(strategy, number of intent)."""
    group = Group(data["strategy"], data["group"], len(data["legs"]), now_ns, Stage.BROKEN)
    group.why = data.get("broken") or DIED
    closing = data.get("closing") or [[] for _ in data["legs"]]
    quantities = data.get("quantities") or [0] * len(data["legs"])
    for seq, quantity, numbers in zip(data["legs"], quantities, closing, strict=True):
        group.legs.append(Leg(seq, orders_of(group.strategy, seq), quantity, closing=list(numbers)))
    return group
