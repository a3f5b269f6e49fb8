"""The skew of the wall clock by Date headers: only what they prove is told."""

from __future__ import annotations

import random

import pytest

from kite_hft.trading.gate.broker_clock import ANSWERS_MIN, KEPT_NS, BrokerClock, date_ns
from kite_hft.trading.gate.facts import ClockWatch

S = 1_000_000_000
REAL0 = 1_795_000_000 * S
MONO0 = 5_000 * S
DAYS = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")


def header(seconds: int) -> bytes:
    """An IMF-fixdate of seconds since 1970, by counting days; the twin of date_ns."""
    days, rest = divmod(seconds, 86400)
    year, month = 1970, 1
    weekday = DAYS[days % 7]
    while True:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        length = (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
        if days < length:
            break
        days, month = days - length, month + 1
        if month > 12:
            year, month = year + 1, 1
    name = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month - 3 : 3 * month]
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{weekday}, {days + 1:02d} {name} {year} {clock} GMT".encode()


class Line:
    """A machine whose wall clock is `ahead_ns` of the broker's, and answers that take their time."""

    def __init__(self, ahead_ns: int, stale_ns: int = 0) -> None:
        self.mono, self.real, self.ahead_ns, self.stale_ns = MONO0, REAL0, ahead_ns, stale_ns
        self.watch = ClockWatch(lambda: self.mono, lambda: self.real, S)
        self.clock = BrokerClock(lambda: self.mono, lambda: self.real, self.watch)

    def wait(self, ns: int) -> None:
        self.mono, self.real = self.mono + ns, self.real + ns

    def answer(self, there_ns: int = 20_000_000, back_ns: int = 20_000_000) -> None:
        sent = self.mono
        self.wait(there_ns)
        date = header((self.real - self.ahead_ns - self.stale_ns) // S)
        self.wait(back_ns)
        self.clock.answered(date, sent, self.mono)


def test_a_date_is_read() -> None:
    assert date_ns(b"Sun, 06 Nov 1994 08:49:37 GMT") == 784111777 * S
    for seconds in (0, 951782400, 1_795_000_000, 4_102_444_799):
        assert date_ns(header(seconds)) == seconds * S
    for text in (b"", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 IST", b"\xff",
                 b"Sun, 06 Nov 1994", b"Sun, 31 Feb 1994 08:49:37 GMT"):  # fmt: skip
        assert date_ns(text) is None, text


@pytest.mark.parametrize("ahead_ns", [0, S // 2, -S // 2, S, -S, S - 1])
def test_never_below_what_is_proven(ahead_ns: int) -> None:
    """A clock that is off by a second or less is never told to be more, wherever answers fall."""
    for seed in range(30):
        rng, line = random.Random(seed), Line(ahead_ns)
        for _ in range(40):
            line.wait(rng.randrange(3 * S))
            line.answer(rng.randrange(1, S // 4), rng.randrange(1, S // 4))
            skew = line.clock.skew_ns()
            assert skew is None or (abs(skew) <= abs(ahead_ns) and skew * ahead_ns >= 0)
            assert line.watch.wrong() == ""


@pytest.mark.parametrize("ahead_ns", [3 * S, -3 * S, S + S // 2, -S - S // 2])
def test_what_is_off_is_found_and_told(ahead_ns: int) -> None:
    line, rng = Line(ahead_ns), random.Random(1)
    for _ in range(60):
        line.wait(rng.randrange(3 * S))
        line.answer()
    skew = line.clock.skew_ns()
    assert skew is not None and abs(skew - ahead_ns) < S // 2
    assert "off the broker's > 1 s" in line.watch.wrong()
    line.real -= ahead_ns  # somebody sets it right: a step, which is another thing to tell
    line.ahead_ns = 0
    for _ in range(3):
        line.answer()
    assert line.clock.skew_ns() == 0 and "stepped" in line.watch.wrong()


def test_few_answers_slow_ones_and_old_ones_tell_nothing() -> None:
    line = Line(30 * S)
    for _ in range(ANSWERS_MIN - 1):
        line.answer()
    assert line.clock.skew_ns() is None and not line.watch.wrong()
    line.answer(S // 2, 1)
    line.clock.answered(b"never", line.mono - 1, line.mono)
    line.clock.answered(header(REAL0 // S), 0, line.mono)
    assert line.clock.skew_ns() is None
    line.answer()
    assert line.clock.skew_ns() and line.watch.wrong()
    line.wait(KEPT_NS + 1)
    assert line.clock.skew_ns() is None and not line.watch.wrong()


def test_a_date_that_was_made_a_second_before_proves_no_skew() -> None:
    """Some servers write the header once a second: their answers contradict one another, and prove less."""
    line, rng = Line(3 * S // 10), random.Random(2)
    for _ in range(60):
        line.stale_ns = rng.randrange(S)
        line.wait(rng.randrange(3 * S))
        line.answer()
        assert not line.watch.wrong()


def test_one_machine_that_is_wrong_among_right_ones_proves_nothing() -> None:
    line = Line(0)
    for n in range(12):
        line.ahead_ns = 30 * S if n % 4 == 3 else 0
        line.wait(S)
        line.answer()
        assert not line.watch.wrong()


class Answers:
    """Answers at times told to the nanosecond; the wall clock is REAL0 - MONO0 ahead of CLOCK_MONOTONIC."""

    def __init__(self, mono_ns: int = MONO0, most_ns: int = S) -> None:
        self.now_ns, self.ahead_ns = mono_ns, REAL0 - MONO0
        self.watch = ClockWatch(lambda: self.now_ns, lambda: self.now_ns + self.ahead_ns, most_ns)
        self.clock = BrokerClock(lambda: self.now_ns, lambda: self.now_ns + self.ahead_ns, self.watch)

    def take(self, date_ns_: int, took_ns: int = 0, n: int = 1) -> None:
        """`n` answers that are received now; the broker's clock stood at `date_ns_`."""
        for _ in range(n):
            self.clock.answered(header(date_ns_ // S), self.now_ns - took_ns, self.now_ns)


def test_by_so_much_at_least_the_clock_is_off() -> None:
    """Sent at 12:00:00, answered as of 11:59:57: at least 2 s ahead, but for 10 ms of reading the time."""
    line = Answers()
    line.take(REAL0 - 3 * S, n=3)
    assert line.clock.skew_ns() is None, "three answers are too few"
    line.take(REAL0 - 3 * S)
    assert line.clock.skew_ns() == 1_990_000_000
    line = Answers()
    line.take(REAL0 + 3 * S, 1_000_000, n=4)
    assert line.clock.skew_ns() == -3 * S, "when it was received it was at most so late"


def test_the_last_sixteen_answers_count() -> None:
    line = Answers()
    line.take(REAL0 - 4 * S)  # at least 2.99 s ahead
    line.take(REAL0 - 3 * S, n=15)
    assert line.clock.skew_ns() == 2_990_000_000
    line.take(REAL0 - 3 * S)
    assert line.clock.skew_ns() == 1_990_000_000


def test_an_answer_counts_for_two_minutes() -> None:
    line = Answers()
    line.take(REAL0 - 3 * S, n=3)
    line.now_ns += 120 * S
    line.take(REAL0 + 117 * S)
    assert line.clock.skew_ns() == 1_990_000_000
    line.now_ns += 1
    assert line.clock.skew_ns() is None, "three of them are older"


@pytest.mark.parametrize(("took_ns", "counts"), [(0, True), (S // 2, True), (S // 2 + 1, False), (-1, False)])
def test_an_answer_that_took_longer_than_half_a_second_tells_nothing(took_ns: int, counts: bool) -> None:
    line = Answers()
    line.take(REAL0 - 30 * S, took_ns, n=4)
    assert (line.clock.skew_ns() is not None) is counts


@pytest.mark.parametrize(("sent_ns", "counts"), [(0, False), (1, True)])
def test_an_answer_whose_sending_was_not_timed_tells_nothing(sent_ns: int, counts: bool) -> None:
    line = Answers(mono_ns=1000)
    for _ in range(4):
        line.clock.answered(header(REAL0 // S - 30), sent_ns, 1000)
    assert (line.clock.skew_ns() is not None) is counts


def test_a_leap_second_is_the_one_before_it() -> None:
    assert date_ns(b"Sat, 31 Dec 2016 23:59:60 GMT") == date_ns(b"Sat, 31 Dec 2016 23:59:59 GMT") is not None
