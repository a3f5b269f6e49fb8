"""Layer 2, orders process, hot: checks of the price, and of what exchange and broker take now."""

from __future__ import annotations

from typing import Final

from kite_hft.layout import OrderType, Product, Validity
from kite_hft.trading.gate.checks import (
    AT_MARKET,
    PRICED,
    SELL,
    TRIGGERED,
    Context,
    RiskLimits,
    type_of,
    uncounted,
)
from kite_hft.trading.gate.facts import DERIVATIVES, WORDS
from kite_hft.trading.gate.limits import legal_protection
from kite_hft.trading.intents import ENGINE_SEQ, Intent

_CNC, _MIS, _MTF = int(Product.CNC), int(Product.MIS), int(Product.MTF)
_OPTIONS: Final = frozenset({"CE", "PE"})
_SHORTABLE: Final = frozenset({_MIS, int(Product.NRML)})


# The price


def market_halted(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return "the whole market is silent" if context.market_halted else None


def clock(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    wrong = context.facts.clock_wrong
    return (wrong() or None) if wrong is not None else None


def fresh(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.fresh else "no tick since its connection was made"


def reference(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return None if context.ref_px > 0 else "no price has been seen"


def stale(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if 0 <= context.age_ns <= limits.stale_tick_s * 1e9:
        return None
    return f"last tick is {context.age_ns / 1e9:.3f} s old > {limits.stale_tick_s} s"


def feeds_agree(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Both feeds tell one price of it, as far as there are two (diverging.py)."""
    feeds = context.facts.feeds
    return feeds.apart.get(intent.slot) if feeds is not None else None


def collar(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    fresh = 0 <= context.age_ns <= limits.stale_tick_s * 1e9
    if context.ref_px <= 0 or not fresh:
        return None  # a reduction without a usable price; openings were refused before
    if context.reducing and intent.strategy_seq >= ENGINE_SEQ:
        return None  # exits that we keep: a stop may lie far from the price, a late one has to
    for px in _becomes(intent, context):
        off = abs(px - context.ref_px)
        if px and off * 100 > limits.price_collar_percent * context.ref_px:
            percent = 100 * off / context.ref_px
            return f"price {px} is {percent:.2f} % off {context.ref_px} > {limits.price_collar_percent} %"
    return None


def _becomes(intent: Intent, context: Context) -> tuple[int, int]:
    """Price and trigger that the intent gives an order. One that becomes of another type comes to stand
    elsewhere in the market, also at the prices that it had: a stop's limit is reached at once.
    """
    target, kind = context.target, intent.order_type
    if target is None or kind in (0, target.order_type):
        return intent.px, intent.trigger_px
    px, trigger_px = intent.px or target.px, intent.trigger_px or target.trigger_px
    return px if kind in PRICED else 0, trigger_px if kind in TRIGGERED else 0


def band_known(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    if context.facts.band is None:
        return None
    low, high, age_ns = context.facts.band(intent.slot)
    if not 0 < low <= high or age_ns < 0:
        return "circuit limits are not known"
    if age_ns > limits.band_age_s * 1e9:
        return f"circuit limits are {age_ns / 1e9:.0f} s old > {limits.band_age_s:g} s"
    return None


def circuit(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Outside known limits the exchange takes nothing, exits neither: they belong at the limit."""
    if context.facts.band is None:
        return None
    low, high, age_ns = context.facts.band(intent.slot)
    if not (0 < low <= high and 0 <= age_ns <= limits.band_age_s * 1e9):
        return None
    for px in _becomes(intent, context):
        if px and not low <= px <= high:
            return f"price {px} is outside the circuit limits {low} to {high}"
    return None


# What is taken


def legal_type(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """Order type and validity, for this exchange and kind of instrument."""
    view, instrument, kind = context.view, context.instrument, type_of(intent, context.target)
    assert instrument is not None
    if not view.order_types >> kind & 1:
        return f"{instrument.exchange} {instrument.kind} takes no {WORDS[OrderType(kind)]}"
    if not view.validities >> intent.validity & 1 and context.target is None:
        return f"{instrument.exchange} {instrument.kind} takes no {Validity(intent.validity).name}"
    return None


def legal_product(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    product = intent.product if context.target is None else context.target.product
    if context.view.products >> product & 1:
        return None
    assert context.instrument is not None
    words = f"{context.instrument.exchange} {context.instrument.kind}"
    return f"{words} has no product {Product(product).name}"


def protection(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """At market only with a protection that the broker takes: 0 or none is refused there."""
    if type_of(intent, context.target) not in AT_MARKET or legal_protection(limits.market_protection):
        return None
    return f"market protection {limits.market_protection} is neither -1 nor in (0, 100] percent"


def phase(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    kind = type_of(intent, context.target)
    if context.view.phase_types >> kind & 1:
        return None
    return f"phase {context.view.phase} takes no {WORDS[OrderType(kind)]}"


def cut_off(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    return context.view.cut_off or None


def expiry(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    view = context.view
    if not view.expiry:
        return None
    side = intent.side if context.target is None else context.target.side
    return view.expiry if view.expiry_side in (0, side) else None


def untraded(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    assert context.instrument is not None
    traded, target = context.facts.traded, context.target
    if traded is None or context.instrument.kind not in _OPTIONS or type_of(intent, target) not in AT_MARKET:
        return None
    if traded(intent.slot):
        return None
    return f"{context.instrument.key} has not traded today, by the volume (mode ltp tells none): use a limit"


# Lists and holdings


def restricted(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """What a list closes for openings; reductions always pass."""
    closed = context.view.closed
    if not closed:
        return None
    target = context.target
    side, product = (intent.side, intent.product) if target is None else (target.side, target.product)
    words = ["all", "entry", *([] if product not in set(Product) else [Product(product).name])]
    if side == SELL:
        words.append("short")
    for word in words:
        if word in closed:
            assert context.instrument is not None
            return f"{context.instrument.key} is on the list {closed[word]}: {word} is closed"
    return None


def unlisted(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    missing = context.view.unlisted
    product = intent.product if context.target is None else context.target.product
    if not missing or product not in missing:
        return None
    assert context.instrument is not None
    name, key = missing[product], context.instrument.key
    return (
        f"today's list {name} is missing: put {name}-YYYY-MM-DD.csv into the folder risk.lists (empty when "
        f"nothing is on it) or {key} into risk.allow, then start the engine anew"
    )


def short(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """A sale that opens: in MIS or derivatives only. One of shares in CNC is `holdings`' to judge."""
    if context.facts.holding is None:
        return None  # a market without deliveries
    assert context.instrument is not None
    target = context.target
    side, product = (intent.side, intent.product) if target is None else (target.side, target.product)
    if side != SELL or product == _CNC or product in _SHORTABLE or context.instrument.kind in DERIVATIVES:
        return None
    return f"a short of {context.instrument.key} in {Product(product).name}: only in MIS or derivatives"


def holdings(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """A sale of shares in CNC: at most settled (+ T1) - used, as far as authorised today.

    What was bought today in CNC may be sold the same day, but not on a trade-to-trade list.
    """
    target, facts = context.target, context.facts
    side, product = (intent.side, intent.product) if target is None else (target.side, target.product)
    if facts.holding is None or side != SELL or product != _CNC:
        return None
    held = facts.holding(intent.slot)
    if held is None:
        return "holdings are not known"
    closed = context.view.closed
    t1 = held.t1 if limits.btst and "btst" not in closed else 0
    positions = context.book.in_slot(intent.slot, _CNC)
    net = sum(p.quantity for p in positions)
    sold = max(0, -net)  # the broker may not have told of our newest sales yet
    used = max(sold, held.used + max(0, sold - held.ours))
    under_way = sum(p.open_sell for p in positions)
    bought = max(0, net) if "btst" not in closed else 0
    quantity = uncounted(intent, context)[1]
    free = held.settled + t1 + bought - used - under_way
    if quantity > free:
        return (
            f"a sale of {quantity}: {held.settled} settled + {t1} T1 + {bought} bought today - {used} used"
            f" - {under_way} under way = {free}"
        )
    out = quantity + used + under_way - bought
    if out > held.authorised:
        return (
            f"{out} would leave the account, {held.authorised} are authorised today: "
            "authorise them with the depository (TPIN), or set up DDPI"
        )
    return None


UNSURE: Final = (market_halted, clock, fresh, reference, stale, feeds_agree, band_known, phase)
"""What stops openings and no exit, for lack of knowledge."""


def unsure(intent: Intent, context: Context, limits: RiskLimits) -> str | None:
    """What a reducing order is let through without: a person should know."""
    for check in UNSURE:
        if text := check(intent, context, limits):
            return text
    return None
