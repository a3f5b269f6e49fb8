"""Layer 2, orders process, hot between orders: the way of an order, walked without an order.

After some milliseconds of sleep the code, the kernel's paths and the data that an order needs are gone from
the processor's caches, and fetching them takes longer than the work itself. A rehearsal walks the express
way over scratch parts: a book, a budget, an egress gate, a journal file without a name, a connection to
ourselves (net/mirror.py). Of the stage it is handed two things, which look and change nothing:

    passes   the gate's quick look, at an intent that its strategy has sent already: a duplicate never passes
    killed   the look at the kill latch

and what is pure: the instruments and the broker's words for a placement.

An order that comes meanwhile does not wait for its end: it is broken off between two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from kite_hft._entering import Entering
from kite_hft._express import Express
from kite_hft._lanes import OutboxState
from kite_hft.memory.journal import Journal
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Broker, HttpRequest, Limits, OrderRequest, RateWindow
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.records import intent_payload
from kite_hft.trading.sending import work as work_module
from kite_hft.trading.sending.budget import NEVER_NS, Budget
from kite_hft.trading.sending.throttle import EgressGate, Throttle
from kite_hft.trading.sending.work import Work

T = TypeVar("T")
PREFIX: Final = "0000000"
"""Of the tags of rehearsed orders; no run has it."""
LAST_SEQ: Final = 2**62
"""As if its strategy had sent everything: whatever is asked for is a duplicate."""
_OPEN: Final = Limits("nobody", "", (RateWindow(10, 1e-6),), 10**9, 1.0, 0)
"""Calls of rehearsals are limited by nothing."""


class Nowhere(Protocol):
    """A transport that reaches nobody."""

    def submit(self, request_id: int, request: HttpRequest) -> None: ...

    def forget(self) -> None: ...


class Scrap(Protocol):
    """A journal that nobody reads, and that begins anew."""

    @property
    def journal(self) -> Journal: ...

    def forget(self) -> None: ...


class _Passed(NamedTuple):
    """As _risk.Passed."""

    instrument: Any
    target: None = None
    ref_px: int = 1
    tick_seq: int = 1
    age_ns: int = 0
    reducing: bool = False


class _Deaf(OutboxState):
    """What is told in a rehearsal, nobody hears."""

    def __init__(self) -> None:
        self.halted = self.journal_failed = self.disk_low = ""

    def recorded(self, seq: int, intent: tuple[int, int] | None) -> None:
        """No record stands anywhere."""

    def halt(self, reason: str) -> None:
        """Nothing is halted."""

    _journal_failed = halt


class _BrokenOffError(Exception):
    """An order has come."""


class RehearsalError(Exception):
    """A duplicate has passed the gate: it may not be asked in a rehearsal."""


class Rehearsal:
    """Of one order stage. `passes`, `killed`, `protection`: as the stage's own express way has them. came():
    an intent waits.
    """

    def __init__(
        self,
        passes: Callable[[Intent, int, int], Any],
        killed: Callable[[], str],
        broker: Broker,
        instruments: InstrumentTable,
        clock: Any,
        protection: float,
        nowhere: Nowhere,
        scrap: Scrap,
        came: Callable[[], bool] = lambda: False,
    ) -> None:
        self._passes, self._nowhere, self._scrap, self._rows = passes, nowhere, scrap, instruments.rows
        self._came = came
        self._book, self._strategies = Book(instruments), set[int]()
        self._intake = SimpleNamespace(last_seq={}, _heads=[0])
        budget = Budget(_OPEN)
        self._gate = EgressGate(_OPEN.order_windows)
        self._desk = SimpleNamespace(
            throttle=Throttle(_OPEN, budget), egress=SimpleNamespace(budget=budget), book=self._book,
            last_order_no=0, left=self._left, _drop=self._dropped,
        )  # fmt: skip
        self._calls = SimpleNamespace(last_id=0, left=_nothing)
        ports = SimpleNamespace(
            clock=clock, killed=lambda: self._between(killed()), journal_state=lambda: ("", ""),
            journal=scrap.journal, instruments=instruments, intents=(), texts=(), transport=nowhere,
            events=self._strategies,
            broker=SimpleNamespace(place=lambda request: self._between(broker.place(request))),
        )  # fmt: skip
        self._express = Express(
            stage=SimpleNamespace(active=True),
            intake=self._intake,
            desk=self._desk,
            outbox=_Deaf(),
            calls=self._calls,
            states=SimpleNamespace(killed=""),
            ports=ports,
            keeper=SimpleNamespace(
                stewards=SimpleNamespace(_due_ns=NEVER_NS, _seen=0),
                square_off=SimpleNamespace(wake_ns=NEVER_NS),
                plans=SimpleNamespace(covered=lambda key: 0),
            ),
            gate=self._gate,
            passes=self._looked,
            entering=Entering(Order, self._book, PREFIX, EXTERNAL),
            journal=None,
            payload=intent_payload,
            kinds=(
                work_module.SIDES,
                work_module.ORDER_TYPES,
                work_module.PRODUCTS,
                work_module.VALIDITIES,
            ),
            types=(Intent, Work, OrderRequest),
            entry_wait_ns=NEVER_NS // 2,
            protection=protection,
            latch_again_ns=NEVER_NS,  # nothing is withheld of what reaches nobody
        )
        self.walked = 0  # rehearsals that came to their end

    def walk(self, like: Intent, now_ns: int) -> None:
        """One rehearsal of an order like one that has left.

        Raises:
            RehearsalError: the gate would have let it pass. OSError: the scratch parts have broken down.
        """
        self._intake.last_seq.clear()
        self._strategies.add(like.strategy)  # one of this engine's: its order has left
        try:
            self._express.place(like._replace(deadline_ns=0), 0, now_ns)
        except _BrokenOffError:  # before anything was submitted
            for order in list(self._book.orders.values()):
                self._forget(order, now_ns)
        else:
            self._nowhere.forget()
        self._gate._placed.clear()
        self._scrap.forget()

    def _looked(self, intent: Intent, last_seq: int, now_ns: int) -> _Passed:
        if self._passes(intent, LAST_SEQ, now_ns) is not None:
            raise RehearsalError(
                f"intent {intent.strategy_seq} of strategy {intent.strategy} has passed twice"
            )
        return self._between(_Passed(self._rows[intent.slot]))

    def _between(self, made: T) -> T:
        """`made`, what a step has made, unless an order has come."""
        if self._came():
            raise _BrokenOffError
        return made

    def _left(self, work: Work, before_ns: int, after_ns: int, now_ns: int) -> None:
        self._forget(work.order, now_ns)
        self.walked += 1

    def _dropped(self, work: Work, reason: Any, text: str, now_ns: int) -> None:
        self._forget(work.order, now_ns)

    def _forget(self, order: Order, now_ns: int) -> None:
        self._book.enter(order, Input.REFUSE, now_ns)
        self._book.forget(order)


def _nothing(*words: object) -> None:
    """What is told in a rehearsal, nobody hears."""
