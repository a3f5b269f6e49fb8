"""What is open at Upstox, by its raw books."""

from __future__ import annotations

import pytest
from upstox_rows import answer

from kite_hft.brokers.upstox.left_open import left_open
from kite_hft.brokers.values import AnswerError

POSITIONS = [
    {"instrument_token": "NSE_FO|43919", "trading_symbol": "NIFTY26NOVFUT", "quantity": -75},
    {"instrument_token": "NSE_EQ|INE009A01021", "trading_symbol": "INFY", "quantity": 0},
]
ORDERS = [
    {"instrument_token": "NSE_EQ|INE009A01021", "status": "open"},
    {"instrument_token": "NSE_EQ|INE009A01021", "status": "complete"},
    {"instrument_token": "NSE_FO|43919", "status": "a word that nobody knows"},
]
TRIGGERS = [
    {"gtt_order_id": "GTT-1", "rules": [{"status": "SCHEDULED"}]},
    {"gtt_order_id": "GTT-2", "rules": [{"status": "CANCELLED"}, {"status": "FAILED"}]},
]


def test_what_lives_is_named_and_what_has_ended_is_not() -> None:
    found = left_open(answer(POSITIONS).body, answer(ORDERS).body, answer(TRIGGERS).body)
    assert found.positions == (("NSE_FO", "NIFTY26NOVFUT -75"),)
    assert found.orders == ("NSE_EQ", "NSE_FO"), "a state that is not known may still fill"
    assert found.triggers == ("GTT-1",)


@pytest.mark.parametrize("book", [0, 1, 2])
@pytest.mark.parametrize("body", [b"", b"<html>", answer([{"quantity": "x"}]).body, answer({}).body])
def test_a_book_that_is_not_whole_is_no_empty_one(book: int, body: bytes) -> None:
    books = [answer([]).body] * 3
    books[book] = body
    with pytest.raises(AnswerError):
        left_open(*books)
