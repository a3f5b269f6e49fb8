"""From raw books and times to alerts: certain before it is told, blind when books are old, one summary."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

from guard_books import OPEN, TRADE, S, book, codes, guard, held, stops

from kite_hft.engine.orders.books import RawBook
from kite_hft.engine.watchdog.guard import ASK_SOON_NS, Guard, joined
from kite_hft.engine.watchdog.process import Link
from kite_hft.trading.exits.protection import Facts


def test_a_naked_position_is_told_when_fresh_books_confirm_it_and_once() -> None:
    dog = guard(grace_ns=10 * S)
    dog.take(held(10, S), S)
    dog.take(stops(4, S), S)
    assert dog.look(2 * S, 2 * S) == [] and dog.naked_paise == 6 * 100 * 100
    assert dog.wants_books(2 * S) and not dog.wants_books(2 * S + ASK_SOON_NS - 1)
    assert dog.look(3 * S, 3 * S) == []
    dog.take(held(10, 3 * S), 3 * S)
    assert dog.look(3 * S, 3 * S) == []  # the orders are the old ones
    dog.take(stops(4, 3 * S), 3 * S)
    (told,) = dog.look(3 * S, 3 * S)
    assert told["code"] == "NAKED_POSITION" and told["key"] == "NSE:X MIS" and told["size"] == 60_000
    assert "6 without protection (Rs 600.00)" in told["text"] and told["severity"] == 3
    assert dog.look(4 * S, 4 * S) == [] and not dog.wants_books(60 * S)


def test_without_fresh_books_it_is_told_after_the_grace() -> None:
    dog = guard(grace_ns=3 * S)
    dog.take(held(10, 0), 0)
    assert dog.look(S, S) == [] and dog.look(4 * S - 1, 4 * S - 1) == []
    assert codes(dog.look(4 * S, 4 * S)) == [("NAKED_POSITION", False)]


def test_a_stop_on_its_way_raises_nothing_and_a_cover_that_comes_clears() -> None:
    dog = guard(grace_ns=10 * S)
    dog.take(held(10, S), S)
    assert dog.look(S, S) == []
    dog.take(stops(10, 2 * S), 2 * S)
    assert dog.look(2 * S, 2 * S) == [] and dog.naked_paise == 0
    dog.take(held(20, 3 * S), 3 * S)
    dog.look(3 * S, 3 * S)
    assert codes(dog.look(20 * S, 20 * S)) == [("NAKED_POSITION", False)]
    dog.take(held(10, 21 * S), 21 * S)
    assert codes(dog.look(21 * S, 21 * S)) == [("NAKED_POSITION", True)]
    assert dog.look(22 * S, 22 * S) == []


def test_more_without_protection_is_said_at_once() -> None:
    dog = guard(grace_ns=0)
    dog.take(held(10, S), S)
    assert len(dog.look(S, S)) == 1
    dog.take(held(11, 2 * S), 2 * S)
    assert dog.look(2 * S, 2 * S) == []
    dog.take(held(12, 3 * S), 3 * S)
    (told,) = dog.look(3 * S, 3 * S)
    assert told["size"] == 120_000 and dog.look(4 * S, 4 * S) == []
    assert len(dog.look(8 * S, 8 * S)) == 1  # and every few seconds: one may have been lost


def test_the_limit_is_on_all_positions_together() -> None:
    dog = guard(naked_paise=100_000, grace_ns=0)
    dog.take(held(10, S, 100.0), S)
    assert dog.look(S, S) == []
    dog.take(held(10, 2 * S, 100.1), 2 * S)
    assert codes(dog.look(2 * S, 2 * S)) == [("NAKED_POSITION", False)]


def test_the_closing_auction_takes_the_stops_without_any_new_book() -> None:
    dog = guard(grace_ns=3 * S)
    dog.take(held(10, S), S)
    dog.take(stops(10, S), S)
    assert dog.look(99 * S, 50 * S) == []
    dog.look(100 * S, 51 * S)
    (told,) = dog.look(103 * S, 54 * S)
    assert "SL 10 (gone in this phase); 10 without protection" in told["text"]


def test_trades_that_the_positions_do_not_have_yet_ask_for_books() -> None:
    dog = guard()
    dog.take(held(0, S), S)
    assert not dog.wants_books(S)
    dog.take(book("trades", 2 * S, [TRADE]), 2 * S)
    assert dog.wants_books(2 * S) and not dog.wants_books(4 * S) and dog.wants_books(5 * S)
    dog.take(held(10, 6 * S), 6 * S)
    assert not dog.wants_books(60 * S)


def test_old_books_are_blindness_and_fresh_ones_end_it() -> None:
    dog = guard(blind_ns=10 * S)
    assert dog.look(S, S) == [] and dog.look(10 * S, 10 * S) == []
    (told,) = dog.look(11 * S, 11 * S)
    assert told["code"] == "WATCHDOG_BLIND" and told["severity"] == 2 and "none came" in told["text"]
    assert dog.look(12 * S, 12 * S) == []
    dog.take(held(10, 13 * S), 13 * S)
    dog.take(stops(10, 13 * S), 13 * S)
    assert codes(dog.look(13 * S, 13 * S)) == [("WATCHDOG_BLIND", True)]
    dog.take(stops(10, 20 * S), 20 * S)  # orders alone are not enough
    (told,) = dog.look(24 * S, 24 * S)
    assert told["severity"] == 3 and "1 positions" in told["text"]


def trigger(asked_ns: int, quantity: int = 10) -> RawBook:
    """A stop below the price, good till triggered."""
    row = {"status": "active", "type": "single",
           "condition": {"exchange": "NSE", "tradingsymbol": "X", "trigger_values": [90.0],
                         "last_price": 100.0},
           "orders": [{"transaction_type": "SELL", "product": "MIS", "quantity": quantity}]}  # fmt: skip
    return book("triggers", asked_ns, [row])


def blind_at(dog: Guard, triggers: Callable[[int], RawBook | None], until: int) -> tuple[int, str]:
    """(second in which it is told, text), with positions and orders of every second; (0, ""): it is not."""
    for second in range(1, until):
        dog.take(held(10, second * S), second * S)
        dog.take(book("orders", second * S, []), second * S)
        found = triggers(second)
        if found is not None:
            dog.take(found, second * S)
        for fields in dog.look(second * S, second * S):
            if fields["code"] == "WATCHDOG_BLIND":
                return second, fields["text"]
    return 0, ""


def test_triggers_that_cannot_be_read_any_more_are_blindness_while_they_protect() -> None:
    def bad(second: int) -> RawBook:
        return trigger(S) if second == 1 else RawBook("triggers", second * S, 0, b"{}")

    second, text = blind_at(guard(blind_ns=10 * S), bad, 90)
    assert second == 12 and "triggers" in text and "missing required field" in text
    # That they do not come at all is told a little later: not each round of reads has them.
    second, text = blind_at(guard(blind_ns=10 * S), lambda s: trigger(S) if s == 1 else None, 90)
    assert second == 22 and "hands on no books" in text
    assert blind_at(guard(blind_ns=10 * S), lambda s: trigger(s * S) if s % 15 == 1 else None, 90)[0] == 0
    # A trigger that protects nothing does not matter.
    assert blind_at(guard(blind_ns=10 * S), lambda s: trigger(S, 0) if s == 1 else bad(s), 90)[0] == 0


def test_a_trigger_book_that_can_be_read_again_ends_the_blindness() -> None:
    dog = guard(blind_ns=10 * S)

    def bad(second: int) -> RawBook:
        return trigger(S) if second == 1 else RawBook("triggers", second * S, 0, b"{}")

    assert blind_at(dog, bad, 15)[0] == 12
    for told in (held(10, 16 * S), book("orders", 16 * S, []), trigger(16 * S)):
        dog.take(told, 16 * S)
    assert codes(dog.look(16 * S, 16 * S)) == [("WATCHDOG_BLIND", True)]


def test_a_book_that_cannot_be_read_leaves_the_old_one_and_is_named() -> None:
    dog = guard(blind_ns=10 * S, grace_ns=0)
    dog.take(held(10, S), S)
    dog.take(RawBook("positions", 2 * S, 2 * S, b"<html>502</html>"), 2 * S)
    assert codes(dog.look(2 * S, 2 * S)) == [("NAKED_POSITION", False)]
    assert "positions: JSON is malformed" in dog.look(30 * S, 30 * S)[0]["text"]


def test_alone_it_trusts_what_it_has_and_speaks_of_no_blindness() -> None:
    dog = guard(blind_ns=10 * S, grace_ns=3600 * S)
    dog.take(held(10, S), S)
    assert codes(dog.look(50 * S, 50 * S, alone=True)) == [("NAKED_POSITION", False)]


def test_one_summary_says_what_protects_after_the_continuous_trading() -> None:
    dog = guard(summary_at_ns=50 * S)
    assert dog.look(60 * S, S) == []  # no positions are known yet
    dog.take(held(10, S), S)
    dog.take(stops(10, S), S)
    assert dog.look(49 * S, 2 * S) == []
    (told,) = dog.look(60 * S, 3 * S)
    assert told["code"] == "PROTECTION_AT_CLOSE" and told["severity"] == 2
    assert "SL 10 (gone in this phase); 10 without protection" in told["text"]
    assert dog.look(61 * S, 4 * S) == []


def test_a_summary_without_positions_says_so() -> None:
    dog = guard(summary_at_ns=50 * S)
    dog.take(held(0, S), S)
    (told,) = dog.look(60 * S, 3 * S)
    assert (told["text"], told["severity"]) == ("no position is open", 1)


def test_many_positions_are_counted_and_not_all_named() -> None:
    assert joined(["a", "b"]) == "a | b"
    assert joined(["x" * 500] * 5).endswith("| and 4 more")


def test_an_exit_at_its_target_counts_while_the_engine_says_that_it_tends_it() -> None:
    dog = guard()
    row = {"order_id": "7", "exchange": "NSE", "tradingsymbol": "X", "product": "MIS", "status": "OPEN",
           "transaction_type": "SELL", "order_type": "LIMIT", "quantity": 10, "tag": None}  # fmt: skip
    word = json.dumps([{"order_id": "7", "stop": 95.0}]).encode()
    for second in range(1, 60):
        dog.take(held(10, second * S), second * S)
        dog.take(book("orders", second * S, [row]), second * S)
        dog.take(RawBook("exits", second * S, 0, word), second * S)
        assert dog.look(second * S, second * S) == []
    assert dog.words(60 * S, 60 * S) == "NSE:X MIS +10: target 10"
    # The engine is gone: at once for whoever knows, after its word has grown old for who does not.
    assert "10 without protection" in dog.words(60 * S, 60 * S, alone=True)
    for second in range(60, 65):
        dog.take(held(10, second * S), second * S)
        dog.take(book("orders", second * S, [row]), second * S)
        told = dog.look(second * S, second * S)
        assert codes(told) == []
    for second in (65, 66):
        dog.take(held(10, second * S), second * S)
        dog.take(book("orders", second * S, [row]), second * S)
        told = dog.look(second * S, second * S)
    assert codes(told) == [("NAKED_POSITION", False)] and "does not answer" in told[0]["text"]


def test_a_contract_that_settles_in_shares_is_told_once_and_when_it_is_gone() -> None:
    dog = guard()
    dog.facts = replace(dog.facts, settling={"NSE:X": ("2026-11-26", "15:20", 3 * S)})
    row = {"exchange": "NSE", "tradingsymbol": "X", "product": "NRML", "quantity": 75, "last_price": 1.0}
    told = []
    for second in range(1, 9):
        quantity = 75 if second < 7 else 0
        dog.take(book("positions", second * S, {"net": [row | {"quantity": quantity}]}), second * S)
        dog.take(book("orders", second * S, []), second * S)
        told += [(second, f) for f in dog.look(second * S, second * S) if f["code"] == "SETTLEMENT"]
    assert [(second, bool(fields.get("cleared"))) for second, fields in told] == [(3, False), (7, True)]
    assert "settles in shares on 2026-11-26" in told[0][1]["text"]


def quote(number: int, asked_ns: int, status: str = "OPEN", filled: int = 0) -> RawBook:
    row = {"order_id": str(number), "exchange": "NSE", "tradingsymbol": "X", "product": "MIS",
           "status": status, "transaction_type": "SELL", "order_type": "LIMIT", "quantity": 10 + filled,
           "filled_quantity": filled, "tag": None}  # fmt: skip
    return book("orders", asked_ns, [row])


def closing_guard() -> Guard:
    dog = guard(grace_ns=3 * S)
    facts = Facts({("NSE", True): (replace(OPEN, end_ns=1000 * S),)}, frozenset({"NSE:X"}), closing_ns=30 * S)
    return Guard(dog.limits, facts, 0)


def naked_at(dog: Guard, of_second: Callable[[int], RawBook | None], until: int) -> int:
    """The second in which it is told, books being read every second; 0: it is not."""
    for second in range(1, until):
        dog.take(held(10, second * S), second * S)
        orders = of_second(second)
        dog.take(orders or book("orders", second * S, []), second * S)
        if ("NAKED_POSITION", False) in codes(dog.look(second * S, second * S)):
            return second
    return 0


def test_a_closing_order_that_is_cancelled_and_placed_anew_is_on_no_way_out() -> None:
    assert 31 <= naked_at(closing_guard(), lambda s: quote(s // 20, s * S), 60) <= 35
    # A gap between the two is none, when it is short, and neither is a change under way.
    gap = naked_at(closing_guard(), lambda s: quote(s // 20, s * S) if s % 20 else None, 60)
    assert 31 <= gap <= 35
    words = ("OPEN", "MODIFY PENDING")
    assert 31 <= naked_at(closing_guard(), lambda s: quote(1, s * S, words[s // 9 % 2]), 60) <= 35


def test_a_closing_order_begins_anew_when_one_has_closed_something_or_a_stop_goes() -> None:
    # Each of them sells ten and the position is opened again: they are on their way out.
    assert naked_at(closing_guard(), lambda s: quote(s // 20, s * S, filled=s // 20), 200) == 0
    told = naked_at(closing_guard(), lambda s: stops(10, s * S) if s < 50 else quote(s, s * S), 99)
    assert 81 <= told <= 85
    assert naked_at(closing_guard(), lambda s: quote(5, s * S), 30) == 0


def test_a_position_among_many_resting_orders_is_told_in_a_text_that_fits() -> None:
    dog = guard(grace_ns=0)
    rows = [json.loads(quote(n, S).body)["data"][0] for n in range(100)]
    stop = json.loads(stops(4, S).body)["data"][0]
    dog.take(held(100_000, S), S)
    dog.take(book("orders", S, [*rows, stop | {"order_id": "s"}]), S)
    out, into = os.pipe()
    link = Link(os.dup(out), into)
    (told,) = dog.look(60 * S, 60 * S)
    text = told["text"]
    assert text.startswith("+100000: SL 4; LIMIT 10 (rests, and stops no loss); ") and len(text) < 400
    assert "; and 95 more; 99996 without protection (Rs 9,999,600.00)" in text
    link.send(alert=told)
    link.send(alert=told | {"text": chr(2352) * 5000})  # whatever its words, it is not lost
    first, second = [json.loads(line)["alert"] for line in os.read(out, 65536).splitlines()]
    assert first == told and second["code"] == "NAKED_POSITION" and second["text"].endswith(" ...")
