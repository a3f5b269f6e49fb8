"""Layer 6, campaigns, cold: what the gate must let pass and must refuse, control by control.

Written from the rules, not from the code: a case says what is given, what is asked, and the name of
the reason with the numbers that its text must hold; "" where it must pass. Words of `given` and of the
intent are those of bench.py. The market: one share in the closing auction (SHARE), one that is not
(OTHER), an index, options and futures, each at 100 rupees, on Friday 2026-11-20 at 11:00.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.verify.risk import more_cases
from kite_hft.verify.risk.bench import (
    BSE_SHARE,
    CURRENCY,
    GROSS,
    INDEX,
    METAL,
    NO_FREEZE,
    NO_MULTIPLIER,
    OPTION,
    OTHER,
    PX,
    UNKNOWN,
)

BUY, SELL = Side.BUY, Side.SELL
MARKET, LIMIT, SL, SLM = OrderType.MARKET, OrderType.LIMIT, OrderType.SL, OrderType.SLM
CNC, NRML, MIS, MTF = Product.CNC, Product.NRML, Product.MIS, Product.MTF
CANCEL, MODIFY = IntentKind.CANCEL, IntentKind.MODIFY


class Case(NamedTuple):
    """control: C1 to C29, or "law" (what reduces passes), or "form". words: parts of the text."""

    control: str
    what: str
    given: dict[str, Any]
    ask: dict[str, Any]
    reason: str = ""
    words: tuple[str, ...] = ()


HELD: Final = {"held": ((1, 0, MIS, 10),)}
BIG: Final = {"limits": {"max_position_size": 1e9, "max_order_value": 1e9, "max_exposure": 1e9}}
ONE: Final[dict[str, Any]] = {"live": ({},)}
"""One working order: 10 of SHARE, bought at 100."""
STOP: Final[dict[str, Any]] = {"live": ({"side": SELL, "order_type": SL, "px": PX - 20, "trigger_px": PX - 10,
                                         "status": OrderStatus.TRIGGER_PENDING},)}  # fmt: skip
"""A stop that waits: triggered at 99.90, sold down to 99.80."""
EXIT: Final = {"side": SELL, "qty": 10}


def _sized(**limits: Any) -> dict[str, Any]:
    return {"limits": {"max_position_size": 1e9, "max_order_value": 1e9, "max_exposure": 1e9} | limits}


FORM: Final = (
    Case("form", "a plain order", {}, {}),
    Case("form", "no such kind", {}, {"kind": 77}, "BAD_INTENT", ("77",)),
    Case("form", "no number", {}, {"strategy_seq": 0}, "BAD_INTENT", ("strategy_seq",)),
    Case("form", "no such side", {}, {"side": 3}, "BAD_INTENT", ("side 3",)),
    Case("form", "no side", {}, {"side": 0}, "BAD_INTENT", ("side is missing",)),
    Case("form", "no such order type", {}, {"order_type": 9}, "BAD_INTENT", ("order type 9",)),
    Case("form", "no such product", {}, {"product": 9}, "BAD_INTENT", ("product 9",)),
    Case("form", "no such validity", {}, {"validity": 9}, "BAD_INTENT", ("validity 9",)),
    Case("form", "unknown flags", {}, {"flags": 2}, "BAD_INTENT", ("0x2",)),
    Case("form", "TTL is not enabled", {}, {"validity": Validity.TTL}, "BAD_INTENT", ("TTL",)),
    Case("form", "quantity 0", {}, {"qty": 0}, "BAD_INTENT", ("quantity is 0",)),
    Case("form", "a limit without price", {}, {"px": 0}, "BAD_INTENT", ("limit price",)),
    Case("form", "a negative price", {}, {"px": -5}, "BAD_INTENT", ("px -5",)),
    Case("form", "a negative trigger", {}, {"trigger_px": -5}, "BAD_INTENT", ("trigger_px -5",)),
    Case("form", "NaN", {}, {"signal": math.nan}, "BAD_INTENT", ("nan",)),
    Case("form", "infinity", {}, {"signal": math.inf}, "BAD_INTENT", ("inf",)),
    Case("form", "minus infinity", {}, {"signal": -math.inf}, "BAD_INTENT", ("inf",)),
    Case("form", "the largest quantity there is", _sized(), {"qty": 2**32 - 1}, "MAX_ORDER_QUANTITY",
         ("4294967295",)),
    Case("form", "the largest price there is", {}, {"px": 2**31 - 1}, "TICK_SIZE"),
    Case("form", "the same on the grid", {}, {"px": 2**31 - 3}, "PRICE_COLLAR", ("2147483645",)),
    Case("form", "overflowing value", _sized(max_order_quantity=2**33, price_collar_percent=1e12),
         {"qty": 2**32 - 1, "px": 2**31 - 3}, "MAX_ORDER_VALUE", ("92233720",)),
    Case("form", "a stop without trigger", {}, {"order_type": SL}, "BAD_INTENT", ("trigger price",)),
    Case("form", "a buying stop", {}, {"order_type": SL, "px": PX + 10, "trigger_px": PX + 5}),
    Case("form", "one that cannot fill", {}, {"order_type": SL, "px": PX, "trigger_px": PX + 5}, "BAD_INTENT",
         ("10000", "10005")),
    Case("form", "a selling stop", {}, {"order_type": SL, "side": SELL, "px": PX - 10, "trigger_px": PX - 5}),
    Case("form", "one that cannot fill", {}, {"order_type": SL, "side": SELL, "px": PX, "trigger_px": PX - 5},
         "BAD_INTENT", ("10000", "9995")),
    Case("form", "no such instrument", {}, {"slot": UNKNOWN}, "UNKNOWN_INSTRUMENT", ("12",)),
    Case("form", "an index", {}, {"slot": INDEX}, "NOT_TRADABLE", ("index",)),
    Case("form", "an unknown order", {}, {"kind": CANCEL, "target_seq": 7}, "UNKNOWN_ORDER", ("7",)),
    Case("form", "a cancel", ONE, {"kind": CANCEL, "target_seq": 1}),
    Case("form", "a modification", ONE, {"kind": MODIFY, "target_seq": 1, "px": PX - 5}),
    Case("form", "one of the order type", ONE, {"kind": MODIFY, "target_seq": 1, "order_type": MARKET}),
    Case("form", "one to no order type", ONE, {"kind": MODIFY, "target_seq": 1, "order_type": 77},
         "BAD_INTENT", ("order type 77",)),
    Case("form", "one to a limit without price", {"live": ({"side": SELL, "order_type": SLM, "px": 0,
         "trigger_px": PX - 10, "status": OrderStatus.TRIGGER_PENDING},)},
         {"kind": MODIFY, "target_seq": 1, "order_type": LIMIT}, "BAD_INTENT", ("limit price",)),
    Case("form", "one of nothing", ONE, {"kind": MODIFY, "target_seq": 1}, "NO_CHANGE"),
    Case("form", "one of another instrument", ONE, {"kind": MODIFY, "target_seq": 1, "px": PX - 5,
         "slot": OTHER},
         "BAD_INTENT", ("slot 0",)),
    Case("form", "one of a stop", STOP, {"kind": MODIFY, "target_seq": 1, "px": PX - 30}),
    Case("form", "that could not fill then", STOP, {"kind": MODIFY, "target_seq": 1, "px": PX - 5},
         "BAD_INTENT",
         ("9995", "9990")),
    Case("form", "of its trigger", STOP, {"kind": MODIFY, "target_seq": 1, "trigger_px": PX - 25},
         "BAD_INTENT",
         ("9980", "9975")),
    Case("form", "a little", STOP, {"kind": MODIFY, "target_seq": 1, "trigger_px": PX - 15}),
    Case("form", "one below what is filled", {"live": ({"filled": 5, "filled_units": 5 * PX},)},
         {"kind": MODIFY, "target_seq": 1, "qty": 5}, "BAD_INTENT", ("5",)),
    Case("form", "one of an order under way", {"live": ({"status": OrderStatus.SENT},)},
         {"kind": MODIFY, "target_seq": 1, "px": PX - 5}, "ORDER_NOT_OPEN", ("SENT",)),
    Case("form", "one beside another", {"live": ({"quantity_max": 11},)},
         {"kind": MODIFY, "target_seq": 1, "px": PX - 5}, "ORDER_NOT_OPEN", ("unanswered",)),
    Case("form", "a cancel of what has ended", {"live": ({"status": OrderStatus.COMPLETE},)},
         {"kind": CANCEL, "target_seq": 1}, "ORDER_NOT_OPEN", ("COMPLETE",)),
    Case("form", "a price between ticks", {}, {"px": PX + 1}, "TICK_SIZE", ("100.01", "0.05")),
    Case("form", "a trigger between ticks", {}, {"order_type": SLM, "px": 0, "trigger_px": PX + 2},
         "TICK_SIZE"),
    Case("form", "a quantity between lots", {}, {"slot": OPTION, "product": NRML, "qty": 76},
         "LOT_MULTIPLE", ("76", "75")),
    Case("form", "before the start is over", {"states": {"active": False}}, {}, "NOT_ACTIVE"),
    Case("form", "a dead token", {"states": {"token_dead": "expired"}}, {}, "TOKEN_DEAD", ("expired",)),
)  # fmt: skip

SIZE: Final = (
    Case("C1", "the largest quantity", _sized(max_order_quantity=500), {"qty": 500}),
    Case("C1", "one more", _sized(max_order_quantity=500), {"qty": 501}, "MAX_ORDER_QUANTITY", ("501",
         "500")),
    Case("C1", "the largest value", _sized(max_order_value=1000.0), {"qty": 10}),
    Case("C1", "a paisa less allowed", _sized(max_order_value=999.99), {"qty": 10}, "MAX_ORDER_VALUE",
         ("1000.00", "999.99")),
    Case("C1", "at market: by the last price", _sized(max_order_value=999.99), {"order_type": MARKET,
         "px": 0},
         "MAX_ORDER_VALUE", ("1000.00",)),
    Case("C1", "the collar", {}, {"px": PX + 500}),
    Case("C1", "a tick beyond", {}, {"px": PX + 505}, "PRICE_COLLAR", ("10505", "5.05", "10000")),
    Case("C1", "below", {}, {"px": PX - 505}, "PRICE_COLLAR", ("9495",)),
    Case("C1", "a trigger beyond", {}, {"order_type": SLM, "px": 0, "trigger_px": PX + 505}, "PRICE_COLLAR"),
    Case("C1", "a price of a paisa is a price", {"price": {0: (1, 0.0)}}, {"order_type": MARKET, "px": 0}),
    Case("C1", "and has a collar", {"price": {0: (1, 0.0)}} | HELD, EXIT, "PRICE_COLLAR", ("10000",
         "off 1 ")),
    Case("C1", "a collar a second old", {"price": {0: (PX, 1.0)}} | HELD, EXIT | {"px": PX + 505},
         "PRICE_COLLAR"),
    Case("C1", "none by an old price", {"price": {0: (PX, 2.1)}} | HELD, EXIT | {"px": PX + 505}),
    Case("C1", "exits are held to the collar too", HELD, EXIT | {"px": PX + 505}, "PRICE_COLLAR"),
    Case("C1", "a stop that becomes a limit where it lies", STOP, {"kind": MODIFY, "target_seq": 1,
         "order_type": LIMIT}),
    Case("C1", "and the price has gone away from it", STOP | {"price": {0: (PX + 600, 0.0)}},
         {"kind": MODIFY, "target_seq": 1, "order_type": LIMIT}, "PRICE_COLLAR", ("9980", "10600")),
    Case("C1", "two orders in a period of two", _sized(period_orders=2) | {"before": ({},)}, {}),
    Case("C1", "three", _sized(period_orders=2) | {"before": ({}, {"slot": OTHER})}, {}, "PERIOD_LIMIT",
         ("strategy 1", "2 + 1", "60 s")),
    Case("C1", "three of three strategies in one instrument",
         _sized(period_orders=2) | {"before": ({"strategy": 2}, {"strategy": 3})}, {}, "PERIOD_LIMIT",
         ("slot 0",)),
    Case("C1", "quantity in a period", _sized(period_quantity=30) | {"before": ({}, {})}, {}),
    Case("C1", "one more", _sized(period_quantity=29) | {"before": ({}, {})}, {}, "PERIOD_LIMIT",
         ("20 + 10", "29")),
    Case("C1", "value in a period", _sized(period_value=3000.0) | {"before": ({}, {})}, {}),
    Case("C1", "a paisa less", _sized(period_value=2999.99) | {"before": ({}, {})}, {}, "PERIOD_LIMIT",
         ("2000.00 + 1000.00", "2999.99")),
    Case("C1", "an exit counts in no period",
         _sized(period_orders=1) | HELD | {"before": ({"px": PX - 100},)}, EXIT),
    Case("C3", "what waits counts: room for both", _sized(max_position_size=2000.0) | {"before": ({},)}, {}),
    Case("C3", "no room for the second", _sized(max_position_size=1999.99) | {"before": ({},)}, {},
         "MAX_EXPOSURE",
         ("20", "2000.00")),
    *(
        Case("C3", f"an order that is {status.name} counts", _sized(max_position_size=1999.99)
             | {"live": ({"status": status, "strategy": 2},)}, {"px": PX - 5},
             "FROZEN" if status is OrderStatus.AMBIGUOUS else "MAX_EXPOSURE")
        for status in (OrderStatus.NEW, OrderStatus.SENT, OrderStatus.PENDING, OrderStatus.OPEN,
                       OrderStatus.AMBIGUOUS)
    ),
    Case("C3", "one that has ended does not", _sized(max_position_size=1999.99)
         | {"live": ({"status": OrderStatus.CANCELLED},)}, {}),
    Case("C3", "a modification counts by what it may become", _sized(max_position_size=1999.99) | ONE,
         {"kind": MODIFY, "target_seq": 1, "qty": 20}, "MAX_EXPOSURE", ("2000.00",)),
    Case("C3", "at the price at which it stands", _sized(max_position_size=2009.99)
         | {"live": ({"px": PX + 50},)}, {"kind": MODIFY, "target_seq": 1, "qty": 20}, "MAX_EXPOSURE",
         ("2010.00",)),
    Case("C3", "all instruments together", _sized(max_exposure=2999.99) | {"held": ((2, OTHER, MIS, -20),)},
         {},
         "MAX_EXPOSURE", ("3000.00", "2999.99")),
    Case("C3", "just enough", _sized(max_exposure=3000.0) | {"held": ((2, OTHER, MIS, -20),)}, {}),
    Case("C3", "a position without a price", {"held": ((2, OTHER, MIS, 1),), "price": {OTHER: None}}, {},
         "MAX_EXPOSURE", ("no price", "SMALLCO")),
    Case("C3", "a position at a paisa", {"held": ((2, OTHER, MIS, 1),), "price": {OTHER: (1, 0.0)}}, {}),
    Case("C3", "a position in another unit of price", _sized(max_exposure=101_000.0)
         | {"held": ((2, CURRENCY, NRML, 1),)}, {}),
    Case("C3", "a paisa less", _sized(max_exposure=100_999.99) | {"held": ((2, CURRENCY, NRML, 1),)}, {},
         "MAX_EXPOSURE", ("101000.00",)),
    Case("C6", "at the order's own price, when it is higher", _sized(max_gross_notional=1004.99),
         {"px": PX + 50},
         "CAPITAL", ("1005.00",)),
    Case("C6", "instruments in play", _sized(max_positions=1) | {"held": ((2, OTHER, MIS, 1),)}, {},
         "MAX_POSITIONS",
         ("1 instruments",)),
    Case("C6", "one of them", _sized(max_positions=1) | {"held": ((2, 0, MIS, 1),)}, {}),
    Case("C6", "working orders", _sized(max_working_orders=1) | ONE, {}, "MAX_WORKING_ORDERS", ("1 live",)),
    Case("C6", "room for one", _sized(max_working_orders=2) | ONE, {}),
    Case("C6", "the day's gross value", _sized(max_gross_notional=2000.0) | {"before": ({},)}, {}),
    Case("C6", "a paisa less", _sized(max_gross_notional=1999.99) | {"before": ({},)}, {}, "CAPITAL",
         ("2000.00", "1999.99")),
    Case("C6", "enough funds", _sized(min_funds=500.0) | {"funds": 50_000}, {}),
    Case("C6", "a paisa less", _sized(min_funds=500.0) | {"funds": 49_999}, {}, "CAPITAL", ("499.99",
         "500.00")),
    Case("C6", "an exit needs no funds", _sized(min_funds=500.0) | {"funds": -1} | HELD, EXIT),
    Case("C29", "value with the multiplier", _sized(max_order_value=250_000.0),
         {"slot": METAL, "product": NRML, "qty": 1}),
    Case("C29", "a paisa less", _sized(max_order_value=249_999.99), {"slot": METAL, "product": NRML,
         "qty": 1},
         "MAX_ORDER_VALUE", ("250000.00",)),
    Case("C29", "value in another unit of price", _sized(max_order_value=99_999.99),
         {"slot": CURRENCY, "product": NRML, "qty": 1}, "MAX_ORDER_VALUE", ("100000.00",)),
    Case("C29", "within the freeze quantity", _sized(), {"slot": OPTION, "product": NRML, "qty": 1800}),
    Case("C29", "two slices", _sized() | {"config": {"slices_max": 2}}, {"slot": OPTION, "product": NRML,
         "qty": 3600}),
    Case("C6", "room for one, and an order in two slices", _sized(max_working_orders=2) | ONE,
         {"slot": OPTION, "product": NRML, "qty": 3600}, "MAX_WORKING_ORDERS", ("1 live", "2 slices", "2")),
    Case("C6", "room for both slices", _sized(max_working_orders=3) | ONE,
         {"slot": OPTION, "product": NRML, "qty": 3600}),
    Case("C6", "a slice too many on an empty book", _sized(max_working_orders=2),
         {"slot": OPTION, "product": NRML, "qty": 3675}, "MAX_WORKING_ORDERS", ("0 live", "3 slices")),
    Case("C6", "an exit in slices needs no room", _sized(max_working_orders=1) | ONE
         | {"held": ((1, OPTION, NRML, 3600),)},
         {"side": SELL, "slot": OPTION, "product": NRML, "qty": 3600}),
    Case("C29", "one lot more", _sized() | {"config": {"slices_max": 2}},
         {"slot": OPTION, "product": NRML, "qty": 3675}, "MAX_ORDER_QUANTITY", ("3675", "1800", "2")),
    Case("C29", "a modification is never sliced", _sized() | {"live": ({"slot": OPTION, "product": NRML,
         "quantity": 1800},)}, {"kind": MODIFY, "target_seq": 1, "slot": OPTION, "qty": 1875},
         "MAX_ORDER_QUANTITY",
         ("1875", "in at most 1")),
    Case("C29", "an exit, too", _sized() | {"config": {"slices_max": 1}, "held": ((1, OPTION, NRML, 3600),)},
         {"slot": OPTION, "product": NRML, "qty": 1875, "side": SELL}, "MAX_ORDER_QUANTITY", ("1875",
         "1800")),
    Case("C29", "an unknown multiplier", {}, {"slot": NO_MULTIPLIER, "product": NRML, "qty": 75},
         "NOT_TRADABLE",
         ("multiplier unknown",)),
    Case("C29", "an unknown freeze quantity", {}, {"slot": NO_FREEZE, "product": NRML, "qty": 75},
         "NOT_TRADABLE",
         ("freeze quantity unknown",)),
)  # fmt: skip

LEGAL: Final = (
    Case("C16", "at market with the broker's protection", {}, {"order_type": MARKET, "px": 0}),
    Case("C16", "with our own", {"limits": {"market_protection": 2.0}}, {"order_type": MARKET, "px": 0}),
    Case("C16", "IOC on MCX", _sized(), {"slot": METAL, "product": NRML, "qty": 1, "validity": Validity.IOC},
         "ORDER_TYPE_NOT_ALLOWED", ("MCX", "IOC")),
    Case("C16", "DAY there", _sized(), {"slot": METAL, "product": NRML, "qty": 1}),
    Case("C29", "SL-M of a share of NSE", {}, {"order_type": SLM, "px": 0, "trigger_px": PX + 5}),
    Case("C29", "on BSE", {}, {"slot": BSE_SHARE, "order_type": SLM, "px": 0, "trigger_px": PX + 5},
         "ORDER_TYPE_NOT_ALLOWED", ("BSE", "SL-M")),
    Case("C29", "of an option", {}, {"slot": OPTION, "product": NRML, "qty": 75, "order_type": SLM, "px": 0,
         "trigger_px": PX + 5}, "ORDER_TYPE_NOT_ALLOWED", ("NFO CE", "SL-M")),
    Case("C29", "an exit, too", {"held": ((1, OPTION, NRML, 75),)}, {"slot": OPTION, "product": NRML,
         "qty": 75,
         "side": SELL, "order_type": SLM, "px": 0, "trigger_px": PX - 5}, "ORDER_TYPE_NOT_ALLOWED"),
    Case("C29", "SL of an option", {}, {"slot": OPTION, "product": NRML, "qty": 75, "order_type": SL,
         "px": PX + 10, "trigger_px": PX + 5}),
    Case("C29", "CNC of an option", {}, {"slot": OPTION, "product": CNC, "qty": 75}, "PRODUCT_NOT_ALLOWED",
         ("CNC",)),
    Case("C29", "NRML of a share", {}, {"product": NRML}, "PRODUCT_NOT_ALLOWED", ("NSE EQ", "NRML")),
    Case("C29", "circuit limits", {"band": {0: (9_000, 10_200, 5)}}, {"px": 10_200}),
    Case("C29", "a tick beyond", {"band": {0: (9_000, 10_200, 5)}}, {"px": 10_205}, "CIRCUIT",
         ("10205", "9000", "10200")),
    Case("C29", "an exit, too", {"band": {0: (9_900, 10_200, 5)}} | HELD, EXIT | {"px": 9_895}, "CIRCUIT",
         ("9895",)),
    Case("C29", "limits of nothing", {"band": {0: (0, 0, 5)}}, {}, "CIRCUIT", ("not known",)),
    Case("C29", "half of them", {"band": {0: (0, 10_200, 5)}}, {}, "CIRCUIT", ("not known",)),
    Case("C29", "the wrong way round", {"band": {0: (10_200, 9_000, 5)}}, {}, "CIRCUIT", ("not known",)),
    Case("C29", "of no time", {"band": {0: (9_000, 10_200, -1e-9)}}, {}, "CIRCUIT", ("not known",)),
    Case("C29", "of this moment", {"band": {0: (9_000, 10_200, 0)}}, {}),
    Case("C29", "a locked price", {"band": {0: (PX, PX, 5)}}, {}),
    Case("C29", "down to a paisa", {"band": {0: (1, 10_200, 5)}}, {}),
    Case("law", "an exit past limits of nothing", {"band": {0: (0, 0, 5)}} | HELD, EXIT),
    Case("law", "past limits of no time", {"band": {0: (9_000, 9_500, -1e-9)}} | HELD, EXIT),
    Case("law", "past limits that are too old", {"band": {0: (9_000, 9_500, 181)}} | HELD, EXIT),
    Case("C29", "an exit beyond a locked price", {"band": {0: (PX, PX, 5)}} | HELD, EXIT | {"px": PX + 5},
         "CIRCUIT"),
    Case("C29", "beyond limits down to a paisa", {"band": {0: (1, PX - 5, 5)}} | HELD, EXIT, "CIRCUIT"),
    Case("C29", "beyond limits that are just not too old", {"band": {0: (9_000, 9_500, 180)}} | HELD, EXIT,
         "CIRCUIT"),
    Case("C29", "beyond limits of this moment", {"band": {0: (9_000, 9_500, 0)}} | HELD, EXIT, "CIRCUIT"),
    Case("C29", "limits that are too old", {"band": {0: (9_000, 10_200, 181)}}, {}, "CIRCUIT", ("181 s",
         "180 s")),
    Case("C29", "just not", {"band": {0: (9_000, 10_200, 180)}}, {}),
    Case("C29", "limits that are not known", {"band": {}}, {}, "CIRCUIT", ("not known",)),
    Case("law", "an exit passes without them", {"band": {}} | HELD, EXIT),
    Case("C29", "an option that has not traded, at market", {"traded": ()},
         {"slot": OPTION, "product": NRML, "qty": 75, "order_type": MARKET, "px": 0}, "UNTRADED",
         ("NIFTY26NOV24000CE",)),
    Case("C29", "at a limit", {"traded": ()}, {"slot": OPTION, "product": NRML, "qty": 75}),
    Case("C29", "one that has traded", {"traded": (OPTION,)},
         {"slot": OPTION, "product": NRML, "qty": 75, "order_type": MARKET, "px": 0}),
    Case("C29", "a share needs no trade", {"traded": ()}, {"order_type": MARKET, "px": 0}),
    Case("C7", "a trade-to-trade share in MIS", {}, {"slot": GROSS}, "RESTRICTED_LIST", ("TINY-BE",
         "trade_to_trade", "MIS")),
    Case("C7", "in CNC", {}, {"slot": GROSS, "product": CNC}),
)  # fmt: skip

ANYWHERE: Final = (*FORM, *SIZE, *LEGAL, *(Case(*words) for words in more_cases.CASES))


def cases_of(broker: str) -> tuple[Case, ...]:
    """All cases, with the hours of a broker."""
    given = {"broker": broker}
    every = (*ANYWHERE, *(Case(*words) for words in more_cases.CUT_OFFS[broker]))
    return tuple(case._replace(given=given | case.given) for case in every)


CASES: Final = cases_of("kite")
