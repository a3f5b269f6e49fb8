"""Layer 2, orders process, cold: what may be sent now, and why not.

    ACTIVE     everything, after reconciliation
    REDUCING   only what shrinks a position: too many rejections in a row
    HALTED     the same, and no cancel of it but a new start: something is wrong with the engine
    TOKEN DEAD nothing at all: the broker takes our token no more
    MARKET HALT no openings: the whole market is silent

HALTED stands in the outbox (a journal that fails latches it). All of it is journalled (STATE), and
a process that is started again in the run goes on with it.
"""

from __future__ import annotations

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import EXTERNAL, Change
from kite_hft.trading.sending.outbox import Outbox

_TAKEN = frozenset({OrderStatus.OPEN, OrderStatus.TRIGGER_PENDING, OrderStatus.COMPLETE})


class States:
    """The latches of one order stage, beside `outbox.halted`."""

    def __init__(self, outbox: Outbox, reject_storm: int) -> None:
        self._outbox, self._reject_storm = outbox, reject_storm
        self.reducing = ""
        self.token_dead = ""
        self.market_halted = False
        self._rejected = 0

    def restore(self, halted: str, reducing: str) -> None:
        """What an earlier process of this run, or a run that this one continues, had latched."""
        if halted:
            self._outbox.halt(halted)
        if reducing:
            self.reduce(reducing)

    def reduce(self, reason: str) -> None:
        """Latch: only what shrinks a position passes, until `resume`."""
        if self.reducing:
            return
        self.reducing = reason
        self._outbox.alert("REJECT_STORM", f"REDUCING: {reason}")
        self._outbox.journal(Kind.STATE, {"halted": self._outbox.halted, "reducing": reason})

    def resume(self) -> None:
        """A person ends REDUCING."""
        self.reducing, self._rejected = "", 0
        self._outbox.clear("REJECT_STORM")
        self._outbox.journal(Kind.STATE, {"halted": self._outbox.halted, "reducing": ""})

    def ended(self, change: Change) -> None:
        """Counts rejections in a row; what the exchange took, or filled, ends the row.

        While the market is halted the exchange rejects everything: that says nothing of our orders.
        """
        order = change.order
        if order.strategy == EXTERNAL or not change.status_changed:
            return
        if order.status in _TAKEN or change.fill_quantity:
            self._rejected = 0
        elif order.status is OrderStatus.REJECTED and not self.market_halted:
            self._rejected += 1
            if self._rejected >= self._reject_storm:
                self.reduce(f"{self._rejected} orders rejected in a row, the last one: {order.message}")

    def lose_token(self, message: str, open_positions: int) -> bool:
        """The broker refused our token; True: that is news."""
        if self.token_dead:
            return False
        self.token_dead = message or "refused"
        self._outbox.alert(
            "TOKEN_DEAD",
            f"the broker refuses the access token ({self.token_dead}): nothing can be sent or reduced, "
            f"{open_positions} open positions",
        )
        self._outbox.journal(Kind.STATE, {"halted": self._outbox.halted, "token_dead": self.token_dead})
        return True

    def regain_token(self) -> None:
        """The broker has taken a new one."""
        if self.token_dead:
            self.token_dead = ""
            self._outbox.clear("TOKEN_DEAD")

    def halt_market(self, on: bool) -> None:
        """The supervisor says that the whole market is silent, or no more."""
        if on != self.market_halted:
            self.market_halted = on
            self._rejected = 0  # what was rejected since the silence began was the halt's
            self._outbox.journal(Kind.STATE, {"halted": self._outbox.halted, "market_halted": on})
