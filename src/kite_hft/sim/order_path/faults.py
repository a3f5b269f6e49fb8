"""Layer 4, campaigns and tests, cold: which faults a seed has, how often, and in which state they struck.

Swarm: every seed draws its own subset of KINDS and a rate for each, since a fault that is always
there hides what another one breaks. `Faults` draws, counts, and keeps the table fault x state of
the orders that were live when it struck: what was never hit was never tested.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CALL_FAULTS: Final = (
    "unsent",  # the connection could not be made: no byte left
    "request_lost",  # it left and never arrived
    "answer_lost",  # it was done, and the connection closed
    "request_late",  # we gave up, and it arrived long after
    "http_429",
    "http_500",
    "http_502_done",
    "http_503",
    "http_504_done",
    "http_400_timed_out",
    "http_400_timed_out_done",
    "http_403",  # of a blocked account: the token lives
    "body_cut",  # 200, done, and half of the body
    "body_empty",  # 200, done, half-closed before the body
    "slow_answer",
)
"""Strike one order call. `_done`: the broker did what was asked."""
READ_FAULTS: Final = (
    "read_unsent",
    "read_lost",
    "read_429",
    "read_503",
    "read_cut",
    "read_slow",
    "read_misses_row",  # one order (trigger) is not in this read of the book (list), and is in the next
)
UPDATE_FAULTS: Final = (
    "update_late",
    "update_reorder",
    "update_lost",
    "update_garbage",
)
COPIES: Final = "update_double"
PLACED_FAULTS: Final = (
    "tag_dropped",  # the broker's book shows the order without its tag
    "book_lag",  # for a while the order is in no book and no update tells of it
    "order_stuck",
    "margin_reject",
)
WRITE_FAULTS: Final = ("disk_full", "disk_write_error", "disk_short_write")
DISK_FAULTS: Final = (*WRITE_FAULTS, "sync_error")
ACTS: Final = (
    "crash",  # the process dies between two calls of a port
    "power_cut",
    "clock_back",
    "clock_forward",
    "feed_gap",
    "updates_down",  # the connection that brings order updates is lost for a while
    "stale_price",
    "price_jump",
    "events_full",
    "standstill",  # of the process: it is suspended, or has no CPU
    "hand_order",
    "rms_order",
    "square_off",
    "stops_cancelled",
    "circuit_lock",
    "market_halt",
    "token_death",
    "kill_switch",
    "halt",  # a person or a limit latches it
    "broker_outage",  # nothing answers for a while
)
"""Come at a time, whatever goes on."""
STANDSTILLS: Final = frozenset(
    ["crash", "power_cut", "feed_gap", "updates_down", "market_halt", "token_death", "kill_switch", "halt",
     "broker_outage", "events_full", "standstill"]
)  # fmt: skip
"""Little is traded for a while after these."""
KINDS: Final = (*CALL_FAULTS, *READ_FAULTS, COPIES, *UPDATE_FAULTS, *PLACED_FAULTS, *DISK_FAULTS, *ACTS)

STATES: Final = (
    "NONE", "NEW", "SENT", "PENDING", "TRIGGER_PENDING", "OPEN", "PARTIAL", "MODIFYING", "CANCELLING",
    "AMBIGUOUS", "COMPLETE", "CANCELLED", "REJECTED", "ABSENT", "PLAN", "GROUP", "TRIGGER",
)  # fmt: skip
"""Columns of the table: an order's status; PARTIAL, MODIFYING and CANCELLING stand beside it. The last three:
exits were kept for a position, a group was under way, a trigger lay at the broker."""
LASTING: Final = frozenset({"PLAN", "GROUP", "TRIGGER"})

ENDED: Final = frozenset({"COMPLETE", "CANCELLED", "REJECTED", "ABSENT"})


def can_meet(kind: str, state: str) -> bool:
    """Whether a fault of this kind can strike an order in this state at all: calls are about orders that
    are sent or live, placements about those that are on their way, acts and reads meet what is live.
    """
    if kind in CALL_FAULTS:
        return state not in ENDED | LASTING - {"TRIGGER"} | {"NONE", "NEW", "AMBIGUOUS"}
    if state in LASTING:
        return kind in ACTS or kind in READ_FAULTS or kind in DISK_FAULTS
    if kind in PLACED_FAULTS:
        return state in ("SENT", "AMBIGUOUS")
    if kind in UPDATE_FAULTS or kind == COPIES:
        return state != "NEW"
    return state not in ENDED


_RARE: Final = {
    "tag_dropped": 0.5,
    "token_death": 0.2,
    "kill_switch": 0.06,
    "halt": 0.08,
    "power_cut": 0.3,
    "sync_error": 0.12,
    "disk_full": 0.12,
    "disk_write_error": 0.12,
    "disk_short_write": 0.12,
    "square_off": 0.3,
    "market_halt": 0.35,
    "broker_outage": 0.4,
    "update_double": 0.8,
}
"""Share of the seeds that have the kind at all; one half for the others."""


@dataclass(slots=True)
class Faults:
    """The faults of one seed. `rates`: chance for each thing that a kind may strike; for acts, how many
    are expected in the trading part of the day."""

    rng: random.Random
    rates: dict[str, float] = field(default_factory=dict)
    on: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    table: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def drawn(cls, rng: random.Random) -> Faults:
        """The swarm's choice for one seed."""
        rates: dict[str, float] = {}
        for kind in KINDS:
            if rng.random() >= _RARE.get(kind, 0.5):
                continue
            if kind in ACTS:
                rates[kind] = rng.choice((1.0, 2.0, 3.0) if kind in STANDSTILLS else (3.0, 7.0, 12.0))
            elif kind == "update_double":
                rates[kind] = rng.choice((1.0, 2.0, 4.0))  # copies; every connection carries each update
            elif kind in UPDATE_FAULTS:
                rates[kind] = rng.choice((0.15, 0.3, 0.5))
            elif kind == "read_misses_row":
                rates[kind] = rng.choice((0.1, 0.3))
            elif kind in DISK_FAULTS:
                rates[kind] = rng.choice((0.001, 0.004))
            elif kind in PLACED_FAULTS:
                rates[kind] = rng.choice((0.1, 0.3, 0.6))
            elif kind in READ_FAULTS:
                rates[kind] = rng.choice((0.03, 0.08, 0.2))
            else:
                rates[kind] = rng.choice((0.01, 0.03, 0.08))
        return cls(rng, rates)

    def without(self, kinds: Iterable[str]) -> None:
        """These have no meaning at the broker of the day."""
        for kind in kinds:
            self.rates.pop(kind, None)

    def strikes(self, kinds: Iterable[str]) -> str:
        """The kind that strikes this thing, or ""; at most one."""
        if not self.on:
            return ""
        chance = self.rng.random()
        for kind in kinds:
            chance -= self.rates.get(kind, 0.0)
            if chance < 0:
                return kind
        return ""

    def times(self, kind: str) -> int:
        """How often this thing is struck by a kind whose rate may be above 1."""
        rate = self.rates.get(kind, 0.0) if self.on else 0.0
        return int(rate) + (self.rng.random() < rate % 1) if rate else 0

    def struck(self, kind: str, states: Iterable[str]) -> None:
        """Count one; `states`: of the orders that it met."""
        self.counts[kind] += 1
        met = False
        for state in states:
            self.table[kind, state] += 1
            met = True
        if not met:
            self.table[kind, "NONE"] += 1
