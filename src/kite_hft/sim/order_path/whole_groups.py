"""Layer 4, campaigns and tests, cold: groups are whole or undone.

Legs leave when all have come, purchases first, one after the other. What the strategy of groups has traded is
the sum of its whole groups, and of what is left of those that were undone: nothing, but for what could not be
closed when the undoing was over, because nothing was held there any more on that side (undoing opens
nothing), and people were told that.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kite_hft.sim.order_path.flow import GROUPER, Wish
from kite_hft.sim.order_path.ledger import BUY, Key, Placed

if TYPE_CHECKING:
    from kite_hft.sim.order_path.checkers import Checker

SELL: Final = 2
_GIVEN_UP: Final = "could not be closed"
_NOT_OPENED: Final = "is not opened again"
Name = tuple[int, int]
"""(strategy, group)."""


class WholeGroups:
    """A part of the Checker that it belongs to."""

    def __init__(self, checker: Checker) -> None:
        self._checker, self._world, self._ledger = checker, checker.world, checker.ledger
        self.legs: dict[Name, dict[int, list[Placed]]] = {}  # group -> leg -> its orders
        self._left: dict[tuple[Name, int], int] = {}  # (group, intent) -> what of it could not be undone
        self._not_opened: set[str] = set()  # groups of which people know that, as alerts name them
        self._given_up: set[str] = set()  # of which a part could not be closed
        self._ends_seen = 0

    def alerted(self, key: str, text: str) -> None:
        """What people are told of a broken group."""
        if _GIVEN_UP in text:
            self._given_up.add(key)
        if _NOT_OPENED in text:
            self._not_opened.add(key)

    def anew(self) -> None:
        """The journal was read from its beginning; what is lost counts no more."""
        self._ends_seen = len(self._ledger.told.group_ends)
        for legs in self.legs.values():
            for leg, orders in legs.items():
                legs[leg] = [order for order in orders if not order.lost]

    def leaves(self, placed: Placed, wish: Wish) -> None:
        """An order of a leg is about to leave."""
        name = (placed.name[0], wish.group)
        wishes = self._wishes(name)
        legs = self.legs.setdefault(name, {})
        refused = {
            self._checker.wishes[data["strategy"], data["seq"]].leg
            for data in self._ledger.told.refused
            if data["reason"] != "DUPLICATE_INTENT" and self._of(data, name)
        }
        if len(wishes) < wish.legs:
            self._checker.break_(f"leg {wish.leg} of group {name} leaves, {len(wishes)} of {wish.legs} came")
        for leg, other in wishes.items():
            if leg == wish.leg:
                continue
            if leg in refused:
                self._checker.break_(f"leg {wish.leg} of group {name} leaves, leg {leg} was refused")
            if wish.side == SELL and other.side == BUY and not legs.get(leg):
                self._checker.break_(f"leg {wish.leg} of group {name} sells before leg {leg} buys")
            open_quantity = sum(order.remaining for order in legs.get(leg, ()))
            if self._world.day.group_next == "filled" and open_quantity:
                self._checker.break_(f"leg {wish.leg} of group {name} leaves, leg {leg} is not filled yet")
        legs.setdefault(wish.leg, []).append(placed)

    def refused(self, data: dict[str, Any], wish: Wish) -> None:
        """A leg that follows others has its time from when they let it go, not from when it was asked for."""
        name, day, network = (data["strategy"], wish.group), self._world.day, self._world.network
        before = [
            order for leg, orders in self.legs.get(name, {}).items() if leg != wish.leg for order in orders
        ]
        if data["reason"] != "THROTTLE_DEADLINE" or not before:
            return
        moved_ns = [order.left_ns for order in before]
        if day.group_next == "filled":
            ids = {order.order.order_id for order in before if order.order is not None}
            trades = self._world.exchange.account.trades
            start_ns = network.start_real_ns + network.skew_ns
            moved_ns += [trade.at_ns - start_ns for trade in trades if trade.order_id in ids]
        waited_ns = self._world.now_ns - max(moved_ns)
        if waited_ns < self._world.flow.patience_ns:
            self._checker.break_(
                f"leg {wish.leg} of group {name} had {waited_ns / 1e9:.3f} s, and was too late"
            )

    def _wishes(self, name: Name) -> dict[int, Wish]:
        return {
            wish.leg: wish
            for (strategy, _seq), wish in self._checker.wishes.items()
            if wish.group == name[1] and strategy == name[0]
        }

    def _of(self, data: dict[str, Any], name: Name) -> bool:
        """It is told of a leg of this group."""
        wish = self._checker.wishes.get((data["strategy"], data["seq"]))
        return wish is not None and (data["strategy"], wish.group) == name

    # Undone

    def ended(self) -> None:
        """Groups that were undone since the last look: what of them is left had nothing to be closed from."""
        told = self._ledger.told
        if len(told.group_ends) == self._ends_seen:
            return
        for data in told.group_ends[self._ends_seen :]:
            name = (data["strategy"], data["group"])
            for seq, closing in self._closings(data) if name in told.broken else ():
                wish = self._checker.wishes.get((name[0], seq))
                if wish is not None and (left := self._rest(name[0], seq, closing)):
                    self._not_undone(name, seq, wish, left)
        self._ends_seen = len(told.group_ends)

    def _not_undone(self, name: Name, seq: int, wish: Wish, left: int) -> None:
        key, sign = (name[0], wish.slot, wish.product), 1 if wish.side == BUY else -1
        held, stage, lasting = [self._ledger.held(key)[0]], self._world.stage, self._checker.lasting
        if stage is not None:
            held.append(stage.book.standing(*key).quantity)
        if min(quantity * sign for quantity in held) <= 0:
            self._left[name, seq] = left
        elif not (
            self._world.day.group_partial == "keep" or f"{name[0]} {name[1]}" in self._given_up
            or lasting.meddled(key) or lasting.in_doubt(key)
        ):  # fmt: skip
            self._checker.break_(f"group {name} is over, {left} of intent {seq} is not undone: {held}")

    def stuck(self) -> bool:
        """Groups are being undone, and nothing of them can be closed: the day's cap lets nothing through any
        more, also no other price for what rests to that end, or an exit that the strategy itself has at work
        there, as a limit, takes all that is held.
        """
        told = self._ledger.told
        refused = {(d["strategy"], d["seq"]) for d in told.refused if d["reason"] == "DAY_CAP"}
        newest = {
            name: {(name[0], numbers[-1]) for _seq, numbers in self._closings(data) if numbers}
            for name, data in told.groups.items()
        }
        taken = {
            name: any(self._taken(name[0], *leg) for leg in self._closings(told.groups[name]))
            for name in newest
        }
        if self._world.capped:
            refused |= {_asked_as(order) for order in self._ledger.mine() if order.remaining}
        return bool(newest) and all(closings & refused or taken[name] for name, closings in newest.items())

    def closes(self, order: Placed) -> bool:
        """It closes a leg of a group that is being undone."""
        groups = self._ledger.told.groups.items()
        return any(
            _asked_as(order) == (name[0], number)
            for name, data in groups
            for _seq, numbers in self._closings(data)
            for number in numbers
        )

    def _taken(self, strategy: int, seq: int, closing: list[int]) -> bool:
        """Exits of the strategy, none of the group, are at work for all that a leg would be closed from."""
        wish = self._checker.wishes.get((strategy, seq))
        if wish is None:
            return False
        key, sign = (strategy, wish.slot, wish.product), 1 if wish.side == BUY else -1
        held = self._ledger.held(key)[0] * sign
        orders = [o for o in self._ledger.mine() if o.key == key and o.side != wish.side and not o.opening]
        others = [order for order in orders if _asked_as(order)[1] not in closing]
        return 0 < held <= sum(order.remaining for order in others)

    def _closings(self, data: dict[str, Any]) -> list[tuple[int, list[int]]]:
        """(intent of a leg, intents that close it) of a GROUP record."""
        return list(zip(data["legs"], data.get("closing") or [[] for _ in data["legs"]], strict=True))

    def _rest(self, strategy: int, seq: int, closing: list[int]) -> int:
        """What of a leg has filled and was not closed, with its sign."""
        names = {seq, *closing}
        return sum(
            (1 if order.side == BUY else -1) * order.filled
            for order in self._ledger.placed.values()
            if order.name[0] == strategy and (order.parent or order.name[1]) in names
        )

    # At rest

    def at_rest(self) -> None:
        """All groups."""
        day, checker, lasting = self._world.day, self._checker, self._checker.lasting
        placed = [order for order in self._ledger.placed.values() if order.name[0] == GROUPER]
        lost = any(order.lost for order in placed)
        if day.group_next != "filled" or day.group_partial != "unwind" or lost:
            return
        if self._given_up or lasting.flattened or checker.journal_failed or self.stuck():
            return
        traded: Counter[Key] = Counter()
        for order in placed:
            traded[order.key] += (1 if order.side == BUY else -1) * order.filled
        wanted = self._whole()
        self._undone(wanted)
        for key in traded:
            if traded[key] != wanted[key] and not lasting.meddled(key) and not lasting.in_doubt(key):
                checker.break_(f"groups make {wanted[key]} of {key}, traded were {traded[key]}")

    def _whole(self) -> Counter[Key]:
        found: Counter[Key] = Counter()
        for name, legs in self.legs.items():
            wishes = self._wishes(name)
            filled = {leg: sum(order.filled for order in orders) for leg, orders in legs.items()}
            undone = name in self._ledger.told.broken
            if not undone and all(filled.get(leg) == wish.quantity for leg, wish in wishes.items()):
                for leg, wish in wishes.items():
                    found[GROUPER, wish.slot, wish.product] += (1 if wish.side == BUY else -1) * filled[leg]
        return found

    def _undone(self, wanted: Counter[Key]) -> None:
        for (name, seq), left in self._left.items():
            wish = self._checker.wishes.get((name[0], seq))
            if wish is None:
                continue
            wanted[GROUPER, wish.slot, wish.product] += left
            if f"{name[0]} {name[1]}" not in self._not_opened:
                self._checker.break_(f"group {name} is not wholly undone: {left}, and nobody was told")


def _asked_as(order: Placed) -> tuple[int, int]:
    """(strategy, number) of the intent that it is a part of, or is."""
    return order.name[0], order.parent or order.name[1]
