"""When a position that seems bare is one: what trades meanwhile may have closed it, or made another of it."""

from __future__ import annotations

from typing import Any

import pytest
from guard_books import TRADE, S, book, codes, guard, held, stops

from kite_hft.engine.orders.books import RawBook


def test_positions_from_before_the_stop_that_closed_them_are_no_proof() -> None:
    """Round after round something is bought and its stop closes it, between two reads of the positions."""
    dog, told = guard(grace_ns=3 * S), []
    dog.take(stops(10, S), S)
    dog.take(held(10, S), S)
    for second in range(2, 12):
        dog.take(held(10, second * S), second * S)  # bought anew
        dog.take(stops(0, second * S, "COMPLETE", filled=10 * second), second * S)  # and closed
        told += [(second, *codes(dog.look(second * S + S // 2, second * S + S // 2)))]
    first = next(second for second, *found in told if found)
    assert first == 11, "nine seconds after the first look: no book that agrees has come"


def test_one_that_agrees_with_what_has_traded_is() -> None:
    dog = guard(grace_ns=30 * S)
    dog.take(held(10, S), S)
    dog.take(stops(0, S, "COMPLETE", filled=10), S)
    assert dog.look(2 * S, 2 * S) == []
    dog.take(stops(0, 3 * S, "COMPLETE", filled=10), 3 * S)
    dog.take(held(10, 3 * S), 3 * S)
    assert codes(dog.look(3 * S, 3 * S)) == [("NAKED_POSITION", False)]


def test_little_by_little_is_not_closed() -> None:
    """Its stop is gone, and a tenth of it is sold between any two books."""
    dog, told = guard(grace_ns=3 * S), []
    for second in (1, 2, 3):
        dog.take(held(100 - 10 * second, second * S), second * S)
        dog.take(stops(0, second * S, "CANCELLED", filled=10 * second), second * S)
        told += [(second, *found) for found in codes(dog.look(second * S, second * S))]
    assert told == [(2, "NAKED_POSITION", False)]


def test_a_suspicion_ends_with_its_position() -> None:
    """Long, short and long again, each with its stop: two positions look bare by older orders, none is."""

    def row(name: str, side: str, kind: str = "LIMIT", filled: int = 10) -> dict[str, Any]:
        status = "COMPLETE" if filled else "TRIGGER PENDING"
        return {"order_id": name, "exchange": "NSE", "tradingsymbol": "X", "product": "MIS", "status": status,
                "transaction_type": side, "order_type": kind, "quantity": 10,
                "filled_quantity": filled}  # fmt: skip

    def trades(*sides: str) -> list[dict[str, Any]]:
        return [TRADE | {"transaction_type": side} for side in sides]

    first, second = row("1", "BUY"), [row("3", "SELL"), row("4", "BUY", "SL")]
    closed = row("2", "SELL", "SL")
    third = [row("5", "BUY"), row("6", "SELL", "SL", 0)]
    ms = S // 1000
    looks: list[tuple[int, list[tuple[str, int, Any]]]] = [
        (600, [("orders", 190, [first, row("2", "SELL", "SL", 0)]), ("trades", 460, trades("BUY"))]),
        (1100, [("positions", 730, 10), ("orders", 1000, [first, closed])]),
        (1600, [("trades", 1270, trades("BUY", "SELL")), ("positions", 1540, -10)]),
        (2100, [("orders", 1810, [first, closed, *second])]),
        (2600, [("trades", 2080, trades("BUY", "SELL", "SELL", "BUY")), ("positions", 2350, 10)]),
        (3100, [("orders", 2620, [first, closed, *second, *third])]),
    ]
    dog = guard(grace_ns=3 * S)
    for at, books in looks:
        for read, asked, data in books:
            new = held(data, asked * ms) if read == "positions" else book(read, asked * ms, data)
            dog.take(new, at * ms)
        assert codes(dog.look(at * ms, at * ms)) == [], at


def sold(quantity: int, asked_ns: int, side: str = "SELL") -> RawBook:
    return book("trades", asked_ns, [TRADE | {"transaction_type": side, "quantity": quantity}])


@pytest.mark.parametrize(("of", "sign"), [("orders", 1), ("trades", 1), ("trades", -1)])
def test_what_may_be_closed_is_told_when_no_newer_positions_come(of: str, sign: int) -> None:
    dog = guard(grace_ns=3 * S)
    dog.take(held(10 * sign, S), S)
    closed = of == "orders"
    dog.take(stops(0, 2 * S, "COMPLETE" if closed else "CANCELLED", filled=10 * closed), 2 * S)
    if not closed:
        dog.take(sold(10, 2 * S, "SELL" if sign > 0 else "BUY"), 2 * S)
    assert dog.look(2 * S, 2 * S) == [] and dog.look(10 * S, 10 * S) == []
    assert codes(dog.look(11 * S, 11 * S)) == [("NAKED_POSITION", False)]


@pytest.mark.parametrize("of", ["orders", "trades"])
def test_closed_and_bought_again_it_is_another_one(of: str) -> None:
    """The first was looked at before its stop came, the second before its own is in a book."""
    dog = guard(grace_ns=30 * S)
    dog.take(held(10, S), S)
    dog.take(stops(0, S, "CANCELLED"), S)
    assert dog.look(2 * S, 2 * S) == []
    dog.take(stops(0, 3 * S, "CANCELLED", filled=10 * (of == "orders")), 3 * S)
    if of == "trades":
        dog.take(sold(10, 3 * S), 3 * S)
    dog.take(held(10, 4 * S), 4 * S)
    assert dog.look(4 * S, 4 * S) == []


def test_the_other_side_of_what_was_held_is_another_one() -> None:
    """Ten were carried in, twenty are sold: the stop of the short is on its way."""
    dog = guard(grace_ns=30 * S)
    dog.take(held(10, S), S)
    dog.take(stops(0, S, "CANCELLED"), S)
    assert dog.look(2 * S, 2 * S) == []
    dog.take(stops(0, 3 * S, "COMPLETE", filled=20), 3 * S)
    dog.take(held(-10, 4 * S), 4 * S)
    assert dog.look(4 * S, 4 * S) == []


@pytest.mark.parametrize(("symbol", "side"), [("BUSY", "SELL"), ("X", "BUY")])
def test_only_what_may_have_closed_it_takes_the_proof_away(symbol: str, side: str) -> None:
    """What trades all the time is never shown as it is by positions: another instrument, or more of it."""
    dog = guard(grace_ns=3 * S)
    row = {"exchange": "NSE", "tradingsymbol": symbol, "product": "MIS", "transaction_type": side,
           "order_type": "LIMIT", "order_id": "2", "status": "OPEN", "quantity": 900}  # fmt: skip
    for second in (1, 2, 3):
        at = second * S
        dog.take(held(10, at), at)
        dog.take(book("orders", at, [row | {"filled_quantity": 10 * second}]), at)
        dog.take(book("trades", at, [row | {"quantity": 10 * second}]), at)
        told = codes(dog.look(at, at))
        assert told == ([("NAKED_POSITION", False)] if second == 2 else []), second
