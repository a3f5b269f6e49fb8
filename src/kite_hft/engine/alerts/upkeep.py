"""Layer 5, supervisor, cold: what is looked after beside the processes: watchdog, heartbeat, disk, logins.

Alerts and gauges of the watchdog go where they belong; the external heartbeat beats while the engine can
do its work; little room on the disk is told before the journal finds none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft.engine.alerts.alerting import SINK_FAILED, Alerting
from kite_hft.engine.alerts.health import trouble_of
from kite_hft.engine.alerts.logins import CODE, LoginWatch
from kite_hft.engine.alerts.sinks.heartbeat import Heartbeat
from kite_hft.engine.plan.launch import Run
from kite_hft.engine.processes.family import ENDED, Family
from kite_hft.engine.runs.sample import state_word
from kite_hft.engine.watchdog.handover import say_watched
from kite_hft.engine.watchdog.plan import watch_config
from kite_hft.engine.watchdog.watching import Watching
from kite_hft.layout import Severity
from kite_hft.units import NS_PER_S

DISK_EVERY_NS: Final = 5 * NS_PER_S
HEARTBEAT: Final = "heartbeat"
WATCHDOG: Final = "watchdog"


@dataclass(slots=True)
class Upkeep:
    """One per run. Everything in it is optional but the disk."""

    run: Run
    family: Family
    alerting: Alerting
    watching: Watching | None = None
    heartbeat: Heartbeat | None = None
    logins: LoginWatch | None = None
    _disk_ns: int = 0
    _naked_paise: int = field(default=-1)
    _watched: bool = False  # the account's lock says that our watchdog sees it

    def start(self) -> None:
        """Start the watchdog, make the heartbeat: when the processes run.

        Raises:
            SettingsError, CalendarError, MarketRulesError: a dated file cannot be used.
        """
        alerts, clock = self.run.settings.alerts, self.run.clock
        self.logins = LoginWatch(self.run.settings, {row.exchange for row in self.run.instruments})
        if self.run.settings.trading.watchdog:
            self.watching = Watching(watch_config(self.run), self.run.view.say)
            self.watching.start(clock.mono_ns())
        if alerts.heartbeat_url:
            self.heartbeat = Heartbeat(
                alerts.heartbeat_url,
                alerts.heartbeat_s,
                alerts.heartbeat_method,
                alerts.sink_timeout_s,
                clock,
            )

    def look(
        self,
        now_ns: int,
        orders: Callable[[], Mapping[str, int]],
        feeds: Collection[str],
        *,
        in_session: bool,
    ) -> None:
        """One round, every few ms. orders: the counters of ORDERS; feeds: names of dead feeds."""
        self.hear(now_ns)
        if now_ns >= self._disk_ns:
            self._disk_ns = now_ns + DISK_EVERY_NS
            self._look_at_disk()
            self._look_at_logins(orders().get("positions", 0))
        if self.heartbeat is not None:
            self._beat(self.heartbeat, orders(), feeds, in_session=in_session)

    def hear(self, now_ns: int) -> None:
        """What the watchdog says; all that goes on while the processes of the run begin and end."""
        if self.watching is not None:
            self._watch(self.watching, now_ns)

    def _watch(self, watching: Watching, now_ns: int) -> None:
        restarts, ready = watching.restarts, watching.ready
        alerts, wanted = watching.listen(now_ns)
        for fields in alerts:
            self.alerting.take({**fields, "process": WATCHDOG})
        if watching.restarts != restarts:
            self.alerting.replaced(WATCHDOG)
        if watching.ready and not ready:
            self.alerting.returned(WATCHDOG)
        if watching.sees and not self._watched and self.run.settings.mode == "live":
            with contextlib.suppress(OSError):  # one of an earlier engine stays meanwhile, and tells
                say_watched(self.run.folder.lock_fd, self.run.folder.path)
                self._watched = True  # it may go
        if wanted or watching.naked_paise != self._naked_paise:
            self._naked_paise = watching.naked_paise
            word = {"do": "watchdog", "naked_paise": watching.naked_paise, "read": wanted}
            self.family.tell("orders", word)

    def _look_at_disk(self) -> None:
        """Room for the journal, and for what people are told."""
        wanted_mb = self.run.settings.alerts.disk_free_mb
        try:
            found = os.statvfs(self.run.folder.path)
        except OSError as error:
            self.alerting.raise_("DISK_LOW", "", f"the run folder cannot be asked: {error.strerror}")
            return
        free_mb = found.f_bavail * found.f_frsize / 1e6
        if free_mb >= wanted_mb:
            self.alerting.clear("DISK_LOW")
            return
        severity = Severity.CRITICAL if 10 * free_mb < wanted_mb else Severity.WARNING
        text = f"{free_mb:,.0f} MB are free for {self.run.folder.path}, {wanted_mb:,.0f} are wanted"
        self.alerting.raise_("DISK_LOW", "", text, severity)

    def _look_at_logins(self, positions: int) -> None:
        """The day's tokens, once tokens can have ended."""
        if self.logins is None:
            return
        due, over = self.logins.look(self.run.session, positions, self.run.clock.real_ns())
        for told in due:
            self.alerting.take(told.fields())
        for broker in over:
            self.alerting.clear(CODE, broker)

    def _beat(
        self, heart: Heartbeat, orders: Mapping[str, int], feeds: Collection[str], *, in_session: bool
    ) -> None:
        state = next((m.state for m in self.family.members.values() if "orders" in m.plan.stages), ENDED)
        blind = self.watching is not None and bool(self.watching.down)
        trouble = trouble_of(state, feeds, in_session=in_session, blind=blind)
        about = {"account": self.run.settings.account, "run": self.run.folder.name}
        before = heart.withheld
        told = heart.poll(state_word(dict(orders)), trouble, about)
        if heart.withheld != before:
            words = f"is held back: {heart.withheld}" if heart.withheld else "beats again"
            self.run.view.say(f"the heartbeat {words}")
        if told:
            self.alerting.raise_(SINK_FAILED, HEARTBEAT, f"the heartbeat fails: {told}")
        elif told is not None:
            self.alerting.clear(SINK_FAILED, HEARTBEAT)

    def filenos(self) -> list[int]:
        """What to wait on for reading."""
        return self.watching.filenos() if self.watching is not None else []

    def rows(self) -> list[dict[str, Any]]:
        """The watchdog among the processes, for `status`."""
        return [self.watching.row()] if self.watching is not None else []

    def report(self) -> dict[str, Any]:
        """The `watchdog` part of report.json."""
        watching = self.watching
        return {
            "on": watching is not None,
            "restarts": watching.restarts if watching else 0,
            "naked_paise": watching.naked_paise if watching else 0,
            "heartbeats": self.heartbeat.tally.fields() if self.heartbeat else {},
        }

    def pids(self) -> dict[str, int]:
        return {"watchdog": self.watching.pid} if self.watching is not None and self.watching.pid else {}

    def close(self) -> None:
        """Let the watchdog go; unless ORDERS is gone: then it tells what is open."""
        if self.watching is not None:
            lost = any(m.state == ENDED for m in self.family.members.values() if "orders" in m.plan.stages)
            self.watching.end(orderly=not lost)
