"""Layer 4, campaigns and tests, cold: what must hold at every step of a simulated day.

On each call that leaves: an intent that was wished, a journal record before it, its name and its tag
never used before, the terms that were wished, the risk limits counted anew, no opening while latched, while
its price is old or beside an ambiguous order, and the broker's windows. On each journal record: the
broker's rows belong to the order they are told of, absence is true, a sure exit is not refused. In between:
nothing grows without bound. What must hold at rest stands in settled.py. Own sums everywhere (ledger.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from kite_hft.sim.order_path.flow import Wish
from kite_hft.sim.order_path.ledger import BUY, Ledger, Placed
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.units import NS_PER_S

if TYPE_CHECKING:
    from kite_hft.sim.order_path.world import OrdersWorld

QUEUES_MAX: Final = 256 + 1024
IN_FLIGHT_MAX: Final = 500
SIDES: Final = {"BUY": 1, "SELL": 2}
PRODUCTS: Final = {"CNC": 1, "NRML": 2, "MIS": 3, "MTF": 4}
TYPES: Final = {"MARKET": 1, "LIMIT": 2, "SL": 3, "SL-M": 4}
ENGINE_SEQ: Final = 1 << 62
PLACE: Final = 1
NOT_FOR_EXITS: Final = frozenset(
    ["HALTED", "REDUCING", "MARKET_HALT", "STALE_TICK", "NO_SNAPSHOT", "NO_REFERENCE_PRICE", "FROZEN",
     "MAX_EXPOSURE", "MAX_ORDER_VALUE", "MAX_POSITIONS", "MAX_WORKING_ORDERS", "THROTTLE_DEADLINE",
     "DAILY_LOSS", "DRAWDOWN", "COOLDOWN", "STOP_GUARD", "CAPITAL", "KILLED", "CUT_OFF", "CLOCK",
     "STRATEGY_HALTED", "PERIOD_LIMIT", "REPEATED"]
)  # fmt: skip
"""Reasons that bind openings only."""


class Checker:
    """Looks over one world's shoulder. `breaks`: what did not hold, in words."""

    def __init__(self, world: OrdersWorld) -> None:
        self.world = world
        self.breaks: list[str] = []
        self.ledger = Ledger(world.exchange, world.exchange.account.cash_paise)
        self.wishes: dict[tuple[int, int], Wish] = {}
        self.names: dict[tuple[int, int], str] = {}  # of orders that left -> tag
        self.strangers: set[tuple[int, int]] = set()  # (slot, product) where others have traded
        self.market_halted = False
        self.halt_told = False
        self.journal_failed = 0
        self.cool_until_ns = 0  # after a 429
        self.cancels_given_up: set[int] = set()
        self._sends: list[tuple[deque[int], deque[int]]] = [
            (deque(), deque()) for _ in world.limits.order_windows
        ]
        self.placed_today = 0
        self._seen = (0, 0, 0)  # refusals, absences, reports looked at

    def break_(self, text: str) -> None:
        """Something does not hold."""
        self.world.note(f"BREAK {text}")
        self.breaks.append(text)

    # What the world tells

    def wished(self, name: tuple[int, int], wish: Wish) -> None:
        self.wishes[name] = wish

    def stranger(self, slot: int, product: int) -> None:
        self.strangers.add((slot, product))

    def told_to_halt(self) -> None:
        self.halt_told = True

    def alerted(self, fields: dict[str, Any]) -> None:
        """What a person is told: some of it must never happen."""
        text = str(fields["text"])
        if fields["code"] == "HALTED" and text.startswith("egress") and not fields.get("cleared"):
            self.break_(f"the gate at the border had to stop a call: {text}")
        if fields["code"] == "CANCEL_FAILED" and " failed 1" in text:
            self.cancels_given_up.add(int(fields["key"]))

    def answered(self, request: HttpRequest, status: int) -> None:
        """An answer has come to the engine."""
        if request.method == "POST":
            placed = self.ledger.placed.get(dict(parse_qsl(request.body.decode())).get("tag", ""))
            if placed is not None:
                placed.told = True
        if request.method == "PUT" and status:
            placed = self.ledger.by_id.get(request.path.rsplit("/", 1)[1])
            if placed is not None:
                placed.modifying = False
        elif request.method == "GET" and status == 200 and request.path == "/orders":
            for placed in self.ledger.placed.values():
                placed.modifying = False  # its terms were read
                placed.changes.clear()
        if status == 429 and request.method != "GET":
            self.cool_until_ns = self.world.now_ns + round(self.world.limits.cooldown_after_429_s * NS_PER_S)

    def dies(self, why: str) -> None:
        self._read()
        for placed in self.ledger.placed.values():
            placed.modifying = False
        self.cool_until_ns = 0  # the process may have died before it could write the 429 down
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
        if any(order.lost for order in self.ledger.placed.values()):
            self._forget_calls()  # nobody can know of calls without a record

    def _forget_calls(self) -> None:
        for windows in self._sends:
            windows[0].clear()
            windows[1].clear()

    @property
    def _clock_stepped(self) -> bool:
        return bool({"clock_forward", "clock_back"} & self.world.faults.counts.keys())

    def begins(self) -> None:
        """A process starts. How long ago an earlier boot's calls left is told by the wall clock alone, and
        with a wall clock that was put back nobody can say which calls have no row of evidence.
        """
        back = "clock_back" in self.world.faults.counts
        if back or (self.world.run_number > 1 and self._clock_stepped):
            self._forget_calls()

    def free_to_close(self, strategy: int, slot: int, product: int) -> tuple[int, bool]:
        """What the engine itself believes to be free to close, and whether nobody else meddles there."""
        stage = self.world.stage
        if stage is None or not stage.active:
            return 0, False
        position = stage.book.standing(strategy, slot, product)
        free = position.quantity
        if free:
            free -= position.open_sell if free > 0 else -position.open_buy
        lost = any(order.lost for order in self.ledger.placed.values())
        return free, (slot, product) not in self.strangers and not lost

    def traded(self, trade: Any) -> None:
        self.ledger.traded(trade)

    # On the wire

    def leaves(self, request: HttpRequest) -> None:
        """A call is about to leave."""
        if request.method == "GET":
            return
        self._read()
        if request.method == "POST" and request.path.startswith("/orders/"):
            self._place_leaves(dict(parse_qsl(request.body.decode())))
        elif request.path.startswith("/orders/"):
            order_id = request.path.rsplit("/", 1)[1]
            placed = self.ledger.by_id.get(order_id)
            opening = False
            if request.method == "PUT":
                form = dict(parse_qsl(request.body.decode()))
                if placed is not None:
                    if placed.modifying:
                        self.break_(f"order {placed.no} is modified while a modification is unanswered")
                    placed.modifying = True
                    quantity = int(form.get("quantity", 0))
                    opening = quantity > placed.remaining + placed.filled
                    placed.changes.append(quantity)
            self._count(opening=opening)

    def _place_leaves(self, form: dict[str, str]) -> None:
        tag, told = form.get("tag", ""), self.ledger.told
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
        wish = self.wishes.get(name)
        by_engine = name[1] >= ENGINE_SEQ or (self.world.stage is not None and self.world.stage.stopping)
        if wish is None and not by_engine:
            self.break_(f"order {tag} was wished by nobody: {name}")
        placed = Placed(
            tag, record["no"], name, record["slot"], SIDES[form["transaction_type"]],
            PRODUCTS[form["product"]], int(form["quantity"]), record["px"], bool(record["opening"]),
        )  # fmt: skip
        if wish is not None:
            self._as_wished(placed, form, wish)
        if self.world.day.fsync and record["_end"] > self.world.journals[-1].durable:
            self.break_(f"order {tag} left before its record was on the disk")
        self._risk(placed)
        self.ledger.placed[tag] = placed
        self.names[name] = tag
        self.placed_today += 1
        self._count(opening=placed.opening)
        limits = self.world.limits
        if self.placed_today > limits.orders_per_day:
            self.break_(f"{self.placed_today} orders today > {limits.orders_per_day}")
        before = sum(1 for other in self.ledger.placed.values() if other.no < placed.no)
        if placed.opening and before >= limits.orders_per_day * limits.entry_share_of_day:
            self.break_(f"an opening was order {before + 1} of the day: the rest is for exits")

    def _as_wished(self, placed: Placed, form: dict[str, str], wish: Wish) -> None:
        row = self.world.exchange.instruments[placed.slot]
        px = round(float(form.get("price", 0)) * 100)
        trigger_px = round(float(form.get("trigger_price", 0)) * 100)
        sent = (
            form["tradingsymbol"],
            placed.side,
            placed.quantity,
            placed.product,
            TYPES[form["order_type"]],
        )
        asked = (row.symbol, wish.side, wish.quantity, wish.product, wish.order_type)
        if sent != asked or placed.slot != wish.slot or (px, trigger_px) != (wish.px, wish.trigger_px):
            self.break_(f"intent {placed.name} asked for {asked} at {wish.px}, sent was {sent} at {px}")

    def _risk(self, placed: Placed) -> None:
        """The gate once more, in sums of our own."""
        world, stage = self.world, self.world.stage
        if stage is None or not stage.active:
            self.break_(f"order {placed.no} left while the engine was not active")
            return
        if not placed.opening:
            self._reduces(placed)
            return
        told, risk = self.ledger.told, world.day.risk
        why = told.halted or told.reducing or ("told to halt" if self.halt_told else "")
        if world.latch is not None:
            why = why or f"killed: {world.latch[0]}"
        if world.now_ns < self.cool_until_ns and not world.day.fsync:
            why = why or "the cool-down after a 429"
        if why or self.market_halted or stage.stopping:
            self.break_(f"order {placed.no} opens: {why or 'market halt or stop'}")
        price = world.prices.rows.get(placed.slot)
        if price is None or world.clock.mono - price[2] > risk.stale_tick_s * NS_PER_S:
            self.break_(f"order {placed.no} opens on an old price: {price}, now {world.clock.mono}")
        if placed.slot in world.stale:
            self.break_(f"order {placed.no} opens before a tick has come since the reconnect")
        self._sizes(placed, price[0] if price else 0)
        for no in told.ambiguous:
            other = told.by_no.get(no)
            if other and (other["slot"], other["side"]) == (placed.slot, placed.side):
                self.break_(f"order {placed.no} opens beside the ambiguous order {no}")

    def _sizes(self, placed: Placed, px: int) -> None:
        world, risk = self.world, self.world.day.risk
        row = world.exchange.instruments[placed.slot]
        if (
            placed.quantity > risk.max_order_quantity
            or placed.quantity % row.lot_size
            or placed.px % row.tick_px
        ):
            self.break_(f"order {placed.no}: quantity {placed.quantity} at {placed.px}")
        if row.freeze_quantity and placed.quantity > row.freeze_quantity:
            self.break_(f"order {placed.no}: quantity {placed.quantity} > freeze {row.freeze_quantity}")
        if placed.px * placed.quantity > risk.max_order_value * 100:
            self.break_(f"order {placed.no}: value {placed.px * placed.quantity}")
        off = abs(placed.px - px) * 100
        if placed.px and px and off > (risk.price_collar_percent + 1) * px:
            self.break_(f"order {placed.no}: {placed.px} is far off {px}")
        live = [order for order in self.ledger.mine() if order.remaining and order.no < placed.no]
        if len(live) >= risk.max_working_orders:
            self.break_(f"order {placed.no} is one more beside {len(live)} live ones")
        if any(key[0] == placed.slot for key in self.strangers):
            return
        worst = self._worst(placed)
        # It was judged by the price of then, and may have waited.
        low_px = min([p for p in (placed.px, px) if p], default=0) * 97 // 100
        if worst * low_px > risk.max_position_size * 100:
            self.break_(f"order {placed.no}: worst case {worst} of slot {placed.slot} at {low_px}")

    def _worst(self, placed: Placed) -> int:
        """The largest position of the slot on the order's side, were all older orders of it to fill."""
        worst = placed.quantity
        for order in self.ledger.mine():
            if order.slot != placed.slot:
                continue
            if order.side != placed.side:
                worst -= order.filled
            elif order.no < placed.no:
                worst += order.filled + order.remaining
        return worst

    def _reduces(self, placed: Placed) -> None:
        """It was judged to reduce: then what older orders leave of the position is enough for it."""
        free = 0
        for order in self.ledger.mine():
            if order.key != placed.key:
                continue
            if order.side != placed.side:
                free += order.filled
            elif order.no < placed.no:
                free -= order.filled + order.remaining
        told = self.ledger.told  # what was cut when it was judged: at best
        cut = -told.cut_low[placed.key] if placed.side == BUY else told.cut_high[placed.key]
        if free + cut < placed.quantity:
            self.break_(f"order {placed.no} of {placed.quantity} passed as an exit of {free}")

    def _count(self, *, opening: bool) -> None:
        """The broker's windows, recounted where calls leave."""
        now_ns = self.world.now_ns
        for limit, (calls, entries) in zip(self.world.limits.order_windows, self._sends, strict=True):
            for times, counts, most in (
                (calls, True, limit.calls),
                (entries, opening, limit.calls - limit.reserved),
            ):
                if not counts:
                    continue
                times.append(now_ns)
                span_ns = round(limit.window_s * NS_PER_S)
                while times[0] <= now_ns - span_ns:
                    times.popleft()
                if len(times) > most:
                    what = "entries" if times is entries else "calls"
                    self.break_(f"{len(times)} {what} within {limit.window_s} s > {most}")

    def done(self, request: HttpRequest, response: HttpResponse) -> None:
        """The broker has answered a call, whether or not anybody hears it."""
        if request.method == "GET":
            return
        if request.method == "POST":
            placed = self.ledger.placed.get(dict(parse_qsl(request.body.decode())).get("tag", ""))
            if placed is None:
                return
            placed.under_way = False
            if response.status == 200:
                self.ledger.of_request(placed.tag, next(reversed(self.world.exchange.orders.values())))
        elif request.method == "PUT" and response.status != 200:
            self._unchange(request)

    def gone(self, request: HttpRequest, unsent: bool) -> None:
        """This request will never be acted on; `unsent`: and the engine is told so."""
        if request.method == "POST":
            placed = self.ledger.placed.get(dict(parse_qsl(request.body.decode())).get("tag", ""))
            if placed is not None:
                placed.under_way, placed.unsent = False, unsent
        elif request.method == "PUT":
            self._unchange(request)

    def _unchange(self, request: HttpRequest) -> None:
        placed = self.ledger.by_id.get(request.path.rsplit("/", 1)[1])
        quantity = int(dict(parse_qsl(request.body.decode())).get("quantity", 0))
        if placed is not None and quantity in placed.changes:
            placed.changes.remove(quantity)

    # In the journal

    def _files(self) -> list[bytearray]:
        return [file.data for file in self.world.journals]

    def _read(self) -> None:
        self.ledger.journal(self._files())

    def look(self) -> None:
        """After each step."""
        self._read()
        ledger, told = self.ledger, self.ledger.told
        if told.wrong:
            self.break_(told.wrong[0])
        refused, absent, reports = self._seen
        for data in told.refused[refused:]:
            wish = self.wishes.get((data["strategy"], data["seq"]))
            if wish is not None and wish.sure and data["reason"] in NOT_FOR_EXITS:
                if data["reason"] == "FROZEN" and self._doubtful_exit(wish):
                    continue  # market.md 4: first two reads of the positions have to agree
                if (wish.slot, wish.product) in self.strangers:
                    continue  # somebody else has closed it meanwhile
                self.break_(f"exit {data['strategy']}/{data['seq']} refused: {data['reason']} {data['text']}")
        for no in told.absent[absent:]:
            placed = ledger.placed.get(told.by_no[no]["tag"])
            if placed is not None and (placed.order is not None or placed.under_way):
                self.break_(f"order {no} was declared absent, and lives or is still to arrive")
        for no, order_id, filled in told.reports[reports:]:
            owner, tag = ledger.by_id.get(order_id), told.by_no[no]["tag"]
            mine = ledger.placed.get(tag)
            alike = owner is not None and owner.lost and owner.order is not None and owner.order.tag is None
            if alike and owner is not None and mine is not None and mine.order is None:
                ledger.taken_over(owner, mine)
                owner = mine
            if owner is None or owner.tag != tag:
                self.break_(f"the broker's order {order_id} was taken for order {no}")
            elif filled > owner.filled:
                self.break_(f"order {no}: {filled} filled was journalled, {owner.filled} is true")
        self._seen = len(told.refused), len(told.absent), len(told.reports)
        stage = self.world.stage
        if stage is not None:
            if len(stage.desk.throttle) > QUEUES_MAX or self.world.network.in_flight > IN_FLIGHT_MAX:
                self.break_("a queue grows without bound")
            if stage.outbox.halted and stage.active:
                self.halt_told = True
        if ledger.cash_paise != self.world.exchange.account.cash_paise:
            self.break_("the exchange's cash is not the sum of its trades")

    def _doubtful_exit(self, wish: Wish) -> bool:
        """An exit on that side has left, and nothing has told yet what became of it."""
        told = self.ledger.told
        return any(
            (row["slot"], row["side"]) == (wish.slot, wish.side) and not row["opening"]
            for no, row in told.by_no.items()
            if no not in told.named and no not in told.ended
        )
