"""Layer 2, orders process, hot: what the gate's checks are asked with: limits, context, and sums of both.

The checks themselves are pure functions (intent, context, limits) -> None to pass, or a text with
the numbers that refuse it, by meaning:

    checks_form     the intent for itself, and the order that it names
    checks_conduct  the state of engine and strategy, and how they behave
    checks_market   the price, and what exchange and broker take now
    checks_size     how much

risk.py's table gives them their reasons and their order: a check about the instrument or the target
stands behind those that prove that there is one. Prices in the instrument's unit, values in paise,
limits in rupees and seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kite_hft._risk import Passed
from kite_hft._tally import Tally
from kite_hft.layout import IntentKind, OrderType, Side
from kite_hft.trading.book import Book
from kite_hft.trading.gate.facts import Facts, View
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.limits import RiskLimits as RiskLimits
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.order import Order
from kite_hft.units import value_paise

PAISE_SCALE: Final = 100
"""Units per rupee of a price in paise: its value needs no rounding."""
CUT_QUIET_NS: Final = 1_000_000_000
"""So long may a strategy not know yet that the broker has closed a part of its position."""
SELL: Final = int(Side.SELL)
PLACE: Final = int(IntentKind.PLACE)
PRICED: Final = frozenset({int(OrderType.LIMIT), int(OrderType.SL)})
TRIGGERED: Final = frozenset({int(OrderType.SL), int(OrderType.SLM)})
AT_MARKET: Final = frozenset({int(OrderType.MARKET), int(OrderType.SLM)})


@dataclass(slots=True)
class Context:
    """What an intent is judged by: gathered once, journalled with the intent."""

    instrument: Instrument | None
    instruments: InstrumentTable
    book: Book
    active: bool
    halted: str  # why opening orders are refused; empty: they are not
    ref_px: int  # last price from the latest table, 0: none
    tick_seq: int
    age_ns: int  # of that price; -1: none
    mark: Callable[[int], int]  # last price of a slot, 0: none
    target: Order | None  # MODIFY, CANCEL
    modifications_max: int
    last_seq: int  # the strategy's highest strategy_seq so far: its numbers only grow
    reducing: bool
    token_dead: str  # nothing can be sent
    reducing_only: str  # why only reductions pass
    market_halted: bool
    fresh: bool  # a tick has come since the instrument's connection was made
    cut_age_ns: int  # since the broker closed a part of this very position; -1: it did not
    now_ns: int  # CLOCK_MONOTONIC
    killed: str  # the kill latch's reason; empty: it does not stand
    funds_paise: int | None  # free at the broker; None: not known
    view: View  # what the rules say of the instrument now
    facts: Facts
    tally: Tally | None  # of the day's opening orders; None: nothing is counted
    guards: Guards | None
    slices_max: int  # orders that an intent above the freeze quantity may become
    adds_paise: int | None  # what `added_value` found; None: nobody has asked
    counted: Order | None = None  # a PLACE that has waited: its order, which the book counts already


Judged = Context | Passed
"""What an intent was judged by; of a placement that passed at once, the part that an order needs."""


def resulting(intent: Intent, target: Order | None) -> tuple[int, int]:
    """(quantity, price) that the order would have: a modification's zeros mean unchanged."""
    if target is None:
        return intent.qty, intent.px
    return intent.qty or target.quantity, intent.px or target.px


def type_of(intent: Intent, target: Order | None) -> int:
    """The order type that the order would have."""
    return intent.order_type if target is None else intent.order_type or target.order_type


def more(intent: Intent, target: Order | None) -> tuple[int, int]:
    """(side, quantity) that the intent adds to what is live."""
    if target is None:
        return intent.side, intent.qty
    standing = max(target.quantity, target.quantity_max)
    return target.side, max(0, resulting(intent, target)[0] - standing)


def uncounted(intent: Intent, context: Context) -> tuple[int, int]:
    """(side, quantity) that the intent adds to what the book counts: nothing, once it waits there itself."""
    return more(intent, context.target) if context.counted is None else (intent.side, 0)


def value_of(px: int, quantity: int, instrument: Instrument) -> int:
    """Paise of `quantity` at `px`, with the multiplier."""
    multiplier = instrument.multiplier or 1  # unknown: a share's, see multiplier_of; others are refused
    if instrument.scale == PAISE_SCALE:
        return px * quantity * multiplier
    return value_paise(px, quantity, multiplier, instrument.scale)


def added_value(intent: Intent, context: Context) -> int:
    """Paise that the intent adds at worst: at its own price or the last one, whichever is higher."""
    if context.adds_paise is None:
        assert context.instrument is not None
        px = max(resulting(intent, context.target)[1], context.ref_px)
        context.adds_paise = value_of(px, more(intent, context.target)[1], context.instrument)
    return context.adds_paise
