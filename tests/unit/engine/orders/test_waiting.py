"""How ORDERS waits: what wakes it, what it tells the transport, and what it does first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.waiting import BEAT_NS, Waiting
from kite_hft.engine.processes.control import ControlPipe

SOON_NS = 1_000_000


class World:
    """A stage, a transport with a descriptor, and segments; `did` is what was asked of them, in order."""

    def __init__(self, pipe: ControlPipe | None = None) -> None:
        self.did: list[str] = []
        self.clock = ManualClock(10**12)
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.answers_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.worked, self.sends = 0, 0
        self.express: Any = self
        no_latch: Any = type("Latch", (), {"fileno": staticmethod(lambda: -1)})
        nobody: Any = None
        me: Any = self
        self.waiting = Waiting(
            me, me, [], [], self.wake_fd, self.clock, me, pipe, nobody, "park", no_latch, self.wake_journal
        )

    def send(self, now_ns: int) -> int:
        """As the express way of a stage."""
        assert now_ns == self.clock.mono
        self.did.append("express")
        return self.sends

    def step(self, now_ns: int) -> int:
        self.did.append("step")
        return self.worked

    def control(self, message: dict[str, Any], now_ns: int) -> None:
        self.did.append(message["do"])

    def next_deadline_ns(self, now_ns: int = 0) -> int:
        return self.clock.mono + SOON_NS

    def heartbeat(self, now_ns: int) -> None:
        self.did.append("beat")

    def wake_journal(self) -> None:
        self.did.append("journal")

    def silent(self, now_ns: int) -> None:
        assert now_ns == self.clock.mono
        self.did.append("silent")

    def fileno(self) -> int:
        return self.answers_fd


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.waiting.close()
    os.close(made.wake_fd)
    os.close(made.answers_fd)


def test_each_write_of_a_producer_wakes_once_and_nobody_reads_it_away(world: World) -> None:
    serve = world.waiting._serve
    assert not serve(0.0)
    for _ in range(3):
        os.eventfd_write(world.wake_fd, 1)
        assert serve(5.0)
        assert not serve(0.0)
    os.eventfd_write(world.wake_fd, 1)
    os.eventfd_write(world.wake_fd, 1)
    assert serve(5.0) and not serve(0.0)


def test_the_transport_is_told_when_its_descriptor_was_seen_silent_and_only_then(world: World) -> None:
    os.eventfd_write(world.wake_fd, 1)
    world.waiting._serve(5.0)
    assert world.did == ["silent"]
    os.eventfd_write(world.answers_fd, 1)
    assert world.waiting._serve(5.0) and world.did == ["silent"]
    os.eventfd_write(world.wake_fd, 1)
    assert world.waiting._serve(5.0) and world.did == ["silent"]
    os.eventfd_read(world.answers_fd)
    assert not world.waiting._serve(0.0) and world.did == ["silent", "silent"]


def test_what_has_woken_it_is_handled_before_the_beat(world: World) -> None:
    world.worked = 1
    world.waiting.round()
    world.waiting.round()
    world.clock.advance(BEAT_NS)
    world.waiting.round()
    assert world.did == ["step", "journal", "beat", "step", "journal", "step", "journal", "beat"]


def test_it_looks_at_its_descriptors_only_when_the_step_found_nothing(world: World) -> None:
    world.worked = 1
    world.waiting.round()
    assert "silent" not in world.did
    world.worked, world.did = 0, []
    world.waiting.round()
    assert world.did == ["step", "journal", "silent"]


def test_what_has_woken_it_may_leave_before_the_step_which_comes_at_once_then(world: World) -> None:
    os.eventfd_write(world.wake_fd, 1)
    world.sends = 1
    world.waiting.round()
    assert world.did == ["step", "journal", "beat", "silent", "express"]
    world.did, world.sends = [], 0
    world.waiting.round()
    assert world.did == ["step", "journal"], "it does not sleep on what has been sent"
    world.waiting.round()
    assert world.did == ["step", "journal"] * 2 + ["silent"]


def test_what_was_pushed_is_tried_with_what_was_seen_of_the_descriptors(world: World) -> None:
    world.waiting._pushed(world.clock.mono)
    assert world.did == ["silent", "express"]
    world.express, world.did = None, []
    world.waiting._pushed(world.clock.mono)
    assert world.did == ["silent"], "a stage without an express way"


def test_after_a_standstill_the_supervisors_word_comes_before_anything_leaves() -> None:
    """A halt may lie in the pipe for as long as the process stood still."""
    out, into = os.pipe()
    world = World(ControlPipe(out))
    world.worked, world.sends = 1, 1
    world.waiting.round()
    os.write(into, b'{"do": "halt"}\n')
    world.clock.advance(BEAT_NS)
    world.waiting.round()
    assert world.did[-4:] == ["step", "journal", "beat", "halt"], "the step is not held up for a beat"
    os.write(into, b'{"do": "halt"}\n')
    world.clock.advance(3 * BEAT_NS)
    world.did.clear()
    world.waiting._pushed(world.clock.mono)
    assert world.did == ["silent"], "nor does what was pushed go before it"
    world.waiting.round()
    assert world.did == ["silent", "halt", "step", "journal", "beat"]
    world.waiting.close()
    for fd in (out, into, world.wake_fd, world.answers_fd):
        os.close(fd)
