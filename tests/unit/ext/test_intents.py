"""The last touch on INTENTs: when they were made, until when they count, how many are orders."""

from __future__ import annotations

import numpy as np
import pytest

from kite_hft._intents import stamp, tuples
from kite_hft.layout import INTENT, IntentFlag, IntentKind
from kite_hft.trading.broker import HttpRequest
from kite_hft.trading.intents import Intent


def made() -> np.ndarray:
    intents = np.zeros(6, INTENT)
    intents["kind"] = [IntentKind.PLACE, IntentKind.MODIFY, IntentKind.PLACE, IntentKind.CANCEL,
                       IntentKind.PROBE, IntentKind.PLACE]  # fmt: skip
    intents["flags"][2] = IntentFlag.EXIT
    return intents


def test_new_orders_that_are_no_exits_get_a_deadline() -> None:
    intents = made()
    assert stamp(intents, 5, 700, 200) == 2
    assert intents["created_ns"].tolist() == [700] * 5 + [0]
    assert intents["deadline_ns"].tolist() == [900, 0, 0, 0, 0, 0]


def test_the_deadline_counts_from_the_tick_that_caused_the_order() -> None:
    intents = made()
    intents["tick_recv_ns"] = [40, 40, 40, 40, 40, 0]
    assert stamp(intents, 6, 700, 200, 650) == 3
    assert intents["created_ns"].tolist() == [700] * 6
    assert intents["deadline_ns"].tolist() == [240, 0, 0, 0, 0, 850]


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


def test_records_as_named_tuples() -> None:
    """Each field stands under its name, whatever it holds."""
    rows = np.frombuffer(np.random.default_rng(5).bytes(9 * INTENT.itemsize), INTENT).copy()
    rows["signal"] = np.arange(9) / 8
    found = tuples(Intent, rows.view(np.uint8).data, 9)
    assert [type(intent) for intent in found] == [Intent] * 9
    for intent, row in zip(found, rows, strict=True):
        for name in Intent._fields:
            value = getattr(intent, name)
            assert value == (row[name].tobytes() if isinstance(value, bytes) else row[name].item()), name
    assert found[0]._replace(px=7).px == 7 and tuples(Intent, rows.tobytes(), 0) == []


def test_tuples_refuse_what_is_no_intent() -> None:
    data = bytes(2 * INTENT.itemsize)
    for n in (-1, 3):
        with pytest.raises(ValueError, match="intents asked for"):
            tuples(Intent, data, n)
    for kind in (list, tuple, HttpRequest):
        with pytest.raises((ValueError, AttributeError)):
            tuples(kind, data, 1)
