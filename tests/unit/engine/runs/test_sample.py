"""One look at the counters: rates, lag, ages, states."""

from __future__ import annotations

import pytest

from kite_hft.engine.runs.sample import Sample, age_s, state_word, ticks_per_second
from kite_hft.layout import COUNTERS

S = 1_000_000_000


def sample(at_ns: int, published: int) -> Sample:
    counts = {stage: dict.fromkeys(names, 0) for stage, names in COUNTERS.items()}
    counts["feed"]["published"] = published
    counts["compute"].update(computed=published - 7, lost=2)
    return Sample(at_ns, counts["feed"], counts["compute"], counts["orders"], {})


def test_rate_and_lag() -> None:
    before, now = sample(S, 100), sample(3 * S, 500)
    assert ticks_per_second(before, now) == 200.0 and ticks_per_second(now, now) == 0.0
    assert now.lag == 5 and sample(S, 0).lag == 5


def test_ages() -> None:
    assert age_s(0, 5 * S) is None and age_s(2 * S, 5 * S) == 3.0 and age_s(6 * S, 5 * S) == 0.0


@pytest.mark.parametrize(
    ("gauges", "word"),
    [((0, 0, 0), "NOT_ACTIVE"), ((1, 0, 0), "ACTIVE"), ((1, 1, 0), "REDUCING"), ((1, 1, 1), "HALTED")],
)
def test_the_worst_state_counts(gauges: tuple[int, int, int], word: str) -> None:
    names = ("state_active", "state_reducing", "state_halted")
    assert state_word(dict(zip(names, gauges, strict=True))) == word
