"""The stage that asks for prices: what it asks and when, what is a tick, what failures do."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from kite_hft.clock import ManualClock
from kite_hft.layout import TICK
from kite_hft.stages.polling import Polling
from kite_hft.trading.broker import HttpResponse, TransportError
from kite_hft.trading.feed_words import Act, Meaning
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.polling import PollPace
from kite_hft.trading.quote_words import QuoteCall, Quoted, QuoteWords

S = 1_000_000_000
REAL_NS = 1_800_000_000 * S
ROWS = {100 + i: Instrument(i, 100 + i, i, f"S{i}", "NSE", "NSE", "EQ", 5, 1) for i in range(7)}
MEANINGS = {
    403: Meaning("the access token is dead", Act.TOKEN_DEAD, "refused_403"),
    429: Meaning("too many calls", Act.WAIT_LONG, "refused_429"),
    503: Meaning("the server fails", Act.RETRY, "refused_other"),
}


class FakeFeed:
    """What the feed stage does with a connection, written down."""

    name = "feed-0"

    def __init__(self, modes: dict[int, str]) -> None:
        self.modes, self.is_connected, self.silent = modes, False, False
        self.told: list[str] = []
        self.counts: dict[str, int] = {}

    def connected(self, now_ns: int) -> Sequence[bytes]:
        self.is_connected = True
        self.told.append("connected")
        return ()

    def disconnected(self) -> None:
        self.is_connected = False
        self.told.append("disconnected")

    def is_silent(self, now_ns: int) -> bool:
        return self.is_connected and self.silent

    def count(self, name: str, n: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + n


class FakePauses:
    def __init__(self, first_s: float) -> None:
        self.first_s = self.now_s = first_s

    def next_s(self) -> float:
        self.now_s, told = self.now_s * 2, self.now_s
        return told

    def reset(self) -> None:
        self.now_s = self.first_s


class Bench:
    """A stage under a clock of the test's; a body is the volume and depth of each slot that it tells."""

    def __init__(self, modes: Mapping[int, str] | None = None, keys_max: int = 3, **more: Any) -> None:
        self.clock = ManualClock(10 * S, REAL_NS)
        self.asked: list[tuple[int, str, tuple[int, ...]]] = []
        self.frames: list[np.ndarray] = []
        self.stamps: list[int] = []
        self.log: list[str] = []
        self.dead: list[str] = []
        self.tells: dict[int, dict[str, int]] = {}
        self.up = True
        self.feed = FakeFeed(dict(modes or dict.fromkeys(ROWS, "full")))
        whole = QuoteCall("/quote", keys_max, self.query, self.parse)
        words = QuoteWords(
            "kite",
            {"ltp": QuoteCall("/quote/ltp", 5, self.query, self.parse), "full": whole, "quote": whole},
            lambda key, token: [], lambda body: "its words", {},
        )  # fmt: skip
        self.stage = Polling(
            self.feed, self, words, more.pop("pace", PollPace(S)), ROWS, self.send, lambda: self.up,
            MEANINGS.__getitem__, FakePauses(0.5), FakePauses(10.0), self.clock.real_ns,
            token_dead=self.dead.append, log=self.log.append, where="http://host (kite.api_url)", **more,
        )  # fmt: skip
        self.stage.start()

    def query(self, rows: Sequence[Instrument]) -> str:
        return ",".join(str(row.slot) for row in rows)

    def parse(self, body: bytes, rows: Sequence[Instrument]) -> Quoted:
        if body == b"garbage":
            raise ValueError("no JSON")
        told = [(row.slot, self.tells[row.slot]) for row in rows if row.slot in self.tells]
        ticks = np.zeros(len(told), TICK)
        for tick, (slot, fields) in zip(ticks, told, strict=True):
            tick["slot"], tick["last_px"] = slot, 100
            for name, value in fields.items():
                tick[name] = value
        return Quoted(ticks, {"malformed_message": 2} if body == b"two bad" else {})

    def send(self, path: str, query: str) -> None:
        self.asked.append((self.clock.mono_ns(), path, tuple(map(int, query.split(",")))))

    def feed_bytes(self, frame: bytes, recv_ns: int) -> None:
        self.frames.append(np.frombuffer(frame, TICK))
        self.stamps.append(recv_ns)

    def answer(self, status: int = 200, body: bytes = b"{}", after_ns: int = 50_000_000) -> None:
        """The call under way is answered after so long."""
        sent_ns = self.clock.mono_ns()
        self.clock.advance(after_ns)
        now_ns = self.clock.mono_ns()
        self.stage.answered(HttpResponse(status, body, sent_ns, now_ns), now_ns)

    def live(self, seconds: float, status: int = 200) -> None:
        """Step in steps of 10 ms; every call is answered so."""
        end_ns = self.clock.mono_ns() + round(seconds * S)
        while self.clock.mono_ns() < end_ns:
            if self.stage.step(self.clock.mono_ns()):
                self.answer(status, after_ns=0)
            self.clock.advance(10_000_000)

    @property
    def slots(self) -> list[int]:
        return [int(slot) for frame in self.frames for slot in frame["slot"]]


def test_a_round_asks_about_everybody_in_turn_never_faster_than_the_pace() -> None:
    bench = Bench()
    bench.live(6.5)
    assert [slots for _, _, slots in bench.asked[:4]] == [(0, 1, 2), (3, 4, 5), (6,), (0, 1, 2)]
    times = [at for at, _, _ in bench.asked]
    assert all(b - a >= S for a, b in itertools.pairwise(times)) and len(times) == 7


def test_each_mode_is_asked_for_by_its_own_call_and_what_is_off_by_none() -> None:
    bench = Bench({100: "ltp", 101: "full", 102: "quote", 103: "off", 104: "ltp"})
    bench.live(2)
    assert {(path, slots) for _, path, slots in bench.asked} == {("/quote/ltp", (0, 4)), ("/quote", (1, 2))}


def test_a_change_of_modes_makes_the_round_anew_and_who_waits_longest_comes_first() -> None:
    bench = Bench({100: "full", 101: "full", 102: "full", 103: "off"})
    bench.live(0.5)
    bench.feed.modes[103] = "full"
    bench.stage.retune()
    bench.live(2)
    assert [slots for _, _, slots in bench.asked] == [(0, 1, 2), (3,), (0, 1, 2)]


def test_one_call_at_a_time_and_a_slow_answer_delays_the_next() -> None:
    bench = Bench()
    assert bench.stage.step(bench.clock.mono_ns()) == 1
    bench.clock.advance(4 * S)
    assert bench.stage.step(bench.clock.mono_ns()) == 0
    assert bench.stage.next_ns(bench.clock.mono_ns()) is None
    bench.stage.answered(HttpResponse(200, b"{}", bench.clock.mono_ns() - 10, bench.clock.mono_ns()), 1)
    # It had waited for its connection: the next one is counted from when it left.
    assert bench.stage.next_ns(bench.clock.mono_ns()) == bench.clock.mono_ns() - 10 + S


def test_nothing_is_asked_while_no_connection_stands() -> None:
    bench = Bench()
    bench.up = False
    bench.live(3)
    assert bench.asked == []
    bench.stage.answered(TransportError("refused", False), bench.clock.mono_ns())
    assert bench.feed.counts == {"unreachable": 1} and "refused" in bench.log[0]


def test_a_quote_is_a_tick_when_it_says_something_new() -> None:
    bench = Bench({100: "full", 101: "full"})
    bench.tells = {0: {"volume": 5, "bid_px": 99, "exch_ns": 7}, 1: {"volume": 9}}
    bench.live(0.5)
    assert bench.slots == [0, 1] and bench.feed.told == ["connected"]
    bench.tells[0]["exch_ns"] = 8  # the broker stamps what has not changed
    bench.live(1)
    assert bench.slots == [0, 1] and bench.stage.unchanged == 2 and len(bench.frames) == 2
    bench.tells[0]["bid_px"] = 98
    bench.live(1)
    assert bench.slots == [0, 1, 0]
    bench.tells[1]["last_trade_s"] = 77
    bench.live(1)
    assert bench.slots == [0, 1, 0, 1]


def test_the_stamp_of_a_tick_is_the_time_of_its_answer() -> None:
    bench = Bench({100: "full"})
    bench.tells = {0: {"volume": 5}}
    bench.stage.step(bench.clock.mono_ns())
    bench.answer(after_ns=123)
    assert bench.stamps == [10 * S + 123]


def test_an_answer_from_before_is_no_tick_but_a_day_that_begins_anew_is() -> None:
    bench = Bench({100: "full"})
    bench.tells = {0: {"volume": 50, "exch_ns": 100}}
    bench.live(0.5)
    bench.tells = {0: {"volume": 49, "exch_ns": 99}}  # another server of the broker, one step behind
    bench.live(1)
    assert bench.slots == [0] and bench.stage.old == 1
    bench.tells = {0: {"volume": 2, "exch_ns": 200}}
    bench.live(1)
    assert bench.slots == [0, 0]


def test_rows_that_are_no_ticks_are_counted_by_their_fault() -> None:
    bench = Bench({100: "full"})
    bench.stage.step(bench.clock.mono_ns())
    bench.answer(body=b"two bad")
    assert bench.feed.counts == {"malformed_message": 2}


@pytest.mark.parametrize(
    ("status", "pauses_s", "counter"),
    [(503, (0.5, 1.0, 2.0, 4.0), "refused_other"), (429, (10.0, 20.0, 40.0), "refused_429")],
)
def test_refusals_are_waited_out_longer_each_time(
    status: int, pauses_s: Sequence[float], counter: str
) -> None:
    bench = Bench({100: "full"})
    bench.live(1.5)
    for pause_s in pauses_s:
        while not bench.stage.step(bench.clock.mono_ns()):
            bench.clock.advance(10_000_000)
        bench.answer(status, after_ns=0)
        at = bench.stage.next_ns(bench.clock.mono_ns())
        assert at == bench.clock.mono_ns() + round(max(pause_s, 1.0) * S)
    assert bench.feed.counts == {counter: len(pauses_s)}
    assert len([line for line in bench.log if str(status) in line]) == 1  # said once
    bench.live(pauses_s[-1] * 2 + 2)
    assert bench.feed.told == ["connected"]  # a refusal alone is no loss
    while not bench.stage.step(bench.clock.mono_ns()):
        bench.clock.advance(10_000_000)
    bench.answer(status, after_ns=0)
    assert bench.stage._free_ns == bench.clock.mono_ns() + round(pauses_s[0] * S)  # short again


@pytest.mark.parametrize("fault", ["timed out", "garbage"])
def test_no_answer_and_one_that_cannot_be_read_are_tried_again(fault: str) -> None:
    bench = Bench({100: "full"})
    bench.stage.step(bench.clock.mono_ns())
    if fault == "garbage":
        bench.answer(body=b"garbage")
    else:
        bench.stage.answered(TransportError(fault, True), bench.clock.mono_ns())
    assert bench.feed.told == [] and sum(bench.feed.counts.values()) == 1
    bench.live(2)
    assert bench.feed.told == ["connected"]


def test_after_a_loss_everybody_is_told_anew() -> None:
    bench = Bench({100: "full"})
    bench.tells = {0: {"volume": 5}}
    bench.live(2)
    assert bench.slots == [0]
    bench.feed.silent = True
    bench.stage.step(bench.clock.mono_ns())
    assert bench.feed.told == ["connected", "disconnected"] and bench.feed.counts == {"watchdog_trips": 1}
    bench.feed.silent = False
    bench.answer()
    bench.live(2)
    assert bench.feed.told == ["connected", "disconnected", "connected"]
    assert bench.slots == [0, 0]


def test_a_dead_token_stops_the_questions_until_there_is_another() -> None:
    bench = Bench({100: "full"})
    bench.live(1.5)
    while not bench.stage.step(bench.clock.mono_ns()):
        bench.clock.advance(10_000_000)
    bench.answer(403)
    asked = len(bench.asked)
    bench.live(60)
    assert len(bench.asked) == asked and bench.feed.told == ["connected", "disconnected"]
    assert len(bench.dead) == 1 and "its words" in bench.dead[0] and "403" in bench.dead[0]
    assert bench.stage.next_ns(bench.clock.mono_ns()) is None
    bench.stage.renewed(0)
    bench.live(2)
    assert bench.feed.told[-1] == "connected" and len(bench.asked) > asked


def test_a_token_that_ends_by_the_clock_is_told_without_a_call() -> None:
    bench = Bench({100: "full"}, expires_ns=REAL_NS + 3 * S)
    bench.live(10)
    assert 3 <= len(bench.asked) <= 4 and bench.dead == [
        "the access token has expired: log in again (kite-hft login)"
    ]


def test_nothing_to_ask_about_asks_nothing() -> None:
    bench = Bench({100: "off"})
    bench.live(3)
    assert bench.asked == [] and bench.stage.next_ns(0) is None
    bench.stage.close()
    assert "0 calls" in bench.log[-1]
