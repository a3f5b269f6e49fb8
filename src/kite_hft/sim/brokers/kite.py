"""Layer 4, campaigns and tests, cold: Kite as campaigns need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from kite_hft.brokers.kite.rest import KITE
from kite_hft.brokers.kite.wire import KITE_WORDS
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
from kite_hft.sim.exchange.gtt import ACTIVE
from kite_hft.sim.exchange.orders import Order, Trade
from kite_hft.sim.kite.api import WRONG_IP, Credentials, KiteApi
from kite_hft.sim.kite.quota import UNLIMITED
from kite_hft.sim.kite.rows import order_row, trade_row
from kite_hft.sim.kite.stream import KiteStream
from kite_hft.sim.market.source import Ticks
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.instruments import InstrumentTable, parse_csv
from kite_hft.units import NS_PER_S

TRIGGERS: Final = "/gtt/triggers"
_USER: Final = "SIM001"
_METHODS: Final = {"POST": PLACE, "PUT": MODIFY, "DELETE": CANCEL}


def error(status: int, kind: str, message: str) -> tuple[int, bytes]:
    """An error in Kite's envelope."""
    body = {"status": "error", "error_type": kind, "message": message, "data": None}
    return status, json.dumps(body).encode()


_TOO_MANY: Final = (
    429,
    b'{"status":"error","message":"Too many requests","error_type":"NetworkException"}',
)
_TIMED_OUT: Final = (
    400,
    b'{"status":"error","message":"Order request timed out. Please check the order book and confirm before '
    b'placing again.","data":null,"error_type":"OrderException"}',
)
ANSWERS: Final = {
    "http_429": _TOO_MANY,
    "http_500": (500, b"<html>Internal Server Error</html>"),
    "http_502_done": (
        502,
        b'{"status":"error","message":"OMS","data":null,"error_type":"DataException"}',
    ),
    "http_503": (503, b""),
    "http_504_done": (504, b"<html>Gateway Time-out</html>"),
    "http_403": (
        403,
        b'{"status":"error","message":"Account blocked","error_type":"UserException"}',
    ),
    "http_400_timed_out": _TIMED_OUT,
    "http_400_timed_out_done": _TIMED_OUT,
    "read_429": _TOO_MANY,
    "read_503": (503, b""),
    "token_dead": (
        403,
        b'{"status":"error","message":"Incorrect token.","error_type":"TokenException"}',
    ),
}
AMBIGUOUS: Final = (
    ("503", (503, b""), 0),
    ("504", error(504, "DataException", "Gateway timed out."), 2 * NS_PER_S),
    ("502", error(502, "DataException", "not understood"), 0),
    ("500 of HTML", (500, b"<html>oops</html>"), 0),
    (
        "400 timed out",
        error(
            400,
            "OrderException",
            "Order request timed out. Please check the order book and confirm before placing",
        ),
        NS_PER_S,
    ),
    ("200 without an id", (200, b'{"status":"success","data":{}}'), 0),
    ("200 cut off", (200, b'{"status":"success","data":{"order_'), 0),
    ("200 of garbage", (200, b"\x00\xff\xfe<>"), 0),
    ("error of an unknown type", error(400, "GeneralException", "something went wrong"), 0),
    ("404 to a new order", error(404, "OrderException", "no such route"), 0),
)

PROOFS: Final = (
    ("input", error(400, "InputException", "Invalid `price`."), "refused"),
    ("margin", error(400, "MarginException", "Insufficient funds."), "refused"),
    ("holding", error(428, "HoldingException", "Holdings are not authorised."), "refused"),
    ("token", error(403, "TokenException", "Incorrect token."), "token"),
    ("address", error(403, "PermissionException", WRONG_IP.format("2001:db8::5")), "permission"),
    ("too many", _TOO_MANY, "limited"),
    ("no order", error(404, "OrderException", "Couldn't find that `order_id`."), "refused"),
)


def make_api(exchange: Exchange, unlimited: bool) -> KiteApi:
    """The simulator of one exchange."""
    credentials = Credentials(API_KEY, "secret", TOKEN)
    return KiteApi(exchange, exchange.instruments, credentials, UNLIMITED if unlimited else None)


def take(api: KiteApi, ticks: Ticks, now_ns: int) -> None:
    """The market moves."""
    api.exchange.on_ticks(ticks, now_ns)


def read(request: HttpRequest, table: InstrumentTable) -> Call:
    """A request as the wire has it: forms; an order's id ends the path."""
    method, path, body = request.method, request.path, request.body
    if method == "GET":
        return Call("", method)
    if path.startswith("/gtt"):
        return _trigger(method, path, body, table)
    if not path.startswith("/orders"):
        return Call("", method)
    form = dict(parse_qsl(body.decode()))
    if method != "POST":
        return Call(_METHODS[method], method, path.rsplit("/", 1)[1], quantity=int(form.get("quantity", 0)))
    row = table.by_key.get(f"{form['exchange']}:{form['tradingsymbol']}")
    scale = row.scale if row is not None else 100
    return Call(
        PLACE, method, tag=form.get("tag", ""), slot=row.slot if row is not None else -1,
        side=SIDES[form["transaction_type"]], product=int(Product[form["product"]]),
        order_type=TYPES[form["order_type"]], quantity=int(form["quantity"]),
        px=round(float(form.get("price", 0)) * scale),
        trigger_px=round(float(form.get("trigger_price", 0)) * scale),
    )  # fmt: skip


def _trigger(method: str, path: str, body: bytes, table: InstrumentTable) -> Call:
    number = "" if method == "POST" else path.rsplit("/", 1)[1]
    if method == "DELETE":
        return Call(TRIGGER, method, number)
    form = dict(parse_qsl(body.decode()))
    condition, orders = json.loads(form["condition"]), json.loads(form["orders"])
    row = table.by_key[f"{condition['exchange']}:{condition['tradingsymbol']}"]
    legs = tuple(
        (
            SIDES[leg["transaction_type"]],
            leg["quantity"],
            round(leg["price"] * row.scale),
            round(px * row.scale),
        )
        for leg, px in zip(orders, condition["trigger_values"], strict=True)
    )
    product = int(Product[orders[0]["product"]])
    return Call(TRIGGER, method, number, slot=row.slot, product=product, legs=legs)


def updates(api: KiteApi) -> list[Update]:
    """Order updates as the websocket's text frames."""
    return [
        Update(row["order_id"], row["tag"] or "", api.update_frame(row))
        for row in api.exchange.drain_updates()
    ]


def _order_row(order: Order) -> Mapping[str, Any]:
    return order_row(order, order.now, _USER)


def _trade_row(trade: Trade, order: Order) -> Mapping[str, Any]:
    return trade_row(trade)


def _trigger_of(api: KiteApi, order: Order) -> int | str:
    return order.gtt_id or 0


def _waits(api: KiteApi, number: int | str) -> bool:
    return api.exchange.gtts.get(int(number)).status == ACTIVE


def _trigger_quantities(api: KiteApi, number: int | str) -> list[int]:
    return [leg.quantity for leg in api.exchange.gtts.get(int(number)).spec.orders]


def _position_of(row: Mapping[str, Any], table: InstrumentTable) -> tuple[int, int]:
    return table.by_token[row["instrument_token"]].slot, int(Product[row["product"]])


KITE_SIDE: Final = BrokerSide(
    name="kite",
    rules="kite_2026-04-01.yaml",
    table=lambda table: table,
    broker=lambda table: KITE,
    make_api=make_api,
    take=take,
    read=read,
    updates=updates,
    order_row=_order_row,
    trade_row=_trade_row,
    orders_path="/orders",
    trades_path="/trades",
    positions_path="/portfolio/positions",
    triggers_path=TRIGGERS,
    answers=ANSWERS,
    ambiguous=AMBIGUOUS,
    placed_id=lambda told: str(told["data"]["order_id"]),
    trigger_number=lambda told: int(told["data"]["trigger_id"]),
    trigger_id=lambda row: int(row["id"]),
    trigger_of=_trigger_of,
    waits=_waits,
    trigger_quantities=_trigger_quantities,
    position_rows=lambda told: list(told["data"]["net"]),
    position_of=_position_of,
    words=lambda table: KITE_WORDS,
    updates_words=lambda table: KITE_WORDS,
    stream=lambda table: KiteStream(table, 1),
    master_path="/instruments",
    parse_master=lambda body: parse_csv(body.decode().splitlines()),
    proofs=PROOFS,
)
