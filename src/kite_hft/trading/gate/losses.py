"""Layer 2, orders process, cold: the loss limit of the day, on net profit and loss.

Net is realised + unrealised - charges of all strategies, of the run, of those that it continues, and of
the day's runs that are over: to stop and start the engine gives no new limit. It is looked at with each
fill and each gauge (100 ms). At the limit the configured thing happens, latched until a person resumes;
then it takes as large a loss once more to trip again. Each trip is a GUARD record, from which, and from the
COMMAND of the resume, a process that is started again knows what was let pass already (recovered.py).
"""

from __future__ import annotations

from typing import Final

from kite_hft.memory.journal import Kind
from kite_hft.trading.gate.states import States
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.sending.outbox import Outbox
from kite_hft.units import rupees_text

GUARD: Final = "daily_loss"


class DailyLoss:
    """One per order stage."""

    def __init__(self, ports: Ports, config: OrdersConfig, outbox: Outbox, states: States) -> None:
        self._kill, self._killed = ports.kill, ports.killed
        self._limit, self._action = config.max_daily_loss_paise, config.on_daily_loss
        self._outbox, self._states = outbox, states
        self._before_paise = ports.day_net_paise
        self._from_paise = 0

    def restore(self, tripped_paise: int) -> None:
        """Net at which it tripped last, earlier in the day; 0: never."""
        self._from_paise = tripped_paise

    def look(self, net_paise: int) -> bool:
        """Judge the net of this run and those that it continues; True: the limit was reached just now."""
        net_paise += self._before_paise
        if self._limit is None or net_paise > self._from_paise - self._limit:
            return False
        lost, limit = rupees_text(-net_paise), rupees_text(self._limit)
        since = f" (after {rupees_text(-self._from_paise)} that were let pass)" if self._from_paise else ""
        text = f"net loss of the day {lost} >= limit {limit} rupees{since}"
        self._from_paise = net_paise
        self._outbox.count("guards_tripped")
        self._outbox.journal(
            Kind.GUARD,
            {"guard": GUARD, "net_paise": net_paise, "limit_paise": self._limit, "action": self._action},
        )
        self._outbox.alert("DAILY_LOSS", f"{text}: {self._action}")
        if self._action == "reduce":
            self._states.reduce(text, "")
            return True
        self._kill(text, self._action == "flatten")
        if not self._killed():  # the latch could not be written
            self._outbox.halt(text)
        return True
