"""One trigger: how long the closing of its position waits for it, and what it would close."""

from __future__ import annotations

from typing import Any

import pytest

from kite_hft.layout import Product, Side
from kite_hft.trading.broker import TriggerLeg
from kite_hft.trading.exits.trigger import GOES_NS, MISSES, TOLD_NS, Leg, Trigger, hold_up
from kite_hft.trading.positions import Position

SINCE = 1_000_000_000_000
LEG = Leg(int(Side.SELL), 10, 9_900, 9_905)


def trigger(**more: Any) -> Trigger:
    words: dict[str, Any] = {"trigger_id": "100"}
    return Trigger(1, 2, 3, int(Product.NRML), (LEG,), **(words | more))


def holds_for_ns(made: Trigger) -> int:
    """For how long after the closing began it holds that up: 0, GOES_NS or TOLD_NS."""
    edges = [0, GOES_NS, TOLD_NS]
    return next(ns for ns in edges if not made.holds_up(SINCE, SINCE + ns))


@pytest.mark.parametrize(
    ("more", "longest_ns"),
    [
        ({}, GOES_NS),  # its deletion is still to be asked for
        ({"busy": True, "seen_ns": SINCE}, GOES_NS),  # under way, and shown waiting since
        ({"busy": True, "seen_ns": SINCE - 1}, TOLD_NS),  # under way: it may have fired before
        ({"unsure": True, "seen_ns": SINCE}, TOLD_NS),  # refused or not answered: the list alone tells
        ({"unsure": True, "trigger_id": "", "misses": MISSES}, GOES_NS),  # whole lists do not show it
        ({"unsure": True, "trigger_id": "", "misses": MISSES - 1}, TOLD_NS),
        ({"unsure": True, "trigger_id": "100", "misses": MISSES}, TOLD_NS),  # named, and gone: it fired
    ],
)
def test_how_long_the_closing_of_its_position_waits(more: dict[str, Any], longest_ns: int) -> None:
    made = trigger(**more)
    assert holds_for_ns(made) == longest_ns
    assert made.holds_up(SINCE, SINCE + longest_ns - 1)


@pytest.mark.parametrize("by_terms", [False, True])
def test_two_reads_past_the_horizon_prove_that_it_never_came(by_terms: bool) -> None:
    """One before it proves nothing, nor does one of each: what left may arrive until then. Where what has
    fired is left out a third has to agree about one that was never named, four seconds after the first.
    """
    horizon_ns = 180_000_000_000
    made = trigger(trigger_id="", unsure=True, changed_ns=SINCE)
    reads = ((5, False), (179, False), (181, False), (184, not by_terms), (184.9, not by_terms), (185, True))
    for after_s, gone in reads:
        made.missed(SINCE + round(after_s * 1_000_000_000), horizon_ns)
        assert made.gone(by_terms=by_terms) is gone
    made.shown()
    made.missed(SINCE + 200_000_000_000, horizon_ns)
    assert not made.gone(by_terms=by_terms)
    seen = trigger(changed_ns=SINCE, seen_ns=SINCE)
    seen.missed(SINCE + 1, horizon_ns)
    assert not seen.gone(by_terms=by_terms)
    seen.missed(SINCE + 2, horizon_ns)
    assert seen.gone(by_terms=by_terms)
    two = trigger(trigger_id="", unsure=True, changed_ns=SINCE)
    for after_s in (5, 181, 190):
        two.missed(SINCE + after_s * 1_000_000_000, horizon_ns)
    assert two.gone(by_terms=by_terms) is not by_terms
    named = trigger(changed_ns=SINCE)
    for after_s, gone in ((1, False), (2, False), (181, False), (183, True)):
        named.missed(SINCE + after_s * 1_000_000_000, horizon_ns)
        assert named.gone(by_terms=by_terms) is gone
    assert named.unseen and not seen.unseen


def test_it_holds_up_its_own_position_alone() -> None:
    standing = [trigger(unsure=True)]
    key = standing[0].key
    assert hold_up(standing, key, SINCE, SINCE)
    for other in ((2, *key[1:]), (key[0], 4, key[2]), (*key[:2], int(Product.CNC))):
        assert not hold_up(standing, other, SINCE, SINCE)
    assert not hold_up([], key, SINCE, SINCE)


@pytest.mark.parametrize(
    ("held", "product", "closes"),
    [
        (25, Product.NRML, 10),
        (4, Product.NRML, 4),
        (-4, Product.NRML, 0),
        (0, Product.CNC, 10),  # delivery: a sale cannot open
        (-4, Product.MTF, 10),
    ],
)
def test_what_of_it_would_close_something(held: int, product: Product, closes: int) -> None:
    made = Trigger(1, 2, 3, int(product), (LEG,), trigger_id="100")
    position = Position(1, 3, int(product))
    position.quantity = held
    assert made.closes(position) == closes


@pytest.mark.parametrize(
    ("more", "quantity", "reducing"),
    [
        ({"for_exits": True}, 10, True),
        ({"for_exits": True}, 15, True),  # its plan makes it fit
        ({"closing": True}, 10, True),
        ({"closing": True}, 15, False),
        ({}, 10, False),  # all of it is being closed already
    ],
)
def test_what_it_has_placed_beside_an_order_that_closes_everything(
    more: dict[str, Any], quantity: int, reducing: bool
) -> None:
    """Taken for an opening nobody would make what a plan's trigger has placed fit."""
    made = Trigger(1, 2, 3, int(Product.NRML), (LEG,), **({"for_exits": False} | more))
    leg = TriggerLeg(9_905, Side.SELL, Product.NRML, quantity, 9_900, "77")
    told = made.fired(leg, Position(1, 3, int(Product.NRML), 10, open_sell=10))
    assert told["reducing"] is reducing
