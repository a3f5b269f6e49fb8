"""Layer 2, orders process, hot: may this intent become an order? One table of small checks.

CHECKS gives each check (see checks.py) its reason, the kinds of intent that it applies to, whether
it binds reducing intents too, and whether it is asked again when the intent had to wait for the
throttle. _risk.Plain proves quickly which of them a placement passes; the table alone refuses.
What adds risk fails closed: no price, an old price, an unknown size, an unknown list mean no. What
reduces passes; only what the exchange could not take anyway, or a price far off, stops it.

Reducing is judged from the book (position against everything that is live), never from the
intent's EXIT flag: a flag alone opens no door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from kite_hft import _risk
from kite_hft._risk import Plain
from kite_hft._tally import Tally
from kite_hft.layout import IntentKind, Reason
from kite_hft.trading.book import Book
from kite_hft.trading.gate import checks
from kite_hft.trading.gate import checks_conduct as conduct
from kite_hft.trading.gate import checks_form as form
from kite_hft.trading.gate import checks_market as market
from kite_hft.trading.gate import checks_size as size
from kite_hft.trading.gate.checks import Context, RiskLimits
from kite_hft.trading.gate.facts import OPEN_FACTS, OPEN_VIEW, OPTIONS, Facts, View
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.lifecycle import TERMINAL
from kite_hft.trading.order import Order
from kite_hft.trading.slices import of_intent


class Verdict(NamedTuple):
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
        if not more and conduct.only_less(intent, target):
            return True  # less of anything
        if not more and not target.opening:
            return _still_closes(intent, book, target)  # an exit at other terms
        return book.position(target).reduces(target.side, more)
    return intent.kind == IntentKind.CANCEL


def _still_closes(intent: Intent, book: Book, target: Order) -> bool:
    """What an exit was to close has not been closed by something else: at another price it opens nothing. A
    strategy's exits on that side must all find their part of it; the engine fits its own, one by one.
    """
    held = conduct.closable(book, target)
    if intent.strategy_seq >= ENGINE_SEQ:
        return held > 0
    here = (target.strategy, target.slot, target.product, target.side)
    live = (order for order in book.live_orders.values() if not order.opening)
    exits = sum(o.open_quantity for o in live if (o.strategy, o.slot, o.product, o.side) == here)
    less = max(0, target.quantity - intent.qty) if intent.qty else 0
    return held > 0 and exits - less <= held


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
    # First of all: with any other reason its strategy would hear that the order made of it was refused
    _row(Reason.DUPLICATE_INTENT, form.duplicate, _ALL, reducing=True),
    _row(Reason.TOKEN_DEAD, conduct.token_dead, _ALL, reducing=True, again=True),
    _row(Reason.NOT_ACTIVE, conduct.active, _ALL, reducing=True),
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
    _row(Reason.NOT_TRADABLE, form.barred, _PM, reducing=False),
    _row(Reason.LOT_MULTIPLE, form.lot, _PM, reducing=True),
    _row(Reason.TICK_SIZE, form.tick_ok, _PM, reducing=True),
    _row(Reason.MAX_ORDER_QUANTITY, form.quantity, _PM, reducing=True),
    # What is legal whatever the time
    _row(Reason.ORDER_TYPE_NOT_ALLOWED, market.legal_type, _PM, reducing=True),
    _row(Reason.PRODUCT_NOT_ALLOWED, market.legal_product, _PM, reducing=True),
    _row(Reason.ORDER_TYPE_NOT_ALLOWED, market.protection, _PM, reducing=True),
    # The state of engine and strategy. An exit that would open is told so, whatever keeps openings back.
    _row(Reason.FROZEN, conduct.exit_left, _PM, reducing=False, again=True),
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
    _row(Reason.EXPIRY, market.expiry, _PM, reducing=False, again=True),
    _row(Reason.RESTRICTED_LIST, market.restricted, _PM, reducing=False, again=True),
    _row(Reason.RESTRICTED_LIST, market.unlisted, _PM, reducing=False, again=True),
    _row(Reason.NO_SHORT, market.short, _PM, reducing=False),
    _row(Reason.NO_HOLDINGS, market.holdings, _PM, reducing=False, again=True),
    _row(Reason.UNTRADED, market.untraded, _PM, reducing=False, again=True),
    # The price
    _row(Reason.FROZEN, conduct.frozen, _PM, reducing=True, again=True),
    _row(Reason.NO_SNAPSHOT, market.fresh, _PM, reducing=False, again=True),
    _row(Reason.NO_REFERENCE_PRICE, market.reference, _PM, reducing=False, again=True),
    _row(Reason.STALE_TICK, market.stale, _PM, reducing=False, again=True),
    _row(Reason.FEEDS_DIVERGE, market.feeds_agree, _PM, reducing=False, again=True),
    _row(Reason.FROZEN, conduct.outgrown, _M, reducing=True, again=True),
    _row(Reason.PRICE_COLLAR, market.collar, _PM, reducing=True, again=True),
    _row(Reason.CIRCUIT, market.band_known, _PM, reducing=False, again=True),
    _row(Reason.CIRCUIT, market.circuit, _PM, reducing=True, again=True),
    # How much, and how often
    _row(Reason.MAX_ORDER_VALUE, size.order_value, _PM, reducing=False, again=True),
    _row(Reason.MAX_EXPOSURE, size.position_size, _PM, reducing=False, again=True),
    _row(Reason.MAX_EXPOSURE, size.exposure, _PM, reducing=False, again=True),
    _row(Reason.MAX_POSITIONS, size.positions, _P, reducing=False, again=True),
    _row(Reason.MAX_WORKING_ORDERS, size.working, _P, reducing=False, again=True),
    _row(Reason.CAPITAL, size.gross, _PM, reducing=False),
    _row(Reason.CAPITAL, size.funds, _PM, reducing=False, again=True),
    _row(Reason.PERIOD_LIMIT, size.period, _PM, reducing=False),
    _row(Reason.SELF_TRADE, conduct.self_trade, _PM, reducing=False, again=True),
    _row(Reason.ORDER_TO_TRADE, conduct.traffic, _PM, reducing=False, again=True),
    _row(Reason.REPEATED, conduct.repeated, _P, reducing=False),
)
"""In order: the first that refuses gives the reason. `checks_form.kind` stands before the table."""

_SIZES: Final = (size.order_value, size.position_size, size.exposure, size.gross, size.period)
SIZES: Final = tuple((row.check, row.reason) for row in CHECKS if row.check in _SIZES)
"""Lines about what an order is worth: of one that a trigger is to place, at its own price as well."""

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

_BIT: Final = {row.check: _risk.CHECKS.index(row.check.__name__) for row in CHECKS if PLACE in row.kinds}
"""A line that placements are asked -> its bit in what the quick way proves."""

if len(_BIT) != len(_risk.CHECKS) or len(set(_BIT.values())) != len(_BIT):
    raise ImportError("the quick way in ext/risk.pyx speaks for other checks than CHECKS")


def bits(checks: Iterable[Check]) -> int:
    """The bits of some lines."""
    return sum(1 << _BIT[check] for check in checks)


NEEDED: Final = {
    False: bits(check for check, _reason in _APPLYING[PLACE, False, False]),
    True: bits(check for check, _reason in _APPLYING[PLACE, True, False]) | bits(market.UNSURE),
}
"""reducing -> what must be proved of a placement that passes without the table. An exit passes without what
would make it one that a person is told of.
"""


def plain_rows(instruments: InstrumentTable) -> list[tuple[int, int, int, int, bool, bool]]:
    """What the quick way knows of each instrument."""
    return [
        (
            row.lot_size,
            row.tick_px,
            -1 if row.freeze_quantity is None else max(0, row.freeze_quantity),  # 0: nothing is proved of it
            (row.multiplier or 1) if row.scale == checks.PAISE_SCALE else 0,
            form.untradable(row) is None and not row.barred,
            row.kind in OPTIONS,
        )
        for row in instruments.rows
    ]


Line = tuple[Check, Reason]
_LEFT: Final[dict[int, tuple[tuple[Line, ...], tuple[Line, ...]]]] = {}
_LEFT_MAX: Final = 4096


def _left(lines: tuple[Line, ...], proved: int) -> tuple[Line, ...]:
    """Those of `lines` that are not proved; the same question comes again and again."""
    known = _LEFT.get(proved)
    if known is None or known[0] is not lines:
        if len(_LEFT) >= _LEFT_MAX:
            _LEFT.clear()
        known = _LEFT[proved] = lines, tuple(line for line in lines if not proved >> _BIT[line[0]] & 1)
    return known[1]


def judge(
    intent: Intent,
    context: Context,
    limits: RiskLimits,
    *,
    again: bool = False,
    plain: Plain | None = None,
) -> Verdict | None:
    """The refusal of `intent`, or None. Sets `context.reducing` on the first call.

    `plain` has just looked at this very intent: what it has proved is not asked again.

    `again`: only the checks whose answer may change while an intent waits; `context.reducing` then
    stands as first judged, for the waiting order counts itself in the book (`context.counted`).
    """
    if not again:
        if text := form.kind(intent, context, limits):
            return Verdict(Reason.BAD_INTENT, text)
        context.reducing = is_reducing(intent, context.book, context.target)
    lines = _APPLYING[intent.kind, context.reducing, again]
    if plain is not None and plain.proved and plain.reducing is context.reducing:
        lines = _left(lines, plain.proved)
    for check, reason in lines:
        if text := check(intent, context, limits):
            return Verdict(reason, text)
    return None


def judge_as(
    intent: Intent, context: Context, limits: RiskLimits, *, reducing: bool, again: bool = False
) -> Verdict | None:
    """The same for an intent of which it is known whether it reduces."""
    context.reducing = reducing
    for check, reason in _APPLYING[intent.kind, reducing, again]:
        if text := check(intent, context, limits):
            return Verdict(reason, text)
    return None


def target_of(intent: Intent, book: Book) -> Order | None:
    """The order that a modification or a cancel names; a strategy names its own. Of one in slices, which is
    one order to its strategy, the first that still lives, also where the first of all never left.
    """
    if intent.kind not in (MODIFY, CANCEL):
        return None
    if intent.strategy_seq < ENGINE_SEQ <= intent.target_seq:
        return None  # of the engine's own: a strategy is told of it, and has others to change
    named = book.by_strategy(intent.strategy, intent.target_seq)
    if intent.strategy_seq >= ENGINE_SEQ or (named is not None and named.status not in TERMINAL):
        return named
    members = of_intent(book, intent.strategy, intent.target_seq)
    return next((order for order in members if order.status not in TERMINAL), members[0] if members else None)


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
