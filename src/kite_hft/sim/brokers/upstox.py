"""Layer 4, campaigns and tests, cold: Upstox as campaigns need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from kite_hft.brokers.upstox.master import parse_master
from kite_hft.brokers.upstox.rest import upstox
from kite_hft.brokers.upstox.wire import PORTFOLIO_WORDS, upstox_words
from kite_hft.layout import Product
from kite_hft.sim.brokers.side import (
    API_KEY,
    CANCEL,
    MODIFY,
    PLACE,
    SIDES,
    TOKEN,
    TRIGGER,
    TYPES,
    BrokerSide,
    Call,
    Update,
)
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.orders import Order
from kite_hft.sim.market.keys import upstox_lot_of, with_upstox_keys
from kite_hft.sim.market.source import Ticks
from kite_hft.sim.rest import encode
from kite_hft.sim.upstox.api import Terms, UpstoxApi
from kite_hft.sim.upstox.order_forms import PROTECTION_MAX, TAG_MAX
from kite_hft.sim.upstox.order_rows import book_row, trade_row
from kite_hft.sim.upstox.quota import NO_LIMITS
from kite_hft.sim.upstox.rows import FeedRows
from kite_hft.sim.upstox.session import Credentials
from kite_hft.sim.upstox.stream import PLUS_LIMITS, Shares, UpstoxStream
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.units import NS_PER_S

ORDERS: Final = "/v3/order/"
TRIGGERS: Final = "/v3/order/gtt"
MASTER: Final = "/market-quote/instruments/exchange/complete.json.gz"
_USER: Final = "SIM001"
_KINDS: Final = {"place": PLACE, "modify": MODIFY, "cancel": CANCEL}
_CASH: Final = frozenset({"NSE", "BSE"})


def error(status: int, code: str, message: str) -> tuple[int, bytes]:
    """An error in Upstox's envelope, in both of its spellings."""
    row = {"errorCode": code, "error_code": code, "message": message, "propertyPath": None}
    return status, json.dumps({"status": "error", "errors": [row]}).encode()


_TOO_MANY: Final = error(429, "UDAPI10005", "Too Many Request Sent")
_CATCH_ALL: Final = error(400, "UDAPI100500", "Something went wrong. Please contact us.")
ANSWERS: Final = {
    "http_429": _TOO_MANY,
    "http_500": error(500, "UDAPI100500", "Something went wrong"),
    "http_502_done": (502, b"<html>Bad gateway</html>"),
    "http_503": (503, b""),
    "http_504_done": (504, b"<html>Gateway Time-out</html>"),
    "http_403": error(403, "UDAPI100058", "No segments for these users are active."),
    "http_400_timed_out": _CATCH_ALL,
    "http_400_timed_out_done": _CATCH_ALL,
    "read_429": _TOO_MANY,
    "read_503": (503, b""),
    "token_dead": error(401, "UDAPI100050", "Invalid token used to access API"),
}
AMBIGUOUS: Final = (
    ("503", (503, b""), 0),
    ("504", (504, b"<html>Gateway Time-out</html>"), 2 * NS_PER_S),
    ("502", (502, b"<html>Bad gateway</html>"), 0),
    ("500 of JSON", error(500, "UDAPI100500", "Something went wrong"), 0),
    ("400 of the catch-all", _CATCH_ALL, NS_PER_S),
    ("200 without an id", (200, b'{"status":"success","data":{"order_ids":[]}}'), 0),
    ("200 cut off", (200, b'{"status":"success","data":{"order_ids":["25'), 0),
    ("200 of garbage", (200, b"\x00\xff\xfe<>"), 0),
    ("403 of the gateway", (403, b"<!DOCTYPE html><html>error code: 1010</html>"), 0),
    ("404 to a new order", error(404, "UDAPI100060", "Resource not Found."), 0),
)

PROOFS: Final = (
    ("form", error(400, "UDAPI1052", "The quantity cannot be zero"), "refused"),
    ("hours", error(423, "UDAPI100074", "The Place and Modify Order API is closed."), "refused"),
    ("token", error(401, "UDAPI100050", "Invalid token used to access API"), "token"),
    ("address", error(403, "UDAPI1154", "The configured static IP does not match."), "permission"),
    ("too many", _TOO_MANY, "limited"),
    ("too many, by the code", error(400, "UDAPI10005", "Too Many Request Sent"), "limited"),
    ("no order", error(404, "UDAPI100010", "Order not found"), "missing"),
    ("over", error(400, "UDAPI100040", "The order is over"), "missing"),
)


def make_api(exchange: Exchange, unlimited: bool) -> UpstoxApi:
    """The simulator of one exchange."""
    terms = Terms(limits=NO_LIMITS) if unlimited else Terms()
    return UpstoxApi(exchange, Credentials(API_KEY, "secret", TOKEN), terms=terms)


def take(api: UpstoxApi, ticks: Ticks, now_ns: int) -> None:
    """The market moves; the broker's triggers look at it."""
    api.take(ticks, now_ns)


def read(request: HttpRequest, table: InstrumentTable) -> Call:
    """A request as the wire has it: JSON; what to do ends the path."""
    method, (path, _, query) = request.method, request.path.partition("?")
    if method == "GET" or not path.startswith(ORDERS):
        return Call("", method)
    body = json.loads(request.body) if request.body else {}
    if path.startswith(TRIGGERS):
        return _trigger(method, body, table)
    kind = _KINDS[path.rsplit("/", 1)[1]]
    if kind == CANCEL:
        return Call(kind, method, dict(parse_qsl(query))["order_id"])
    if kind == MODIFY:
        return Call(kind, method, body["order_id"], quantity=body.get("quantity", 0))
    row = table.by_upstox_key.get(body["instrument_token"])
    if row is None:
        return Call(kind, method, tag=body.get("tag", ""))
    return Call(
        kind, method, tag=body.get("tag", ""), slot=row.slot, side=SIDES[body["transaction_type"]],
        product=_product(body["product"], row), order_type=TYPES[body["order_type"]],
        quantity=body["quantity"] * upstox_lot_of(row), px=round(body["price"] * row.scale),
        trigger_px=round(body["trigger_price"] * row.scale),
    )  # fmt: skip


def _product(word: str, row: Instrument) -> int:
    if word == "D":
        return int(Product.CNC if row.exchange in _CASH else Product.NRML)
    return int({"I": Product.MIS, "MTF": Product.MTF}[word])


def _trigger(method: str, body: dict[str, Any], table: InstrumentTable) -> Call:
    number = body.get("gtt_order_id", "")
    row = table.by_upstox_key.get(body.get("instrument_token", ""))
    if method != "POST" or row is None:
        return Call(TRIGGER, method, number)
    side = SIDES[body["transaction_type"]]
    px = [round(rule["trigger_price"] * row.scale) for rule in body["rules"]]
    legs = tuple((side, body["quantity"] * upstox_lot_of(row), one, one) for one in px)
    product = _product(body["product"], row)
    return Call(TRIGGER, method, number, slot=row.slot, product=product, legs=legs)


def updates(api: UpstoxApi) -> list[Update]:
    """What the portfolio stream tells of orders and of triggers, as its text frames."""
    rows = (row for row in api.updates.drain() if row["update_type"] in ("order", "gtt_order"))
    return [Update(row.get("order_id", ""), row.get("tag") or "", encode(row)) for row in rows]


def _order_row(order: Order) -> Mapping[str, Any]:
    return book_row(order, _USER)


def _trigger_of(api: UpstoxApi, order: Order) -> int | str:
    for gtt in api.gtts.book.all.values():
        if any(rule.order_id == order.order_id for rule in gtt.rules):
            return gtt.gtt_id
    return ""


def _waits(api: UpstoxApi, number: int | str) -> bool:
    return api.gtts.book.all[str(number)].live


def _trigger_quantities(api: UpstoxApi, number: int | str) -> list[int]:
    return [api.gtts.book.all[str(number)].quantity]


def _position_of(row: Mapping[str, Any], table: InstrumentTable) -> tuple[int, int]:
    found = table.by_upstox_key[row["instrument_token"]]
    return found.slot, _product(row["product"], found)


UPSTOX_SIDE: Final = BrokerSide(
    name="upstox",
    rules="upstox_2026-04-01.yaml",
    table=with_upstox_keys,
    broker=upstox,
    make_api=make_api,
    take=take,
    read=read,
    updates=updates,
    order_row=_order_row,
    trade_row=trade_row,
    orders_path="/v2/order/retrieve-all",
    trades_path="/v2/order/trades/get-trades-for-day",
    positions_path="/v2/portfolio/short-term-positions",
    triggers_path=TRIGGERS,
    answers=ANSWERS,
    ambiguous=AMBIGUOUS,
    placed_id=lambda told: str(told["data"]["order_ids"][0]),
    trigger_number=lambda told: str(told["data"]["gtt_order_ids"][0]),
    trigger_id=lambda row: str(row["gtt_order_id"]),
    trigger_of=_trigger_of,
    waits=_waits,
    trigger_quantities=_trigger_quantities,
    position_rows=lambda told: list(told["data"]),
    position_of=_position_of,
    words=upstox_words,
    updates_words=lambda table: PORTFOLIO_WORDS,
    stream=lambda table: UpstoxStream(table, FeedRows(table), shares=Shares(PLUS_LIMITS)),
    master_path=MASTER,
    parse_master=parse_master,
    proofs=PROOFS,
    carried=Product.CNC,
    own={"tag_length_max": TAG_MAX, "protection_percent_max": PROTECTION_MAX},
    closed={"MCX": "the API takes no MCX orders (UDAPI1161)"},
    stands_for={
        "http_400_timed_out": "the catch-all UDAPI100500 under a 400: nothing was done",
        "http_400_timed_out_done": "the catch-all UDAPI100500 under a 400: it was done all the same",
        "http_403": "an account that has to be reactivated (UDAPI100058)",
        "token_death": "a login elsewhere, a change of address or app, or 03:30 IST: 401 UDAPI100050",
        "tag_dropped": "tags are not promised in any row: updates of the documentation have none",
        "update_double": "the broker promises none, and a second connection carries each once more",
    },
)
