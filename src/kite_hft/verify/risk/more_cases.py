"""Layer 6, campaigns, cold: cases of cases.py about time, lists, holdings, losses and conduct."""

from __future__ import annotations

from typing import Any, Final

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.sessions import seconds_of_day
from kite_hft.verify.risk.bench import (
    BSE_SHARE,
    CURRENCY,
    FAR_OPTION,
    GROSS,
    METAL,
    OPTION,
    OTHER,
    PX,
    STOCK_OPTION,
)

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, SL, SLM = OrderType.MARKET, OrderType.LIMIT, OrderType.SL, OrderType.SLM
CNC, NRML, MIS, MTF = Product.CNC, Product.NRML, Product.MIS, Product.MTF
CANCEL, MODIFY = IntentKind.CANCEL, IntentKind.MODIFY
Words = tuple[Any, ...]

HELD: Final = {"held": ((1, 0, MIS, 10),)}
ONE: Final[dict[str, Any]] = {"live": ({},)}
EXIT: Final = {"side": SELL, "qty": 10}
OPT: Final = {"slot": OPTION, "product": NRML, "qty": 75}
OPT_HELD: Final = {"held": ((1, OPTION, NRML, 75),)}


def _at(time: str, day: str = "2026-11-20") -> dict[str, Any]:
    return {"at": f"{day} {time}"}


PHASES: Final[tuple[Words, ...]] = (
    ("C29", "before the open", _at("09:10:30"), {}, "PHASE_CLOSED", ("buffer",)),
    ("C29", "a market order in the pre-open", _at("09:02:00"), {"order_type": MARKET, "px": 0}),
    ("C29", "not in its second part", _at("09:06:00"), {"order_type": MARKET, "px": 0}, "PHASE_CLOSED",
     ("pre_open_limit", "MARKET")),
    ("C29", "a stop in the pre-open", _at("09:02:00"), {"order_type": SL, "px": PX + 10,
     "trigger_px": PX + 5},
     "PHASE_CLOSED", ("SL",)),
    ("C29", "the first second", _at("09:15:00"), {}),
    ("C29", "the night", _at("20:00:00"), {}, "PHASE_CLOSED", ("closed",)),
    ("C29", "a Saturday", _at("11:00:00", "2026-11-21"), {}, "PHASE_CLOSED", ("closed",)),
    ("C29", "a holiday", _at("11:00:00", "2026-11-24"), {}, "PHASE_CLOSED", ("closed",)),
    ("C29", "a year that the calendar does not know", _at("11:00:00", "2031-01-06"), {}, "PHASE_CLOSED",
     ("no calendar row",)),
    ("C29", "a market without hours", _at("20:00:00") | {"hours": False}, {}),
    ("law", "an exit passes at any hour", _at("15:17:00") | HELD, EXIT),
    ("C22", "a share of the closing auction, before 14:55", _at("14:54:59"), {}),
    ("C22", "at 14:55", _at("14:55:00"), {}, "CUT_OFF", ("NSE:SBIN", "14:55:00")),
    ("C22", "another share at 14:59:59", _at("14:59:59"), {"slot": OTHER}),
    ("C22", "at 15:00", _at("15:00:00"), {"slot": OTHER}, "CUT_OFF", ("15:00:00",)),
    ("C22", "not known to be no auction share", _at("14:55:00") | {"underlyings": None}, {"slot": OTHER},
     "CUT_OFF", ("14:55:00",)),
    ("C22", "before the closing auction there was none", _at("14:59:59", "2026-07-31"), {}),
    ("C22", "an exit at 15:05", _at("15:05:00") | HELD, EXIT),
    ("C22", "a cancel at 15:05", _at("15:05:00") | ONE, {"kind": CANCEL, "target_seq": 1}),
    ("C22", "a stock option four days before it settles", _at("11:00:00"), {"slot": STOCK_OPTION,
     "product": NRML,
     "qty": 75}, "EXPIRY", ("SBIN26NOV800CE", "3 trading days", "2026-11-26")),
    ("C22", "its sale", _at("11:00:00"), {"slot": STOCK_OPTION, "product": NRML, "qty": 75, "side": SELL}),
    ("C22", "the next month's", _at("11:00:00"), {"slot": FAR_OPTION, "product": NRML, "qty": 75}),
    ("C22", "one on an index", _at("11:00:00"), OPT),
    ("C22", "after the expiry", _at("11:00:00", "2026-11-27"), OPT, "EXPIRY", ("expired", "2026-11-26")),
    ("C22", "five days before", _at("11:00:00", "2026-11-18"), {"slot": STOCK_OPTION, "product": NRML,
     "qty": 75}),
)  # fmt: skip

EVENING: Final = {"limits": {"max_order_value": 1e9, "max_position_size": 1e9, "max_exposure": 1e9}}
DOLLAR: Final = {"slot": CURRENCY, "product": NRML, "qty": 1}
COPPER: Final = {"slot": METAL, "product": NRML, "qty": 1}


def _until(derivatives: str, currency: str, metals: str) -> tuple[Words, ...]:
    """When the last second of entries is over: of derivatives, currency and metals."""
    kinds = (("a derivative", derivatives, OPT), ("currency", currency, DOLLAR), ("metals", metals, COPPER))
    return tuple(
        row
        for what, at, ask in kinds
        for row in (
            ("C22", f"{what} before {at}", _at(_second_before(at)) | EVENING, ask),
            ("C22", f"{what} at {at}", _at(at) | EVENING, ask, "CUT_OFF", (at,)),
        )
    )


def _second_before(at: str) -> str:
    seconds = seconds_of_day(at) - 1
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


CUT_OFFS: Final[dict[str, tuple[Words, ...]]] = {
    "kite": _until("15:10:00", "16:30:00", "22:50:00"),
    "upstox": _until("15:00:00", "16:15:00", "22:35:00"),
}
"""By the broker, who closes what is left at an hour of his own."""

LISTS: Final[tuple[Words, ...]] = (
    ("C26", "a ban: no opening", {"listed": {"fo_ban": ["SBIN"]}}, {"slot": FAR_OPTION, "product": NRML,
     "qty": 75},
     "RESTRICTED_LIST", ("SBIN26DEC800CE", "fo_ban")),
    ("C26", "only what offsets", {"listed": {"fo_ban": ["SBIN"]}, "held": ((1, FAR_OPTION, NRML, 75),)},
     {"slot": FAR_OPTION, "product": NRML, "qty": 75, "side": SELL}),
    ("C26", "another underlying", {"listed": {"fo_ban": ["TCS"]}}, {"slot": FAR_OPTION, "product": NRML,
     "qty": 75}),
    ("C26", "MIS blocked", {"listed": {"mis_blocked": ["NSE:SBIN"]}}, {}, "RESTRICTED_LIST", ("mis_blocked",
     "MIS")),
    ("C26", "in CNC", {"listed": {"mis_blocked": ["NSE:SBIN"]}}, {"product": CNC}),
    ("C7", "suspended", {"listed": {"suspended": ["NSE:SBIN"]}}, {"product": CNC}, "RESTRICTED_LIST",
     ("suspended",)),
    ("C7", "an exit of it passes", {"listed": {"suspended": ["NSE:SBIN"]}} | HELD, EXIT),
    ("C26", "no MIS list: no MIS", {"lists": ("fo_ban",)}, {}, "RESTRICTED_LIST", ("mis_blocked", "missing",
     "risk.allow")),
    ("C26", "CNC needs none", {"lists": ("fo_ban",)}, {"product": CNC}),
    ("C26", "all lists at hand", {"lists": ("fo_ban", "mis_blocked")}, {}),
    ("C26", "on the allow-list", {"lists": (), "allow": ("NSE:SBIN",)}, {}),
    ("C26", "no ban list: no derivatives", {"lists": ("mis_blocked",)}, OPT, "RESTRICTED_LIST", ("fo_ban",
     "missing")),
    ("C26", "an exit passes", {"lists": ()} | OPT_HELD, OPT | {"side": SELL}),
)  # fmt: skip

SALE: Final = {"side": SELL, "product": CNC, "qty": 10}
HOLDINGS: Final[tuple[Words, ...]] = (
    ("C23", "settled and authorised", {"holding": {0: {"settled": 10, "authorised": 10}}}, SALE),
    ("C23", "one more than settled", {"holding": {0: {"settled": 9, "authorised": 100}}}, SALE, "NO_HOLDINGS",
     ("10", "9 settled")),
    ("C23", "T1 is left alone", {"holding": {0: {"settled": 0, "t1": 10, "authorised": 10}}}, SALE,
     "NO_HOLDINGS",
     ("0 settled + 0 T1",)),
    ("C23", "unless it is wished", {"holding": {0: {"settled": 0, "t1": 10, "authorised": 10}},
     "limits": {"btst": True}}, SALE),
    ("C23", "never of trade-to-trade shares", {"holding": {GROSS: {"settled": 0, "t1": 10, "authorised": 10}},
     "limits": {"btst": True}}, SALE | {"slot": GROSS}, "NO_HOLDINGS", ("0 T1",)),
    ("C23", "what is used up", {"holding": {0: {"settled": 10, "used": 1, "authorised": 10}}}, SALE,
     "NO_HOLDINGS",
     ("1 used",)),
    ("C23", "not authorised", {"holding": {0: {"settled": 10, "authorised": 9}}}, SALE, "NO_HOLDINGS",
     ("10 would leave", "9 are authorised", "TPIN")),
    ("C23", "a sale under way counts", {"holding": {0: {"settled": 19, "authorised": 100}},
     "live": ({"side": SELL, "product": CNC, "px": PX, "strategy": 2},)}, SALE, "NO_HOLDINGS",
     ("10 under way", "9")),
    ("C23", "room for both", {"holding": {0: {"settled": 20, "authorised": 20}},
     "live": ({"side": SELL, "product": CNC, "px": PX, "strategy": 2},)}, SALE),
    ("C23", "our own sales that the broker has not told of yet", {"holding": {0: {"settled": 15,
     "authorised": 99}},
     "held": ((1, 0, CNC, -6),)}, SALE, "NO_HOLDINGS", ("6 used", "= 9")),
    ("C23", "those that he has told of count once", {"holding": {0: {"settled": 16, "used": 6,
     "authorised": 99, "ours": 6}},
     "held": ((1, 0, CNC, -6),)}, SALE),
    ("C23", "sold by hand, and by us since", {"holding": {0: {"settled": 22, "used": 6, "authorised": 99}},
     "held": ((1, 0, CNC, -6),)}, SALE),
    ("C23", "and one more", {"holding": {0: {"settled": 21, "used": 6, "authorised": 99}},
     "held": ((1, 0, CNC, -6),)}, SALE, "NO_HOLDINGS", ("12 used", "= 9")),
    ("C23", "sold before: it needs the authorisation, too", {"holding": {0: {"settled": 20, "used": 6,
     "authorised": 16}}}, SALE),
    ("C23", "one short", {"holding": {0: {"settled": 20, "used": 6, "authorised": 15}}}, SALE, "NO_HOLDINGS",
     ("16 would leave",)),
    ("C23", "under way: likewise", {"holding": {0: {"settled": 20, "authorised": 19}},
     "live": ({"side": SELL, "product": CNC, "px": PX, "strategy": 2},)}, SALE, "NO_HOLDINGS",
     ("20 would leave",)),
    ("C23", "bought today: none for that part", {"holding": {0: {"settled": 10, "authorised": 5}},
     "held": ((2, 0, CNC, 5),)}, SALE),
    ("C23", "one short of the rest", {"holding": {0: {"settled": 10, "authorised": 4}}, "held": ((2, 0, CNC,
     5),)},
     SALE, "NO_HOLDINGS", ("5 would leave",)),
    ("C23", "not known", {"holding": {}}, SALE, "NO_HOLDINGS", ("not known",)),
    ("C23", "what was bought today goes without", {"holding": {0: {"settled": 0}}, "held": ((1, 0, CNC,
     10),)}, SALE),
    ("C23", "by another strategy", {"holding": {0: {"settled": 0}}, "held": ((2, 0, CNC, 10),)}, SALE),
    ("C24", "a short in MIS", {"holding": {}}, {"side": SELL}),
    ("C24", "in MTF", {"holding": {}}, {"side": SELL, "product": MTF}, "NO_SHORT", ("NSE:SBIN", "MTF")),
    ("C24", "of an option", {"holding": {}}, OPT | {"side": SELL}),
    ("C24", "an exit in MTF", {"holding": {}, "held": ((1, 0, MTF, 10),)}, {"side": SELL, "product": MTF}),
)  # fmt: skip

CLOSED: Final = {"guard": "closed", "strategy": 1, "slot": 0, "paise": -100}
COOL: Final = {"limits": {"cooldown_s": 60.0}}
LOSSES: Final = {"limits": {"stop_losses_max": 2, "stop_losses_s": 100.0, "stop_pause_s": 50.0}}
GUARDS: Final[tuple[Words, ...]] = (
    ("C20", "cooling down", COOL | {"closed": ((CLOSED, 59.0),)}, {}, "COOLDOWN", ("strategy 1", "1.0 s")),
    ("C20", "cooled down", COOL | {"closed": ((CLOSED, 60.0),)}, {}),
    ("C20", "after a gain", COOL | {"closed": ((CLOSED | {"paise": 100}, 1.0),)}, {}),
    ("C20", "another instrument", COOL | {"closed": ((CLOSED, 1.0),)}, {"slot": OTHER}),
    ("C20", "another strategy", COOL | {"closed": ((CLOSED | {"strategy": 2}, 1.0),)}, {}),
    ("C20", "an exit", COOL | HELD | {"closed": ((CLOSED, 1.0),)}, EXIT),
    ("C20", "two losses", LOSSES | {"closed": ((CLOSED, 60.0), (CLOSED | {"slot": 1}, 10.0))},
     {"slot": OTHER},
     "STOP_GUARD", ("2 positions", "40 s")),
    ("C20", "one loss", LOSSES | {"closed": ((CLOSED, 10.0),)}, {}),
    ("C20", "the first is long ago", LOSSES | {"closed": ((CLOSED, 150.0), (CLOSED, 10.0))}, {}),
    ("C20", "the pause is over", LOSSES | {"closed": ((CLOSED, 80.0), (CLOSED, 50.0))}, {}),
    ("C20", "a drawdown", {"limits": {"max_drawdown": 100.0}, "net": (5_000, -5_000)}, {}, "DRAWDOWN",
     ("100.00", "50.00")),
    ("C20", "a paisa less", {"limits": {"max_drawdown": 100.0}, "net": (5_000, -4_999)}, {}),
    ("C20", "an exit", {"limits": {"max_drawdown": 100.0}, "net": (5_000, -5_000)} | HELD, EXIT),
    ("C20", "it stays latched", {"limits": {"max_drawdown": 100.0}, "net": (5_000, -5_000, 5_000)}, {},
     "DRAWDOWN"),
    ("C6", "the day's loss", {"config": {"max_daily_loss_paise": 100},
     "states": {"reducing": "net loss of the day"}},
     {}, "REDUCING", ("net loss",)),
)  # fmt: skip

SAME: Final = {"limits": {"repeats_max": 2}}
NOISE: Final[tuple[Words, ...]] = (
    ("C4", "a second time", SAME | {"before": ({},)}, {}),
    ("C4", "a third time", SAME | {"before": ({}, {})}, {}, "REPEATED", ("strategy 1", "BUY 10", "2 times",
     "60 s")),
    ("C4", "another quantity", SAME | {"before": ({}, {})}, {"qty": 11}),
    ("C4", "another side", SAME | {"before": ({}, {})}, {"side": SELL, "px": PX + 5}),
    ("C4", "another instrument", SAME | {"before": ({}, {})}, {"slot": BSE_SHARE}),
    ("C4", "held until a person lets it go on", {"states": {"held": (1, "the same again", "reducing")}}, {},
     "REDUCING",
     ("strategy 1", "the same again")),
    ("C4", "another strategy goes on", {"states": {"held": (2, "the same again", "reducing")}}, {}),
    ("C4", "its exits pass", {"states": {"held": (1, "the same again", "reducing")}} | HELD, EXIT),
    ("C5", "the same number again", {"before": ({"strategy_seq": 500},)}, {"strategy_seq": 500},
     "DUPLICATE_INTENT",
     ("500",)),
    ("C5", "a lower one", {"before": ({"strategy_seq": 500},)}, {"strategy_seq": 499}, "DUPLICATE_INTENT"),
    ("C5", "the next one", {"before": ({"strategy_seq": 500},)}, {"strategy_seq": 501}),
    ("C5", "beside an ambiguous one", {"live": ({"status": OrderStatus.AMBIGUOUS},)}, {}, "FROZEN",
     ("order 1",)),
    ("C5", "above it, on the other side", {"live": ({"status": OrderStatus.AMBIGUOUS},)},
     {"side": SELL, "px": PX + 5}),
    ("C5", "an exit of what is held at worst", {"live": ({"status": OrderStatus.AMBIGUOUS, "side": SELL},),
     "held": ((1, 0, MIS, 20),)}, EXIT),
    ("C5", "an exit of what is gone", {}, EXIT | {"flags": 1}, "FROZEN", ("0 held",)),
    ("C5", "just after the broker closed a part", HELD | {"states": {"cut_s": 0.5}}, {"side": SELL,
     "qty": 11}, "FROZEN",
     ("500 ms",)),
    ("C5", "in the same moment", HELD | {"states": {"cut_s": 0.0}}, {"side": SELL, "qty": 11}, "FROZEN",
     ("0 ms",)),
    ("C5", "a second later", HELD | {"states": {"cut_s": 1.0}}, {"side": SELL, "qty": 11}),
    ("C27", "against our own sale", {"live": ({"side": SELL, "strategy": 2},)}, {}, "SELF_TRADE",
     ("BUY at 10000", "strategy 2")),
    ("C27", "below it", {"live": ({"side": SELL, "strategy": 2},)}, {"px": PX - 5}),
    ("C27", "at market", {"live": ({"side": SELL, "strategy": 2, "px": PX + 400},)}, {"order_type": MARKET,
     "px": 0},
     "SELF_TRADE", ("the market",)),
    ("C27", "against one at market", {"live": ({"side": SELL, "strategy": 2, "order_type": MARKET,
     "px": 0},)},
     {"px": PX - 100}, "SELF_TRADE"),
    ("C27", "a sale against our own purchase", {"live": ({"strategy": 2},)}, {"side": SELL}, "SELF_TRADE",
     ("SELL at 10000",)),
    ("C27", "a stop that waits is not in the market",
     {"live": ({"side": SELL, "strategy": 2, "order_type": SL, "trigger_px": PX,
     "status": OrderStatus.TRIGGER_PENDING},)},
     {}),
    ("C27", "one that has triggered is",
     {"live": ({"side": SELL, "strategy": 2, "order_type": SL, "trigger_px": PX},)}, {}, "SELF_TRADE"),
    ("C27", "another instrument", {"live": ({"side": SELL, "strategy": 2},)}, {"slot": OTHER}),
    ("C27", "a modification that would meet it", {"live": ({"px": PX - 50}, {"side": SELL, "strategy": 2})},
     {"kind": MODIFY, "target_seq": 1, "px": PX}, "SELF_TRADE"),
    ("C27", "an exit passes", {"live": ({"strategy": 2},)} | HELD, EXIT),
    ("C28", "50 messages to a trade", {"traffic": ({"messages": 100, "trades": 2}, {})}, {}, "ORDER_TO_TRADE",
     ("100 messages", "2 trades", "50.0")),
    ("C28", "no trade at all", {"traffic": ({"messages": 100}, {})}, {}, "ORDER_TO_TRADE", ("100.0 to one",)),
    ("C28", "one trade more", {"traffic": ({"messages": 149, "trades": 3}, {})}, {}),
    ("C28", "few messages", {"traffic": ({"messages": 99}, {})}, {}),
    ("C28", "of the strategy", {"traffic": ({}, {"messages": 100, "trades": 1})}, {}, "ORDER_TO_TRADE",
     ("strategy 1",)),
    ("C28", "modifications", {"traffic": ({"modifications": 800}, {})}, {}, "ORDER_TO_TRADE", ("800",)),
    ("C28", "one less", {"traffic": ({"modifications": 799}, {})}, {}),
    ("C28", "an exit passes", {"traffic": ({"modifications": 800}, {})} | HELD, EXIT),
    ("C14", "25 modifications of an order", {"live": ({"modifications": 25},)},
     {"kind": MODIFY, "target_seq": 1, "px": PX - 5}, "MODIFICATION_CAP", ("25",)),
    ("C14", "24", {"live": ({"modifications": 24},)}, {"kind": MODIFY, "target_seq": 1, "px": PX - 5}),
    ("C14", "its cancel", {"live": ({"modifications": 25},)}, {"kind": CANCEL, "target_seq": 1}),
)  # fmt: skip

OPENING_ONLY: Final = (
    ("C21", "halted", {"states": {"halted": "a reason"}}, "HALTED", ("a reason",)),
    ("C21", "reducing", {"states": {"reducing": "5 rejected in a row"}}, "REDUCING", ("5 rejected",)),
    ("C9", "killed", {"states": {"killed": "by hand"}}, "KILLED", ("by hand",)),
    ("C10", "the market is silent", {"states": {"market_halted": True}}, "MARKET_HALT", ()),
    ("law", "no tick since the connection came back", {"states": {"stale": (0,)}}, "NO_SNAPSHOT", ()),
    ("law", "no price", {"price": {0: None}}, "NO_REFERENCE_PRICE", ()),
    ("law", "a price of 0", {"price": {0: (0, 0.0)}}, "NO_REFERENCE_PRICE", ()),
    ("law", "a price below 0", {"price": {0: (-5, 0.0)}}, "NO_REFERENCE_PRICE", ()),
    ("law", "an old price", {"price": {0: (PX, 2.001)}}, "STALE_TICK", ("2.001 s", "2.0 s")),
    ("law", "two feeds that tell different prices", {"parted": (0,)}, "FEEDS_DIVERGE", ("110.00 by b",)),
    ("law", "two lists that differ", {"barred": (0,)}, "NOT_TRADABLE", ("2 at Upstox",)),
    ("law", "a wrong clock", {"clock": "the wall clock was stepped by 2.000 s"}, "CLOCK", ("2.000 s",)),
)
LAW: Final[tuple[Words, ...]] = (
    ("law", "a price that is just fresh enough", {"price": {0: (PX, 2.0)}}, {}),
    ("law", "two feeds that part over another instrument", {"parted": (1,)}, {}),
    *((control, what, given, {}, reason, words) for control, what, given, reason, words in OPENING_ONLY),
    *((control, f"{what}: more than is held", given | HELD, {"side": SELL, "qty": 11}, reason, words)
      for control, what, given, reason, words in OPENING_ONLY),
    *((control, f"{what}: a modification that grows", given | ONE, {"kind": MODIFY, "target_seq": 1,
     "qty": 20}, reason,
       words) for control, what, given, reason, words in OPENING_ONLY),
    *((control, f"{what}: an exit passes", given | HELD, EXIT)
      for control, what, given, _reason, _words in OPENING_ONLY),
    *((control, f"{what}: a cancel passes", given | ONE, {"kind": CANCEL, "target_seq": 1})
      for control, what, given, _reason, _words in OPENING_ONLY),
)  # fmt: skip

CASES: Final = (*PHASES, *LISTS, *HOLDINGS, *GUARDS, *NOISE, *LAW)
