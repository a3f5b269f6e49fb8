"""Books that cannot be read: which of them hold up what."""

from __future__ import annotations

import pytest
from orders_world import S, World, error, filled

from kite_hft.layout import IntentKind, OrderStatus
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError


def unreadable(world: World, *paths: str) -> list[str]:
    """These cannot be read from now on; returns the paths of what is asked for, as it grows."""
    asked: list[str] = []

    def read(request: HttpRequest) -> HttpResponse | TransportError:
        asked.append(request.path)
        if request.path in paths:
            return error(503, "NetworkException", "not now")
        return world.broker.read(request)

    world.broker.on_read = read
    return asked


@pytest.mark.parametrize("path", ["/gtt/triggers", "/user/margins"])
def test_positions_are_compared_although_triggers_or_funds_cannot_be_read(path: str) -> None:
    world = World().start()
    asked, before = unreadable(world, path), world.stage.reader.checks
    world.run(100.0)
    assert world.stage.reader.checks >= before + 5 and not world.stage.reader.failing
    assert asked.count(path) >= 3, "it is asked for again"
    assert "BROKER_UNREACHABLE" in world.codes(), "people are told, although other books can be read"
    world.broker.on_read = None
    world.run(40.0)
    assert [f for f in world.alert_fields if f["code"] == "BROKER_UNREACHABLE"][-1].get("cleared")


@pytest.mark.parametrize("path", ["/orders", "/trades", "/portfolio/positions"])
def test_without_orders_trades_or_positions_nothing_is_compared(path: str) -> None:
    world = World().start()
    asked, before = unreadable(world, path), world.stage.reader.checks
    world.stage.reader.want_triggers()
    world.run(100.0)
    assert world.stage.reader.checks == before and world.stage.reader.failing and path in asked
    assert "BROKER_UNREACHABLE" in world.codes()


@pytest.mark.parametrize("path", ["/gtt/triggers", "/user/margins"])
def test_a_start_waits_for_every_book(path: str) -> None:
    world = World()
    unreadable(world, path)
    world.stage.start()
    world.run(20.0)
    assert not world.stage.active
    world.broker.on_read = None
    world.run(5.0)
    assert world.stage.active


def test_a_list_that_hangs_is_left_out_for_twice_as_long_as_it_hung() -> None:
    world = World().start()
    hanging: list[tuple[int, int]] = []

    def read(request: HttpRequest) -> HttpResponse | None:
        if request.path != "/gtt/triggers":
            return world.broker.read(request)
        hanging.append((world.clock.mono + 7 * S, world.stage._calls.last_id))  # as the transport gives up
        return None

    world.broker.on_read, before, hung = read, world.stage.reader.checks, 0
    for _ in range(60 * 20):
        world.stage.reader.want_triggers()
        world.run(0.05)
        while hanging and hanging[0][0] <= world.clock.mono:
            world.broker.ready.append((hanging.pop(0)[1], TransportError("timed out", sent=True)))
            hung += 1
    assert hung == 3 and world.stage.reader.checks - before >= 12


def test_each_book_that_cannot_be_read_is_told_by_itself_and_is_over_by_itself() -> None:
    world = World().start()
    unreadable(world, "/gtt/triggers")
    world.run(100.0)

    def told(*, over: bool = False) -> list[str]:
        rows = [f for f in world.alert_fields if f["code"] == "BROKER_UNREACHABLE"]
        return [f["key"] for f in rows if bool(f.get("cleared")) is over]

    assert told() == ["triggers"]
    unreadable(world, "/gtt/triggers", "/portfolio/positions")
    world.run(100.0)
    assert told() == ["triggers", "positions"] and not told(over=True)
    unreadable(world, "/gtt/triggers")
    world.run(60.0)
    assert told(over=True) == ["positions"], "triggers still fail"
    unreadable(world)
    world.run(60.0)
    assert told(over=True) == ["positions", "triggers"]


@pytest.mark.parametrize("path", ["/user/margins", "/portfolio/positions", "/orders", "/gtt/triggers"])
def test_an_answer_from_before_a_new_token_is_no_part_of_the_reconciliation(path: str) -> None:
    world = World().start()
    world.send(1)
    filled(world, 10)
    held: list[int] = []

    def read(request: HttpRequest) -> HttpResponse | None:
        if request.path == path:
            held.append(world.stage._calls.last_id)
            return None
        return world.broker.read(request)

    world.broker.on_read = read
    world.stage.reader.want_triggers()
    world.run(3.0)
    assert len(held) == 1, "the read of a check is under way"
    world.broker.on_call = lambda request: error(403, "TokenException", "Incorrect `access_token`.")
    world.send(2)
    world.do("token", access_token="next")
    world.step()
    assert not world.stage.active
    asked: list[str] = []

    def after(request: HttpRequest) -> HttpResponse:
        asked.append(request.path)
        return world.broker.read(request)

    world.broker.on_read = after
    request = next(r for r in reversed(world.broker.sent) if r.path == path)
    world.broker.ready.append((held[0], world.broker.read(request)))
    while not world.stage.active:
        world.run(0.05)
    assert asked[:4] == ["/orders", "/trades", "/portfolio/positions", "/gtt/triggers"]
    assert asked[4:6] == ["/orders", "/user/margins"]


def test_a_cancel_that_failed_does_not_wait_for_an_order_book_that_cannot_be_read() -> None:
    world = World().start()
    world.send(1)
    world.run(3.0)
    busy = error(503, "GeneralException", "busy")
    tries: list[str] = []

    def call(request: HttpRequest) -> HttpResponse:
        tries.append(request.method)
        return busy if len(tries) < 3 else world.broker.accept(request)

    world.broker.on_call, world.broker.on_read = call, lambda request: busy
    world.send(2, kind=IntentKind.CANCEL, target_seq=1)
    world.run(60.0)
    assert world.row()["status"] == "CANCELLED" and tries == ["DELETE"] * 3, "once it was taken: no more"
    world.broker.on_read = None
    world.run(10.0)
    assert world.status(1) is OrderStatus.CANCELLED
