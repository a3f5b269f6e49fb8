"""Layer 6, campaigns, cold: mistakes in what an adapter sends, and in what answers and websockets mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    TOKEN_DEAD,
    Ambiguous,
    Broker,
    Confirmed,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    Outcome,
    Refused,
    TriggerReport,
    TriggerRequest,
)
from kite_hft.trading.feed_words import Act, FeedWords, Meaning
from kite_hft.verify.brokers.mutants import Change, Changed

Words = Callable[[FeedWords], FeedWords]


def _place(**fields: Any) -> Change:
    """A placement of another order; a function is given the right one."""

    def make(right: Broker) -> Changed:
        def wrong(order: OrderRequest) -> HttpRequest:
            new = {name: value(order) if callable(value) else value for name, value in fields.items()}
            return right.place(order._replace(**new))

        return {"place": wrong}

    return make


def _priced(order: OrderRequest) -> bool:
    return order.order_type in (OrderType.LIMIT, OrderType.SL)


def _bytes(old: bytes, new: bytes, name: str = "place") -> Change:
    """Other bytes on the wire, where the right ones stand."""

    def make(right: Broker) -> Changed:
        def wrong(*words: Any) -> HttpRequest:
            request: HttpRequest = getattr(right, name)(*words)
            return request._replace(body=request.body.replace(old, new))

        return {name: wrong}

    return make


def _modify(at: int, value: Any) -> Change:
    """Another word in one place: order, instrument, quantity, price, trigger price, type, protection."""

    def make(right: Broker) -> Changed:
        def wrong(*words: Any) -> HttpRequest:
            given = list(words)
            given[at] = value(words) if callable(value) else value
            return right.modify(*given)

        return {"modify": wrong}

    return make


def _request(name: str, change: Callable[[HttpRequest], HttpRequest]) -> Change:
    def make(right: Broker) -> Changed:
        return {name: lambda *words: change(getattr(right, name)(*words))}

    return make


SENT: Final[Mapping[str, Change]] = {
    "place: the other side": _place(side=lambda o: Side.SELL if o.side is Side.BUY else Side.BUY),
    "place: without the tag": _place(tag=""),
    "place: the tag cut to sixteen": _place(tag=lambda o: o.tag[:16]),
    "place: always for the day": _place(validity=Validity.DAY),
    "place: always immediate": _place(validity=Validity.IOC),
    "place: the limit a unit lower": _place(px=lambda o: o.px - _priced(o)),
    "place: the limit to the rupee": _place(
        px=lambda o: o.px // o.instrument.scale * o.instrument.scale if _priced(o) else o.px
    ),
    "place: two decimals for every exchange": _place(
        px=lambda o: o.px // max(1, o.instrument.scale // 100) * max(1, o.instrument.scale // 100)
    ),
    "place: no trigger price": _place(trigger_px=0),
    "place: the limit for the trigger price": _place(trigger_px=lambda o: o.px if o.trigger_px else 0),
    "place: stops at market with a limit": _place(
        order_type=lambda o: OrderType.SL if o.order_type is OrderType.SLM else o.order_type
    ),
    "place: one lot more": _place(quantity=lambda o: o.quantity + max(1, o.instrument.lot_size)),
    "place: twice as much": _place(quantity=lambda o: 2 * o.quantity),
    "place: one unit where units are lots": _place(
        quantity=lambda o: o.quantity * (o.instrument.lot_size if o.instrument.exchange == "BCD" else 1)
    ),
    "place: carried for intraday": _place(
        product=lambda o: (
            Product.NRML if o.product is Product.MIS and o.instrument.kind != "EQ" else o.product
        )
    ),
    "place: delivery for margin": _place(
        product=lambda o: Product.CNC if o.product is Product.MTF else o.product
    ),
    "place: always the broker's own protection": _place(protection_percent=-1.0),
    "place: any protection is sent": lambda right: {"place": _unprotected(right)},
    "place: a host in the path": _request(
        "place", lambda r: r._replace(path="https://broker.example" + r.path)
    ),
    "place: a body of no kind": _request("place", lambda r: r._replace(content_type="")),
    "place: may be cut by the broker": _bytes(b'"slice":false', b'"slice":true'),
    "place: most of it hidden": _bytes(b'"disclosed_quantity":0', b'"disclosed_quantity":1'),
    "modify: another order": _modify(0, lambda w: w[0][:-1] + "0"),
    "modify: the quantity is left out": _modify(2, 0),
    "modify: the price a unit lower": _modify(3, lambda w: w[3] - 1 if w[3] else 0),
    "modify: the trigger price is left out": _modify(4, 0),
    "modify: the price for the trigger price": _modify(4, lambda w: w[3] if w[4] else 0),
    "modify: always a limit order": _modify(5, int(OrderType.LIMIT)),
    "modify: another kind of it": _request("modify", lambda r: r._replace(method="POST")),
    "cancel: nothing of it is encoded": lambda right: {"cancel": _raw_cancel(right)},
    "cancel: another order": lambda right: {"cancel": lambda number: right.cancel(number[:-1] + "0")},
    "cancel: asked for, not deleted": _request("cancel", lambda r: r._replace(method="GET")),
    "reads: trades for orders": lambda right: {"order_book": right.trade_book},
    "reads: holdings for positions": lambda right: {"positions": right.holdings},
    "reads: bands of one instrument alone": lambda right: {
        "quotes": lambda keys: right.quotes(list(keys)[:1])
    },
    "margins: one leg alone": lambda right: {
        "basket_margin": lambda legs: right.basket_margin(list(legs)[:1])
    },
    "headers: no token": lambda right: {"auth_headers": lambda key, token: right.auth_headers(key, "")},
    "facts: the orders' host serves all": lambda right: {"order_paths": ("/",)},
    "facts: modifications say what changes alone": lambda right: {"modify_whole": not right.modify_whole},
    "facts: triggers have two legs": lambda right: {"trigger_legs_max": 3 - max(1, right.trigger_legs_max)},
    "facts: a trigger's limit lies where one likes": lambda right: {
        "trigger_limit_apart": not right.trigger_limit_apart
    },
    "facts: any protection will do": lambda right: {"protection_percent": (0.0, 1000.0)},
}


def _unprotected(right: Broker) -> Callable[[OrderRequest], HttpRequest]:
    def wrong(order: OrderRequest) -> HttpRequest:
        try:
            return right.place(order)
        except ValueError:
            return right.place(order._replace(protection_percent=-1.0))

    return wrong


def _raw_cancel(right: Broker) -> Callable[[str], HttpRequest]:
    def wrong(number: str) -> HttpRequest:
        request = right.cancel("ORDERID")
        return request._replace(path=request.path.replace("ORDERID", number), body=request.body)

    return wrong


# Answers


def _outcome(change: Callable[[HttpResponse, Outcome], Outcome]) -> Change:
    def make(right: Broker) -> Changed:
        return {"parse_outcome": lambda response: change(response, right.parse_outcome(response))}

    return make


def _refusal(**fields: Any) -> Change:
    return _outcome(lambda response, found: replace(found, **fields) if isinstance(found, Refused) else found)


def _proof_at(*statuses: int) -> Change:
    """Whatever is said under these is a refusal."""
    return _outcome(
        lambda response, found: (
            Refused("X", "refused", response.status)
            if response.status in statuses and isinstance(found, Ambiguous)
            else found
        )
    )


ANSWERS: Final[Mapping[str, Change]] = {
    "answers: a 400 refuses, whatever it says": _proof_at(400),
    "answers: a 403 refuses, whatever it says": _proof_at(403),
    "answers: a 408 refuses": _proof_at(408),
    "answers: a 500 refuses": _proof_at(500),
    "answers: a 503 refuses: it was not available": _proof_at(503),
    "answers: a 504 refuses": _proof_at(504),
    "answers: a 200 without an order refuses": _proof_at(200),
    "answers: a redirect refuses": _proof_at(301),
    "answers: a 2xx confirms": _outcome(
        lambda response, found: Confirmed("1") if 200 <= response.status < 300 else found
    ),
    "answers: the order's number is cut": _outcome(
        lambda response, found: Confirmed(found.order_id[:-1]) if isinstance(found, Confirmed) else found
    ),
    "answers: a limit of calls proves nothing": _outcome(
        lambda response, found: Ambiguous("429") if response.status == 429 else found
    ),
    "answers: a limit of calls has another status": _outcome(
        lambda response, found: (
            replace(found, http_status=400)
            if isinstance(found, Refused) and found.http_status == 429
            else found
        )
    ),
    "answers: a dead token has no word": _outcome(
        lambda response, found: (
            replace(found, error_type="X")
            if isinstance(found, Refused) and found.error_type == TOKEN_DEAD
            else found
        )
    ),
    "answers: every refusal is a dead token": _refusal(error_type=TOKEN_DEAD),
    "answers: every refusal is of a missing order": _refusal(error_type=NO_SUCH_ORDER),
    "answers: refusals without words": _refusal(message=""),
    "answers: refusals without a status": _refusal(http_status=0),
}


# Triggers


def _trigger(**fields: Callable[[TriggerRequest], Any]) -> Change:
    """Both calls that tell a trigger, of another one."""

    def make(right: Broker) -> Changed:
        def spoiled(asked: TriggerRequest) -> TriggerRequest:
            return asked._replace(**{name: value(asked) for name, value in fields.items()})

        return {
            "trigger_place": lambda asked: right.trigger_place(spoiled(asked)),
            "trigger_modify": lambda number, asked: right.trigger_modify(number, spoiled(asked)),
        }

    return make


def _legs(**fields: Any) -> Callable[[TriggerRequest], Any]:
    return lambda asked: tuple(
        leg._replace(**{name: value(leg) if callable(value) else value for name, value in fields.items()})
        for leg in asked.legs
    )


def _listed(change: Callable[[TriggerReport], TriggerReport]) -> Change:
    def make(right: Broker) -> Changed:
        def pushed(body: bytes) -> TriggerReport | None:
            row = right.parse_trigger_update(body)
            return change(row) if row is not None else None

        return {
            "parse_triggers": lambda body: [change(row) for row in right.parse_triggers(body)],
            "parse_trigger_update": pushed,
        }

    return make


def _leg(**fields: Any) -> Callable[[TriggerReport], TriggerReport]:
    return lambda row: replace(row, legs=tuple(replace(leg, **fields) for leg in row.legs))


TRIGGERS: Final[Mapping[str, Change]] = {
    "triggers: reached from the other side": _trigger(last_px=lambda t: 2 * t.trigger_px[0] - t.last_px),
    "triggers: the other side": _trigger(
        legs=_legs(side=lambda leg: Side.SELL if leg.side is Side.BUY else Side.BUY)
    ),
    "triggers: one more": _trigger(legs=_legs(quantity=lambda leg: leg.quantity + 1)),
    "triggers: intraday": _trigger(legs=_legs(product=Product.MIS)),
    "triggers: a change of nothing": lambda right: {
        "trigger_modify": lambda number, asked: HttpRequest("GET", right.triggers().path)
    },
    "triggers: a deletion of nothing": lambda right: {"trigger_delete": lambda number: right.triggers()},
    "triggers: all wait": _listed(lambda row: replace(row, active=True)),
    "triggers: none waits": _listed(lambda row: replace(row, active=False)),
    "triggers: of no instrument": _listed(lambda row: replace(row, token=0)),
    "triggers: without their orders": _listed(_leg(order_id="")),
    "triggers: listed with the other side": _listed(
        lambda row: replace(
            row,
            legs=tuple(
                replace(leg, side=Side.SELL if leg.side is Side.BUY else Side.BUY) for leg in row.legs
            ),
        )
    ),
    "triggers: listed without a product": _listed(_leg(product=None)),
    "triggers: listed without a limit": _listed(_leg(px=0)),
    "triggers: a half list is a list": lambda right: {
        "parse_triggers": lambda body: right.parse_triggers(body) if body.endswith(b"}") else []
    },
}


# Websockets


def _act(table: str, code: int, act: Act) -> Words:
    def spoil(words: FeedWords) -> FeedWords:
        row = {code: Meaning("so", act, "refused_other")}
        if table == "close_meaning":
            return replace(words, close_meaning={**words.close_meaning, **row})
        return replace(words, handshake_meaning={**words.handshake_meaning, **row})

    return spoil


WORDS: Final[Mapping[str, Words]] = {
    "websocket: a dead token is tried again": lambda words: replace(
        words,
        handshake_meaning={
            code: replace(meaning, act=Act.RETRY) if meaning.act is Act.TOKEN_DEAD else meaning
            for code, meaning in {
                **words.handshake_meaning,
                401: Meaning("so", Act.RETRY, "refused_other"),
                403: Meaning("so", Act.RETRY, "refused_other"),
            }.items()
        },
    ),
    "websocket: too many connections are tried again at once": _act("handshake_meaning", 429, Act.RETRY),
    "websocket: a server that fails ends all tries": _act("handshake_meaning", 503, Act.TOKEN_DEAD),
    "websocket: a bad address is tried again at once": _act("handshake_meaning", 400, Act.RETRY),
    "websocket: a breach of the rules is tried again at once": _act("close_meaning", 1008, Act.RETRY),
    "websocket: an ended connection ends all tries": _act("close_meaning", 1000, Act.TOKEN_DEAD),
    "websocket: the last of the tokens is left out": lambda words: replace(
        words, subscription=lambda tokens, mode: words.subscription(list(tokens)[:-1], mode)
    ),
    "websocket: each in another mode": lambda words: replace(
        words, subscription=lambda tokens, mode: words.subscription(tokens, _least(words))
    ),
    "websocket: a change of mode names one": lambda words: replace(
        words, change_mode=lambda tokens, mode: words.change_mode(list(tokens)[:1], mode)
    ),
    "websocket: one is unsubscribed": lambda words: replace(
        words, unsubscribe=lambda tokens: words.unsubscribe(list(tokens)[:1])
    ),
    "websocket: requests in the other kind of frame": lambda words: replace(words, binary=not words.binary),
    "websocket: any text is about an order": lambda words: replace(
        words, parse_text=lambda text: ("order", {"data": text})
    ),
    "websocket: NaN is a number": lambda words: replace(words, parse_text=_lenient(words)),
}


def _least(words: FeedWords) -> str:
    return min(words.modes, key=lambda name: words.modes[name]) if words.modes else ""


def _lenient(words: FeedWords) -> Callable[[bytes], tuple[str, object]]:
    return lambda text: words.parse_text(text.replace(b"NaN", b"0").replace(b"Infinity", b"0"))
