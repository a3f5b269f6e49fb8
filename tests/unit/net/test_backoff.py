"""Pauses between tries."""

from __future__ import annotations

from random import Random

from kite_hft.net.backoff import JITTER, Backoff


def test_pauses_double_up_to_the_longest_with_jitter() -> None:
    made = Backoff(0.5, 30.0, Random(3))
    pauses = [made.next_s() for _ in range(12)]
    for pause, base in zip(pauses, [0.5, 1, 2, 4, 8, 16, *[30.0] * 6], strict=True):
        assert base * (1 - JITTER) <= pause <= min(30.0, base * (1 + JITTER))
    assert len(set(pauses)) > 6 and max(pauses) <= 30


def test_after_a_good_connection_the_first_pause_is_the_next() -> None:
    made = Backoff(0.5, 30.0, Random(3))
    for _ in range(5):
        made.next_s()
    made.reset()
    assert made.next_s() <= 0.5 * (1 + JITTER)


def test_two_connections_do_not_come_back_together() -> None:
    assert Backoff(0.5, 30.0).next_s() != Backoff(0.5, 30.0).next_s()
