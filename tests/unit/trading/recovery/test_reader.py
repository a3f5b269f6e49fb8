"""Books that cannot be read: which of them hold up what."""

from __future__ import annotations

import pytest
from orders_world import S, World, error

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
