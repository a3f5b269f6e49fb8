"""The last touch on INTENTs: when they were made, until when they count, how many are orders."""

from __future__ import annotations

import numpy as np
import pytest

from kite_hft._intents import stamp
from kite_hft.layout import INTENT, IntentFlag, IntentKind


def made() -> np.ndarray:
    intents = np.zeros(6, INTENT)
    intents["kind"] = [IntentKind.PLACE, IntentKind.MODIFY, IntentKind.PLACE, IntentKind.CANCEL,
                       IntentKind.PROBE, IntentKind.PLACE]  # fmt: skip
    intents["flags"][2] = IntentFlag.EXIT
    return intents


def test_new_orders_that_are_no_exits_get_a_deadline() -> None:
    intents = made()
    assert stamp(intents, 5, 700, 900) == 2
    assert intents["created_ns"].tolist() == [700] * 5 + [0]
    assert intents["deadline_ns"].tolist() == [900, 0, 0, 0, 0, 0]


def test_without_a_deadline_none_is_written() -> None:
    intents = made()
    assert stamp(intents, 6, 700) == 3 and not intents["deadline_ns"].any()
    assert stamp(intents, 0, 800) == 0 and intents["created_ns"].tolist() == [700] * 6


@pytest.mark.parametrize("n", [-1, 7])
def test_more_than_there_are_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="intents asked for"):
        stamp(made(), n, 1)


def test_other_records_are_refused() -> None:
    with pytest.raises(ValueError):
        stamp(np.zeros(4, np.int64), 1, 1)
