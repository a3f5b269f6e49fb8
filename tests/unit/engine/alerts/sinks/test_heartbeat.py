"""The heartbeat beats in time, stays out in trouble, says the state, and tells when nobody takes it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.sinks.heartbeat import Heartbeat
from kite_hft.verify.alerts.receivers import BEAT_PATH, receivers

S = 1_000_000_000


def poll(heart: Heartbeat, state: str = "ACTIVE", trouble: str = "") -> str | None:
    """One round, and its call seen to the end."""
    told = heart.poll(state, trouble, {"account": "X"})
    while heart._thread is not None and heart._thread.is_alive():
        time.sleep(0.001)
    return told


def test_it_beats_in_time_and_not_in_trouble(tmp_path: Path) -> None:
    clock = ManualClock(mono=100 * S)
    with receivers(tmp_path) as received:
        heart = Heartbeat(received.url + BEAT_PATH, 30.0, "POST", 3.0, clock)
        assert poll(heart) is None and len(received.of("heartbeat")) == 1
        clock.advance(29 * S)
        poll(heart)
        assert len(received.of("heartbeat")) == 1
        clock.advance(S)
        poll(heart, "KILLED")
        clock.advance(30 * S)
        poll(heart, trouble="the order process is ended")
        assert heart.withheld == "the order process is ended"
        states = [row.fields["state"] for row in received.of("heartbeat")]
        clock.advance(30 * S)
        poll(heart)
        assert heart.withheld == "" and len(received.of("heartbeat")) == 3
    assert states == ["ACTIVE", "KILLED"] and received.of("heartbeat")[0].fields["account"] == "X"


def test_a_machine_that_gives_no_thread_is_a_failure_of_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock, told = ManualClock(mono=1), []
    heart = Heartbeat("http://127.0.0.1:1/", 1.0, "POST", 3.0, clock)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        told.append(poll(heart))
        clock.advance(S)
    assert told == [None, "the machine gives no thread for the call", None] and heart.tally.failed == 3


def test_a_get_goes_too(tmp_path: Path) -> None:
    with receivers(tmp_path) as received:
        heart = Heartbeat(received.url + BEAT_PATH, 30.0, "GET", 3.0, ManualClock(mono=1))
        poll(heart, "HALTED")
        assert len(received.of("heartbeat")) == 1


def test_a_monitor_that_is_gone_is_told_once_and_its_return_too(tmp_path: Path) -> None:
    clock = ManualClock(mono=1)
    with receivers(tmp_path) as received:
        heart = Heartbeat(received.url + BEAT_PATH, 1.0, "POST", 3.0, clock)
        received.status["heartbeat"] = 503
        told = []
        for beat in range(6):
            if beat == 4:
                del received.status["heartbeat"]
            told.append(poll(heart))
            clock.advance(S)
    assert told == [None, None, "HTTP 503", None, None, ""]
    assert heart.tally.fields()["failed"] == 4
