"""Layer 5, supervisor, cold: reminds of the day's login before the market opens.

Tokens die every morning (Kite 06:00, Upstox 03:30), and a new one comes by hand. From 08:30 of a trading day
on a token that is not of today is told; from 09:00 on critically, if a position is open: without a token not
even an exit can be sent. `LoginWatch` knows the tokens of a run: one that was good at an instant dies at the
next such hour, whenever it was made.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.brokers.table import login_of
from kite_hft.engine.plan.session import Session
from kite_hft.layout import Severity
from kite_hft.sessions import CalendarError, ist_date, ist_midnight_ns, ist_text, phases_from_calendar
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.alerts import Alert, alert
from kite_hft.units import NS_PER_S

CODE: Final = "LOGIN_DUE"
REMIND_NS: Final = (8 * 3600 + 30 * 60) * NS_PER_S
CRITICAL_NS: Final = 9 * 3600 * NS_PER_S
LAST_NS: Final = 24 * 3600 * NS_PER_S


def logins_due(
    now_real_ns: int, ends_ns: Mapping[str, int], positions: int, close_ns: int
) -> dict[str, Alert]:
    """Broker -> what is to be told, of those whose token has ended.

    ends_ns: broker -> end of its token, epoch ns. positions: open ones. close_ns: epoch ns, end of today's
    trading; 0: there is none today.
    """
    since_ns = now_real_ns - ist_midnight_ns(ist_date(now_real_ns))
    if since_ns < REMIND_NS or now_real_ns >= close_ns:
        return {}
    found = {}
    for broker, end_ns in ends_ns.items():
        if end_ns > now_real_ns:
            continue
        held = positions > 0 and since_ns >= CRITICAL_NS
        text = f"no login at {broker} today: the token ended at {ist_text(end_ns)} IST"
        if positions > 0:
            text += f", and {positions} position{'s are' if positions > 1 else ' is'} open"
        found[broker] = alert(CODE, text, broker, Severity.CRITICAL if held else Severity.WARNING)
    return found


def last_close_ns(settings: Settings, exchanges: Collection[str], now_real_ns: int) -> int:
    """When trading ends today, epoch ns, the latest of these exchanges; 0: all are closed. A day that the
    calendar does not cover counts as traded: better one reminder too many.
    """
    chosen, day = settings.trading, ist_date(now_real_ns)
    uncovered_ns = ist_midnight_ns(day) + LAST_NS
    if chosen.market_start and chosen.market_end:
        return uncovered_ns
    closes = [0]
    try:
        rows: list[Any] = load_yaml(chosen.calendar)
        for exchange in exchanges:
            closes += [phase.end_ns for phase in phases_from_calendar(rows, exchange, False, day)]
    except (CalendarError, SettingsError):
        return uncovered_ns
    return max(closes)


@dataclass(slots=True)
class LoginWatch:
    """The tokens of one run. `look` often; it reads the calendar once a day."""

    settings: Settings
    exchanges: Collection[str]
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)
    _ends_ns: dict[str, int] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _day: Any = None
    _close_ns: int = 0

    def look(self, session: Session, positions: int, now_real_ns: int) -> tuple[list[Alert], list[str]]:
        """(what is to be told, brokers of which it is over)."""
        if session.own_simulator:
            return [], []  # it lives for this run alone
        self._learn(session, now_real_ns)
        if self._day != (day := ist_date(now_real_ns)):
            self._day, self._close_ns = day, last_close_ns(self.settings, self.exchanges, now_real_ns)
        due = logins_due(now_real_ns, self._ends_ns, positions, self._close_ns)
        over = sorted(self._told - set(due))
        self._told = set(due)
        return list(due.values()), over

    def _learn(self, session: Session, now_real_ns: int) -> None:
        """Tokens that are new since the last look: each is good now, so its end is the next one."""
        used = session.data if session.mode == "paper" else (session.orders, *session.data)
        for access in used:
            token = "" if access.sandbox else access.access_token
            if token and self._tokens.get(access.broker) != token:
                self._tokens[access.broker] = token
                self._ends_ns[access.broker] = login_of(access.broker).end_ns(token, now_real_ns)
