"""Layer 4, campaigns and tests, cold: what must hold of that which lasts: exits, triggers, groups, slices.

At each step: no trigger without its journal record or twice, none declared gone that lives; what closes a
position never closes more than there is; legs leave when all have come, purchases first, one after the
other; slices are of one intent, none above the freeze quantity, together never more. At rest: whatever has a
plan is covered by exactly its quantity, at the exchange or by a trigger, or people were told why not; nothing
is left behind by a plan that is over; a group is whole or undone; slices are their intent.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kite_hft.sim.brokers.side import Call
from kite_hft.sim.order_path.flow import Wish
from kite_hft.sim.order_path.ledger import BUY, ENGINE_SEQ, Key, Placed, Trigger, child_tag
from kite_hft.sim.order_path.whole_groups import WholeGroups
from kite_hft.trading.broker import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from kite_hft.sim.order_path.checkers import Checker

SELL: Final = 2
UNTOLD_NS: Final = 3_000_000_000
"""A cancel is answered, an update arrives, or the book is read until then."""
TRIMMED_NS: Final = 5_000_000_000
"""So long after a strategy's own trigger has fired exits beside it may be too many: cancels have to wait."""
_PRODUCTS: Final = {1: "CNC", 2: "NRML", 3: "MIS", 4: "MTF"}


class Lasting:
    """A part of the Checker that it belongs to."""

    def __init__(self, checker: Checker) -> None:
        self._checker, self._world, self._ledger = checker, checker.world, checker.ledger
        self.groups = WholeGroups(checker)
        self.families: dict[tuple[int, int], list[Placed]] = {}  # intent -> its slices
        self.excused: set[tuple[str, str]] = set()  # what people know: exits refused or given way, by
        # position; triggers of which nobody knows
        self.flattened = False
        self._heard_ns: dict[str, int] = {}  # tag of a trigger's order -> when the engine heard of it
        self._calls: dict[int, tuple[HttpRequest, Trigger]] = {}
        self._ends_seen = self._ids_seen = self._began = 0
        self._interrupted: set[tuple[int, int]] = set()  # intents of which a power cut took slices

    def begins(self) -> None:
        """A process starts."""
        self._began = len(self._ledger.told.trigger_calls)

    def alerted(self, fields: dict[str, Any]) -> None:
        """What people are told."""
        if fields["code"] in ("EXIT_REFUSED", "STOP_GAVE_WAY", "TRIGGER_UNKNOWN"):
            known = (str(fields["code"]), str(fields["key"]))
            (self.excused.discard if fields.get("cleared") else self.excused.add)(known)
        elif fields["code"] == "GROUP_BROKEN":
            self.groups.alerted(str(fields["key"]), str(fields["text"]))

    # Triggers

    def trigger_leaves(self, request: HttpRequest, sent: Call) -> None:
        """A call about a trigger is about to leave."""
        if sent.method != "POST":
            return
        slot, product, terms = sent.slot, sent.product, sent.legs
        ledger = self._ledger
        claimed = {trigger.call for trigger in ledger.triggers if not trigger.lost}
        calls, told = ledger.told.trigger_calls, ledger.told
        # Those of this process leave in their order; an older one may have died with its process.
        own = [call for call in calls[self._began :] if (call["strategy"], call["seq"]) in told.triggers]
        for call in (*own, *reversed(calls)):
            name = (call["strategy"], call["seq"])
            exits, opening = bool(call["for_exits"]), bool(call.get("opening"))
            if _what(call) != (slot, product, exits, terms) or call["_n"] in claimed:
                continue
            trigger = Trigger(name, slot, product, exits, terms, call["_n"], opening=opening)
            self._as_wished(trigger)
            ledger.triggers.append(trigger)
            self._calls[id(request)] = request, trigger
            return
        self._checker.break_(f"a trigger of {terms} left without a journal record of its own")

    def _as_wished(self, trigger: Trigger) -> None:
        wish = self._checker.wishes.get(trigger.name)
        if wish is None or trigger.for_exits:
            return
        asked = ((wish.side, wish.quantity, wish.px, wish.trigger_px),)
        if (wish.slot, wish.product) != (trigger.slot, trigger.product) or asked != trigger.terms:
            self._checker.break_(f"trigger {trigger.name} asked for {asked}, sent was {trigger.terms}")

    def trigger_done(self, request: HttpRequest, response: HttpResponse) -> None:
        """The broker has answered it, whether or not anybody hears it."""
        _request, trigger = self._calls.pop(id(request), (request, None))
        if trigger is not None:
            trigger.under_way = False
            if response.status == 200:
                trigger.number = self._world.side.trigger_number(json.loads(response.body))

    def trigger_gone(self, request: HttpRequest, unsent: bool) -> None:
        """It will never be acted on. `unsent`: the engine is told so, and may let the same one leave anew."""
        _request, trigger = self._calls.pop(id(request), (request, None))
        if trigger is not None:
            trigger.under_way = False
            if unsent:
                self._ledger.triggers.remove(trigger)

    def ended(self) -> None:
        """Triggers of which the journal says since the last look that they are no more."""
        told = self._ledger.told
        for data in told.trigger_ids[self._ids_seen :]:
            self._named(data)
        self._ids_seen = len(told.trigger_ids)
        if len(told.trigger_ends) == self._ends_seen:
            return
        for data in told.trigger_ends[self._ends_seen :]:
            if "child" in data:
                self._heard_ns.setdefault(child_tag(data["child"]), self._world.now_ns)
            if "child" in data or data["ended"] not in ("absent", "refused", "deleted"):
                continue
            for trigger in self._ledger.triggers:
                mine = trigger.name == (data["strategy"], data["seq"]) and trigger.call < data["_n"]
                mine = mine and not trigger.lost  # else it is the one that was placed in its stead
                if mine and (trigger.under_way or self.lives(trigger)):
                    self._checker.break_(
                        f"trigger {trigger.name} ended ({data['ended']}), and lives or is still to arrive"
                    )
        self._ends_seen = len(told.trigger_ends)

    def _named(self, data: dict[str, Any]) -> None:
        """The engine says which of its triggers the broker's number is. Of two that are alike to the letter,
        of which neither answer was kept, nobody can tell that, nor does it matter: they change places, also
        if the call of one has never left.
        """
        name, triggers, told = (data["strategy"], data["seq"]), self._ledger.triggers, self._ledger.told
        found = next((t for t in triggers if t.number and str(t.number) == data["id"]), None)
        if found is None or found.name == name or told.triggers.get(found.name, {}).get("id"):
            return
        what = found.slot, found.product, found.for_exits, found.terms
        twin = next((t for t in triggers if t.name == name and not t.lost), None)
        if twin is not None:
            if (twin.slot, twin.product, twin.for_exits, twin.terms) == what:
                kept = found.name, found.call
                found.name, found.call, (twin.name, twin.call) = twin.name, twin.call, kept
            return
        call = next((c for c in reversed(told.trigger_calls) if (c["strategy"], c["seq"]) == name), None)
        if call is not None and _what(call) == what:
            found.name, found.call = name, call["_n"]

    def lives(self, trigger: Trigger) -> bool:
        """It waits at the broker."""
        return bool(trigger.number) and self._world.side.waits(self._world.api, trigger.number)

    def guards(self, key: Key) -> int:
        """How much exits that are kept close there: they give way to what the strategy closes by itself."""
        return sum(
            order.remaining for order in self._ledger.mine() if order.key == key and self._of_exits(order)
        )

    def _of_exits(self, order: Placed) -> bool:
        if order.trigger is not None:
            return order.trigger.for_exits
        return not order.opening and order.name[1] >= ENGINE_SEQ and not 0 < order.parent < ENGINE_SEQ

    def in_the_way(self, reason: str, strategy: int, wish: Wish, since: int) -> bool:
        """Exits were kept there since the wish (record `since`) and did not give way, or have closed it."""
        key = (strategy, wish.slot, wish.product)
        told, held = self._ledger.told, self._ledger.held(key)[0]
        for order in self._ledger.mine():  # what those have filled of which nobody knows yet is not held
            if order.key == key and order.no in told.ambiguous:
                held -= order.filled * (1 if order.side == BUY else -1)
            if order.key == key and order.side == wish.side and not self._of_exits(order):
                held -= order.remaining * (1 if wish.side == SELL else -1)  # asked for before, it comes first
        if (held if wish.side == SELL else -held) < wish.quantity:
            return key in told.planned or self._closed_for_it(key, wish)
        lies = any(  # in a trigger that may stand, as far as the engine knows
            row["for_exits"] and (row["strategy"], row["slot"], row["product"]) == key
            for row in told.triggers.values()
        )
        kept = key in told.plans or told.planned.get(key, -1) > since or self.guards(key) > 0
        return reason == "FROZEN" and (kept or lies or self._just_gone(key))

    def _just_gone(self, key: Key) -> bool:
        """An order of exits there has ended so lately that the engine need not know of it."""
        network = self._world.network
        since_ns = self._world.now_ns - UNTOLD_NS + network.start_real_ns + network.skew_ns
        return any(
            order.order is not None and order.order.done and order.order.now.at_ns >= since_ns
            for order in self._ledger.mine()
            if order.key == key and self._of_exits(order)
        )

    def _closed_for_it(self, key: Key, wish: Wish) -> bool:
        """Something else has closed there: a flatten, the end of the day, a trigger at the broker."""
        return any(
            placed.filled and (placed.name[1] >= ENGINE_SEQ or placed.trigger is not None)
            for placed in self._ledger.mine()
            if placed.key == key and placed.side == wish.side
        )

    def anew(self) -> None:
        """The journal was read from its beginning. What is lost counts no more: its names are used again."""
        told = self._ledger.told
        self._ends_seen, self._ids_seen = len(told.trigger_ends), len(told.trigger_ids)
        self.families = {
            name: [part for part in parts if not part.lost] for name, parts in self.families.items()
        }
        wishes = self._checker.wishes
        self._interrupted |= {
            name for name, sent in self._sent().items() if name in wishes and sent != wishes[name].quantity
        }
        self.groups.anew()

    # Orders

    def leaves(self, placed: Placed, wish: Wish | None) -> None:
        """An order is about to leave."""
        freeze = self._world.exchange.instruments[placed.slot].freeze_quantity
        if freeze and placed.quantity > freeze:
            self._checker.break_(f"order {placed.no}: quantity {placed.quantity} > freeze {freeze}")
        if wish is None:
            if placed.opening:
                self._checker.break_(f"order {placed.no} opens, and is the engine's own")
            return
        placed.blind = self._ledger.unheard_beside(placed)
        name = (placed.name[0], placed.parent or placed.name[1])
        (family := self.families.setdefault(name, [])).append(placed)
        if (whole := sum(part.quantity for part in family)) > wish.quantity:
            self._checker.break_(f"slices of intent {name} add up to {whole} of {wish.quantity}")
        if wish.group:
            self.groups.leaves(placed, wish)

    def grows(self, placed: Placed, quantity: int) -> None:
        """A modification of `placed` to `quantity` is about to leave."""
        if placed.order is None or quantity <= placed.order.now.quantity:
            return
        if placed.name[1] < ENGINE_SEQ or placed.opening:
            placed.grown = True
            return
        others, free = self._beside(placed)
        if quantity - placed.filled + others > free and not self.meddled(placed.key):
            self._checker.break_(
                f"exit {placed.no} grows to {quantity}, {others} close beside it, {free} is held"
            )

    def _beside(self, placed: Placed) -> tuple[int, int]:
        """What other orders close of its position, and what there is to be closed."""
        others = sum(
            order.remaining
            for order in self._ledger.mine()
            if order is not placed and order.key == placed.key and order.side == placed.side
        )
        return others, self._ledger.held(placed.key)[0] * (1 if placed.side == SELL else -1)

    def opens(self, placed: Placed, quantity: int) -> bool:
        """A modification to `quantity` makes it open more than it did: an exit may grow with its position. Of
        one that has just ended the engine may not know.
        """
        order = placed.order
        known = order.now.quantity if order is not None and order.done else placed.remaining + placed.filled
        if quantity <= known:
            return False
        others, free = self._beside(placed)
        beyond = quantity - placed.filled + others > free  # one that was to open may close by now
        return beyond and (placed.opening or not self.meddled(placed.key))

    def traded(self, trade: Any, placed: Placed | None) -> None:
        """What closes must not turn the position, unless the broker has refused to cancel it."""
        if placed is None or placed.lost:
            order = self._world.exchange.orders[trade.order_id]
            if self._world.trigger_of(order):
                self._checker.stranger(order.slot, int(order.request.product))
            return
        if placed.opening or placed.grown or placed.kept or placed.blind or self.meddled(placed.key):
            return
        after = self._ledger.held(placed.key)[0]
        turned = after > 0 if placed.side == BUY else after < 0
        beside = [
            order
            for order in self._ledger.placed.values()
            if (order.key, order.side) == (placed.key, placed.side) and order is not placed
        ]
        entries = any(o.opening or o.grown or (o.trigger and o.trigger.opening) for o in beside)
        since_ns = [self._heard_ns.get(o.tag, self._world.now_ns) for o in (placed, *beside) if _own(o)]
        nameless = placed.no in self._ledger.told.ambiguous  # no answer has named it: nobody can shrink it
        fired = any(nameless or self._world.now_ns - heard_ns < TRIMMED_NS for heard_ns in since_ns)
        if turned and not (entries or fired or self._unknown_trigger(placed.key)):
            self._checker.break_(f"order {placed.no} closed more than was held of {placed.key}: {after} now")

    def _unknown_trigger(self, key: Key) -> bool:
        """People know that a trigger there may lie at the broker or not; another one protects by now."""
        names = {str(trigger.name) for trigger in self._ledger.triggers if trigger.key == key}
        return any(code == "TRIGGER_UNKNOWN" and name in names for code, name in self.excused)

    def told_of(self, key: Key) -> bool:
        """People know that its exits are refused, or give way to a stranger's order."""
        name = f"{self._world.exchange.instruments[key[1]].key} {_PRODUCTS[key[2]]} of strategy {key[0]}"
        return any((code, name) in self.excused for code in ("EXIT_REFUSED", "STOP_GAVE_WAY"))

    def meddled(self, key: Key) -> bool:
        """Somebody else trades there, or what was lost with the journal's end does."""
        placed = self._ledger.placed.values()
        return key[1:] in self._checker.strangers or any(o.lost and o.slot == key[1] for o in placed)

    # At rest

    def uncovered(self) -> str:
        """A position whose plan does not protect it, or protects too much; "": there is none."""
        stage = self._world.stage
        if stage is None or stage.flattening:
            return ""
        for key, plan in self._ledger.told.plans.items():
            held = self._ledger.held(key)[0]
            row = self._world.exchange.instruments[key[1]]
            if not held or self.told_of(key) or self.in_doubt(key):
                continue
            if wrong := self._cover(key, plan, held):
                return f"{row.key} {held} of strategy {key[0]}, plan {plan['mode']}: {wrong}"
        return ""

    def in_doubt(self, key: Key) -> bool:
        """The fate of an order there is unknown."""
        told = self._ledger.told
        return any(told.by_no[no]["slot"] == key[1] for no in told.ambiguous if no in told.by_no)

    def _cover(self, key: Key, plan: dict[str, Any], held: int) -> str:
        closing = SELL if held > 0 else BUY
        guards, others = 0, 0  # what the strategy closes by itself comes first
        for order in self._ledger.mine():
            if order.key == key and order.side == closing:
                if order.name[1] >= ENGINE_SEQ and not 0 < order.parent < ENGINE_SEQ:
                    guards += order.remaining
                else:
                    others += order.remaining
        wanted = max(0, abs(held) - others)
        if plan["gtt"] and plan["mode"] != "OUT":
            trigger = next((t for t in self._ledger.triggers
                            if t.name == (key[0], plan["seq"]) and self.lives(t)), None)  # fmt: skip
            if trigger is None:
                needs = bool(plan["level"] or plan["target"]) and guards < wanted
                gone = f"its trigger is not at the broker, {guards} of {wanted} closed by orders"
                return gone if needs else ""
            quantities = self._world.side.trigger_quantities(self._world.api, trigger.number)
            wrong = [quantity for quantity in quantities if quantity + guards != wanted]
            return f"its trigger is for {wrong}, {guards} is closed beside it, not {wanted}" if wrong else ""
        rests = plan["mode"] == "OUT" or plan["level"] or plan["target"]
        if rests and guards != wanted:
            return f"closed by its exits is {guards}, not {wanted}"
        return ""

    def at_rest(self) -> None:
        """All of it."""
        checker, stage = self._checker, self._world.stage
        if stage is None:
            return
        if wrong := self.uncovered():
            checker.break_(f"not protected as it was asked for: {wrong}")
        self._left_behind(closing=stage.flattening)
        self._triggers()
        self._slices()
        self.groups.at_rest()

    def _left_behind(self, *, closing: bool) -> None:
        """Orders of plans that are over."""
        plans = self._ledger.told.plans
        for order in self._ledger.mine():
            engines = order.name[1] >= ENGINE_SEQ and not 0 < order.parent < ENGINE_SEQ
            theirs = order.key in plans or self.groups.closes(order)
            if engines and order.remaining and not theirs and not closing:
                self._checker.break_(f"order {order.no} closes {order.key}, which has no exits any more")

    def _triggers(self) -> None:
        told, exchange, trigger_of = self._ledger.told, self._world.exchange, self._world.trigger_of
        for trigger in self._ledger.triggers:
            if trigger.lost:
                continue
            plan = told.plans.get(trigger.key)
            if not self.lives(trigger):
                mine = (o for o in exchange.orders.values() if trigger_of(o) == trigger.number)
                order = next(mine, None)
                heard = order is None or order.order_id in told.children
                if trigger.number and order is not None and not heard and order.now.status != "REJECTED":
                    self._checker.break_(f"trigger {trigger.name} has placed an order that nobody knows")
            elif trigger.for_exits and (plan is None or plan["seq"] != trigger.name[1]):
                self._checker.break_(f"trigger {trigger.name} protects, and its plan is over")
            elif trigger.name not in told.triggers:
                self._checker.break_(f"trigger {trigger.name} lives, and the journal says that it ended")

    def _slices(self) -> None:
        """All parts of an intent were sent, but for what was refused or withdrawn, or a power cut took."""
        told, checker = self._ledger.told, self._checker
        for name, quantity in self._sent().items():
            wish = checker.wishes.get(name)
            if wish is None or name in self._interrupted or checker.journal_failed:
                continue
            where = wish.slot, wish.side, wish.product
            cut = told.cut_short[*name, *where] + told.cut_short[name[0], 0, *where]
            if not 0 <= wish.quantity - quantity <= cut:
                checker.break_(f"slices of {name} add up to {quantity} of {wish.quantity}")

    def _sent(self) -> Counter[tuple[int, int]]:
        """Intent -> quantity of the orders that have a record."""
        sent: Counter[tuple[int, int]] = Counter()
        for row in self._ledger.told.by_no.values():
            sent[row["strategy"], row["parent"] or row["seq"]] += row["qty"]
        return sent


def _what(call: dict[str, Any]) -> tuple[int, int, bool, tuple[tuple[int, ...], ...]]:
    """Which instrument and product the journal says a trigger is for, whether exits, and its terms."""
    legs = tuple(tuple(leg) for leg in call["legs"])
    return call["slot"], call["product"], bool(call["for_exits"]), legs


def _own(order: Placed) -> bool:
    """A trigger has placed it that its strategy asked for, not its exits."""
    return order.trigger is not None and not order.trigger.for_exits
