"""When a connection counts as dead."""

from __future__ import annotations

import pytest

from kite_hft.engine.alerts.judges import feed_trouble

S = 1_000_000_000


@pytest.mark.parametrize(
    ("last_s", "connected", "since_s", "down", "words"),
    [
        (99.0, 1, 0.0, False, ""),
        (97.0, 1, 0.0, False, ""),
        (96.9, 1, 0.0, False, "connected, but no frame for 3.1 s"),
        (50.0, 0, 0.0, False, "not connected, no frame for 50.0 s"),
        (0.0, 0, 98.0, False, ""),  # only just started
        (0.0, 0, 90.0, False, "not connected, no frame for 10.0 s"),
        (96.0, 0, 99.9, True, "its process is down, no frame for 4.0 s"),
        (99.5, 1, 99.9, True, ""),
    ],
)
def test_verdicts(last_s: float, connected: int, since_s: float, down: bool, words: str) -> None:
    counters = {"last_frame_ns": int(last_s * S), "connected": connected}
    found = feed_trouble(counters, 100 * S, 3.0, alive_since_ns=int(since_s * S), down=down)
    assert found == words
