"""Layer 5, orders process, cold: the way of alerts out of ORDERS, also when nobody is left to hand them to.

While the supervisor lives it tells people. When it is gone the watchdog does, who stands on its own. Were
that one gone as well, nobody would: so ORDERS looks for its word in alerts.jsonl, and when none has come
within TOLD_WITHIN_S writes there itself and tells by the configured command and the system's journal. Webhook
and Telegram are the watchdog's alone: the process that holds the account's token connects to the broker
and to nobody else.
"""

from __future__ import annotations

import contextlib
import select
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.files import last_number, read_alerts, teller_of
from kite_hft.engine.alerts.sinks.making import close_s, make_sinks, secrets_of
from kite_hft.engine.processes.children import Answers
from kite_hft.layout import Severity
from kite_hft.trading.alerts import alert
from kite_hft.units import NS_PER_S

TOLD_WITHIN_S: Final = 3.0
"""The watchdog looks twice a second, and writes before it tells."""
KEPT_MAX: Final = 256
TEXT_CHARS_MAX: Final = 500  # so that a line always fits an empty pipe
GONE: Final = "ENGINE_GONE"

SAID: Final = (GONE, "SUPERVISOR_GONE")
"""What the watchdog says as well, once it has spoken; whatever else comes is news."""
TROUBLE: Final = (OSError, KeyError, ValueError, RuntimeError)
"""A disk that fails, a damaged file, no thread or process to be had."""

Fields = dict[str, Any]


class AlertsOut:
    """Takes alerts as they are raised. settings: AlertSection as plain values; about: in every line.

    What the pipe to the supervisor cannot take is kept, the newest KEPT_MAX, and handed on when it can. No
    file that cannot be read or written, and no command that cannot be run, is an error here: what ORDERS does
    alone is to cancel.
    """

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
        self._kept: deque[Fields] = deque(maxlen=KEPT_MAX)
        self._alerting: Alerting | None = None
        self._heard = False  # the watchdog has spoken

    def __call__(self, fields: Fields) -> None:
        """Hand an alert on; it never waits."""
        self._kept.append(fields | {"text": str(fields["text"])[:TEXT_CHARS_MAX]})
        if self._alone_ns < 0:
            self._hand_on()
        elif self._alerting is not None:
            self._tell(self._alerting)

    def begin(self) -> None:
        """The supervisor is gone; from now on alerts are kept. Nothing is read or written here. A pipe that
        nobody reads may have shown it before."""
        if self._alone_ns < 0:
            self._alone_ns = self._clock.mono_ns()

    def look(self) -> None:
        """Hand on what the supervisor's pipe could not take. Alone, once the watchdog's time is over: tell
        what is kept, but for what it has said. Call it often."""
        if self._alone_ns < 0:
            return self._hand_on()
        if self._alerting is not None:
            with contextlib.suppress(*TROUBLE):
                self._alerting.poll()
        elif self._kept and self._clock.mono_ns() >= self._alone_ns + round(TOLD_WITHIN_S * NS_PER_S):
            self._heard = self._heard or self._told()
            if self._heard:
                news = [fields for fields in self._kept if fields["code"] not in SAID]
                self._kept = deque(news, KEPT_MAX)
            if self._kept:
                self._begin_telling()

    def end(self, open_: Mapping[str, Any], sleep: Callable[[float], None]) -> None:
        """ORDERS ends: say what stays open (summary.what_stays_open), if nobody else does."""
        if self._alone_ns < 0:
            self._hand_on()
        if self._alone_ns < 0:
            return
        severity = Severity.CRITICAL if open_["positions"] or open_["orders"] else Severity.WARNING
        text = f"the supervisor is gone, and the watchdog says nothing; {words(open_)}"
        if not self._heard:
            self(alert(GONE, text, "", severity).fields())
        while self._alerting is None and self._kept:
            sleep(0.05)
            self.look()
        if self._alerting is not None:
            with contextlib.suppress(*TROUBLE):
                self._alerting.close(sleep)

    def _hand_on(self) -> None:
        """To the supervisor, as far as its pipe has room. One without a reader counts as having room."""
        while self._kept:
            _, writable, _ = select.select([], [self._answers.fileno()], [], 0)
            if not writable:
                return
            if not self._answers.send(alert=self._kept[0]):
                return self.begin()
            self._kept.popleft()

    def _told(self) -> bool:
        """Whether the watchdog has said in this run that the engine is gone; a file that cannot be read tells
        nothing."""
        try:
            rows = read_alerts(self._folder)
        except OSError:
            return False
        return any(row["code"] == GONE and teller_of(row) == "watchdog" for row in rows)

    def _begin_telling(self) -> None:
        try:
            self._alerting = Alerting(
                self._folder,
                make_sinks(self._settings, self._folder, self._clock),
                self._clock,
                lambda text: None,
                close_s=close_s(self._settings),
                about=self._about,
                secrets=self._secrets,
                first_number=last_number(self._folder) + 1,
            )
        except TROUBLE:
            self._kept.clear()  # nobody can be told
            return
        self._tell(self._alerting)

    def _tell(self, alerting: Alerting) -> None:
        while self._kept:
            with contextlib.suppress(*TROUBLE):
                alerting.take(self._kept.popleft())


def words(open_: Mapping[str, Any]) -> str:
    """What stays open, in one line."""
    positions = [f"{p['instrument']} {p['product']} {p['quantity']:+d}" for p in open_["positions"]]
    orders = [f"{o['instrument']} order {o['order_no']} {o['status']}" for o in open_["orders"]]
    if not (positions or orders):
        return "no position and no order is open by the orders process's book"
    return f"open by the orders process's book: {', '.join([*positions, *orders])}"
