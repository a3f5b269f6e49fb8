"""ORDERS without a supervisor: the watchdog tells, and when it does not, ORDERS does by itself."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.alone import KEPT_MAX, TOLD_WITHIN_S, AlertsOut, words
from kite_hft.engine.alerts.files import read_alerts
from kite_hft.engine.processes.children import Answers
from kite_hft.layout import Severity
from kite_hft.settings import AlertSection
from kite_hft.trading.alerts import alert

S = 1_000_000_000
OPEN = {
    "positions": [{"instrument": "NSE:X", "product": "MIS", "quantity": -10}],
    "orders": [{"instrument": "NSE:Y", "order_no": 7, "order_id": "77", "status": "OPEN", "pending": 5}],
}
FLAT: dict[str, Any] = {"positions": [], "orders": []}


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock(100 * S, 1_795_000_000 * S)
        self.out, fd = os.pipe()
        os.set_blocking(self.out, False)
        self.answers = Answers(fd)
        section = AlertSection(
            hook=["/bin/sh", "-c", f"cat >> {folder}/got; echo >> {folder}/got"],
            webhook="https://hooks.example.org/secret-word", telegram_bot_token="1:t", telegram_chat_id="2",
        )  # fmt: skip
        about = {"account": "A1", "run": "r"}
        self.tell = AlertsOut(self.answers, folder, section.model_dump(mode="json"), self.clock, about)

    def piped(self) -> list[str]:
        try:
            data = os.read(self.out, 65536)
        except BlockingIOError:
            return []
        return [json.loads(line)["alert"]["code"] for line in data.splitlines()]

    def sleep(self, seconds: float) -> None:
        self.clock.advance(round(seconds * S))
        time.sleep(0.005)

    def got(self, n: int) -> list[dict[str, Any]]:
        """Rows that the command got; it is another process."""
        path, until = self.folder / "got", time.monotonic() + 20
        while not path.exists() or len(path.read_text().split()) < n or not path.read_text().endswith("\n\n"):
            assert time.monotonic() < until
            time.sleep(0.01)
        return [json.loads(line) for line in path.read_text().splitlines() if line]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def raised(code: str = "SUPERVISOR_GONE") -> dict[str, Any]:
    return alert(code, "the supervisor is gone").fields()


def test_while_the_supervisor_lives_it_gets_the_alerts_and_nothing_is_written(bench: Bench) -> None:
    bench.tell(raised("CANCEL_FAILED"))
    bench.tell.look()
    bench.tell.end(OPEN, bench.sleep)
    assert bench.piped() == ["CANCEL_FAILED"] and not read_alerts(bench.folder)


def test_when_nobody_else_tells_it_does_by_file_and_command(bench: Bench) -> None:
    Alerting(bench.folder, (), bench.clock, lambda text: None).raise_("ENGINE_GONE", "", "an older one")
    bench.tell.begin()
    bench.tell(raised())
    bench.tell.look()
    assert not (bench.folder / "got").exists() and not bench.piped(), "the watchdog has its time"
    bench.clock.advance(round(TOLD_WITHIN_S * S))
    bench.tell.look()
    (row,) = bench.got(1)
    assert (row["code"], row["severity"], row["teller"], row["account"]) == (
        "SUPERVISOR_GONE", "CRITICAL", "orders", "A1",
    )  # fmt: skip
    assert row["number"] == 2 and row["advice"]
    bench.tell.end(OPEN, bench.sleep)
    last = bench.got(2)[1]
    assert last["code"] == "ENGINE_GONE" and last["severity"] == "CRITICAL"
    assert "NSE:X MIS -10, NSE:Y order 7 OPEN" in last["text"]
    assert [r["code"] for r in read_alerts(bench.folder)] == ["ENGINE_GONE", "SUPERVISOR_GONE", "ENGINE_GONE"]
    assert {s.name for s in bench.tell._alerting.sinks} == {"hook"}, "no address but the broker's"  # type: ignore[union-attr]


def test_an_end_that_comes_sooner_waits_for_the_watchdog_first(bench: Bench) -> None:
    bench.tell.begin()
    bench.tell(raised())
    bench.tell.end(FLAT, bench.sleep)
    assert bench.clock.mono >= 100 * S + round(TOLD_WITHIN_S * S)
    told = {row["code"]: row for row in bench.got(2)}  # two runs of the command: in either order
    assert told.keys() == {"SUPERVISOR_GONE", "ENGINE_GONE"}
    assert told["ENGINE_GONE"]["severity"] == "WARNING" and "no position" in told["ENGINE_GONE"]["text"]


def test_the_watchdogs_word_is_enough(bench: Bench) -> None:
    bench.tell.begin()
    bench.tell(raised())
    watchdog = Alerting(bench.folder, (), bench.clock, lambda text: None, about={"teller": "watchdog"})
    bench.clock.advance(S)
    watchdog.raise_("ENGINE_GONE", "", "the engine is gone", Severity.CRITICAL)
    bench.tell.end(OPEN, bench.sleep)
    assert not (bench.folder / "got").exists()
    assert [row["teller"] for row in read_alerts(bench.folder)] == ["watchdog"]


def test_it_counts_also_when_it_came_before_we_saw_that_we_are_alone(bench: Bench) -> None:
    """ORDERS stood still while the supervisor died; the watchdog looks twice a second."""
    watchdog = Alerting(bench.folder, (), bench.clock, lambda text: None, about={"teller": "watchdog"})
    watchdog.raise_("ENGINE_GONE", "", "the engine is gone", Severity.CRITICAL)
    bench.tell.begin()
    bench.tell(raised())
    bench.tell.end(OPEN, bench.sleep)
    assert [row["teller"] for row in read_alerts(bench.folder)] == ["watchdog"]


def test_what_the_watchdog_cannot_know_is_told_all_the_same(bench: Bench) -> None:
    bench.tell.begin()
    bench.tell(raised())
    watchdog = Alerting(bench.folder, (), bench.clock, lambda text: None, about={"teller": "watchdog"})
    watchdog.raise_("ENGINE_GONE", "", "the engine is gone", Severity.CRITICAL)
    bench.tell(raised("CANCEL_FAILED"))
    bench.clock.advance(round(TOLD_WITHIN_S * S))
    bench.tell.look()
    bench.tell(raised("NOT_FLAT"))
    bench.tell.end(OPEN, bench.sleep)
    assert {row["code"] for row in bench.got(2)} == {"CANCEL_FAILED", "NOT_FLAT"}


@pytest.mark.parametrize("damage", ["a folder", "half a row"])
def test_a_file_that_cannot_be_read_keeps_it_from_nothing(bench: Bench, damage: str) -> None:
    path = bench.folder / "alerts.jsonl"
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_text('{"number": 1, "event": "raised", "code": "ENGINE_GONE"}\n[]\n{"number": null}\n7\n')
    bench.tell.begin()
    bench.tell(raised())
    bench.tell.look()
    bench.tell.end(OPEN, bench.sleep)
    assert {row["code"] for row in bench.got(2)} == {"SUPERVISOR_GONE", "ENGINE_GONE"}


def fill(bench: Bench) -> None:
    os.set_blocking(bench.answers.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        while os.write(bench.answers.fileno(), b"." * 4096):
            pass
    os.set_blocking(bench.answers.fileno(), True)


def test_what_a_full_pipe_cannot_take_comes_later_in_order(bench: Bench) -> None:
    fill(bench)
    bench.tell(raised("KILLED"))
    bench.tell(raised("KILLED") | {"cleared": True})
    bench.tell.look()
    with contextlib.suppress(BlockingIOError):
        while os.read(bench.out, 65536):
            pass
    bench.tell.look()
    bench.tell(raised("NOT_FLAT"))
    assert bench.piped() == ["KILLED", "KILLED", "NOT_FLAT"]
    fill(bench)
    for _ in range(KEPT_MAX + 9):
        bench.tell(raised("EXIT_REFUSED"))
    bench.tell.begin()
    bench.tell(raised())
    bench.tell.end(FLAT, bench.sleep)
    told = {row["code"] for row in read_alerts(bench.folder)}
    assert told == {"EXIT_REFUSED", "SUPERVISOR_GONE", "ENGINE_GONE"}, (
        "nor is it lost when nobody reads any more"
    )


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("begins", [True, False])
def test_what_a_dead_supervisor_would_have_got_is_told(bench: Bench, full: bool, begins: bool) -> None:
    """It is gone, and ORDERS has not seen it yet, or sees it only while it closes."""
    if full:
        fill(bench)
        bench.tell(raised("KILLED"))
    os.close(bench.out)
    bench.tell(raised("NOT_FLAT"))
    bench.tell.look()
    if begins:
        bench.tell.begin()
    bench.tell.end(FLAT, bench.sleep)
    told = [row["code"] for row in read_alerts(bench.folder)]
    assert told == [*(["KILLED"] if full else []), "NOT_FLAT", "ENGINE_GONE"]


def test_no_secret_is_told(bench: Bench) -> None:
    bench.tell.begin()
    bench.tell(alert("SINK_FAILED", "https://hooks.example.org/secret-word failed").fields())
    bench.tell.end(FLAT, bench.sleep)
    assert "secret-word" not in (bench.folder / "alerts.jsonl").read_text()


def test_words() -> None:
    assert words(FLAT).startswith("no position") and words(OPEN).count(",") == 1
