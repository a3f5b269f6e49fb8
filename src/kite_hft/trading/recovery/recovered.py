"""Layer 2, orders process, cold: what a journal tells beside the book."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from kite_hft.trading.day_so_far import DaySoFar
from kite_hft.trading.gate.holds import Hold
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Change
from kite_hft.trading.recovery.calls_made import CallsMade
from kite_hft.trading.recovery.opened import Opened
from kite_hft.trading.sending.conduct import ConductBook
from kite_hft.trading.sending.outbox import counted

Name = tuple[int, int]
"""(strategy, strategy_seq) of an intent."""
Key = tuple[int, int, int]
"""(strategy, slot, product) of a position."""


@dataclass(slots=True)
class Recovered:
    """What the journal told besides the book. Times are CLOCK_REALTIME ns as journalled.

    seen: every intent that has a record. waiting: taken in, not sent and not refused when the
    journal ends (but see waiting.cast_doubt). rests: see waiting.count_slice. refused: those refused, or
    taken back, before they became orders. cancels: orders whose cancel was not seen through. touched: when a
    record last told of an order.
    made: calls to the broker. openings: what the gate's sums have let pass. limited: when the broker last
    answered 429, as (CLOCK_REALTIME ns, boot, CLOCK_MONOTONIC ns of that boot). lost: what the last process
    left in flight. day: what the sums of the day had come to before these records.
    """

    last_seq: dict[int, int] = field(default_factory=dict)  # strategy -> highest number of its own
    engine_seq: int = ENGINE_SEQ - 1  # highest that ORDERS gave to what it did itself
    plans: dict[Key, dict[str, Any]] = field(default_factory=dict)  # exits that stand, as last journalled
    groups: dict[Name, dict[str, Any]] = field(default_factory=dict)  # groups begun and not ended
    triggers: dict[Name, dict[str, Any]] = field(default_factory=dict)  # GTTs that may live at the broker
    triggers_absent: dict[Name, dict[str, Any]] = field(default_factory=dict)  # thought so
    triggers_over: set[str] = field(default_factory=set)  # ids of those that have ended
    last_order_no: int = 0
    placed: int = 0
    halted: str = ""
    reducing: str = ""
    address: str = ""  # why the broker takes no order call from this machine
    market_halted: bool = False
    killed: str = ""
    holds: dict[int, Hold] = field(default_factory=dict)  # by strategy
    loss_paise: int = 0  # net of the day at which its limit tripped last
    let_paise: int = 0  # and when a person last let everything go on
    guards: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # the gate's other GUARD records
    judged: dict[Key, int] = field(default_factory=dict)  # position -> its fills when one was told as closed
    openings: list[Opened] = field(default_factory=list)
    ended: bool = False  # in order
    seen: set[Name] = field(default_factory=set)
    waiting: dict[Name, dict[str, Any]] = field(default_factory=dict)
    rests: dict[Name, dict[str, Any]] = field(default_factory=dict)
    refused: dict[Name, dict[str, Any]] = field(default_factory=dict)
    refusals: Counter[int] = field(default_factory=Counter)  # by strategy, each with a record of its own
    cancels: set[int] = field(default_factory=set)
    touched: dict[int, int] = field(default_factory=dict)
    made: CallsMade = field(default_factory=CallsMade)
    limited: tuple[int, str, int] | None = None
    totals: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of refusals
    external_orders: set[str] = field(default_factory=set)
    external_fills: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)  # orders of others, of all runs
    clear_to: int = 0  # a person wants gone what opens, of the orders up to this number
    to_clear: tuple[int, ...] = ()  # and meant these
    adopted: dict[str, int] = field(default_factory=dict)  # broker's id of an adopted order -> our number
    accepted: set[tuple[str, str]] = field(default_factory=set)  # by a person: differences, name and amount
    external: dict[tuple[int, int], int] = field(default_factory=dict)  # (slot, product) -> what others held
    beside: dict[str, int] = field(default_factory=dict)  # what orders of others have closed of that
    runs: set[int] = field(default_factory=set)  # numbers of the runs whose records these are
    lost: list[Change] = field(default_factory=list)
    user: str = ""  # who places our orders, in the broker's words
    by_terms: set[int] = field(default_factory=set)  # orders that their terms alone have found
    conduct: ConductBook = field(default_factory=ConductBook)
    day: DaySoFar | None = None

    def begin_day(self, day: DaySoFar) -> None:
        """A run begins with these sums of the day. What its records go on from may be in them already."""
        if self.runs <= set(day.runs):
            self.openings.clear()
            self.guards.clear()
            self.conduct = ConductBook()
        self.day = day

    def count(self, change: Change) -> None:
        """What the process that made the change counted."""
        self.totals.update(counted(change))
        if change.fill_quantity > 0:
            self.conduct.traded(change.order.slot, change.order.strategy)

    def passed_paise(self, *, killed: bool) -> int:
        """The net loss of the day from which the limit counts: the one that a person let pass, or one whose
        latch still stands, for a person ends that. killed: the account is, as this process starts.
        """
        stands = killed or self.killed or self.reducing or self.halted
        return self.loss_paise if stands else self.let_paise

    def id_of_adopted(self, number: int) -> str:
        """The broker's id of an order that was adopted under `number`."""
        return next((order_id for order_id, n in self.adopted.items() if n == number), "")

    def opened(self, found: Opened | None) -> None:
        """What a record tells of the gate's sums, if it tells anything."""
        if found is not None:
            self.openings.append(found)
