"""Layer 6, by hand, cold: the broker's books, read once and without an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from kite_hft.app.day.asking import Asking, NoAnswer
from kite_hft.brokers.charges import Executed
from kite_hft.brokers.table import broker_of, charges_of
from kite_hft.brokers.values import AnswerError
from kite_hft.engine.history.pacing import Pacing
from kite_hft.engine.plan.session import Access
from kite_hft.trading.broker import (
    HoldingReport,
    HttpRequest,
    OrderReport,
    PositionReport,
    TriggerReport,
)
from kite_hft.trading.instruments import InstrumentTable

LONG_S: Final = 60.0
T = TypeVar("T")


@dataclass(slots=True)
class Books:
    """None: could not be read; `problems` says why. charges_paise: of the orders that were asked about."""

    orders: list[OrderReport] | None = None
    positions: list[PositionReport] | None = None
    holdings: list[HoldingReport] | None = None
    triggers: list[TriggerReport] | None = None
    charges_paise: int | None = None
    problems: list[str] = field(default_factory=list)


def read_books(
    access: Access,
    instruments: InstrumentTable,
    executed: Sequence[Executed],
    pacing: Pacing,
    say: Callable[[str], None] = lambda text: None,
) -> Books:
    """All books of the account, and what the broker's calculator says of these orders. What could be read is
    there, whatever could not. pacing: by the broker's windows for reads, which at Upstox let no more than
    1.1 orders a second be asked about when there are many; say: told when that takes long."""
    broker = broker_of(access.broker, instruments, sandbox=access.sandbox, algo_name=access.algo_name)
    books = Books()
    with Asking(access, broker) as asking:

        def read(what: str, request: HttpRequest, parse: Callable[[bytes], T]) -> T | None:
            pacing.wait()
            try:
                answer = asking.call(request)
                if answer.status != 200:
                    said = answer.body[:160].decode(errors="replace")
                    raise AnswerError(f"HTTP {answer.status} {said}")
                return parse(answer.body)
            except (AnswerError, NoAnswer, ValueError) as error:
                books.problems.append(asking.words(f"{what}: {error}"))
                return None

        books.orders = read("orders", broker.order_book(), broker.parse_orders)
        books.positions = read("positions", broker.positions(), broker.parse_positions)
        books.holdings = read("holdings", broker.holdings(), broker.parse_holdings)
        books.triggers = read("triggers", broker.triggers(), broker.parse_triggers)
        calls = charges_of(access.broker)
        try:
            requests = calls.requests(executed)
            if (seconds := pacing.seconds_for(len(requests))) >= LONG_S:
                say(
                    f"{access.broker} is asked for the charges of {len(executed):,} orders: it lets few such "
                    f"calls through, at least {seconds / 60:.0f} minutes"
                )
            parts = [read("charges", request, calls.parse) for request in requests]
        except ValueError as error:
            books.problems.append(f"charges: {error}")
            return books
    found = [paise for part in parts if part is not None for paise in part]
    if len(found) == len(executed):
        books.charges_paise = sum(found)
    return books
