"""Layer 5, supervisor and command line, cold: do the sinks work? A test alert through each of them.

Live mode does not start without one sink that reaches a person and has just taken a test, unless that is
waived in so many words. An entry in the system's journal pages nobody: it does not count.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock, SystemClock
from kite_hft.configuring.models.safety import NO_SINK
from kite_hft.engine.alerts.sinks.making import make_sinks
from kite_hft.engine.alerts.sinks.sink import Row, Sink
from kite_hft.sessions import ist_text
from kite_hft.settings import Settings
from kite_hft.units import NS_PER_S

REACH_PEOPLE: Final = frozenset({"hook", "webhook", "telegram"})
TRIAL_S: Final = 15.0


class NoSink(Exception):
    """Nobody would be told; the message says of which sink what is wrong, and what to do."""


def trial(
    sinks: Sequence[Sink], row: Row, clock: Clock, sleep: Callable[[float], None], timeout_s: float
) -> dict[str, str]:
    """Send `row` through every sink and wait: name -> "" (delivered) or what is wrong."""
    found: dict[str, str] = {}
    for sink in sinks:
        sink.put(row)
    end_ns = clock.mono_ns() + round(timeout_s * NS_PER_S)
    while True:
        for sink in sinks:
            found |= {outcome.sink: outcome.failure for outcome in sink.poll()}
        if len(found) == len(sinks) or clock.mono_ns() >= end_ns:
            break
        sleep(0.02)
    for sink in sinks:
        sink.close()
    return {sink.name: found.get(sink.name, f"nothing came of it in {timeout_s:g} s") for sink in sinks}


def trial_row(settings: Settings, clock: Clock) -> dict[str, Any]:
    """A test alert, as a line of alerts.jsonl has it."""
    now_ns = clock.real_ns()
    return {
        "number": 0, "event": "test", "time": ist_text(now_ns), "time_ns": now_ns, "code": "TEST",
        "severity": "INFO", "key": "", "text": "a test of this way of telling you", "advice": "", "again": 0,
        "raised": 0, "broker": settings.broker, "account": settings.account,
    }  # fmt: skip


def try_sinks(settings: Settings, clock: Clock | None = None) -> dict[str, str]:
    """A test through every configured sink: name -> "" (delivered) or what is wrong."""
    clock = clock or SystemClock()
    with tempfile.TemporaryDirectory(prefix="kite_hft-test-") as folder:
        sinks = make_sinks(settings.alerts.model_dump(mode="json"), Path(folder), clock)
        return trial(sinks, trial_row(settings, clock), clock, time.sleep, TRIAL_S)


def require_sink(settings: Settings, say: Callable[[str], None]) -> None:
    """In live mode: one sink that reaches a person and works, or the waiver.

    Raises:
        NoSink: see the class.
    """
    if settings.mode != "live":
        return
    if settings.alerts.waive_sinks == NO_SINK:
        say("alerts reach nobody: alerts.waive_sinks says so")
        return
    found = try_sinks(settings)
    if any(name in REACH_PEOPLE and not failure for name, failure in found.items()):
        for name, failure in found.items():
            say(f"alert sink {name}: {failure or 'works'}")
        return
    told = "; ".join(f"{name}: {failure or 'works, but pages nobody'}" for name, failure in found.items())
    raise NoSink(
        f"mode live needs one alert sink that reaches you ({told or 'none is configured'}): set alerts.hook, "
        "or keep webhook or Telegram in the vault (kite-hft credentials --broker alerts), or waive it with "
        f'alerts.waive_sinks: "{NO_SINK}"'
    )
