"""The seventeen statuses."""

from __future__ import annotations

import pytest

from kite_hft.brokers.upstox.status import ENDED, STATUS, status_of
from kite_hft.layout import OrderStatus
from kite_hft.trading.lifecycle import REPORT_OF, TERMINAL, WORKING, following

S = OrderStatus


def test_there_are_seventeen() -> None:
    assert len(STATUS) == 17
    final = {word for word, status in STATUS.items() if status in ENDED}
    assert final == {"complete", "rejected", "cancelled", "cancelled after market order"}
    assert ENDED <= TERMINAL


@pytest.mark.parametrize("word", sorted(STATUS))
def test_every_word_has_a_place_in_the_life_of_an_order(word: str) -> None:
    after = following(S.SENT, REPORT_OF[status_of(word)])
    assert after in WORKING | ENDED


@pytest.mark.parametrize("stands", [S.OPEN, S.TRIGGER_PENDING])
@pytest.mark.parametrize(
    "word",
    [
        "cancel pending",
        "not cancelled",
        "modify validation pending",
        "modify pending",
        "modified",
        "not modified",
    ],
)
def test_words_about_a_change_leave_a_working_order_as_it_is(stands: S, word: str) -> None:
    assert following(stands, REPORT_OF[status_of(word)]) is stands


def test_the_usual_way_and_unknown_words() -> None:
    status = S.SENT
    seen = []
    for word in ("put order req received", "validation pending", "open pending", "open", "complete"):
        status = following(status, REPORT_OF[status_of(word)])
        seen.append(status)
    assert seen == [S.PENDING, S.PENDING, S.PENDING, S.OPEN, S.COMPLETE]
    assert status_of(" Complete ") is S.COMPLETE
    assert status_of("partially filled") is None and status_of("") is None
