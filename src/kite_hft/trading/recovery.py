"""Layer 2, orders process, cold: the book rebuilt from the journal, and squared with the broker.

Starting and recovering are one path: replay (an empty journal is a journal), read the broker's
books, square, and only then trade. An order whose request was journalled but whose answer was not
is ambiguous: it may have left the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Kind, Record
from kite_hft.trading.book import EXTERNAL, Book, Order
from kite_hft.trading.broker import OrderReport, PositionReport, TradeReport
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.positions import fill_units


class RecoveryError(Exception):
    """The journal contradicts itself or today's instruments."""


@dataclass(slots=True)
class Recovered:
    """What the journal told besides the book."""

    last_seq: dict[int, int] = field(default_factory=dict)  # strategy -> highest strategy_seq
    last_order_no: int = 0
    placed: int = 0
    halted: str = ""


def replay(records: Iterable[Record], book: Book, instruments: InstrumentTable, now_ns: int) -> Recovered:
    """Fold a journal into an empty book. What was in flight comes out AMBIGUOUS as of `now_ns`.

    Raises:
        RecoveryError: a record that does not fit what came before, or another instrument in a slot.
    """
    state = Recovered()
    for record in records:
        handler = _HANDLERS.get(record.kind)
        if handler is None:
            continue
        try:
            handler(record.data() | {"time_ns": record.time_ns}, book, instruments, state)
        except (KeyError, ValueError, TypeError, msgspec.DecodeError) as error:
            raise RecoveryError(f"journal record {record.seq} ({record.kind.name}): {error!r}") from error
    for order in book.live():
        book.enter(order, Input.LOSE, now_ns)
        order.status_ns = now_ns  # the horizon starts anew: these times are of another process
        order.changed_ns = 0
    return state


def _intent(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if instruments[data["slot"]].token != data["token"]:
        raise ValueError(f"slot {data['slot']} was token {data['token']}: instruments changed")
    order = Order(
        order_no=data["no"],
        strategy=data["strategy"],
        strategy_seq=data["seq"],
        slot=data["slot"],
        side=data["side"],
        order_type=data["type"],
        product=data["product"],
        validity=data["validity"],
        flags=data["flags"],
        quantity=data["qty"],
        px=data["px"],
        trigger_px=data["trigger_px"],
        tag=data["tag"],
        opening=data["opening"],
        sent_real_ns=data["time_ns"],
    )
    book.add(order)
    book.enter(order, Input.SUBMIT, 0)
    state.last_order_no = max(state.last_order_no, order.order_no)
    state.placed += 1
    _seen(data, state)


def _seen(data: dict[str, Any], state: Recovered) -> None:
    strategy = data["strategy"]
    state.last_seq[strategy] = max(state.last_seq.get(strategy, 0), data["seq"])


def _refused(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    _seen(data, state)


def _call(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data["strategy"] == EXTERNAL:
        return
    _seen(data, state)
    if data["call"] == "modify":
        book.ask_terms(book.orders[data["no"]], data["qty"])


PLACE_INPUT: Final = {
    "confirmed": Input.CONFIRM,
    "refused": Input.DENY,
    "ambiguous": Input.LOSE,
    "unsent": Input.REFUSE,
}
"""Word of an ANSWER record -> what it does to a placed order."""


def _answer(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    if data["strategy"] == EXTERNAL:
        return  # adopted orders are read from the broker's book anew
    order = book.orders[data["no"]]
    if data["call"] == "place":
        if data["outcome"] == "confirmed":
            book.name(order, data["order_id"])
        book.enter(order, PLACE_INPUT[data["outcome"]], 0)
    elif data["call"] == "modify" and data["outcome"] != "ambiguous":
        confirmed = data["outcome"] == "confirmed"
        quantity, px, trigger_px = (
            data["terms"] if confirmed else (order.quantity, order.px, order.trigger_px)
        )
        book.set_terms(order, quantity, px, trigger_px, 0)


def _report(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    report = msgspec.convert(data["report"], OrderReport)
    book.fold(book.orders[data["no"]], report, 0)


def _trade(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    book.fold_trade(book.orders[data["no"]], msgspec.convert(data["trade"], TradeReport), 0)


def _resolved(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    order = book.orders[data["no"]]
    if data["how"] == "absent":
        book.enter(order, Input.LOSE, 0)  # what an earlier recovery did before it could miss it
        book.enter(order, Input.MISS, 0)


def _state(data: dict[str, Any], book: Book, instruments: InstrumentTable, state: Recovered) -> None:
    state.halted = data.get("halted", "")


_HANDLERS: Final[dict[Kind, Callable[[dict[str, Any], Book, InstrumentTable, Recovered], None]]] = {
    Kind.INTENT: _intent,
    Kind.REFUSED: _refused,
    Kind.CALL: _call,
    Kind.ANSWER: _answer,
    Kind.REPORT: _report,
    Kind.TRADE: _trade,
    Kind.RESOLVED: _resolved,
    Kind.STATE: _state,
}


def square(book: Book, instruments: InstrumentTable, reports: Iterable[PositionReport]) -> list[str]:
    """Book what the account holds beyond this run's own orders as EXTERNAL; returns a line for each.

    The broker's net quantity is the truth: external = broker's - ours, valued at the broker's
    average price. Positions in instruments that this run does not know are named only.
    """
    lines = []
    for report in reports:
        instrument = instruments.by_token.get(report.token)
        if instrument is None or report.product is None:
            if report.quantity:
                lines.append(f"{report.exchange}:{report.symbol} {report.quantity}: not in this run")
            continue
        slot, product = instrument.slot, int(report.product)
        ours = sum(
            p.quantity
            for (strategy, s, pr), p in book.positions.items()
            if (s, pr) == (slot, product) and strategy != EXTERNAL
        )
        beyond = report.quantity - ours
        units = fill_units(report.average_price, abs(beyond), instrument.scale)
        book.set_external(slot, product, beyond, units if beyond >= 0 else -units)
        if beyond:
            lines.append(f"{instrument.key} {beyond} {report.product.name}: held beyond this run's orders")
    return lines


def adopt(
    book: Book, report: OrderReport, order_no: int, instrument: Instrument, tag: str, now_ns: int
) -> Order:
    """A live order that this run did not make, as EXTERNAL; its fills so far stand in the positions."""
    order = Order(
        order_no=order_no,
        strategy=EXTERNAL,
        strategy_seq=0,
        slot=instrument.slot,
        side=report.side,
        order_type=report.order_type or 0,
        product=report.product or 0,
        validity=0,
        flags=0,
        quantity=report.quantity,
        px=report.px,
        trigger_px=report.trigger_px,
        tag=tag,
        created_ns=now_ns,
        status=OrderStatus.PENDING,
        status_ns=now_ns,
        filled=report.filled_quantity,
        filled_units=fill_units(report.average_price, report.filled_quantity, instrument.scale),
    )
    book.add(order)
    book.fold(order, report, now_ns)
    return order
