"""Waiting: every strategy sees the move, parks only when it says so, and lets signals through."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import segments

from kite_hft import _ring, _wait
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

KIND = SegmentKind.TICK_RING
LONG_NS = 60_000_000_000
STRATEGIES = ["spin", "yield", "park", "adaptive"]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[segment.Segment]:
    with segment.attach(segments.make(tmp_path, KIND), KIND, writable=True) as ring:
        yield ring


@pytest.fixture
def other(tmp_path: Path) -> Iterator[segment.Segment]:
    with segment.attach(segments.make(tmp_path, KIND, name="other"), KIND, writable=True) as ring:
        yield ring


def until_parked(*held: segment.Segment) -> None:
    while not all(ring.control()["parked"] for ring in held):
        pass


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_time_runs_out(held: segment.Segment, strategy: str) -> None:
    waiter = _wait.Waiter(held.view, strategy, 1000)
    assert waiter.wait(0, 50_000_000) is False
    assert (waiter.parks > 0) == (strategy in ("park", "adaptive"))
    assert held.control()["parked"] == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_there_already_needs_no_wait(held: segment.Segment, strategy: str) -> None:
    _ring.RingWriter(held.view).publish(segments.ticks(0, 3))
    waiter = _wait.Waiter(held.view, strategy)
    assert waiter.wait(0, LONG_NS) is True
    assert waiter.parks == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_publish_ends_the_wait_without_the_gil(held: segment.Segment, strategy: str) -> None:
    writer = _ring.RingWriter(held.view)
    waiter = _wait.Waiter(held.view, strategy, 1000)
    moved: list[bool] = []
    thread = threading.Thread(target=lambda: moved.append(waiter.wait(0, LONG_NS)))
    thread.start()
    if strategy in ("park", "adaptive"):
        until_parked(held)
    writer.publish(segments.ticks(0, 1))
    thread.join()
    assert moved == [True]
    assert held.control()["parked"] == 0


def test_parking_gives_the_core_away(held: segment.Segment) -> None:
    switches: list[int] = []

    def wait() -> None:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        _wait.Waiter(held.view, "park").wait(0, LONG_NS)
        switches.append(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before)

    thread = threading.Thread(target=wait)
    thread.start()
    until_parked(held)
    _ring.RingWriter(held.view).publish(segments.ticks(0, 1))
    thread.join()
    assert switches[0] >= 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_any_of_several_rings_ends_the_wait(
    held: segment.Segment, other: segment.Segment, strategy: str
) -> None:
    waiter = _wait.Waiter([held.view, other.view], strategy, 1000)
    writer = _ring.RingWriter(other.view)
    moved: list[bool] = []
    thread = threading.Thread(target=lambda: moved.append(waiter.wait_any([0, 0], LONG_NS)))
    thread.start()
    if strategy in ("park", "adaptive"):
        until_parked(held, other)
    writer.publish(segments.ticks(0, 1))
    thread.join()
    assert moved == [True]
    assert waiter.wait_any([0, 1], 1_000_000) is False


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_signals_come_through(held: segment.Segment, strategy: str) -> None:
    class Stop(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Stop):
            _wait.Waiter(held.view, strategy, 1000).wait(0, LONG_NS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert held.control()["parked"] == 0


def test_several_rings_are_slept_on_in_one_call(held: segment.Segment, other: segment.Segment) -> None:
    """futex_waitv, not a chain of naps: the wait of one slice is one sleep."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(449, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() != errno.EINVAL:
        pytest.skip("this kernel has no futex_waitv: naps it is")
    waiter = _wait.Waiter([held.view, other.view], "park")
    assert waiter.wait_any([0, 0], 200_000_000) is False
    assert waiter.parks <= 50


def test_wrong_uses_are_named(held: segment.Segment, other: segment.Segment) -> None:
    with pytest.raises(ValueError, match="'nap': choose one of spin, yield, park, adaptive"):
        _wait.Waiter(held.view, "nap")
    with pytest.raises(ValueError, match="1 to 16 segments, not 0"):
        _wait.Waiter([])
    with pytest.raises(ValueError, match="no control page"):
        _wait.Waiter(bytearray(100))
    with pytest.raises(ValueError, match="use wait_any"):
        _wait.Waiter([held.view, other.view]).wait(0, 1)
    with pytest.raises(ValueError, match="1 heads for 2 segments"):
        _wait.Waiter([held.view, other.view]).wait_any([0], 1)
    with segment.attach(held.path, KIND, writable=False) as reading:
        _wait.Waiter(reading.view, "spin")
        with pytest.raises(BufferError):
            _wait.Waiter(reading.view, "park")


@pytest.mark.parametrize("strategy", ["spin", "yield"])
def test_a_look_ends_with_a_head_a_descriptor_or_the_time(
    held: segment.Segment, other: segment.Segment, strategy: str
) -> None:
    waiter = _wait.Waiter([held.view, other.view], strategy)
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        with select.epoll() as epoll:
            epoll.register(fd, select.EPOLLIN)
            began_ns = time.monotonic_ns()
            assert waiter.look([0, 0], epoll.fileno(), 20_000, 3_000) == 0
            assert began_ns < waiter.silent_ns <= time.monotonic_ns()
            assert waiter.look([0, 0], epoll.fileno(), LONG_NS, 3_000) == 0, "so that signals are handled"
            os.eventfd_write(fd, 1)
            assert waiter.look([0, 0], epoll.fileno(), LONG_NS, 3_000) == _wait.DESCRIPTOR_READY
            assert waiter.silent_ns < 0, "it was not silent at any look of this call"
            _ring.RingWriter(other.view).publish(segments.ticks(0, 3))
            assert waiter.look([0, 0], epoll.fileno(), LONG_NS, 3_000) == _wait.HEAD_MOVED
            assert waiter.silent_ns < 0, "nobody has looked"
            assert waiter.look([0, 3], epoll.fileno(), LONG_NS, 3_000) == _wait.DESCRIPTOR_READY
        assert waiter.look([0, 3], -1, LONG_NS, 3_000) == _wait.DESCRIPTOR_READY, "no set: somebody must look"
    finally:
        os.close(fd)
    with pytest.raises(ValueError, match="1 heads for 2 segments"):
        waiter.look([0], -1, 1, 1)
