"""Clocks."""

from __future__ import annotations

from kite_hft.clock import ManualClock, SystemClock


def test_the_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5, 100)
    assert (clock.mono_ns(), clock.real_ns()) == (5, 100)
    clock.advance(7)
    assert (clock.mono_ns(), clock.real_ns()) == (12, 107)


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    first = clock.mono_ns()
    assert clock.mono_ns() >= first > 0 and clock.real_ns() > 1_700_000_000 * 10**9
