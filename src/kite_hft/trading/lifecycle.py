"""Layer 2, orders process, hot: the life of an order as one table.

Everything that may change an order's status stands in TABLE; nothing else in the engine assigns
one. Two rules hold it together. First, the broker's words come late, doubled and out of order, so
a report may only move an order forward: a pair that is not in the table leaves the status alone. (Our
own modification of a working order into a stop takes it back to waiting for its trigger.)
Second, what the broker or we ourselves have ended stays ended, except ABSENT, which is our own
inference from silence: the broker's word revives it. So it is with one that a call's end refused (the answer,
or that no byte left), or that a person took for gone, if the order book shows it alive: REVIVE, and then
what the book says.

    NEW ----> SENT ----> PENDING ----> TRIGGER_PENDING ----> OPEN ----> COMPLETE
      \\         \\            \\______________________________/   \\----> CANCELLED, REJECTED
       REFUSED    AMBIGUOUS ----> ABSENT
"""

from __future__ import annotations

import enum
from typing import Final

from kite_hft.layout import OrderStatus

S = OrderStatus


class Input(enum.IntEnum):  # integers are found in tables several times faster
    """What can happen to an order: ours first, then the broker's reports."""

    SUBMIT = enum.auto()  # handed to the transport
    REFUSE = enum.auto()  # by us; or the transport proved that no byte left
    WITHDRAW = enum.auto()  # cancelled while it still stood in our own queue
    CONFIRM = enum.auto()  # the broker named the order
    DENY = enum.auto()  # the broker's answer proves that no order came of it
    LOSE = enum.auto()  # the answer proves nothing
    MISS = enum.auto()  # two agreeing book reads past the absence horizon do not show it
    REARM = enum.auto()  # modified into a stop again, which waits for its trigger
    REVIVE = enum.auto()  # ended by a call's end or a person's word alone, and the broker shows it alive
    SEEN = enum.auto()  # reported with a label that says nothing of its state (`UPDATE`)
    REPORT_PENDING = enum.auto()
    REPORT_TRIGGER_PENDING = enum.auto()
    REPORT_OPEN = enum.auto()
    REPORT_COMPLETE = enum.auto()
    REPORT_CANCELLED = enum.auto()
    REPORT_REJECTED = enum.auto()


REPORT_OF: Final[dict[OrderStatus | None, Input]] = {
    None: Input.SEEN,
    S.PENDING: Input.REPORT_PENDING,
    S.TRIGGER_PENDING: Input.REPORT_TRIGGER_PENDING,
    S.OPEN: Input.REPORT_OPEN,
    S.COMPLETE: Input.REPORT_COMPLETE,
    S.CANCELLED: Input.REPORT_CANCELLED,
    S.REJECTED: Input.REPORT_REJECTED,
}
"""Status of an OrderReport -> input. A report never says NEW, SENT, REFUSED, AMBIGUOUS, ABSENT."""

_ENDS: Final = {
    Input.REPORT_COMPLETE: S.COMPLETE,
    Input.REPORT_CANCELLED: S.CANCELLED,
    Input.REPORT_REJECTED: S.REJECTED,
}
_FOUND: Final = {
    Input.CONFIRM: S.PENDING,
    Input.SEEN: S.PENDING,
    Input.REPORT_PENDING: S.PENDING,
    Input.REPORT_TRIGGER_PENDING: S.TRIGGER_PENDING,
    Input.REPORT_OPEN: S.OPEN,
    **_ENDS,
}

TABLE: Final[dict[OrderStatus, dict[Input, OrderStatus]]] = {
    S.NEW: {Input.SUBMIT: S.SENT, Input.REFUSE: S.REFUSED, Input.WITHDRAW: S.CANCELLED},
    S.SENT: {**_FOUND, Input.REFUSE: S.REFUSED, Input.DENY: S.REJECTED, Input.LOSE: S.AMBIGUOUS},
    S.AMBIGUOUS: {**_FOUND, Input.MISS: S.ABSENT},
    S.ABSENT: _FOUND,
    S.PENDING: {
        Input.REPORT_TRIGGER_PENDING: S.TRIGGER_PENDING,
        Input.REPORT_OPEN: S.OPEN,
        **_ENDS,
    },
    S.TRIGGER_PENDING: {Input.REPORT_OPEN: S.OPEN, **_ENDS},
    # MODIFY PENDING, CANCEL PENDING and the like are PENDING to us: a working order stays working.
    S.OPEN: {Input.REARM: S.TRIGGER_PENDING, **_ENDS},
    S.COMPLETE: {},
    S.CANCELLED: {Input.REVIVE: S.AMBIGUOUS},  # a person took it for gone
    S.REJECTED: {Input.REVIVE: S.AMBIGUOUS},
    S.REFUSED: {Input.REVIVE: S.AMBIGUOUS},
}

TERMINAL: Final = frozenset({S.COMPLETE, S.CANCELLED, S.REJECTED, S.REFUSED, S.ABSENT})
"""Ended: no open quantity. ABSENT counts as ended until the broker says otherwise."""
WORKING: Final = frozenset({S.PENDING, S.TRIGGER_PENDING, S.OPEN})
"""At the broker under an order id: can be modified and cancelled."""
LIVE: Final = frozenset(S) - TERMINAL
"""May still fill: NEW, SENT, AMBIGUOUS and WORKING."""


def following(status: OrderStatus, what: Input) -> OrderStatus:
    """The status after `what`; the same one when `what` is late, doubled or impossible here."""
    return TABLE[status].get(what, status)
