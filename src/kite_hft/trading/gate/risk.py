"""Layer 2, orders process, hot: may this intent become an order? One table of small checks.

CHECKS gives each check (see checks.py) its reason, the kinds of intent that it applies to, whether
it binds reducing intents too, and whether it is asked again when the intent had to wait for the
throttle. _risk.Plain says quickly that a good part of them would pass; the table alone refuses.
What adds risk fails closed: no price, an old price, an unknown size, an unknown list mean no. What
reduces passes; only what the exchange could not take anyway, or a price far off, stops it.

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
from kite_hft.trading.gate import checks_conduct as conduct
from kite_hft.trading.gate import checks_form as form
from kite_hft.trading.gate import checks_market as market
from kite_hft.trading.gate import checks_size as size
from kite_hft.trading.gate.checks import Context, RiskLimits
from kite_hft.trading.gate.facts import OPEN_FACTS, OPEN_VIEW, Facts, View
from kite_hft.trading.gate.guards import Guards, Tally
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
        position = book.positions.get((intent.strategy, intent.slot, intent.product))
        return position is not None and intent.qty > 0 and position.reduces(intent.side, intent.qty)
    if intent.kind == IntentKind.MODIFY and target is not None:
        more = max(0, intent.qty - max(target.quantity, target.quantity_max)) if intent.qty else 0
        if not more and not target.opening:
            return True  # an exit at other terms, or of less
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
    _row(Reason.TOKEN_DEAD, conduct.token_dead, _ALL, reducing=True, again=True),
    _row(Reason.NOT_ACTIVE, conduct.active, _ALL, reducing=True),
    _row(Reason.DUPLICATE_INTENT, form.duplicate, _ALL, reducing=True),
    # The intent for itself, and the order that it names
    _row(Reason.UNKNOWN_INSTRUMENT, form.known, _PM, reducing=True),
    _row(Reason.BAD_INTENT, form.fields, _P, reducing=True),
    _row(Reason.BAD_INTENT, form.numbers, _PM, reducing=True),
    _row(Reason.UNKNOWN_ORDER, form.target, _MC, reducing=True),
    _row(Reason.BAD_INTENT, form.target_slot, _M, reducing=True),
    _row(Reason.ORDER_NOT_OPEN, form.target_open, _MC, reducing=True, again=True),
    _row(Reason.ORDER_NOT_OPEN, form.target_settled, _M, reducing=True),
    _row(Reason.NO_CHANGE, form.modify, _M, reducing=True, again=True),
    _row(Reason.BAD_INTENT, form.modify_filled, _M, reducing=True, again=True),
    _row(Reason.MODIFICATION_CAP, form.modifications, _M, reducing=True),
    _row(Reason.BAD_INTENT, form.stop_price, _PM, reducing=True),
    _row(Reason.NOT_TRADABLE, form.tradable, _PM, reducing=True),
    _row(Reason.LOT_MULTIPLE, form.lot, _PM, reducing=True),
    _row(Reason.TICK_SIZE, form.tick_ok, _PM, reducing=True),
    _row(Reason.MAX_ORDER_QUANTITY, form.quantity, _PM, reducing=True),
    # What is legal whatever the time
    _row(Reason.ORDER_TYPE_NOT_ALLOWED, market.legal_type, _PM, reducing=True),
    _row(Reason.PRODUCT_NOT_ALLOWED, market.legal_product, _PM, reducing=True),
    _row(Reason.ORDER_TYPE_NOT_ALLOWED, market.protection, _PM, reducing=True),
    # The state of engine and strategy
    _row(Reason.KILLED, conduct.killed, _PM, reducing=False, again=True),
    _row(Reason.HALTED, conduct.halted, _PM, reducing=False, again=True),
    _row(Reason.REDUCING, conduct.reducing_only, _PM, reducing=False, again=True),
    _row(Reason.DRAWDOWN, conduct.drawdown, _PM, reducing=False, again=True),
    _row(Reason.STOP_GUARD, conduct.stop_guard, _PM, reducing=False, again=True),
    _row(Reason.COOLDOWN, conduct.cooldown, _PM, reducing=False, again=True),
    # What the market takes now
    _row(Reason.CLOCK, market.clock, _PM, reducing=False, again=True),
    _row(Reason.MARKET_HALT, market.market_halted, _PM, reducing=False, again=True),
    _row(Reason.PHASE_CLOSED, market.phase, _PM, reducing=False, again=True),
    _row(Reason.CUT_OFF, market.cut_off, _PM, reducing=False, again=True),
    _row(Reason.EXPIRY, market.expiry, _PM, reducing=False),
    _row(Reason.RESTRICTED_LIST, market.restricted, _PM, reducing=False),
    _row(Reason.RESTRICTED_LIST, market.unlisted, _PM, reducing=False),
    _row(Reason.NO_SHORT, market.short, _PM, reducing=False),
    _row(Reason.NO_HOLDINGS, market.holdings, _PM, reducing=False),
    _row(Reason.UNTRADED, market.untraded, _PM, reducing=False, again=True),
    # The price
    _row(Reason.FROZEN, conduct.frozen, _PM, reducing=True, again=True),
    _row(Reason.NO_SNAPSHOT, market.fresh, _PM, reducing=False, again=True),
    _row(Reason.NO_REFERENCE_PRICE, market.reference, _PM, reducing=False, again=True),
    _row(Reason.STALE_TICK, market.stale, _PM, reducing=False, again=True),
    _row(Reason.FROZEN, conduct.exit_left, _P, reducing=False, again=True),
    _row(Reason.PRICE_COLLAR, market.collar, _PM, reducing=True, again=True),
    _row(Reason.CIRCUIT, market.band_known, _PM, reducing=False, again=True),
    _row(Reason.CIRCUIT, market.circuit, _PM, reducing=True, again=True),
    # How much, and how often
    _row(Reason.MAX_ORDER_VALUE, size.order_value, _PM, reducing=False),
    _row(Reason.MAX_EXPOSURE, size.position_size, _PM, reducing=False),
    _row(Reason.MAX_EXPOSURE, size.exposure, _PM, reducing=False),
    _row(Reason.MAX_POSITIONS, size.positions, _P, reducing=False),
    _row(Reason.MAX_WORKING_ORDERS, size.working, _P, reducing=False),
    _row(Reason.CAPITAL, size.gross, _PM, reducing=False),
    _row(Reason.CAPITAL, size.funds, _PM, reducing=False, again=True),
    _row(Reason.PERIOD_LIMIT, size.period, _PM, reducing=False),
    _row(Reason.SELF_TRADE, conduct.self_trade, _PM, reducing=False),
    _row(Reason.ORDER_TO_TRADE, conduct.traffic, _PM, reducing=False),
    _row(Reason.REPEATED, conduct.repeated, _P, reducing=False),
)
"""In order: the first that refuses gives the reason. `checks_form.kind` stands before the table."""

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

_OPENING: Final = _APPLYING[PLACE, False, False]
_SPECIAL: Final = frozenset(
    {"legal_type", "legal_product", "protection", "killed", "drawdown", "stop_guard", "cooldown", "phase",
     "cut_off", "expiry", "restricted", "unlisted", "short", "holdings", "untraded"}
)  # fmt: skip
"""Lines that have nothing to say of an opening placement where `calm` is true."""
_BEYOND: Final = tuple(line for line in _OPENING if line[0].__name__ not in _risk.CHECKS)
"""Of an opening placement: the lines that the quick answer does not speak for."""
_CALM: Final = tuple(line for line in _BEYOND if line[0].__name__ not in _SPECIAL)
"""Of these: the lines that are left when nothing special stands."""

if tuple(check.__name__ for check, _reason in _OPENING if (check, _reason) not in _BEYOND) != _risk.CHECKS:
    raise ImportError("the quick answer in ext/risk.pyx speaks for checks that CHECKS does not have so")


def calm(intent: Intent, context: Context, limits: RiskLimits) -> bool:
    """Nothing special stands in the way of a placement: its words are legal here and now, none of them
    needs a list, holdings or trades, no guard has tripped.
    """
    view = context.view
    return bool(
        view.calm_types >> intent.order_type & 1
        and view.calm_products >> intent.product & 1
        and view.validities >> intent.validity & 1
        and not context.killed
        and (context.guards is None or context.guards.silent(intent.strategy, intent.slot, context.now_ns))
    )


def plain_of(instruments: InstrumentTable, limits: RiskLimits) -> Plain:
    """What tells quickly that none of CHECKS refuses a plain placement."""
    rows = [
        (
            row.lot_size,
            row.tick_px,
            -1 if row.freeze_quantity is None else row.freeze_quantity,
            (row.multiplier or 1) if row.scale == checks.PAISE_SCALE else 0,
            form.untradable(row) is None and (row.freeze_quantity is None or row.freeze_quantity >= 0),
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
        if text := form.kind(intent, context, limits):
            return Verdict(Reason.BAD_INTENT, text)
        context.reducing = is_reducing(intent, context.book, context.target)
    if not again and plain is not None and plain.passes(intent, context):
        lines = _CALM if calm(intent, context, limits) else _BEYOND
    else:
        lines = _APPLYING[intent.kind, context.reducing, again]
    for check, reason in lines:
        if text := check(intent, context, limits):
            return Verdict(reason, text)
    return None


def target_of(intent: Intent, book: Book) -> Order | None:
    """The order that a modification or a cancel names."""
    return book.by_strategy(intent.strategy, intent.target_seq) if intent.kind in (MODIFY, CANCEL) else None


def cut_age_ns(intent: Intent, book: Book, now_ns: int) -> int:
    """Since the broker closed a part of the position that the intent is about; -1: it did not."""
    position = book.positions.get((intent.strategy, intent.slot, intent.product))
    return now_ns - position.cut_ns if position and position.cut_ns else -1


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
    killed: str = "",
    funds_paise: int | None = None,
    view: View = OPEN_VIEW,
    facts: Facts = OPEN_FACTS,
    tally: Tally | None = None,
    guards: Guards | None = None,
    slices_max: int = 1,
) -> Context:
    """The context of one intent. `tick`: (last price, tick sequence, age in ns), (0, 0, -1): none.

    `mark(slot)`: last price of any slot, 0: none.
    """
    rows, slot = instruments.rows, intent.slot
    return Context(
        rows[slot] if slot < len(rows) else None,
        instruments,
        book,
        active,
        halted,
        *tick,
        mark,
        target_of(intent, book),
        modifications_max,
        last_seq,
        False,
        token_dead,
        reducing_only,
        market_halted,
        fresh,
        cut_age_ns(intent, book, now_ns),
        now_ns,
        killed,
        funds_paise,
        view,
        facts,
        tally,
        guards,
        slices_max,
        None,
    )
