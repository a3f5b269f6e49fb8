"""The processes of a run when the machine gives no more: no process, no shared memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from held_tools import held_process

from kite_hft.clock import ManualClock
from kite_hft.engine.command import dated_files
from kite_hft.engine.plan.plan import make_plan
from kite_hft.engine.processes import children, family
from kite_hft.engine.processes.children import Child
from kite_hft.engine.processes.family import ENDED, RUNNING, SPARE_FAILURES_MAX, STARTING, Family, Member
from kite_hft.memory.header import NoRoom
from kite_hft.settings import Settings


def dead_child() -> Child:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    out, into = os.pipe()
    os.close(into)
    return Child("recorder", process, os.fdopen(out, "rb", buffering=0))  # type: ignore[arg-type]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[tuple[Family, Member, list[str]]]:
    settings = Settings.model_validate({"datafeed": {"store_ticks": True}})
    plan = make_plan(settings, 5, [], 8, 3000, 3)
    run: Any = SimpleNamespace(
        settings=settings, plan=plan, clock=ManualClock(1, 1), paths={}, wake_fds={}, shm=tmp_path,
        folder=SimpleNamespace(path=tmp_path / "a/b/c", config_hash=1, install="abc", number=2,
                               copies={source: source for source in dated_files(settings)}),
        next_seqs={},
    )  # fmt: skip
    said: list[str] = []
    made = Family(run, said.append)
    recorder = next(process for process in plan.processes if process.name == "recorder")
    member = made.members["recorder"] = Member(recorder, dead_child(), RUNNING, 1)
    yield made, member, said
    made.release()


def no_process(*_: Any) -> Child:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_a_process_that_cannot_be_started_again_stays_down_and_says_why(
    found: tuple[Family, Member, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, member, _ = found
    monkeypatch.setattr(family, "start_child", no_process)
    why = made.restart(member, "died", 5)
    assert "recorder died and cannot be started again" in why and "temporarily unavailable" in why
    assert member.state == ENDED and made.died() == [] and made.history[0].row()["took_s"] is None
    assert made.hung(lambda _: 0, 2**62, 1.0) == []


def test_too_little_shared_memory_for_the_next_ring_keeps_its_process_down(
    found: tuple[Family, Member, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, member, _ = found

    def full(*_: Any) -> None:
        raise NoRoom("/dev/shm has 1,024 bytes free")

    monkeypatch.setattr(Family, "_renew", full)
    assert "1,024 bytes free" in made.restart(member, "died", 5)
    assert member.state == ENDED


def test_a_process_that_died_too_often_stays_down_and_says_so(
    found: tuple[Family, Member, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, member, _ = found
    monkeypatch.setattr(Family, "_launch_again", lambda self, member: None)
    most = made.breaker.most
    assert [made.restart(member, "died", 5) for _ in range(most)] == [""] * most
    assert made.restart(member, "died", 6) == f"recorder died more than {most} times in 60 s"


def test_without_a_spare_the_run_goes_on(
    found: tuple[Family, Member, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, member, said = found
    monkeypatch.setattr(family, "start_child", no_process)
    member.state = RUNNING
    for _ in range(2 * SPARE_FAILURES_MAX):
        made.tend(7)
    assert len(said) == SPARE_FAILURES_MAX and "no process can be held in reserve" in said[0]
    assert member.state != STARTING


def test_an_alert_names_the_process_that_raised_it(found: tuple[Family, Member, list[str]]) -> None:
    made, member, _ = found
    member.child.alerts.append({"code": "FILE_FAILED", "key": "ticks.bin", "text": "full"})
    (told,) = made.listen()
    assert (told["process"], told["code"]) == ("recorder", "FILE_FAILED") and not made.listen()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setattr(children, "KILL_S", 0.2)
    with held_process() as process:
        out, into = os.pipe()
        os.close(into)
        yield Child("feed-0", process, os.fdopen(out, "rb", buffering=0))


def test_a_process_that_no_kill_ends_stays_down_and_says_why(
    found: tuple[Family, Member, list[str]], held: Child
) -> None:
    made, member, _ = found
    member.child.release()
    member.child = held
    begun_s = time.monotonic()
    why = made.restart(member, "hung", 5)
    assert time.monotonic() - begun_s < 2
    assert why.startswith("recorder hung, cannot be started again, and does not end although it is killed")
    assert member.state == ENDED and not made.history and member.child is held
    assert made.revive(6, "recorder") == [], "it may still hold what it writes"


def test_the_others_end_in_order_beside_one_that_no_kill_ends(
    found: tuple[Family, Member, list[str]], held: Child
) -> None:
    """What stands behind it in the flow is ORDERS, which has its entries to cancel."""
    made, _, said = found
    plans = {process.name: process for process in made.run.plan.processes}
    text = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", text])
    out, into = os.pipe()
    os.close(into)
    orders = Child("orders", process, os.fdopen(out, "rb", buffering=0))
    made.run.stop_policy, made.run.hurry = "", False
    made.members |= {name: Member(plans[name], child, RUNNING, 1)
                     for name, child in (("feed-0", held), ("orders", orders))}  # fmt: skip
    assert not made.stop(0.3)
    assert process.returncode == -signal.SIGTERM
    assert said[0] == "feed-0 did not end in time and was killed"
    assert said[1].startswith("feed-0 does not end although it is killed")


def test_the_last_alerts_of_a_process_that_is_replaced_are_handed_on(
    found: tuple[Family, Member, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, member, said = found
    last = {"code": "FILE_FAILED", "key": "ticks.bin", "text": "full", "severity": 2}
    member.child.pending = b"".join(json.dumps(m).encode() + b"\n" for m in ({"alert": last}, {"log": "so"}))
    monkeypatch.setattr(Family, "_launch_again", lambda self, member: setattr(member, "child", dead_child()))
    assert made.restart(member, "died", 5) == "" and "so" in said
    assert made.listen() == [{**last, "process": "recorder"}] and not made.listen()


def raising(member: Member) -> None:
    """It has just raised an alert."""
    told = {"alert": {"code": "EXIT_REFUSED", "key": "NSE:A", "text": "no funds", "severity": 3}}
    member.child.pending = json.dumps(told).encode() + b"\n"


def sleeping(name: str) -> Child:
    """It does not end when it is told to: it has something to close first."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    )
    out, into = os.pipe()
    os.close(into)
    return Child(name, process, os.fdopen(out, "rb", buffering=0))


def test_what_a_process_raises_while_the_next_one_starts_does_not_wait_for_that(
    found: tuple[Family, Member, list[str]],
) -> None:
    made, member, _ = found
    raising(member)
    feed = Member(made.run.plan.processes[0], sleeping("feed-0"), STARTING, 1)
    made.members["feed-0"], made.run.stop_asked = feed, ""
    heard: list[dict[str, Any]] = []

    def meanwhile() -> None:
        heard.extend(made.listen())
        feed.child.ready = {} if heard else None

    made.meanwhile = meanwhile
    made._await_ready(feed)
    feed.child.kill()
    assert [alert["code"] for alert in heard] == ["EXIT_REFUSED"] and feed.state == RUNNING


def test_what_orders_raises_while_it_closes_everything_does_not_wait_for_its_end(
    found: tuple[Family, Member, list[str]],
) -> None:
    made, member, _ = found
    plans = {process.name: process for process in made.run.plan.processes}
    orders = made.members["orders"] = Member(plans["orders"], sleeping("orders"), RUNNING, 1)
    raising(orders)
    made.run.stop_policy, made.run.hurry = "flatten", False
    member.state, heard = ENDED, []

    def meanwhile() -> None:
        heard.extend((alert["code"], orders.child.process.returncode) for alert in made.listen())

    made.meanwhile = meanwhile
    assert not made.stop(0.3)
    assert heard == [("EXIT_REFUSED", None)]


def test_an_error_of_what_is_done_meanwhile_does_not_end_the_stop(
    found: tuple[Family, Member, list[str]],
) -> None:
    made, member, said = found
    plans = {process.name: process for process in made.run.plan.processes}
    children = [sleeping("feed-0"), sleeping("orders")]
    made.members |= {child.name: Member(plans[child.name], child, RUNNING, 1) for child in children}
    made.run.stop_policy, made.run.hurry, member.state = "", False, ENDED
    calls = []

    def meanwhile() -> None:
        calls.append(1)
        raise OSError(24, "Too many open files")

    made.meanwhile = meanwhile
    assert not made.stop(0.3)
    assert [child.process.returncode for child in children] == [-signal.SIGKILL] * 2
    assert len(calls) > 2, "the next alert may be heard again"
    assert [text for text in said if "Too many" in text] == [
        "while the processes end: [Errno 24] Too many open files"
    ]
