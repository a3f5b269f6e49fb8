"""What a strategy is told of its instruments: when it sells at the end of the day."""

from __future__ import annotations

import numpy as np
import pytest

from kite_hft.strategies.kalman_ml import KalmanMl
from kite_hft.strategies.kalman_ml_compiled import KalmanMlCompiled
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled
from kite_hft.strategies.slots import NEVER_S, SlotFacts

H = 3600
SCALES = np.array([100.0, 100.0, 1e7])
FACTS = SlotFacts(
    SCALES,
    np.array([5, 0, 25_000]),
    np.array([15 * H + 1800, 15 * H + 900, NEVER_S]),
    np.array([15 * H + 600, 15 * H, NEVER_S]),
)


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (15 * H + 1740, [15 * H + 1740, 15 * H, 15 * H + 1740]),  # 15:29
        (15 * H + 1800, [15 * H + 600, 15 * H, 15 * H + 1800]),  # 15:30: nobody trades any more
        (14 * H, [14 * H] * 3),
        (-1, [-1] * 3),
    ],
)
def test_when_a_position_is_sold(at_s: int, expected: list[int]) -> None:
    assert FACTS.flatten_s(at_s).tolist() == expected


def test_without_a_calendar_it_is_as_configured() -> None:
    assert SlotFacts(SCALES).flatten_s(5).tolist() == [5] * 3
    assert SlotFacts(SCALES).ticks().tolist() == [1] * 3 and FACTS.ticks().tolist() == [5, 1, 25_000]


@pytest.mark.parametrize("kind", [KalmanSimpleCompiled, KalmanMlCompiled])
def test_compiled_strategies_know_it_from_their_state(kind: type) -> None:
    strategy = kind()
    strategy.prepare(FACTS)
    states = strategy.fresh(SCALES)
    assert states["flatten_at_s"].tolist() == FACTS.flatten_s(15 * H + 1740).tolist()
    assert kind(flatten_at="").fresh(SCALES)["flatten_at_s"].tolist() == [-1] * 3


@pytest.mark.parametrize("kind", [KalmanSimple, KalmanMl])
def test_python_strategies_are_told_too(kind: type) -> None:
    strategy = kind()
    strategy.prepare(FACTS)
    told = strategy._flatten_s
    assert [told[slot] for slot in range(3)] == FACTS.flatten_s(15 * H + 1740).tolist()
