"""An order that is entered in one call is the one that order_of makes and Book.add takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_world import PX, instruments, intent

from kite_hft._entering import Entering, tag_of
from kite_hft.layout import OrderType, Product, Side
from kite_hft.trading.book import Book, BookError
from kite_hft.trading.intents import ENGINE_SEQ, Tags
from kite_hft.trading.order import EXTERNAL, Order
from kite_hft.trading.sending.work import order_of

TABLE = instruments()
TAGS = Tags("abc", 7)


def entering(book: Book) -> Entering:
    return Entering(Order, book, TAGS.prefix, EXTERNAL)


def all_of(book: Book) -> list[Any]:
    """Everything that a new order changes."""
    names = (
        "orders",
        "live_orders",
        "positions",
        "_by_strategy",
        "_by_tag",
        "families",
        "_touched",
        "_by_id",
    )
    return [getattr(book, name) for name in names] + [list(book.live_orders), dict(book.in_play())]


WISHES = st.lists(
    st.fixed_dictionaries(
        {
            "slot": st.sampled_from([0, 1, 3]), "side": st.sampled_from(Side),
            "product": st.sampled_from(Product), "strategy": st.sampled_from([1, 2, EXTERNAL]),
            "order_type": st.sampled_from(OrderType), "qty": st.sampled_from([0, 1, 10, 2**32 - 1]),
            "px": st.sampled_from([0, PX]), "trigger_px": st.sampled_from([0, PX + 5]),
            "flags": st.sampled_from([0, 1]), "created_ns": st.integers(0, 2**63 - 1),
            "tick_recv_ns": st.integers(0, 2**63 - 1), "target_seq": st.sampled_from([0, 1, 2]),
        }
    ),
    max_size=6,
)  # fmt: skip


@given(WISHES, st.booleans(), st.integers(1, 36**11 - 10))
def test_the_book_is_the_same(wishes: list[dict[str, Any]], opening: bool, first: int) -> None:
    one, two = Book(TABLE), Book(TABLE)
    enter = entering(one).enter
    for number, words in enumerate(wishes, first):
        seq = number - first + 1
        slice_of = words["target_seq"] and words["target_seq"] < seq
        wish = intent(ENGINE_SEQ + seq if slice_of else seq, **words)
        made = enter(wish, number, opening)
        order = order_of(wish, number, TAGS.tag(number), opening=opening)
        two.add(order)
        assert made == order and type(made) is Order
        assert one.in_play() == two.in_play(), "counted anew with each"
    assert all_of(one) == all_of(two)


def test_names_that_are_taken() -> None:
    book = Book(TABLE)
    enter = entering(book).enter
    enter(intent(1), 1, True)
    for wish, number in ((intent(2), 1), (intent(1), 2)):
        with pytest.raises(BookError):
            enter(wish, number, True)
    book.add(order_of(intent(9), 9, TAGS.tag(3), opening=True))  # an earlier run's
    with pytest.raises(BookError):
        enter(intent(3), 3, True)
    before = all_of(book)
    assert before[0].keys() == {1, 9}
    for wrong in (list(intent(3)), tuple(intent(3))[:-1], None):
        with pytest.raises(ValueError, match="no intent"):
            enter(wrong, 4, True)
    with pytest.raises(ValueError, match="no tag"):
        enter(intent(4), 36**11, True)
    assert all_of(book) == before


def test_each_order_has_its_own_executions() -> None:
    book = Book(TABLE)
    enter = entering(book).enter
    one, two = enter(intent(1), 1, True), enter(intent(2), 2, True)
    one.trades["x"] = (1, 1)
    assert two.trades == {}


def test_classes_that_cannot_be_made_so() -> None:
    @dataclass
    class Loose:
        order_no: int

    @dataclass(slots=True)
    class Strange:
        order_no: int
        colour: str

    @dataclass(slots=True)
    class Clever:
        order_no: int
        trades: dict[str, int] = field(default_factory=dict)

        def __post_init__(self) -> None:
            self.order_no += 1

    for cls, why in ((Loose, "no slot"), (Strange, "no default"), (Clever, "by its slots")):
        with pytest.raises(TypeError, match=why):
            Entering(cls, Book(TABLE), TAGS.prefix, EXTERNAL)


@pytest.mark.parametrize(
    ("prefix", "number"), [("abc007", 1), ("abc00070", 1), ("abc0007", -1), ("abc0007", 36**11)]
)
def test_what_makes_no_tag(prefix: str, number: int) -> None:
    with pytest.raises(ValueError, match="no tag"):
        tag_of(prefix, number)


def test_a_prefix_of_other_characters() -> None:
    with pytest.raises(ValueError, match="no digit"):
        tag_of("ABC0007", 1)
