"""Layer 4, campaigns and tests, cold: what the checkers know: the wire, the raw journal, the truth.

`Ledger` notes each order call as it leaves and as it arrives, each trade of the exchange, and what the
journal's bytes say (records.py), all in sums of its own. It knows nothing of the engine's book.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import MODIFY_PENDING, MODIFY_VALIDATION_PENDING, Order, Trade
from kite_hft.sim.order_path.disk import VirtualFile
from kite_hft.sim.order_path.records import Tail

Name = tuple[int, int]
"""(strategy, strategy_seq)."""
Key = tuple[int, int, int]
"""(strategy, slot, product)."""
BUY: Final = 1
ENGINE_SEQ: Final = 1 << 62
UNKNOWN_NO: Final = 1 << 60
"""Number of an order that a trigger has placed, until the engine has given it one."""
CHANGING: Final = frozenset({MODIFY_PENDING, MODIFY_VALIDATION_PENDING})
STORIES: Final = frozenset({"INTENT", "REFUSED", "WITHDRAWN", "WAITING", "CALL", "PLAN", "GROUP", "GTT"})


@dataclass(slots=True)
class Placed:
    """One order as it left, or as a trigger placed it. `lost`: a power cut took its journal record.
    `under_way`: the request may still arrive. `changes`: quantities of modifications that may still arrive,
    `changing`: that of the one which the broker took last. `parent`: of which intent it is a slice. `known`:
    the engine has heard of it."""

    tag: str
    no: int
    name: Name
    slot: int
    side: int
    product: int
    quantity: int
    px: int
    opening: bool
    order: Order | None = None
    under_way: bool = True
    unsent: bool = False  # no byte of it left
    told: bool = False  # its answer has come to the engine
    lost: bool = False
    modifying: bool = False  # a modification has left, and neither answer nor read has told of it
    changes: list[int] = field(default_factory=list)
    changing: int = 0
    parent: int = 0
    left_ns: int = 0  # 0: a trigger has placed it
    changed_ns: int = 0  # when the broker took a modification last
    grown: bool = False  # its strategy has enlarged it
    blind: bool = False  # a trigger had fired beside it when it left, and the engine had not heard of it
    kept: bool = False  # the broker has refused to cancel it, when it was asked last
    known: bool = True
    trigger: Trigger | None = None  # that has placed it
    filled: int = 0
    units: int = 0

    @property
    def key(self) -> Key:
        return self.name[0], self.slot, self.product

    @property
    def remaining(self) -> int:
        """What may still fill, at worst."""
        if self.order is None:
            return self.quantity if self.under_way else 0
        if self.order.done:
            return 0
        accepted = self.changing if self.order.now.status in CHANGING else 0
        return max(self.order.now.quantity, accepted, *self.changes) - self.filled


@dataclass(slots=True)
class Trigger:
    """One trigger (GTT) as its placing left. `terms`: (side, quantity, price, trigger price) of each leg."""

    name: Name
    slot: int
    product: int
    for_exits: bool
    terms: tuple[tuple[int, int, int, int], ...]
    call: int = 0  # number of the record of its placing
    number: int | str = 0  # the broker's
    under_way: bool = True
    lost: bool = False
    opening: bool = False  # it was judged as an opening, whatever it closes by the time that it fires

    @property
    def key(self) -> Key:
        return self.name[0], self.slot, self.product


@dataclass(slots=True)
class Told:
    """What the journal says, folded by the checkers themselves."""

    taken: int = 0  # records so far
    by_tag: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_no: dict[int, dict[str, Any]] = field(default_factory=dict)
    stories: dict[Name, list[str]] = field(default_factory=dict)
    ambiguous: set[int] = field(default_factory=set)
    cuts: Counter[Key] = field(default_factory=Counter)
    cut_units: Counter[Key] = field(default_factory=Counter)
    cut_high: Counter[Key] = field(default_factory=Counter)  # the most and the least that the sum of
    cut_low: Counter[Key] = field(default_factory=Counter)  # a position's cuts ever was
    halted: str = ""
    reducing: str = ""
    refused: list[dict[str, Any]] = field(default_factory=list)
    twice: Counter[Name] = field(default_factory=Counter)  # refusals of an intent that came once more
    absent: list[int] = field(default_factory=list)
    reports: list[tuple[int, str, int]] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)  # proved never to have come to be
    wrong: list[str] = field(default_factory=list)
    plans: dict[Key, dict[str, Any]] = field(default_factory=dict)  # exits that are kept
    planned: dict[Key, int] = field(default_factory=dict)  # where exits were kept -> the last record of them
    groups: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)  # under way
    broken: set[tuple[int, int]] = field(default_factory=set)  # groups that are to be undone
    group_ends: list[dict[str, Any]] = field(default_factory=list)
    triggers: dict[Name, dict[str, Any]] = field(default_factory=dict)  # that may stand
    trigger_calls: list[dict[str, Any]] = field(default_factory=list)  # placings, in their order
    trigger_ends: list[dict[str, Any]] = field(default_factory=list)
    trigger_ids: list[dict[str, Any]] = field(default_factory=list)  # the broker's number of one is told
    children: dict[str, dict[str, Any]] = field(default_factory=dict)  # order id -> of which trigger
    child_tags: dict[int, str] = field(default_factory=dict)
    cut_short: Counter[tuple[int, ...]] = field(default_factory=Counter)  # not sent, by `_withdrawn`

    def tag_of(self, no: int) -> str:
        """The tag of an order; of one that a trigger has placed the word that stands for it."""
        found = self.by_no.get(no)
        return str(found["tag"]) if found else self.child_tags.get(no, "")

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """One record."""
        data["_n"] = self.taken = self.taken + 1
        if kind in STORIES and data.get("seq"):
            self.stories.setdefault((data["strategy"], data["seq"]), []).append(kind)
        handler = getattr(self, f"_{kind.lower()}", None)
        if handler is not None:
            handler(data)

    def _intent(self, data: dict[str, Any]) -> None:
        if data["tag"] in self.by_tag or data["no"] in self.by_no:
            self.wrong.append(f"order {data['no']} or its tag {data['tag']} was journalled twice")
        self.by_tag[data["tag"]] = self.by_no[data["no"]] = data

    def _refused(self, data: dict[str, Any]) -> None:
        self.refused.append(data)
        if data["reason"] == "DUPLICATE_INTENT":
            self.twice[data["strategy"], data["seq"]] += 1
        self._withdrawn(data)

    def _withdrawn(self, data: dict[str, Any]) -> None:
        seq = data["seq"] if data["seq"] < ENGINE_SEQ else 0  # 0: a slice, of whichever intent
        where = data.get("slot", -1), data.get("side", 0), data.get("product", 0)
        self.cut_short[data["strategy"], seq, *where] += data.get("qty", 0)

    def _answer(self, data: dict[str, Any]) -> None:
        if data["call"] != "place":
            return
        if data["outcome"] == "ambiguous" and data["no"] not in self.named:
            self.ambiguous.add(data["no"])
        else:
            self.ambiguous.discard(data["no"])
        if data["outcome"] in ("refused", "unsent"):
            self.ended.add(data["no"])
        if data["outcome"] == "confirmed":
            self.named[data["no"]] = data["order_id"]

    def _report(self, data: dict[str, Any]) -> None:
        self.ambiguous.discard(data["no"])
        report = data["report"]
        self.reports.append((data["no"], report["order_id"], report["filled_quantity"]))
        self.named[data["no"]] = report["order_id"]

    def _trade(self, data: dict[str, Any]) -> None:
        self.ambiguous.discard(data["no"])
        self.reports.append((data["no"], data["trade"]["order_id"], 0))

    def _resolved(self, data: dict[str, Any]) -> None:
        self.ambiguous.discard(data["no"])
        self.ended.add(data["no"])
        if data.get("how") == "absent":
            self.absent.append(data["no"])

    def _plan(self, data: dict[str, Any]) -> None:
        key = (data["strategy"], data["slot"], data["product"])
        self.planned[key] = data["_n"]
        if data.get("ended"):
            self.plans.pop(key, None)
        else:
            self.plans[key] = data

    def _group(self, data: dict[str, Any]) -> None:
        name = (data["strategy"], data["group"])
        if data.get("broken") or data.get("ended", "done") != "done":
            self.broken.add(name)
        if data.get("ended"):
            self.groups.pop(name, None)
            self.group_ends.append(data)
        else:
            self.groups[name] = data

    def _gtt(self, data: dict[str, Any]) -> None:
        name = (data["strategy"], data["seq"])
        if data.get("do") == "place":
            self.trigger_calls.append(data)
        if "child" in data:
            self.children[data["child"]] = data
            self.child_tags[data["no"]] = child_tag(data["child"])
        if "child" in data or data.get("ended"):
            if not data.get("late"):  # else it had ended before
                self.triggers.pop(name, None)
            self.trigger_ends.append(data)
        else:
            self.triggers[name] = data
            if data.get("id"):
                self.trigger_ids.append(data)

    def _command(self, data: dict[str, Any]) -> None:
        if data["do"] == "resume" and data.get("strategy") is None:
            self.halted = self.reducing = ""

    def _state(self, data: dict[str, Any]) -> None:
        self.halted = data.get("halted") or self.halted
        if "reducing" in data:
            self.reducing = data["reducing"]

    def _external(self, data: dict[str, Any]) -> None:
        for cut in data.get("cuts", ()):
            key = (cut["strategy"], cut["slot"], cut["product"])
            self.cuts[key] += cut["qty"]
            self.cut_units[key] += cut["units"]
            self.cut_high[key] = max(self.cut_high[key], self.cuts[key])
            self.cut_low[key] = min(self.cut_low[key], self.cuts[key])


class Ledger:
    """The sums. `placed` by tag, `by_id` by the broker's order id."""

    def __init__(self, exchange: Exchange, cash_paise: int, trigger_of: Callable[[Order], int | str]) -> None:
        """`trigger_of`: which trigger has placed an order; 0 or "": none has."""
        self.exchange, self.trigger_of = exchange, trigger_of
        self.cash_paise = cash_paise
        self.placed: dict[str, Placed] = {}
        self.triggers: list[Trigger] = []
        self.by_id: dict[str, Placed] = {}
        self.positions: Counter[tuple[int, int]] = Counter()
        self.told = Told()
        self.tails: list[Tail] = []

    def journal(self, files: list[VirtualFile]) -> None:
        """Read on in the journals: earlier ones do not grow any more."""
        while len(self.tails) < len(files):
            self.tails.append(Tail())
        if not files:
            return
        tail, grown = self.tails[-1], files[-1].data
        if tail.at < len(grown):
            for kind, end, data in tail.fresh(grown):
                data["_end"] = end
                self.told.take(kind, data)
                if kind == "GTT" and "child" in data:
                    self._child_known(data)

    def anew(self, files: list[bytearray]) -> None:
        """A power cut took bytes: read everything from the beginning; mark what nobody knows any more."""
        self.told, self.tails = Told(), []
        for data in files:
            tail = Tail()
            self.tails.append(tail)
            for kind, end, payload in tail.fresh(data):
                payload["_end"] = end
                self.told.take(kind, payload)
        calls = {(data["strategy"], data["seq"]) for data in self.told.trigger_calls}
        for trigger in self.triggers:
            trigger.lost = trigger.lost or trigger.name not in calls
        for order in self.placed.values():
            if order.trigger is not None:
                order.lost, order.known, order.no = order.trigger.lost, False, UNKNOWN_NO
            else:
                order.lost = order.lost or order.tag not in self.told.by_tag
        for child in self.told.children.values():
            self._child_known(child)

    def of_request(self, tag: str, order: Order) -> None:
        """The request has arrived, and made this order."""
        placed = self.placed.get(tag)
        if placed is not None:
            placed.order = order
            self.by_id[order.order_id] = placed

    def unheard_beside(self, placed: Placed) -> bool:
        """A trigger has placed an order that closes the same, and the engine has not heard of it."""
        here = (placed.key, placed.side)
        return any(o.trigger and not o.known and (o.key, o.side) == here for o in self.placed.values())

    def fired(self, order: Order) -> Placed | None:
        """A trigger of ours has placed this order; None: nobody's has."""
        tag = child_tag(order.order_id)
        if tag in self.placed:
            return self.placed[tag]
        number = self.trigger_of(order)
        trigger = next((t for t in self.triggers if t.number and t.number == number), None)
        if trigger is None:
            return None
        ask = order.request
        placed = Placed(
            tag, UNKNOWN_NO, trigger.name, order.slot, int(ask.side), int(ask.product), ask.quantity, ask.px,
            not trigger.for_exits, order, False, lost=trigger.lost, known=False, trigger=trigger,
        )  # fmt: skip
        self.placed[tag] = self.by_id[order.order_id] = placed
        if order.order_id in self.told.children:
            self._child_known(self.told.children[order.order_id])
        return placed

    def _child_known(self, data: dict[str, Any]) -> None:
        order = self.exchange.orders.get(data["child"])
        placed = self.fired(order) if order is not None else None
        if placed is None:
            self.told.wrong.append(f"{data['child']} is no order of trigger {data['seq']}")
        else:
            placed.no, placed.known = data["no"], True
            placed.opening = not data["reducing"]

    def traded(self, trade: Trade) -> Placed | None:
        """One execution at the exchange; returns whose it is."""
        sign = 1 if trade.side == BUY else -1
        slot, product = trade.instrument.slot, int(trade.product)
        self.positions[slot, product] += sign * trade.quantity
        self.cash_paise -= sign * trade.px * trade.quantity * (trade.instrument.multiplier or 1)
        placed = self.by_id.get(trade.order_id)
        if placed is None:
            order = self.exchange.orders[trade.order_id]
            if self.trigger_of(order):
                self.fired(order)
            else:
                self.of_request(order.request.tag or "", order)
            placed = self.by_id.get(trade.order_id)
        if placed is not None:
            placed.filled += trade.quantity
            placed.units += trade.px * trade.quantity
        return placed

    def taken_over(self, lost: Placed, by: Placed) -> None:
        """Nobody can tell them apart: an order whose record a power cut took, and whose tag the broker has
        dropped, stands for a newer one of the same terms that never arrived.
        """
        assert lost.order is not None
        by.order, by.filled, by.units = lost.order, lost.filled, lost.units
        lost.filled = lost.units = 0
        self.by_id[lost.order.order_id] = by

    def taken_for(self, order_id: str, by: Placed) -> bool:
        """Nobody can tell them apart: an order that a person placed at the broker, of the terms of one that
        never arrived and whose refusal a power cut took. Then it stands for that one from now on.
        """
        order = self.exchange.orders.get(order_id)
        if order is None or order.tag or order.placed_by or by.order is not None or by.under_way:
            return False
        asked = order.request
        if (order.slot, asked.side, asked.product, asked.quantity) != (
            by.slot,
            by.side,
            by.product,
            by.quantity,
        ):
            return False
        trades = [trade for trade in self.exchange.account.trades if trade.order_id == order_id]
        by.order, by.filled = order, sum(trade.quantity for trade in trades)
        by.units = sum(trade.px * trade.quantity for trade in trades)
        self.by_id[order_id] = by
        return True

    def mine(self) -> list[Placed]:
        """Orders that the journal knows."""
        return [order for order in self.placed.values() if order.known and not order.lost]

    def held(self, key: Key) -> tuple[int, int]:
        """(quantity, units) of a strategy's position, from executions and cuts."""
        quantity, units = self.told.cuts[key], self.told.cut_units[key]
        for order in self.placed.values():
            if order.filled and not order.lost and order.key == key:
                sign = 1 if order.side == BUY else -1
                quantity += sign * order.filled
                units += sign * order.units
        return quantity, units


def child_tag(order_id: str) -> str:
    """What stands for the tag of an order that a trigger has placed: it has none."""
    return f"trigger's {order_id}"
