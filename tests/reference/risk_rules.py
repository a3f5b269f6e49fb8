"""The slow, obvious gate: every rule read plainly, one after another, over plain values.

Standard library only; nothing of the product. `refusals(given, ask, instruments)` names every reason
that speaks against an intent; an empty set lets it pass. Which of several reasons is told first is not
its business. Money is counted in exact fractions of a rupee, times in seconds.
given, ask: the words of the campaign `verify risk` (see its bench.py), enumerations as their numbers.
instruments: slot -> plain words of an instrument. Numbers of the enumerations:

    side 1 buy 2 sell; type 1 market 2 limit 3 stop-limit 4 stop at market; product 1 CNC 2 NRML 3 MIS 4 MTF
    kind 1 place 2 modify 3 cancel; status of a live order: 1 new 3 sent 4 pending 5 open 6 trigger-pending
    10 ambiguous
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

BUY, SELL = 1, 2
MARKET, LIMIT, STOP, STOP_MARKET = 1, 2, 3, 4
CNC, NRML, MIS, MTF = 1, 2, 3, 4
PLACE, MODIFY, CANCEL = 1, 2, 3
LIVE, AT_BROKER = {1, 3, 4, 5, 6, 10}, {4, 5, 6}

LIMITS = {
    "max_position_size": 100_000, "max_exposure": 1_000_000, "max_positions": 20, "min_funds": 0,
    "max_order_quantity": 10_000, "max_order_value": 200_000, "max_working_orders": 40, "band_age_s": 180,
    "price_collar_percent": 5, "stale_tick_s": 2, "btst": False,
}  # fmt: skip


class Situation:
    """The given things with the questions that rules ask of them."""

    def __init__(
        self, given: Mapping[str, Any], ask: Mapping[str, Any], instruments: Mapping[int, Mapping[str, Any]]
    ) -> None:
        self.given, self.ask, self.instruments = given, ask, instruments
        self.limits = {**LIMITS, **given["limits"]}
        self.row = instruments.get(ask["slot"])
        named = [
            o for o in given["live"] if (o["strategy"], o["number"]) == (ask["strategy"], ask["target_seq"])
        ]
        self.target = named[0] if named and ask["kind"] != PLACE else None
        self.kind = ask["kind"]
        price = given["price"].get(ask["slot"])
        self.last, self.age_s = price if price is not None else (0, -1)

    @property
    def side(self) -> int:  # these are of the order as it would be
        return int(self.target["side"] if self.target else self.ask["side"])

    @property
    def type(self) -> int:
        return int(
            (self.ask["order_type"] or self.target["order_type"]) if self.target else self.ask["order_type"]
        )

    @property
    def product(self) -> int:
        return int(self.target["product"] if self.target else self.ask["product"])

    @property
    def quantity(self) -> int:
        return int((self.ask["qty"] or self.target["quantity"]) if self.target else self.ask["qty"])

    @property
    def px(self) -> int:
        return int((self.ask["px"] or self.target["px"]) if self.target else self.ask["px"])

    @property
    def trigger(self) -> int:
        mine = int(self.ask["trigger_px"])
        return mine or int(self.target["trigger_px"]) if self.target else mine

    @property
    def added(self) -> int:
        if not self.target:
            return self.quantity
        return max(0, self.quantity - max(self.target["quantity"], self.target["quantity_max"]))

    # Of the account

    def open_of(self, order: Mapping[str, Any]) -> int:
        most = max(order["quantity"], order["quantity_max"])
        return int(most - order["filled"]) if order["status"] in LIVE else 0

    def live(self) -> list[Mapping[str, Any]]:
        return [o for o in self.given["live"] if o["status"] in LIVE]

    def held(self, slot: int, strategy: int | None = None, product: int | None = None) -> int:
        return sum(
            q for s, at, p, q in self.given["held"]
            if at == slot and strategy in (None, s) and product in (None, p)
        )  # fmt: skip

    def under_way(self, slot: int, side: int, strategy: int | None = None, product: int | None = None) -> int:
        return sum(
            self.open_of(o) for o in self.live()
            if o["slot"] == slot and o["side"] == side
            and strategy in (None, o["strategy"]) and product in (None, o["product"])
        )  # fmt: skip

    def worst(self, slot: int, side: int = 0, more: int = 0) -> int:
        return sum(self.worst_of(p, slot, side, more * (p == self.product)) for p in (CNC, NRML, MIS, MTF))

    def worst_of(self, p: int, slot: int, side: int, more: int) -> int:
        buys = self.under_way(slot, BUY, product=p) + more * (side == BUY)
        sells = self.under_way(slot, SELL, product=p) + more * (side == SELL)
        return max(abs(self.held(slot, product=p) + buys), abs(self.held(slot, product=p) - sells))

    def value(self, slot: int, px: int, quantity: int) -> Fraction:
        row = self.instruments[slot]
        return Fraction(px * quantity * (row["multiplier"] or 1), row["scale"])

    def in_play(self) -> set[int]:
        slots = {at for _, at, _, _ in self.given["held"]} | {o["slot"] for o in self.given["live"]}
        return {
            at for at in slots
            if any(q for _, a, _, q in self.given["held"] if a == at)
            or self.under_way(at, BUY) or self.under_way(at, SELL)
        }  # fmt: skip

    def reduces(self) -> bool:
        """Were everything that is live to fill, this would only shrink its position."""
        if self.kind == CANCEL:
            return True
        if (self.kind == MODIFY and self.target is None) or (self.kind == PLACE and self.quantity <= 0):
            return False
        if self.kind == MODIFY and 0 < self.ask["qty"] < self.target["quantity"]:
            terms = ("px", "trigger_px", "order_type")  # less of the order, and nothing else
            if all(self.ask[word] in (0, self.target[word]) for word in terms):
                return True
        slot, strategy = (self.target or self.ask)["slot"], self.ask["strategy"]
        held = self.held(slot, strategy, self.product)
        going = self.under_way(slot, self.side, strategy, self.product)
        return (held if self.side == SELL else -held) - going - self.added >= 0


def refusals(
    given: Mapping[str, Any], ask: Mapping[str, Any], instruments: Mapping[int, Mapping[str, Any]]
) -> set[str]:
    """Names of all reasons that speak against the intent."""
    s = Situation(given, ask, instruments)
    if s.kind not in (PLACE, MODIFY, CANCEL) or ask["strategy_seq"] <= 0:
        return {"BAD_INTENT"}
    found = set(_engine(s))
    if found:
        return found
    found = set(_form(s))
    if found & {"UNKNOWN_INSTRUMENT", "UNKNOWN_ORDER", "BAD_INTENT", "ORDER_NOT_OPEN", "NOT_TRADABLE"}:
        return found  # nothing more can be asked of it
    if s.kind == CANCEL:
        return found
    found |= set(_always(s))
    if not s.reduces():
        for rules in (_latched, _market, _lists, _deliveries, _data, _sizes, _conduct):
            found |= set(rules(s))
    return found


def _engine(s: Situation) -> Iterator[str]:
    states = s.given["states"]
    if states.get("token_dead"):
        yield "TOKEN_DEAD"
    if not states.get("active", True):
        yield "NOT_ACTIVE"


def _form(s: Situation) -> Iterator[str]:
    ask, row = s.ask, s.row
    if s.kind in (MODIFY, CANCEL):
        yield from _of_target(s)
    if s.kind == CANCEL:
        return
    if row is None:
        yield "UNKNOWN_INSTRUMENT"
        return
    if s.kind == PLACE:
        words = (
            ask["side"] in (1, 2), ask["order_type"] in (1, 2, 3, 4), ask["product"] in (1, 2, 3, 4),
            ask["validity"] in (1, 2), ask["flags"] in (0, 1), ask["qty"] > 0,
        )  # fmt: skip
        if not all(words):
            yield "BAD_INTENT"
    if s.kind == PLACE or (s.target and ask["order_type"]):
        priced = s.type not in (LIMIT, STOP) or s.px != 0
        triggered = s.type not in (STOP, STOP_MARKET) or s.trigger != 0
        if not (priced and triggered and (s.kind == PLACE or ask["order_type"] in (1, 2, 3, 4))):
            yield "BAD_INTENT"
    if ask["px"] < 0 or ask["trigger_px"] < 0 or not math.isfinite(ask["signal"]):
        yield "BAD_INTENT"
    wrong_way = s.px < s.trigger if s.side == BUY else s.px > s.trigger
    if (s.kind == PLACE or s.target) and s.type == STOP and wrong_way:
        yield "BAD_INTENT"  # triggered, it could not fill
    tradable = row["lot"] > 0 and row["tick"] > 0 and not row["index"]
    shares = row["exchange"] in ("NSE", "BSE")
    if not tradable or (not shares and (row["multiplier"] is None or row["freeze"] is None)):
        yield "NOT_TRADABLE"


def _of_target(s: Situation) -> Iterator[str]:
    target = s.target
    if target is None:
        yield "UNKNOWN_ORDER"
        return
    if target["status"] not in LIVE:
        yield "ORDER_NOT_OPEN"
    if s.kind == MODIFY:
        if target["status"] not in AT_BROKER or target["quantity_max"]:
            yield "ORDER_NOT_OPEN"
        if target["slot"] != s.ask["slot"]:
            yield "BAD_INTENT"
        terms = ("quantity", "px", "trigger_px", "order_type")
        if (s.quantity, s.px, s.trigger, s.type) == tuple(target[word] for word in terms):
            yield "NO_CHANGE"
        if s.ask["qty"] and s.ask["qty"] <= target["filled"]:
            yield "BAD_INTENT"
        if target["modifications"] >= 25:
            yield "MODIFICATION_CAP"


def _always(s: Situation) -> Iterator[str]:
    """What the exchange could not take, from an exit neither."""
    ask, row = s.ask, s.row
    assert row is not None
    if ask["qty"] % row["lot"]:
        yield "LOT_MULTIPLE"
    if ask["px"] % row["tick"] or ask["trigger_px"] % row["tick"]:
        yield "TICK_SIZE"
    if row["freeze"] is not None:
        slices = 10 if s.kind == PLACE else 1
        whole = row["freeze"] // row["lot"] * row["lot"] if slices > 1 else row["freeze"]
        if ask["qty"] > row["freeze"] and ask["qty"] > slices * whole:
            yield "MAX_ORDER_QUANTITY"
    option = row["kind"] in ("CE", "PE")
    if s.type == STOP_MARKET and (row["exchange"] in ("BSE", "BFO", "BCD") or option):
        yield "ORDER_TYPE_NOT_ALLOWED"
    if ask["validity"] == 2 and row["exchange"] in ("MCX", "NCO") and s.kind == PLACE:
        yield "ORDER_TYPE_NOT_ALLOWED"
    shares = row["exchange"] in ("NSE", "BSE")
    if (shares and s.product == NRML) or (not shares and s.product in (CNC, MTF)):
        yield "PRODUCT_NOT_ALLOWED"
    anew = s.target and ask["order_type"] not in (0, s.target["order_type"])  # all of it meets the market
    own = s.px * (s.type in (LIMIT, STOP)), s.trigger * (s.type in (STOP, STOP_MARKET))
    for px, stands in zip((ask["px"], ask["trigger_px"]), own, strict=True):
        near, known = stands if anew else px, s.last > 0 and 0 <= s.age_s <= s.limits["stale_tick_s"]
        if near and known and abs(near - s.last) * 100 > Fraction(s.limits["price_collar_percent"]) * s.last:
            yield "PRICE_COLLAR"
        band = (s.given["band"] or {}).get(ask["slot"])
        if near and band and band[2] <= s.limits["band_age_s"] and not band[0] <= near <= band[1]:
            yield "CIRCUIT"


def _latched(s: Situation) -> Iterator[str]:
    states = s.given["states"]
    for word, reason in (("killed", "KILLED"), ("halted", "HALTED"), ("reducing", "REDUCING")):
        if states.get(word):
            yield reason
    if states.get("held") and states["held"][0] == s.ask["strategy"]:
        yield {"reducing": "REDUCING", "halted": "HALTED"}[states["held"][2]]
    if states.get("market_halted"):
        yield "MARKET_HALT"
    if s.given["clock"]:
        yield "CLOCK"


def _market(s: Situation) -> Iterator[str]:
    """Friday 2026-11-20, a trading day of the closing auction's time."""
    row, given = s.row, s.given
    assert row is not None
    if (  # 2026-11-26 is three trading days away: 24 is a holiday
        row["kind"] in ("CE", "PE")
        and row["name"] == "SBIN"
        and row["expiry"] == "2026-11-26"
        and s.side == BUY
    ):
        yield "EXPIRY"
    if not given["hours"]:
        return
    hour, minute, second = (int(part) for part in given["at"].split()[1].split(":"))
    now = hour * 3600 + minute * 60 + second
    # Shares known to take part, whether or not derivatives on them are listed here
    auction = row["exchange"] == "NSE" and row["symbol"] == "SBIN"
    opens, closes = {"CDS": (9, 17.0), "MCX": (9, 23.5)}.get(row["exchange"], (9.25, 15 + 2 / 3))
    taken = {MARKET, LIMIT, STOP, STOP_MARKET} if opens * 3600 <= now < round(closes * 3600) else set()
    if row["exchange"] in ("NSE", "BSE"):
        taken = _shares(now, auction)
    if s.type not in taken:
        yield "PHASE_CLOSED"
    late = given["broker"] != "upstox"  # he closes earlier, and so do we
    hours = {"CDS": 16.25 + late / 4, "MCX": 22 + (35 + 15 * late) / 60, "NFO": 15 + late / 6}
    ends = hours.get(row["exchange"], 15)
    if now >= round((14 + 55 / 60 if auction else ends) * 3600):
        yield "CUT_OFF"


def _shares(now: int, auction: bool) -> set[int]:
    if 9 * 3600 <= now < 9 * 3600 + 300:
        return {MARKET, LIMIT}
    if 9 * 3600 + 300 <= now < 9 * 3600 + 480:
        return {LIMIT}
    if 9.25 * 3600 <= now < (15.25 if auction else 15.5) * 3600:
        return {MARKET, LIMIT, STOP, STOP_MARKET}
    if auction and 15 * 3600 + 1200 <= now < 15 * 3600 + 1500:
        return {MARKET, LIMIT}
    return {LIMIT} if auction and 15 * 3600 + 1500 <= now < 15 * 3600 + 1680 else set()


def _lists(s: Situation) -> Iterator[str]:
    row, given = s.row, s.given
    assert row is not None
    key = f"{row['exchange']}:{row['symbol']}"
    share = row["kind"] == "EQ"
    names = {key} | (set() if share else {row["name"]})
    listed = {name for name, symbols in given["listed"].items() if names & set(symbols)}
    if row["symbol"].endswith("-BE") and s.product in (MIS, MTF):
        yield "RESTRICTED_LIST"
    if "fo_ban" in listed or "suspended" in listed or ("mis_blocked" in listed and s.product == MIS):
        yield "RESTRICTED_LIST"
    if given["lists"] is not None and key not in given["allow"]:
        if not share and "fo_ban" not in given["lists"]:
            yield "RESTRICTED_LIST"
        if share and s.product == MIS and "mis_blocked" not in given["lists"]:
            yield "RESTRICTED_LIST"


def _deliveries(s: Situation) -> Iterator[str]:
    row, given = s.row, s.given
    assert row is not None
    slot = s.ask["slot"]
    at_market = row["kind"] in ("CE", "PE") and s.type in (MARKET, STOP_MARKET)
    if given["traded"] is not None and at_market and slot not in given["traded"]:
        yield "UNTRADED"
    if given["holding"] is None or s.side != SELL:
        return
    if s.product == MTF and row["kind"] == "EQ":
        yield "NO_SHORT"
    if s.product != CNC:
        return
    has = given["holding"].get(slot)
    if has is None:
        yield "NO_HOLDINGS"
        return
    gross = row["symbol"].endswith("-BE")
    net = s.held(slot, product=CNC)
    used = max(-net, has.get("used", 0) + max(0, max(0, -net) - has.get("ours", 0)))
    going = s.under_way(slot, SELL, product=CNC)
    bought = 0 if gross else max(0, net)
    t1 = has.get("t1", 0) if s.limits["btst"] and not gross else 0
    if s.added > has["settled"] + t1 + bought - used - going:
        yield "NO_HOLDINGS"
    if s.added + used + going - bought > has.get("authorised", 0):
        yield "NO_HOLDINGS"


def _data(s: Situation) -> Iterator[str]:
    slot = s.ask["slot"]
    if any(o["status"] == 10 and o["slot"] == slot and o["side"] == s.side for o in s.live()):
        yield "FROZEN"
    lists = {"FEEDS_DIVERGE": s.given["parted"], "NOT_TRADABLE": s.given["barred"]}
    lists["NO_SNAPSHOT"] = s.given["states"].get("stale", ())
    yield from (reason for reason, slots in lists.items() if slot in slots)
    if s.last <= 0:
        yield "NO_REFERENCE_PRICE"
    if not 0 <= s.age_s <= s.limits["stale_tick_s"]:
        yield "STALE_TICK"
    if s.ask["flags"] & 1:
        yield "FROZEN"
    bands = s.given["band"]
    if bands is not None and (slot not in bands or bands[slot][2] > s.limits["band_age_s"]):
        yield "CIRCUIT"


def _sizes(s: Situation) -> Iterator[str]:
    limits, slot, given = s.limits, s.ask["slot"], s.given
    if s.ask["qty"] > limits["max_order_quantity"]:
        yield "MAX_ORDER_QUANTITY"
    if s.value(slot, max(s.px, s.last), s.quantity) > Fraction(limits["max_order_value"]):
        yield "MAX_ORDER_VALUE"
    own = s.value(slot, max(s.px, s.last), s.worst(slot, s.side, s.added))
    if own > Fraction(limits["max_position_size"]):
        yield "MAX_EXPOSURE"
    total = own
    for other in s.in_play() - {slot}:
        price = given["price"].get(other)
        if price is None or price[0] <= 0:
            yield "MAX_EXPOSURE"
            return
        total += s.value(other, price[0], s.worst(other))
    if total > Fraction(limits["max_exposure"]):
        yield "MAX_EXPOSURE"
    if s.kind == PLACE:
        if slot not in s.in_play() and len(s.in_play()) >= limits["max_positions"]:
            yield "MAX_POSITIONS"
        freeze = s.row["freeze"] or s.ask["qty"]  # a slice holds whole lots
        orders = -(-s.ask["qty"] // (freeze - freeze % s.row["lot"])) if s.ask["qty"] > freeze else 1
        if len(s.live()) + orders > limits["max_working_orders"]:
            yield "MAX_WORKING_ORDERS"
    if given["funds"] is not None and Fraction(given["funds"], 100) < Fraction(limits["min_funds"]):
        yield "CAPITAL"


def _conduct(s: Situation) -> Iterator[str]:
    for order in s.live():
        if order["slot"] != s.ask["slot"] or order["side"] == s.side:
            continue
        if order["order_type"] in (STOP, STOP_MARKET) and order["status"] != 5:
            continue  # it waits outside the market
        at_market = s.type in (MARKET, STOP_MARKET) or not order["px"]
        if at_market or (s.px >= order["px"] if s.side == BUY else s.px <= order["px"]):
            yield "SELF_TRADE"
    for seen in s.given["traffic"] or ():
        messages, trades = seen.get("messages", 0), seen.get("trades", 0)
        if messages >= 100 and messages >= 50 * max(1, trades):
            yield "ORDER_TO_TRADE"
        if seen.get("modifications", 0) >= 800:
            yield "ORDER_TO_TRADE"
