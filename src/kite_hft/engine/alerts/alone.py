"""Layer 5, orders process, cold: the way of alerts out of ORDERS, also when nobody is left to hand them to.

While the supervisor lives it tells people. When it is gone the watchdog does, who stands on its own. Were
that one gone as well, nobody would: so ORDERS looks for its word in alerts.jsonl, and when none has come
within TOLD_WITHIN_S writes there itself and tells by the configured command and the system's journal. Webhook
and Telegram are the watchdog's alone: the process that holds the account's token connects to the broker
and to nobody else.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.files import read_alerts
from kite_hft.engine.alerts.sinks.making import make_sinks, secrets_of
from kite_hft.engine.processes.children import Answers
from kite_hft.layout import Severity
from kite_hft.trading.alerts import alert
from kite_hft.units import NS_PER_S

TOLD_WITHIN_S: Final = 3.0
"""The watchdog looks twice a second, and writes before it tells."""
KEPT_MAX: Final = 64
TEXT_CHARS_MAX: Final = 500  # so that a line always fits an empty pipe
GONE: Final = "ENGINE_GONE"

Fields = dict[str, Any]


class AlertsOut:
    """Takes alerts as they are raised. settings: AlertSection as plain values; about: in every line."""

    def __init__(
        self,
        answers: Answers,
        folder: Path,
        settings: Mapping[str, Any],
        clock: Clock,
        about: Mapping[str, str],
    ) -> None:
        self._answers, self._folder, self._clock = answers, folder, clock
        self._settings = dict(settings) | {"webhook": "", "telegram_bot_token": ""}
        self._secrets, self._about = secrets_of(settings), {**about, "teller": "orders"}
        self._alone_ns = -1
        self._kept: list[Fields] = []
        self._before: set[int] = set()  # numbers of alerts that were told while somebody was there
        self._alerting: Alerting | None = None

    def __call__(self, fields: Fields) -> None:
        """Hand an alert on; it never waits."""
        fields = fields | {"text": str(fields["text"])[:TEXT_CHARS_MAX]}
        if self._alerting is not None:
            self._alerting.take(fields)
        elif self._alone_ns >= 0:
            self._kept = [*self._kept, fields][-KEPT_MAX:]
        else:
            _, writable, _ = select.select([], [self._answers.fileno()], [], 0)
            if writable:
                self._answers.send(alert=fields)

    def begin(self) -> None:
        """The supervisor is gone; from now on alerts are kept."""
        self._alone_ns = self._clock.mono_ns()
        self._before = {int(row["number"]) for row in read_alerts(self._folder)}

    def look(self) -> None:
        """Once the watchdog's time is over: tell what is kept, unless it has spoken. Call it often."""
        if self._alerting is not None:
            self._alerting.poll()
        elif self._kept and self._clock.mono_ns() >= self._alone_ns + round(TOLD_WITHIN_S * NS_PER_S):
            if not self._told():
                self._tell()
            self._kept.clear()

    def end(self, open_: Mapping[str, Any], sleep: Callable[[float], None]) -> None:
        """ORDERS ends: say what stays open (summary.what_stays_open), if nobody else does."""
        if self._alone_ns < 0:
            return
        severity = Severity.CRITICAL if open_["positions"] or open_["orders"] else Severity.WARNING
        text = f"the supervisor is gone, and the watchdog says nothing; {words(open_)}"
        self(alert(GONE, text, "", severity).fields())
        while self._alerting is None and self._kept:
            sleep(0.05)
            self.look()
        if self._alerting is not None:
            self._alerting.close(sleep)

    def _told(self) -> bool:
        rows = read_alerts(self._folder)
        return any(row["code"] == GONE and int(row["number"]) not in self._before for row in rows)

    def _tell(self) -> None:
        last = max((int(row["number"]) for row in read_alerts(self._folder)), default=0)
        self._alerting = Alerting(
            self._folder,
            make_sinks(self._settings, self._folder, self._clock),
            self._clock,
            lambda text: None,
            about=self._about,
            secrets=self._secrets,
            first_number=last + 1,
        )
        for fields in self._kept:
            self._alerting.take(fields)


def words(open_: Mapping[str, Any]) -> str:
    """What stays open, in one line."""
    positions = [f"{p['instrument']} {p['product']} {p['quantity']:+d}" for p in open_["positions"]]
    orders = [f"{o['instrument']} order {o['order_no']} {o['status']}" for o in open_["orders"]]
    if not (positions or orders):
        return "no position and no order is open by the orders process's book"
    return f"open by the orders process's book: {', '.join([*positions, *orders])}"
