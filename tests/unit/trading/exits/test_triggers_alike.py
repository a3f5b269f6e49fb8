"""Triggers (GTT) of the same terms, of which no answer has told the names."""

from __future__ import annotations

from copy import deepcopy

from gtt_tools import Gtts, entry
from orders_world import World

from kite_hft.layout import Product


def two_alike(fired: bool, more: int = 0) -> tuple[World, Gtts]:
    """Two strategies ask for the same, neither is answered. more: as many lie there by hand."""
    world = World().start()
    gtts = Gtts(world)
    gtts.lost = True
    entry(world, 1)
    entry(world, 1, strategy=2)
    for _ in range(more):
        gtts.rows[100 + len(gtts.rows)] = deepcopy(gtts.rows[100]) | {"id": 100 + len(gtts.rows)}
    for number in gtts.rows if fired else ():
        gtts.fire(number)
    world.broker.triggers = list(gtts.rows.values())
    assert gtts.calls == ["POST", "POST"]
    world.run(30.0, 0.1)
    return world, gtts


def test_of_two_alike_without_answers_each_strategy_gets_one() -> None:
    world, gtts = two_alike(fired=False)
    standing = world.stage.keeper.triggers.standing
    assert {name: trigger.trigger_id for name, trigger in standing.items()} in (
        {(1, 1): "100", (2, 1): "101"}, {(1, 1): "101", (2, 1): "100"},
    )  # fmt: skip
    assert not any("stays unknown" in text for text in world.alerts)
    assert gtts.calls == ["POST", "POST"]


def test_also_when_both_have_fired_meanwhile() -> None:
    world, _gtts = two_alike(fired=True)
    orders = [world.stage.book.by_id(order_id) for order_id in ("77100", "77101")]
    assert {order.strategy for order in orders if order is not None} == {1, 2}


def test_only_of_the_same_product_does_it_not_matter_which_is_whose() -> None:
    world, _gtts = two_alike(fired=False, more=1)
    first, second = world.stage.keeper.triggers.standing.values()
    assert first.equals(second) and first.equals(first)
    second.product = Product.MTF
    assert not first.equals(second)


def test_where_more_lie_there_a_person_has_to_look() -> None:
    world, _gtts = two_alike(fired=False, more=1)
    standing = world.stage.keeper.triggers.standing
    assert set(standing) == {(1, 1), (2, 1)} and not any(t.trigger_id for t in standing.values())
    assert "TRIGGER_UNKNOWN" in world.codes()
