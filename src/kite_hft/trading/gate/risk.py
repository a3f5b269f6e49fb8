"""Layer 2, orders process, hot: may this intent become an order? One table of small checks.

CHECKS gives each check (see checks.py) its reason, the kinds of intent that it applies to, whether
it binds reducing intents too, and whether it is asked again when the intent had to wait for the
throttle. _risk.Plain says quickly that all of them would pass; the table alone refuses.
What adds risk fails closed: no price, an old price, an unknown size mean no.

Reducing is judged from the book (position against everything that is live), never from the
intent's EXIT flag: a flag alone opens no door.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kite_hft import _risk
from kite_hft._risk import Plain
from kite_hft.layout import IntentKind, Reason
from kite_hft.trading.book import Book, Order
from kite_hft.trading.gate import checks
from kite_hft.trading.gate.checks import Context, RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Intent


@dataclass(frozen=True, slots=True)
class Verdict:
    """A refusal: the reason for programs, the text with the numbers for people."""

    reason: Reason
    text: str


def is_reducing(intent: Intent, book: Book, target: Order | None) -> bool:
    """True when, were every live order to fill, this one would only shrink its position."""
    if intent.kind == IntentKind.PLACE:
        position = book.standing(intent.strategy, intent.slot, intent.product)
        return intent.qty > 0 and position.reduces(intent.side, intent.qty)
    if intent.kind == IntentKind.MODIFY and target is not None:
        more = max(0, intent.qty - max(target.quantity, target.quantity_max)) if intent.qty else 0
        return book.position(target).reduces(target.side, more)
    return intent.kind == IntentKind.CANCEL


PLACE, MODIFY, CANCEL = int(IntentKind.PLACE), int(IntentKind.MODIFY), int(IntentKind.CANCEL)
_P, _PM, _MC, _M = {PLACE}, {PLACE, MODIFY}, {MODIFY, CANCEL}, {MODIFY}
_ALL = {PLACE, MODIFY, CANCEL}

Check = Callable[[Intent, Context, RiskLimits], str | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of CHECKS."""

    reason: Reason
    check: Check
    kinds: frozenset[int]
    reducing: bool  # binds reducing intents too
    again: bool  # asked once more when the intent had to wait


def _row(reason: Reason, check: Check, kinds: set[int], *, reducing: bool, again: bool = False) -> Row:
    return Row(reason, check, frozenset(kinds), reducing, again)


CHECKS: Final = (
    _row(Reason.TOKEN_DEAD, checks.token_dead, _ALL, reducing=True, again=True),
    _row(Reason.NOT_ACTIVE, checks.active, _ALL, reducing=True),
    _row(Reason.DUPLICATE_INTENT, checks.duplicate, _ALL, reducing=True),
    _row(Reason.UNKNOWN_INSTRUMENT, checks.known, _PM, reducing=True),
    _row(Reason.BAD_INTENT, checks.fields, _P, reducing=True),
    _row(Reason.BAD_INTENT, checks.numbers, _PM, reducing=True),
    _row(Reason.UNKNOWN_ORDER, checks.target, _MC, reducing=True),
    _row(Reason.BAD_INTENT, checks.target_slot, _M, reducing=True),
    _row(Reason.ORDER_NOT_OPEN, checks.target_open, _MC, reducing=True, again=True),
    _row(Reason.ORDER_NOT_OPEN, checks.target_settled, _M, reducing=True),
    _row(Reason.NO_CHANGE, checks.modify, _M, reducing=True, again=True),
    _row(Reason.BAD_INTENT, checks.modify_filled, _M, reducing=True, again=True),
    _row(Reason.MODIFICATION_CAP, checks.modifications, _M, reducing=True),
    _row(Reason.NOT_TRADABLE, checks.tradable, _PM, reducing=True),
    _row(Reason.LOT_MULTIPLE, checks.lot, _PM, reducing=True),
    _row(Reason.TICK_SIZE, checks.tick_ok, _PM, reducing=True),
    _row(Reason.MAX_ORDER_QUANTITY, checks.quantity, _PM, reducing=True),
    _row(Reason.HALTED, checks.halted, _PM, reducing=False, again=True),
    _row(Reason.REDUCING, checks.reducing_only, _PM, reducing=False, again=True),
    _row(Reason.MARKET_HALT, checks.market_halted, _PM, reducing=False, again=True),
    _row(Reason.FROZEN, checks.frozen, _PM, reducing=False, again=True),
    _row(Reason.NO_SNAPSHOT, checks.fresh, _PM, reducing=False, again=True),
    _row(Reason.NO_REFERENCE_PRICE, checks.reference, _PM, reducing=False, again=True),
    _row(Reason.STALE_TICK, checks.stale, _PM, reducing=False, again=True),
    _row(Reason.FROZEN, checks.exit_left, _P, reducing=False, again=True),
    _row(Reason.PRICE_COLLAR, checks.collar, _PM, reducing=True, again=True),
    _row(Reason.MAX_ORDER_VALUE, checks.order_value, _PM, reducing=False),
    _row(Reason.MAX_EXPOSURE, checks.position_size, _PM, reducing=False),
    _row(Reason.MAX_EXPOSURE, checks.exposure, _PM, reducing=False),
    _row(Reason.MAX_POSITIONS, checks.positions, _P, reducing=False),
    _row(Reason.MAX_WORKING_ORDERS, checks.working, _P, reducing=False),
)
"""In order: the first that refuses gives the reason. `checks.kind` stands before the table."""

_APPLYING: Final = {
    (kind, reducing, again): tuple(
        (row.check, row.reason)
        for row in CHECKS
        if kind in row.kinds and (row.reducing or not reducing) and (row.again or not again)
    )
    for kind in _ALL
    for reducing in (False, True)
    for again in (False, True)
}
"""(kind, reducing, again) -> the lines of CHECKS that apply then."""

if tuple(check.__name__ for check, _reason in _APPLYING[PLACE, False, False]) != _risk.CHECKS:
    raise ImportError("CHECKS and the quick answer in ext/risk.pyx differ: a new check belongs in both")


def plain_of(instruments: InstrumentTable, limits: RiskLimits) -> Plain:
    """What tells quickly that none of CHECKS refuses a plain placement."""
    rows = [
        (
            row.lot_size,
            row.tick_px,
            -1 if row.freeze_quantity is None else row.freeze_quantity,
            (row.multiplier or 1) if row.scale == checks.PAISE_SCALE else 0,
            checks.untradable(row) is None and (row.freeze_quantity is None or row.freeze_quantity >= 0),
        )
        for row in instruments.rows
    ]
    return Plain(instruments, rows, limits, checks.CUT_QUIET_NS)


def judge(
    intent: Intent,
    context: Context,
    limits: RiskLimits,
    *,
    again: bool = False,
    plain: Plain | None = None,
) -> Verdict | None:
    """The refusal of `intent`, or None. Sets `context.reducing` on the first call.

    `plain`, made for the same instruments and limits: spares most placements the way through the table.

    `again`: only the checks whose answer may change while an intent waits; `context.reducing` then
    stands as first judged, for the waiting order counts itself in the book.
    """
    if not again:
        if text := checks.kind(intent, context, limits):
            return Verdict(Reason.BAD_INTENT, text)
        context.reducing = is_reducing(intent, context.book, context.target)
        if plain is not None and plain.passes(intent, context):
            return None
    for check, reason in _APPLYING[intent.kind, context.reducing, again]:
        if text := check(intent, context, limits):
            return Verdict(reason, text)
    return None


def gather(
    intent: Intent,
    instruments: InstrumentTable,
    book: Book,
    *,
    active: bool,
    halted: str,
    tick: tuple[int, int, int],
    mark: Callable[[int], int],
    modifications_max: int,
    last_seq: int,
    token_dead: str = "",
    reducing_only: str = "",
    market_halted: bool = False,
    fresh: bool = True,
    now_ns: int = 0,
) -> Context:
    """The context of one intent. `tick`: (last price, tick sequence, age in ns), (0, 0, -1): none.

    `mark(slot)`: last price of any slot, 0: none.
    """
    slot = intent.slot
    target = book.by_strategy(intent.strategy, intent.target_seq) if intent.kind in (MODIFY, CANCEL) else None
    position = book.positions.get((intent.strategy, slot, intent.product))
    cut_ns = position.cut_ns if position else 0
    rows = instruments.rows
    return Context(  # in the order of its fields: by name takes twice as long
        rows[slot] if slot < len(rows) else None,
        instruments,
        book,
        active,
        halted,
        *tick,
        mark,
        target,
        modifications_max,
        last_seq,
        False,
        token_dead,
        reducing_only,
        market_halted,
        fresh,
        now_ns - cut_ns if cut_ns else -1,
    )
