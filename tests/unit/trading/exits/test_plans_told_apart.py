"""What people are told of a position stands until it is over for that position, not for another one."""

from __future__ import annotations

from exits_tools import armed, exits
from orders_world import PX, World, error, filled, form

from kite_hft.trading.broker import HttpRequest, HttpResponse

OF_ONE, OF_TWO = ("NSE:SHARE0 MIS of strategy 1", "NSE:SHARE0 MIS of strategy 2")


def both_hold() -> World:
    """Two strategies hold the same share."""
    world = World().start()
    for strategy in (1, 2):
        world.send(1, strategy=strategy)
        filled(world, 10)
    return world


def standing(world: World, code: str) -> set[str]:
    """Keys of the alerts of a code that stand."""
    keys: set[str] = set()
    for fields in world.alert_fields:
        if fields["code"] == code:
            (keys.discard if fields.get("cleared") else keys.add)(fields["key"])
    return keys


def refused(world: World) -> None:
    """The broker takes no stops."""

    def call(request: HttpRequest) -> HttpResponse:
        if request.method == "POST" and form(request)["order_type"].startswith("SL"):
            return error(400, "InputException", "no stops today")
        return world.broker.accept(request)

    world.broker.on_call = call


def test_an_exit_that_is_refused_stays_told_when_another_strategys_is_over() -> None:
    world = both_hold()
    refused(world)
    exits(world, strategy=1, trigger_px=PX - 100)
    exits(world, strategy=2, trigger_px=PX - 100)
    world.run(1.0)
    assert standing(world, "EXIT_REFUSED") == {OF_ONE, OF_TWO}
    exits(world, 3, strategy=2, trigger_px=0)
    assert standing(world, "EXIT_REFUSED") == {OF_ONE}


def test_a_stop_that_gave_way_stays_told_when_another_strategys_comes_back() -> None:
    world = both_hold()
    exits(world, strategy=1, trigger_px=PX - 100)
    armed(world)
    exits(world, strategy=2, trigger_px=PX - 100)
    armed(world)
    world.stage.keeper.plans.strangers = lambda key: [("hand1", 10)]
    world.run(1.0)
    assert standing(world, "STOP_GAVE_WAY") == {OF_ONE, OF_TWO}
    world.stage.keeper.plans.strangers = lambda key: [("hand1", 10)] if key[0] == 1 else []
    world.run(1.0)
    assert standing(world, "STOP_GAVE_WAY") == {OF_ONE}
