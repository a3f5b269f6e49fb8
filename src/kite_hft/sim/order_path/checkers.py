"""Layer 4, campaigns and tests, cold: what must hold at every step of a simulated day.

On each call that leaves: an intent that was wished, a journal record before it, its name and its tag
never used before, the terms that were wished, the risk limits counted anew, no opening while latched, while
its price is old or beside an ambiguous order, and the broker's windows. On each journal record: the
broker's rows belong to the order they are told of, absence is true, a sure exit is not refused. In between:
nothing grows without bound. What must hold at rest stands in settled.py. Own sums everywhere (ledger.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kite_hft.sim.brokers import side as wire
from kite_hft.sim.brokers.side import Call
from kite_hft.sim.order_path.calls_left import CallsLeft
from kite_hft.sim.order_path.flow import Wish
from kite_hft.sim.order_path.judged_again import judged_again
from kite_hft.sim.order_path.lasting import Lasting
from kite_hft.sim.order_path.ledger import ENGINE_SEQ, Ledger, Placed
from kite_hft.trading.broker import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from kite_hft.sim.order_path.world import OrdersWorld

QUEUES_MAX: Final = 256 + 1024
IN_FLIGHT_MAX: Final = 500
PLACE: Final = 1
MODIFY: Final = 2
DECIDED: Final = frozenset({"INTENT", "CALL", "REFUSED", "WITHDRAWN"})
NOT_FOR_EXITS: Final = frozenset(
    ["HALTED", "REDUCING", "MARKET_HALT", "STALE_TICK", "NO_SNAPSHOT", "NO_REFERENCE_PRICE", "FROZEN",
     "MAX_EXPOSURE", "MAX_ORDER_VALUE", "MAX_POSITIONS", "MAX_WORKING_ORDERS", "THROTTLE_DEADLINE",
     "DAILY_LOSS", "DRAWDOWN", "COOLDOWN", "STOP_GUARD", "CAPITAL", "KILLED", "CUT_OFF", "CLOCK",
     "STRATEGY_HALTED", "PERIOD_LIMIT", "REPEATED", "FEEDS_DIVERGE"]
)  # fmt: skip
"""Reasons that bind openings only."""


class Checker:
    """Looks over one world's shoulder. `breaks`: what did not hold, in words."""

    def __init__(self, world: OrdersWorld) -> None:
        self.world = world
        self.breaks: list[str] = []
        self.ledger = Ledger(world.exchange, world.exchange.account.cash_paise, world.trigger_of)
        self.wishes: dict[tuple[int, int], Wish] = {}
        self._wished_at: dict[tuple[int, int], int] = {}  # after so many records
        self.names: dict[tuple[int, int], str] = {}  # of orders that left -> tag
        self.strangers: set[tuple[int, int]] = set()  # (slot, product) where others have traded
        self.market_halted = False
        self.halt_told = False
        self.journal_failed = 0
        self.calls = CallsLeft(world.limits)
        self.cancels_given_up: set[int] = set()
        self.placed_today = 0
        self.read_ns = self._listed_ns = 0  # as of when the engine has read the order book
        self._seen = (0, 0, 0)  # refusals, absences, reports looked at
        self.lasting = Lasting(self)

    def break_(self, text: str) -> None:
        """Something does not hold."""
        self.world.note(f"BREAK {text}")
        self.breaks.append(text)

    # What the world tells

    def wished(self, name: tuple[int, int], wish: Wish) -> None:
        self.wishes[name], self._wished_at[name] = wish, self.ledger.told.taken

    def stranger(self, slot: int, product: int) -> None:
        self.strangers.add((slot, product))

    def resumed(self) -> None:
        """A person lets everything go on."""
        self.halt_told = False

    def told_to_halt(self) -> None:
        self.halt_told = True

    def alerted(self, fields: dict[str, Any]) -> None:
        """What a person is told: some of it must never happen."""
        self.lasting.alerted(fields)
        text = str(fields["text"])
        if fields["code"] == "HALTED" and text.startswith("egress") and not fields.get("cleared"):
            self.break_(f"the gate at the border had to stop a call: {text}")
        if fields["code"] == "CANCEL_FAILED" and " failed 1" in text:
            self.cancels_given_up.add(int(fields["key"]))

    def answered(self, request: HttpRequest, status: int) -> None:
        """An answer has come to the engine."""
        network = self.world.network
        call = network.read(request)
        if call.kind == wire.PLACE:
            placed = self.ledger.placed.get(call.tag)
            if placed is not None:
                placed.told = True
        if call.kind == wire.MODIFY and status:
            placed = self.ledger.by_id.get(call.order_id)
            if placed is not None:
                placed.modifying = False
        elif call.kind == wire.CANCEL and status:
            placed = self.ledger.by_id.get(call.order_id)
            if placed is not None:
                placed.kept = status != 200
        elif not call.kind and status == 200 and request.path == network.side.orders_path:
            self.read_ns = self._listed_ns
            for placed in self.ledger.placed.values():
                placed.modifying = False  # its terms were read
        if status == 429 and call.kind in (wire.PLACE, wire.MODIFY, wire.CANCEL):
            self.calls.limited(self.world.now_ns)

    def dies(self, why: str) -> None:
        self.read_journal()
        told = self.ledger.told
        for placed in self.ledger.placed.values():
            placed.modifying = False
            if placed.no not in told.ended and placed.no not in told.named:
                placed.told = False  # its answer came, and died with the process
        self.calls.died()
        if why == "power_cut":
            self.halt_told = self.market_halted = False

    def tail_cut(self) -> None:
        """The machine went down, and bytes of the journal with it."""
        self.ledger.anew(self._files())
        told = self.ledger.told
        # What was in shared memory, or had its record lost, is gone without a story.
        self.wishes = {name: wish for name, wish in self.wishes.items() if name in told.stories}
        self.names = {order.name: order.tag for order in self.ledger.mine()}
        self._seen = (len(told.refused), len(told.absent), len(told.reports))
        self.lasting.anew()
        if any(order.lost for order in self.ledger.placed.values()):
            self.calls.forget()  # nobody can know of calls without a record

    @property
    def _clock_stepped(self) -> bool:
        return bool({"clock_forward", "clock_back"} & self.world.faults.counts.keys())

    def begins(self) -> None:
        """A process starts. How long ago an earlier boot's calls left is told by the wall clock alone, and
        with a wall clock that was put back nobody can say which calls have no row of evidence.
        """
        self.lasting.begins()
        back = "clock_back" in self.world.faults.counts
        if back or (self.world.run_number > 1 and self._clock_stepped):
            self.calls.forget()

    def free_to_close(self, strategy: int, slot: int, product: int) -> tuple[int, bool]:
        """What the engine itself believes to be free to close, and whether nobody else meddles there."""
        stage = self.world.stage
        if stage is None or not stage.active:
            return 0, False
        position = stage.book.standing(strategy, slot, product)
        free = position.quantity
        if free:
            free -= position.open_sell if free > 0 else -position.open_buy
            gives_way = self.lasting.guards((strategy, slot, product))
            free += gives_way if position.quantity > 0 else -gives_way
        lost = any(order.lost for order in self.ledger.placed.values())
        alone = (slot, product) not in self.strangers and not self._undecided(strategy, slot, product)
        return free, alone and not lost

    def _undecided(self, strategy: int, slot: int, product: int) -> bool:
        """A wish of the strategy there waits: it may take what another one would close."""
        stories, twice = self.ledger.told.stories, self.ledger.told.twice
        return any(
            (name[0], wish.slot, wish.product) == (strategy, slot, product)
            and wish.kind in (PLACE, MODIFY)
            and sum(kind in DECIDED for kind in stories.get(name, ())) <= twice[name]
            for name, wish in self.wishes.items()
        )

    def traded(self, trade: Any) -> None:
        self.lasting.traded(trade, self.ledger.traded(trade))

    # On the wire

    def leaves(self, request: HttpRequest) -> None:
        """A call is about to leave."""
        call = self.world.network.read(request)
        if not call.kind:
            return
        self.read_journal()
        if call.kind == wire.PLACE:
            self._place_leaves(call)
        elif call.kind == wire.TRIGGER:
            self.lasting.trigger_leaves(request, call)
            if self.world.limits.triggers_are_orders:
                self._count(opening=False)
        else:
            placed = self.ledger.by_id.get(call.order_id)
            opening = False
            if call.kind == wire.MODIFY and placed is not None:
                if placed.modifying:
                    self.break_(f"order {placed.no} is modified while a modification is unanswered")
                placed.modifying = True
                quantity = call.quantity
                opening = self.lasting.opens(placed, quantity)
                self.lasting.grows(placed, quantity)
                placed.changes.append(quantity)
            self._count(opening=opening)

    def _place_leaves(self, call: Call) -> None:
        tag, told = call.tag, self.ledger.told
        record = told.by_tag.get(tag)
        if tag in self.ledger.placed:
            self.break_(f"order {tag} left a second time")
            return
        if record is None:
            self.break_(f"order {tag} left without a journal record")
            return
        name = (record["strategy"], record["seq"])
        if name in self.names:
            self.break_(f"intent {name} made the orders {self.names[name]} and {tag}")
        wish = self.wishes.get((name[0], record["parent"] or name[1]))
        by_engine = name[1] >= ENGINE_SEQ or (self.world.stage is not None and self.world.stage.stopping)
        if wish is None and not by_engine:
            self.break_(f"order {tag} was wished by nobody: {name}")
        placed = Placed(
            tag, record["no"], name, record["slot"], call.side, call.product, call.quantity, record["px"],
            bool(record["opening"]), parent=record["parent"], left_ns=self.world.now_ns,
        )  # fmt: skip
        self.lasting.leaves(placed, wish)
        if placed.opening and (waits := self._urgent_waits()):
            self.break_(f"order {placed.no} opens, and {waits} waits for a connection")
        if wish is not None:
            self._as_wished(placed, call, wish)
        if self.world.day.fsync and record["_end"] > self.world.journals[-1].durable:
            self.break_(f"order {tag} left before its record was on the disk")
        judged_again(self, placed)
        self.ledger.placed[tag] = placed
        self.names[name] = tag
        self.placed_today += 1
        self._count(opening=placed.opening)
        limits = self.world.limits
        if self.placed_today > limits.orders_per_day:
            self.break_(f"{self.placed_today} orders today > {limits.orders_per_day}")
        # What a trigger places is no call of ours.
        ours = [other.no for other in self.ledger.placed.values() if other.trigger is None]
        before = sum(number < placed.no for number in ours)
        if placed.opening and before >= limits.orders_per_day * limits.entry_share_of_day:
            self.break_(f"an opening was order {before + 1} of the day: the rest is for exits")

    def _urgent_waits(self) -> str:
        """A cancel, or an exit, that has not found a connection yet; "": there is none."""
        for waiting in self.world.network.lines.waiting:
            call = self.world.network.read(waiting.request)
            record = self.ledger.told.by_tag.get(call.tag) if call.kind == wire.PLACE else None
            if call.kind == wire.CANCEL or (record is not None and not record["opening"]):
                return f"the {call.kind} of {call.order_id or call.tag}"
        return ""

    def _as_wished(self, placed: Placed, call: Call, wish: Wish) -> None:
        row = self.world.exchange.instruments[placed.slot]
        sent = (call.slot, placed.side, placed.product, call.order_type)
        asked = (placed.slot, wish.side, wish.product, wish.order_type)
        whole = placed.quantity == wish.quantity or (
            row.freeze_quantity and wish.quantity > row.freeze_quantity
        )
        if (
            sent != asked
            or not whole
            or placed.slot != wish.slot
            or (call.px, call.trigger_px) != (wish.px, wish.trigger_px)
        ):
            self.break_(f"intent {placed.name} asked for {asked} at {wish.px}, sent was {sent} at {call.px}")

    def _count(self, *, opening: bool) -> None:
        for text in self.calls.left(self.world.now_ns, opening=opening):
            self.break_(text)

    def done(self, request: HttpRequest, response: HttpResponse) -> None:
        """The broker has answered a call, whether or not anybody hears it."""
        network = self.world.network
        call = network.read(request)
        if call.kind == wire.TRIGGER:
            self.lasting.trigger_done(request, response)
        if request.path == network.side.orders_path and response.status == 200:
            self._listed_ns = self.world.now_ns
        if call.kind == wire.PLACE:
            placed = self.ledger.placed.get(call.tag)
            if placed is None:
                return
            placed.under_way = False
            if response.status == 200:
                self.ledger.of_request(placed.tag, next(reversed(self.world.exchange.orders.values())))
        elif call.kind == wire.MODIFY:
            placed = self.ledger.by_id.get(call.order_id)
            if placed is not None and response.status == 200:
                placed.changing, placed.changed_ns = call.quantity, self.world.now_ns
            self._unchange(call)

    def gone(self, request: HttpRequest, unsent: bool) -> None:
        """This request will never be acted on; `unsent`: and the engine is told so."""
        call = self.world.network.read(request)
        if call.kind == wire.TRIGGER:
            self.lasting.trigger_gone(request, unsent)
        elif call.kind == wire.PLACE:
            placed = self.ledger.placed.get(call.tag)
            if placed is not None:
                placed.under_way, placed.unsent = False, unsent
        elif call.kind == wire.MODIFY:
            self._unchange(call)

    def _unchange(self, call: Call) -> None:
        placed = self.ledger.by_id.get(call.order_id)
        if placed is not None and call.quantity in placed.changes:
            placed.changes.remove(call.quantity)

    # In the journal

    def _files(self) -> list[bytearray]:
        return [file.data for file in self.world.journals]

    def read_journal(self) -> None:
        """What has been written since."""
        self.ledger.journal(self.world.journals)

    def look(self) -> None:
        """After each step."""
        self.read_journal()
        ledger, told = self.ledger, self.ledger.told
        if told.wrong:
            self.break_(told.wrong[0])
        seen = len(told.refused), len(told.absent), len(told.reports)
        if seen != self._seen:
            self._look_at(*self._seen)
            self._seen = seen
        self.lasting.ended()
        self.lasting.groups.ended()
        stage = self.world.stage
        if stage is not None:
            self.lasting.flattened |= stage.flattening
            if len(stage.desk.throttle) > QUEUES_MAX or self.world.network.in_flight > IN_FLIGHT_MAX:
                self.break_("a queue grows without bound")
            if stage.outbox.halted and stage.active:
                self.halt_told = True
        if ledger.cash_paise != self.world.exchange.account.cash_paise:
            self.break_("the exchange's cash is not the sum of its trades")

    def _asked_again(self, strategy: int, seq: int, wish: Wish) -> bool:
        """Its strategy has asked for the same closing once more since."""
        same = (wish.slot, wish.product, wish.side)
        return any(
            of == strategy and number > seq and (later.slot, later.product, later.side) == same
            for (of, number), later in self.wishes.items()
        )

    def _look_at(self, refused: int, absent: int, reports: int) -> None:
        """What the journal says since the last look, from so many refusals, absences and reports on."""
        ledger, told = self.ledger, self.ledger.told
        for data in told.refused[refused:]:
            wish = self.wishes.get((data["strategy"], data["seq"]))
            if wish is not None and wish.group:
                self.lasting.groups.refused(data, wish)
            if wish is not None and wish.sure and data["reason"] in NOT_FOR_EXITS:
                if data["reason"] == "FROZEN" and self._doubtful_exit(wish):
                    continue  # market.md 4: first two reads of the positions have to agree
                if (wish.slot, wish.product) in self.strangers:
                    continue  # somebody else has closed it meanwhile
                if self._asked_again(data["strategy"], data["seq"], wish):
                    continue  # it waited over a restart, and the later one has taken what it closes
                since = self._wished_at.get((data["strategy"], data["seq"]), -1)
                if self.lasting.in_the_way(data["reason"], data["strategy"], wish, since):
                    continue  # its exits have, or do not give way
                self.break_(f"exit {data['strategy']}/{data['seq']} refused: {data['reason']} {data['text']}")
        for no in told.absent[absent:]:
            placed = ledger.placed.get(told.tag_of(no))
            if placed is not None and (placed.order is not None or placed.under_way):
                self.break_(f"order {no} was declared absent, and lives or is still to arrive")
        for no, order_id, filled in told.reports[reports:]:
            owner, tag = ledger.by_id.get(order_id), told.tag_of(no)
            mine = ledger.placed.get(tag)
            alike = owner is not None and owner.lost and owner.order is not None and owner.order.tag is None
            if alike and owner is not None and mine is not None and mine.order is None:
                ledger.taken_over(owner, mine)
                owner = mine
            if owner is None and mine is not None and ledger.taken_for(order_id, mine):
                owner = mine
            if owner is None or owner.tag != tag:
                self.break_(f"the broker's order {order_id} was taken for order {no}")
            elif filled > owner.filled:
                self.break_(f"order {no}: {filled} filled was journalled, {owner.filled} is true")

    def _doubtful_exit(self, wish: Wish) -> bool:
        """An exit on that side has left, and nothing has told yet what became of it."""
        told = self.ledger.told
        return any(
            (row["slot"], row["side"]) == (wish.slot, wish.side) and not row["opening"]
            for no, row in told.by_no.items()
            if no not in told.named and no not in told.ended
        )
