"""A terminal that nobody reads keeps nobody waiting; one that is read shows everything, in order."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kite_hft.clock import SystemClock
from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.sinks.sink import Outcome, Row, Tally
from kite_hft.engine.runs.beside import LINES_MAX, Beside
from kite_hft.engine.runs.live import LiveView, PlainView, Terminal
from kite_hft.engine.runs.sample import LATENCIES, Sample
from kite_hft.layout import COUNTERS

S = 1_000_000_000
LONG_S = 20.0


def sample(at_ns: int, published: int) -> Sample:
    counts = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
    counts["feed"]["published"] = published
    row = {"p50": 10.0, "p90": 20.0, "p99": 30.0, "p999": 40.0, "max": 50.0, "n": 60}
    return Sample(at_ns, counts["feed"], counts["compute"], counts["orders"], dict.fromkeys(LATENCIES, row))


class Sink:
    """Keeps the rows that it gets."""

    name, tally = "kept", Tally()

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def put(self, row: Row) -> None:
        self.rows.append(row)

    def poll(self) -> list[Outcome]:
        return []

    def busy(self) -> bool:
        return False

    def close(self) -> None:
        pass


@pytest.fixture
def unread() -> Iterator[tuple[Console, int]]:
    """A console on a pipe that is full and that nobody reads, and the end to read it by."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    while True:
        try:
            os.write(into, b"." * 65536)
        except BlockingIOError:
            break
    os.set_blocking(into, True)
    with open(into, "w") as file:
        yield Terminal(file=file, width=100, force_terminal=True), out
        os.close(out)  # the write that stands there fails
        for thread in threading.enumerate():
            if thread.name == "view":
                thread.join(LONG_S)


def done(act: Callable[[], None]) -> bool:
    """Whether `act` comes to its end."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(LONG_S)
    return not thread.is_alive()


@pytest.mark.parametrize("plain", [True, False])
def test_a_terminal_that_nobody_reads_holds_up_nobody(
    unread: tuple[Console, int], plain: bool, tmp_path: Path
) -> None:
    console, logged, sink = unread[0], list[str](), Sink()
    view = PlainView(console, logged.append) if plain else LiveView(console, logged.append, "kite_hft live")
    view.beside()
    alerting = Alerting(tmp_path, (sink,), SystemClock(), view.say)

    def live() -> None:
        for second in range(30):
            view.show(sample(second * S, second))
            view.say(f"line {second}")
        alerting.raise_("FEED_DEAD", "feed-0", "silent")
        view.end()
        view.say("stopping")
        view.settle()
        view.say("nobody sees this")

    assert done(live), "it waits for the terminal"
    assert [row["code"] for row in sink.rows] == ["FEED_DEAD"]
    assert logged[-1] == "nobody sees this" and "ALERT CRITICAL FEED_DEAD feed-0: silent" in logged
    assert console.quiet, "and whoever prints later does not wait either"


def test_an_alert_goes_to_the_sinks_before_it_is_shown(tmp_path: Path) -> None:
    sink, seen = Sink(), list[int]()
    alerting = Alerting(tmp_path, (sink,), SystemClock(), lambda text: seen.append(len(sink.rows)))
    alerting.raise_("FEED_DEAD", "feed-0", "silent")
    assert seen == [1]


@pytest.mark.parametrize("plain", [True, False])
def test_one_that_is_read_shows_every_line_in_order(plain: bool) -> None:
    out, into = os.pipe()
    with open(into, "w") as file:
        console = Console(file=file, width=100)
        view = PlainView(console, len) if plain else LiveView(console, len, "t")
        view.say("first")
        view.beside()
        for number in range(50):
            view.say(f"line {number}")
        view.end()
        view.say("last")
        view.settle()
        console.print("summary")
        console.file.flush()
        file.flush()
    text = os.read(out, 65536).decode()
    os.close(out)
    assert text.splitlines() == ["first", *(f"line {number}" for number in range(50)), "last", "summary"]
    assert not [thread for thread in threading.enumerate() if thread.name == "view" and thread.is_alive()]


def test_of_what_waits_the_newest_is_kept() -> None:
    said, drawn = list[str](), list[int]()
    go, begun, shown = threading.Event(), threading.Event(), threading.Event()

    def line(text: str) -> None:
        begun.set()
        assert go.wait(LONG_S)
        said.append(text)

    def draw(number: int) -> None:
        drawn.append(number)
        shown.set()

    beside = Beside[int](line, draw, lambda: said.append("over"))
    beside.say("shown")
    assert begun.wait(LONG_S)
    for number in range(LINES_MAX + 50):
        beside.say(str(number))
        beside.show(number)
    go.set()
    assert shown.wait(LONG_S)
    assert beside.close()
    assert said == ["shown", *map(str, range(50, LINES_MAX + 50)), "over"]
    assert drawn == [LINES_MAX + 49]


def read_until(out: int, wanted: str) -> str:
    """What is written to the pipe, until it holds that."""
    text, ready = "", select.poll()
    ready.register(out, select.POLLIN)
    while wanted not in text and ready.poll(LONG_S * 1000):
        text += os.read(out, 65536).decode()
    return text


@pytest.fixture
def live() -> Iterator[tuple[LiveView, int, list[str]]]:
    """A panel on a terminal that is read, drawn by a thread; the end to read it by; what was logged."""
    out, into = os.pipe()
    logged: list[str] = []
    with open(into, "w") as file:
        view = LiveView(Terminal(file=file, width=110, force_terminal=True), logged.append, "kite_hft live")
        view.beside()
        yield view, out, logged
        view.settle()
    os.close(out)


def test_a_terminal_that_is_read_shows_the_panel(live: tuple[LiveView, int, list[str]]) -> None:
    view, out, _ = live
    view.show(sample(S, 1_234_567))
    text = read_until(out, "1,234,567 ticks")
    assert "kite_hft live" in text and "1,234,567 ticks" in text
    view.show(sample(2 * S, 7_654_321))
    assert "7,654,321 ticks" in read_until(out, "7,654,321 ticks")


def test_a_panel_that_cannot_be_drawn_is_followed_by_lines(
    live: tuple[LiveView, int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old one that stands there would say that all is well."""
    view, out, logged = live
    view.show(sample(S, 1_234_567))
    read_until(out, "1,234,567 ticks")

    def broken(*_: object) -> None:
        raise KeyError("lag")

    monkeypatch.setattr("kite_hft.engine.runs.live.panel", broken)
    view.show(sample(2 * S, 1_300_000))
    why = "the panel cannot be drawn: KeyError: 'lag'; lines follow"
    assert why in read_until(out, why)
    for second in range(3, 15):
        view.show(sample(second * S, second * 100_000))
    view.say("feed: connected")
    assert "100,000 ticks/s | 800,000 ticks" in read_until(out, "feed: connected").replace("\r\n", "\n")
    view.end()
    assert [text for text in logged if "cannot be drawn" in text] == [why] and len(logged) == 4


def test_a_line_that_cannot_be_written_is_not_the_last(
    live: tuple[LiveView, int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    view, out, logged = live
    written, failed = view.console.print, threading.Event()

    def once(*objects: Any, **options: Any) -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("no such colour")
        written(*objects, **options)

    monkeypatch.setattr(view.console, "print", once)
    view.say("lost")
    view.say("shown")
    assert "shown" in read_until(out, "shown") and "the view fails: ValueError: no such colour" in logged


ENDS = """
import os, sys, threading
from kite_hft.engine.runs.live import Terminal, make_view
console = Terminal()
view = make_view(console, "t", True, len)
os.set_blocking(1, False)
try:
    while os.write(1, b"." * 65536): pass
except BlockingIOError:
    os.set_blocking(1, True)
view.beside()
view.say("nobody reads this")
view.end()
view.settle()
console.print("nor this")
sys.exit(3)
"""


def test_a_process_ends_although_its_terminal_is_not_read() -> None:
    out, into = os.pipe()
    with subprocess.Popen([sys.executable, "-c", ENDS], stdout=into, stderr=subprocess.PIPE) as process:
        os.close(into)
        try:
            assert process.wait(LONG_S * 3) == 3, process.stderr and process.stderr.read()
        finally:
            process.kill()
            os.close(out)
