"""Layer 4, campaigns and tests, cold: what must hold once the faults have ended and all has come to rest.

Positions, executions and money equal the exchange's, to the paisa; every order and every intent has
exactly one story; strategies and people were told it; the journal gives the very same book again.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from kite_hft.layout import OrderStatus
from kite_hft.sim.order_path.ledger import BUY, ENGINE_SEQ, Placed
from kite_hft.trading.book import Book
from kite_hft.trading.lifecycle import TERMINAL as TERMINAL_STATES
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.recovery.replay import replay

if TYPE_CHECKING:
    from kite_hft.sim.exchange.orders import Order as Sent
    from kite_hft.sim.order_path.checkers import Checker
    from kite_hft.sim.order_path.flow import Wish
    from kite_hft.stages.orders import Orders

PLACE: Final = 1
CANCEL: Final = 3
EXITS: Final = 5
GTT: Final = 6
TAKES_NS: Final = 10_000_000
"""So long does a modification that was taken go through the exchange at most."""
ENDS: Final = ("INTENT", "REFUSED", "WITHDRAWN")
TERMINAL: Final = {"COMPLETE": "COMPLETE", "CANCELLED": "CANCELLED", "REJECTED": "REJECTED"}
NEVER_THERE: Final = frozenset({"REJECTED", "REFUSED", "ABSENT", "CANCELLED"})


def unheard(checker: Checker) -> bool:
    """A trigger has placed an order, and the list that tells of it was not read yet."""
    told, trigger_of = checker.ledger.told.children, checker.world.trigger_of
    lost = {trigger.number for trigger in checker.ledger.triggers if trigger.lost}
    orders = orders_of_triggers(checker)
    return any(order.order_id not in told and trigger_of(order) not in lost for order in orders)


def at_rest(checker: Checker, settled: bool) -> None:
    """All of it. `settled`: everything did come to rest in the time given."""
    world = checker.world
    stage = world.stage
    if stage is None or not settled:
        checker.break_(f"not at rest: {_unrest(checker)}")
        return
    doubtful = _orders(checker, stage)
    _positions(checker, stage, doubtful)
    _stories(checker)
    _strategies_know(checker, stage)
    _rows(checker, stage)
    _replayed(checker, stage)
    if world.latch is not None and not stage.flattening:
        _stops_fit(checker, stage)
    checker.lasting.at_rest()


def _unrest(checker: Checker) -> str:
    stage = checker.world.stage
    if stage is None:
        return "the process is down"
    live = [f"{o.order_no} {o.status.name}" for o in stage.book.live_orders.values()]
    return (
        f"active {stage.active}, halted {stage.outbox.halted!r}, token {stage.states.token_dead!r}, "
        f"cancelling {stage.desk.cancelling}, live {live}, idle {stage.idle}, "
        f"in flight {checker.world.network.in_flight}, uncovered {checker.lasting.uncovered()!r}, "
        f"groups {checker.ledger.told.groups}"
    )


def _orders(checker: Checker, stage: Orders) -> set[int]:
    """Every order stands as at the broker; returns slots where one stays in doubt."""
    doubtful: set[int] = set()
    for fired in orders_of_triggers(checker):
        checker.ledger.fired(fired)
    for placed in checker.ledger.placed.values():
        if placed.lost:
            lives = placed.order is not None and not placed.order.done and placed.order.tag is not None
            if lives and placed.order is not None and stage.book.by_id(placed.order.order_id) is None:
                checker.break_(f"order {placed.tag} of an earlier run lives, and nobody knows it")
            continue
        order = stage.book.orders.get(placed.no)
        if order is None:
            checker.break_(f"order {placed.no} has left, and the book does not know it")
        elif order.status is OrderStatus.AMBIGUOUS:
            doubtful.add(placed.slot)
        elif placed.order is None:
            whole = checker.world.run_number == 1 and not checker.journal_failed
            looked_for = order.status is OrderStatus.ABSENT and whole
            if placed.unsent and placed.told and looked_for:
                checker.break_(f"order {placed.no} never left, and was looked for")
            if order.status.name not in NEVER_THERE or order.filled:
                checker.break_(f"order {placed.no} is {order.status.name}, and the broker never had it")
        else:
            _as_at_broker(checker, placed, order.status.name, order.filled, order.quantity)
    for order in stage.book.orders.values():
        known = order.strategy == EXTERNAL or bool(checker.ledger.told.tag_of(order.order_no))
        if (
            not known
            and order.status is not OrderStatus.REFUSED
            and order.status is not OrderStatus.CANCELLED
        ):
            checker.break_(f"order {order.order_no} {order.status.name} was never journalled")
    return doubtful


def _as_at_broker(checker: Checker, placed: Placed, status: str, filled: int, quantity: int) -> None:
    truth = placed.order
    assert truth is not None
    told = truth.now.status.replace(" ", "_")
    wanted = TERMINAL.get(told, told)
    # A plan changes its orders as prices move, and these trigger them, also when all else has come to rest.
    # No update says what becomes of a modification, nor that a stop has triggered: the book has to be read.
    network, changed_ns = checker.world.network, placed.changed_ns + TAKES_NS
    if truth.triggered and status == "TRIGGER_PENDING":
        changed_ns = max(changed_ns, truth.now.at_ns - network.start_real_ns - network.skew_ns)
    unread = checker.read_ns <= changed_ns and not truth.done
    if filled != placed.filled or (status != wanted and not unread):
        checker.break_(
            f"order {placed.no} is {status} with {filled} filled, at the broker {told} with {placed.filled}"
        )
    if not truth.done and quantity != truth.now.quantity:
        checker.break_(f"order {placed.no} has quantity {quantity}, at the broker {truth.now.quantity}")


def _positions(checker: Checker, stage: Orders, doubtful: set[int]) -> None:
    ledger, account = checker.ledger, checker.world.exchange.account
    whole: Counter[tuple[int, int]] = Counter()
    for (_strategy, slot, product), position in stage.book.positions.items():
        whole[slot, product] += position.quantity
    for (slot, product), theirs in account.positions.items():
        if whole[slot, int(product)] != theirs.net or ledger.positions[slot, int(product)] != theirs.net:
            checker.break_(
                f"slot {slot} {product.name}: {whole[slot, int(product)]} in the book, "
                f"{theirs.net} at the broker"
            )
    for key, position in stage.book.positions.items():
        if key[0] == EXTERNAL or key[1] in doubtful:
            continue
        quantity, units = ledger.held(key)
        if (position.quantity, position.net_units) != (quantity, units):
            checker.break_(
                f"position {key}: {position.quantity} worth {position.net_units} in the book, executions and "
                f"cuts give {quantity} worth {units}"
            )
        if position.quantity != sum(fill.quantity for fill in position.fills):
            checker.break_(f"position {key} is not the sum of its fills")


def _stories(checker: Checker) -> None:
    stories, waiting = checker.ledger.told.stories, checker.world.intents.waiting()
    for name, wish in checker.wishes.items():
        story = stories.get(name, [])
        if not story and checker.journal_failed:
            continue  # a full disk takes no refusal, and holds up no cancel
        if not story and not waiting:
            checker.break_(f"intent {name} has no record")
        if wish.kind == CANCEL:
            _seen_through(checker, name, wish, story)
        taken = {EXITS: "PLAN", GTT: "GTT"}.get(wish.kind)
        if taken and taken not in story and "REFUSED" not in story:
            checker.break_(f"intent {name} was neither taken nor refused: {story}")
        if wish.kind != PLACE:
            family = checker.lasting.families.get((name[0], wish.target_seq), ())
            if story.count("CALL") > max(1, len(family)):
                checker.break_(f"intent {name} was sent {story.count('CALL')} times")
            continue
        ends = [kind for kind in story if kind in ENDS]
        # The same intent pushed twice may be refused once more, before or after its own end.
        refusals = min(ends.count("REFUSED"), checker.world.flow.doubled[name])
        if len(ends) - refusals not in ((0, 1) if refusals else (1,)):
            checker.break_(f"intent {name} has the story {story}")


def _seen_through(checker: Checker, name: tuple[int, int], wish: Wish, story: list[str]) -> None:
    """A cancel that was taken in has ended its order."""
    if "REFUSED" in story or not story:
        return
    target = (name[0], wish.target_seq)
    for placed in checker.ledger.mine():
        mine = placed.name == target or (placed.name[0], placed.parent) == target
        if mine and placed.remaining and placed.no not in checker.cancels_given_up:
            checker.break_(f"cancel {name} was taken, and order {placed.no} still lives")
    for trigger in checker.ledger.triggers:
        if trigger.name == target and not trigger.lost and checker.lasting.lives(trigger):
            checker.break_(f"cancel {name} was taken, and its trigger still waits")


def _strategies_know(checker: Checker, stage: Orders) -> None:
    world = checker.world
    world.flow.listen()
    for order in stage.book.orders.values():
        name = (order.strategy, order.strategy_seq)
        if order.strategy == EXTERNAL or order.status is OrderStatus.REFUSED or name not in checker.wishes:
            continue
        told = world.flow.last_told.get(name)
        status, filled = _as_one(stage, order)
        if told is None or told[1:] != (int(status), filled):
            if told is None and world.run_number > 1:
                continue  # its strategy is a new one, and the order ended before it came
            checker.break_(f"strategy {name} believes {told}, its order is {status.name} {filled}")
    for key, position in stage.book.positions.items():
        if key[0] != EXTERNAL and position.fills and world.flow.positions.get(key, 0) != position.quantity:
            checker.break_(
                f"strategy {key} believes to hold {world.flow.positions.get(key)}, "
                f"it holds {position.quantity}"
            )


def _as_one(stage: Orders, order: Order) -> tuple[OrderStatus, int]:
    """(status, filled) of an order and its slices, as its strategy has to know them."""
    parts = [
        other
        for other in stage.book.orders.values()
        if other.strategy == order.strategy and order.strategy_seq in (other.parent, other.strategy_seq)
    ]
    filled = sum(part.filled for part in parts)
    live = [part.status for part in parts if part.status not in TERMINAL_STATES]
    if live:
        return (OrderStatus.AMBIGUOUS if OrderStatus.AMBIGUOUS in live else live[0]), filled
    ends = {part.status for part in parts}
    return (ends.pop() if len(ends) == 1 else OrderStatus.CANCELLED), filled


def _rows(checker: Checker, stage: Orders) -> None:
    """orders.csv and trades.csv tell people the same."""
    files = checker.world.files
    quantity: Counter[int] = Counter()
    paise: Counter[int] = Counter()
    for row in files.trades:
        if row["order_no"]:
            quantity[row["order_no"]] += row["quantity"]
            paise[row["order_no"]] += int(Decimal(row["value"]) * 100)
    rows = Counter(row["order_no"] for row in files.orders)
    for placed in checker.ledger.mine():
        order = stage.book.orders.get(placed.no)
        if order is None or order.status is OrderStatus.AMBIGUOUS:
            continue
        value = placed.units  # paise: every multiplier of the table is 1
        if (quantity[placed.no], paise[placed.no]) != (placed.filled, value):
            checker.break_(
                f"trades.csv has {quantity[placed.no]} worth {paise[placed.no]} of order {placed.no}, "
                f"true is {placed.filled} worth {value}"
            )
        # A journal that failed may have lost the end that people were told of: it is told once more.
        most = 1 + checker.journal_failed
        if placed.order is not None and placed.order.done and not 1 <= rows[placed.no] <= most:
            checker.break_(f"orders.csv has {rows[placed.no]} rows of order {placed.no}")


def _replayed(checker: Checker, stage: Orders) -> None:
    """The journal alone gives the book, the latches and the counters."""
    world = checker.world
    records = [record for fd in world.journals for record in world.records(fd)]
    book = Book(world.exchange.instruments)
    found = replay(records, book, world.exchange.instruments, world.clock.mono)
    for number, live in stage.book.orders.items():
        if live.strategy == EXTERNAL or live.status is OrderStatus.REFUSED:
            continue
        again = book.orders.get(number)
        if again is None:
            if checker.ledger.told.tag_of(number):
                checker.break_(f"order {number} is not in the replayed book")
            continue
        left = (again.status, again.filled, again.filled_units, again.order_id)
        if left != (live.status, live.filled, live.filled_units, live.order_id):
            checker.break_(f"order {number}: replay gives {left}, alive is {live.status.name} {live.filled}")
    for key, position in stage.book.positions.items():
        if key[0] != EXTERNAL and position.quantity != book.standing(*key).quantity:
            checker.break_(
                f"position {key}: replay gives {book.standing(*key).quantity}, not {position.quantity}"
            )
    if found.halted != stage.outbox.halted or found.reducing != stage.states.reducing:
        checker.break_(
            f"latches: replay gives {found.halted!r} {found.reducing!r}, alive {stage.outbox.halted!r}"
        )
    if found.placed != len(checker.ledger.told.by_no):
        checker.break_(
            f"{found.placed} orders counted by replay, {len(checker.ledger.told.by_no)} journalled"
        )


def _stops_fit(checker: Checker, stage: Orders) -> None:
    """No stop that a strategy placed itself, and that waits for its trigger, would open a position."""
    if stage.states.token_dead:
        return  # nothing can be changed
    ledger = checker.ledger
    waiting: Counter[tuple[tuple[int, int, int], int]] = Counter()
    for placed in ledger.mine():
        own = placed.name[1] < ENGINE_SEQ or 0 < placed.parent < ENGINE_SEQ
        truth = placed.order
        if own and truth is not None and not truth.done and truth.now.status == "TRIGGER PENDING":
            waiting[placed.key, placed.side] += placed.remaining
    for (key, side), quantity in waiting.items():
        held = ledger.held(key)[0] * (-1 if side == BUY else 1)
        if quantity > max(0, held):
            checker.break_(f"stops of {quantity} wait for their trigger on {key}, {held} is held")


def _protects(checker: Checker, placed: Placed) -> bool:
    """A stop that was to open waits for its trigger on the closing side of what is held; how large it may be
    is looked at with the others.
    """
    held = checker.ledger.held(placed.key)[0] * (-1 if placed.side == BUY else 1)
    return held > 0 and placed.order is not None and placed.order.now.status == "TRIGGER PENDING"


def stopped(checker: Checker, idle: bool) -> None:
    """After the stop: openings are gone, and a flatten has left nothing that the market would take."""
    stage, world = checker.world.stage, checker.world
    if checker.breaks or stage is None:
        return
    if not idle and world.day.stop != "flatten":
        checker.break_(f"the stop does not end: {_unrest(checker)}")
    if world.day.stop in ("cancel", "flatten") and idle:
        for placed in checker.ledger.mine():
            if (
                placed.opening
                and placed.remaining
                and placed.order is not None
                and not _protects(checker, placed)
            ):
                checker.break_(f"order {placed.no} opens, and lives after the stop")
        _stops_fit(checker, stage)
    if world.day.stop == "flatten" and idle and not stage.flattening:
        for placed in checker.ledger.mine():
            if placed.remaining:
                checker.break_(f"order {placed.no} lives after flattening")
    if world.day.stop == "flatten" and idle:
        for key, position in stage.book.positions.items():
            if key[0] != EXTERNAL and position.quantity and not stage.flattening:
                checker.break_(f"position {key}: {position.quantity} left after flattening")
    ours = sum((1 if o.side == BUY else -1) * o.filled for o in checker.ledger.placed.values())
    if ours != sum(checker.ledger.positions.values()) and not checker.strangers:
        checker.break_("the exchange's positions are not the sum of our executions")


def orders_of_triggers(checker: Checker) -> list[Sent]:
    """At the exchange, of triggers that are ours."""
    known = {trigger.number for trigger in checker.ledger.triggers if trigger.number}
    rows = checker.world.exchange.orders.values() if known else ()
    trigger_of = checker.world.trigger_of
    return [order for order in rows if trigger_of(order) in known and order.now.status != "REJECTED"]
