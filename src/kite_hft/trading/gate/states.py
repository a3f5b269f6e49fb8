"""Layer 2, orders process, cold: what may be sent now, and why not: globally and by strategy.

    ACTIVE     everything, after reconciliation
    REDUCING   only what shrinks a position: too many rejections in a row, a loss, a guard of the gate
    HALTED     the same, and something is wrong: with the engine, or with a strategy
    KILLED     the same, and every order that opens is cancelled: somebody pulled the latch (killing.py)
    TOKEN DEAD nothing at all: the broker takes our token no more
    MARKET HALT no openings: the whole market is silent
    ADDRESS    no openings, told as REDUCING: the broker takes no order calls from this machine (address.py)

The global HALTED stands in the outbox (a journal that fails latches it), KILLED in a file outside
(Ports.killed). REDUCING and HALTED exist for each strategy, too (`hold`). All of it is journalled (STATE,
GUARD beside it by whoever trips one) and latched: a process that is started again goes on with it, and
`resume` by a person is the only way back. Law: what shrinks a position always passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold
from kite_hft.trading.order import EXTERNAL, Change
from kite_hft.trading.sending.outbox import Outbox

_TAKEN = frozenset({OrderStatus.OPEN, OrderStatus.TRIGGER_PENDING, OrderStatus.COMPLETE})
_LEVELS: Final = (REDUCING, HALTED)


class States:
    """The latches of one order stage, beside `outbox.halted`."""

    def __init__(self, outbox: Outbox, reject_storm: int) -> None:
        self._outbox, self._reject_storm = outbox, reject_storm
        self.reducing = ""  # what the gate goes by: the latch, or else `address`
        self.reduced = ""  # latched, until a person ends it
        self.address = ""  # why the broker takes no order call from this machine; until he does
        self.killed = ""
        self.holds: dict[int, Hold] = {}  # by strategy
        self.token_dead = ""
        self.token_ns = -(2**62)  # when the newest token came
        self.market_halted = False
        self._rejected = 0

    def restore(
        self, halted: str, reducing: str, holds: Mapping[int, Hold] | None = None, address: str = ""
    ) -> None:
        """What an earlier process of this run, or a run that this one continues, had latched."""
        if halted:
            self._outbox.halt(halted)
        if reducing:
            self.reduce(reducing, "")
        if address:
            self.refuse_address(address)
        if holds:  # at a start nobody is held yet
            self.holds.update(holds)
            self._outbox.keep_holds(self.holds)  # all at once
        for strategy in holds or ():
            self._tell_held(strategy)

    # Latching

    def reduce(self, reason: str, code: str = "REJECT_STORM") -> None:
        """Latch: only what shrinks a position passes, until `resume`. code: of the alert, "": none."""
        if self.reduced:
            return
        self.reducing = self.reduced = reason
        if code:
            self._outbox.alert(code, f"REDUCING: {reason}")
        self._write(reducing=reason)

    def refuse_address(self, text: str) -> None:
        """The broker refuses order calls from this machine: nothing opens until `accept_address`. No person
        ends that: `resume` leaves it.
        """
        if self.address == text:
            return
        self.address = text
        self.reducing = self.reduced or text
        self._outbox.alert("EGRESS_REFUSED", text)
        self._write(address=text)

    def accept_address(self) -> None:
        """The broker takes them."""
        self._outbox.clear("EGRESS_REFUSED")  # of an order call, too
        if self.address:
            self.address, self.reducing = "", self.reduced
            self._write(address="")

    def hold(self, strategy: int, reason: str, level: str = REDUCING) -> bool:
        """The same for one strategy. level: "reducing" or "halted"; the first reason stands, and a halt
        takes the place of a reduction. True: that is news.

        Raises:
            ValueError: another level, or EXTERNAL.
        """
        if level not in _LEVELS or strategy == EXTERNAL:
            raise ValueError(f"strategy {strategy} cannot be held as {level!r}")
        was = self.holds.get(strategy)
        if was is not None and (was.level == level or was.level == HALTED):
            return False
        self.holds[strategy] = Hold(level, reason)
        self._outbox.keep_holds(self.holds)  # first: the next run believes it more than this one's journal
        self._tell_held(strategy)
        return True

    def _tell_held(self, strategy: int) -> None:
        held = self.holds[strategy]
        text = f"strategy {strategy} is {held.words}"
        self._outbox.alert("STRATEGY_HELD", text, f"strategy {strategy}")
        self._write(strategy=strategy, state=held.level, reason=held.reason)
        self._outbox.gauge("strategies_held", len(self.holds))

    def kill(self, reason: str, by: str = "", *, flatten: bool = False) -> None:
        """The latch was found set. Journalled as a command of whoever set it."""
        if self.killed:
            return
        self.killed = reason
        self._outbox.alert("KILLED", f"KILLED: {reason}")
        self._outbox.journal(Kind.COMMAND, {"do": "kill", "reason": reason, "by": by, "flatten": flatten})
        self._write(killed=reason)
        self._outbox.gauge("state_killed", 1)

    def unkill(self) -> None:
        """The latch is gone."""
        if self.killed:
            self.killed = ""
            self._outbox.clear("KILLED")
            self._write(killed="")
            self._outbox.gauge("state_killed", 0)

    # Letting go

    def resume(self, strategy: int | None = None, by: str = "") -> bool:
        """A person lets one strategy go on, or (None) everything: REDUCING, HALTED, every strategy.

        False, and nothing changes: the journal cannot be written, or that strategy is not held.
        """
        if strategy is not None and strategy not in self.holds:
            return False
        what = {"halted": self._outbox.halted, "reducing": self.reduced,
                "held": {str(n): held.words for n, held in self.holds.items()}}  # fmt: skip
        if not self._outbox.journal(
            Kind.COMMAND, {"do": "resume", "by": by, "strategy": strategy, "was": what}
        ):
            return False
        for number in [strategy] if strategy is not None else list(self.holds):
            del self.holds[number]
            self._outbox.clear("STRATEGY_HELD", f"strategy {number}")
            self._write(strategy=number, state="")
        self._outbox.gauge("strategies_held", len(self.holds))
        self._outbox.keep_holds(self.holds)
        if strategy is None:
            self.reducing, self.reduced, self._rejected = self.address, "", 0
            self._outbox.go_on()
            for code in ("REJECT_STORM", "DAILY_LOSS"):
                self._outbox.clear(code)
            self._write(reducing="")
        return True

    def _write(self, **words: Any) -> None:
        self._outbox.journal(Kind.STATE, {"halted": self._outbox.halted} | words)

    def words(self) -> dict[str, Any]:
        """For the report: killed, reducing, and held (strategy -> words)."""
        held = {str(number): hold.words for number, hold in self.holds.items()}
        return {"killed": self.killed, "reducing": self.reducing, "held": held}

    # Rejections, the token, the market

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

    def lose_token(self, message: str, open_positions: int, sent_ns: int) -> bool:
        """The broker refused the token of a call sent at `sent_ns`; True: that is news.

        It is none when another token has come since: the answer is about the one before.
        """
        if self.token_dead or sent_ns < self.token_ns:
            return False
        self.token_dead = message or "refused"
        self._outbox.alert(
            "TOKEN_DEAD",
            f"the broker refuses the access token ({self.token_dead}): nothing can be sent or reduced, "
            f"{open_positions} open positions",
        )
        self._write(token_dead=self.token_dead)
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
            self._write(market_halted=on)
