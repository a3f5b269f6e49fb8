"""Order updates that nobody heard: the order book is read at once, once, and only where it is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, S, World, limits

from kite_hft.layout import OrderStatus
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse, RateWindow
from kite_hft.trading.ports import OrdersConfig, UpdateLink

SELDOM_S = 500.0


class Links:
    """The connections of a run, as their processes count them."""

    def __init__(self, n: int = 1, *, up: bool = True) -> None:
        self.links = [UpdateLink(up, int(up), 0, 0, 1) for _ in range(n)]
        self.lines: list[str] = []

    def ports(self) -> dict[str, Any]:
        return {"update_links": lambda: list(self.links), "log": self.lines.append}

    def _set(self, i: int, **more: Any) -> None:
        self.links[i] = self.links[i]._replace(**more)

    def lose(self, i: int = 0) -> None:
        self._set(i, up=False, disconnects=self.links[i].disconnects + 1)

    def back(self, i: int, now_ns: int) -> None:
        self._set(i, up=True, connects=self.links[i].connects + 1, alive_ns=now_ns)

    def alive(self, i: int, now_ns: int) -> None:
        self._set(i, alive_ns=now_ns)

    def drop(self, i: int = 0) -> None:
        self._set(i, dropped=self.links[i].dropped + 1)


def made(links: Links, **more: Any) -> World:
    """A world that looks at its books by itself as good as never."""
    config = OrdersConfig(limits(), poll_period_s=SELDOM_S, positions_s=SELDOM_S, **more)
    return World(config=config, more=links.ports())


def reads(world: World) -> int:
    return sum(request.path == "/orders" for request in world.broker.sent if request.method == "GET")


def missed(world: World) -> list[float]:
    found = [record.data() for record in world.journal.records if record.kind is Kind.STATE]
    return [data["updates_missed_s"] for data in found if "updates_missed_s" in data]


def filled_unheard(world: World) -> None:
    """The last order fills, and no update tells it."""
    row = world.row()
    row |= {"filled_quantity": row["quantity"], "average_price": PX / 100, "status": "COMPLETE"}


@pytest.mark.parametrize("connections", [1, 3])
def test_what_filled_unheard_is_known_when_a_connection_stands_again(connections: int) -> None:
    links = Links(connections)
    world = made(links).start()
    world.send(1)
    world.run(1.0)
    before = reads(world)
    for i in range(connections):
        links.lose(i)
    filled_unheard(world)
    world.run(1.0)
    assert world.order(1).filled == 0 and reads(world) == before, (
        "nobody hears yet: a read would be too early"
    )
    for i in range(connections):
        links.back(i, world.clock.mono)
        world.run(0.3)
    assert world.status(1) is OrderStatus.COMPLETE and reads(world) == before + 1, "once"
    assert world.quantity() == 10
    world.run(3.0)
    assert reads(world) == before + 1
    (seconds,) = missed(world)
    assert links.lines == [f"no order updates were heard for {seconds:g} s: the order book is read"]


def test_each_interruption_has_its_own_read() -> None:
    links = Links()
    world = made(links).start()
    before = reads(world)
    for n in (1, 2, 3):
        links.lose()
        links.back(0, world.clock.mono)  # within one look
        world.run(1.0)
        assert reads(world) == before + n and len(links.lines) == n


def test_nothing_was_missed_where_another_connection_has_lived_through_it() -> None:
    links = Links(3)
    world = made(links).start()
    before = reads(world)
    links.lose(1)
    world.run(0.3)
    links.alive(0, world.clock.mono)
    world.run(0.3)
    links.back(1, world.clock.mono)
    world.run(3.0)
    assert reads(world) == before and not links.lines and not missed(world)


def test_a_connection_that_stands_and_says_nothing_proves_nothing() -> None:
    """The network was cut: the first to come back finds the others standing, which are as dead."""
    links = Links(3)
    world = made(links).start()
    before, cut_ns = reads(world), world.clock.mono
    for i in range(3):
        links.alive(i, cut_ns)
    world.run(6.0)
    links.lose(0)
    world.run(0.5)
    links.back(0, world.clock.mono)
    world.run(0.5)
    assert reads(world) == before + 1 and missed(world) == [pytest.approx(6.6, abs=0.2)]


def test_one_that_came_back_later_than_another_fell_silent_proves_nothing_either() -> None:
    links = Links(2)
    world = made(links).start()
    before = reads(world)
    links.lose(0)
    world.run(0.2)
    links.alive(1, world.clock.mono)  # the last that is heard of it, although it stands
    world.run(1.0)
    assert reads(world) == before
    links.back(0, world.clock.mono)
    world.run(5.0)
    assert reads(world) == before, "as far as anybody knows"
    links.lose(1)
    world.run(0.3)
    assert reads(world) == before + 1, "what came between the silence of one and the return of the other"
    links.alive(0, world.clock.mono)
    links.back(1, world.clock.mono)
    world.run(1.0)
    assert reads(world) == before + 1


def test_a_word_that_is_half_written_is_no_return() -> None:
    """Its process counts the loss first, and says then that it is down: a look may fall between."""
    links = Links()
    world = made(links).start()
    before = reads(world)
    links._set(0, disconnects=1)
    world.run(0.2)
    links._set(0, up=False)
    world.run(2.0)
    assert reads(world) == before and not links.lines
    links.back(0, world.clock.mono)
    world.run(0.3)
    assert reads(world) == before + 1


def test_before_the_first_connection_nobody_hears_either() -> None:
    links = Links(2, up=False)
    world = made(links).start()
    world.run(1.0)
    before = reads(world)
    links.back(0, world.clock.mono)
    world.run(0.5)
    links.back(1, world.clock.mono)
    world.run(1.0)
    assert reads(world) == before + 1
    assert not links.lines and not missed(world), "that is a start, and nothing to tell"


def test_a_text_that_could_not_be_handed_on_is_made_up_for() -> None:
    links = Links()
    world = made(links).start()
    world.send(1)
    world.run(1.0)
    before = reads(world)
    filled_unheard(world)
    links.drop()
    world.run(0.3)
    assert world.status(1) is OrderStatus.COMPLETE and reads(world) == before + 1
    assert "UPDATE_UNREADABLE" in world.codes()


def test_the_read_waits_for_its_place_in_the_windows_and_takes_none_that_is_kept() -> None:
    links = Links()
    rules = replace(limits(), all_windows=(RateWindow(10, 10.0, reserved=2, reads=4),))
    world = World(
        config=OrdersConfig(rules, poll_period_s=SELDOM_S, positions_s=SELDOM_S), more=links.ports()
    )
    world.stage.start()
    world.run(25.0)
    assert world.stage.active
    before = reads(world)
    for _ in range(12):  # more than there are places
        links.lose()
        links.back(0, world.clock.mono)
        world.run(0.3)
    assert reads(world) - before == 4, "its part of the window, and not one more"
    world.run(10.0)
    assert reads(world) - before == 5, "those that waited together are one"


def test_while_the_token_is_dead_nothing_is_read() -> None:
    links = Links()
    world = made(links).start()

    def dead(request: HttpRequest) -> HttpResponse:
        body = b'{"status": "error", "error_type": "TokenException", "message": "Token is invalid"}'
        return HttpResponse(403, body)

    world.broker.on_read = dead
    links.lose()
    links.back(0, world.clock.mono)
    world.run(1.0)
    before = reads(world)
    links.lose()
    links.back(0, world.clock.mono + 2 * S)
    world.run(3.0)
    assert world.stage.states.token_dead and reads(world) == before


def test_one_that_is_lost_and_stands_again_between_two_looks_before_it_gave_a_sign_of_life() -> None:
    """Its process died, and the next one connected, while this one stood still for a moment."""
    links = Links()
    links.alive(0, 0)
    world = made(links).start()
    world.send(1)
    world.run(1.0)
    before = reads(world)
    filled_unheard(world)
    links.lose()
    links.back(0, 0)
    world.run(0.3)
    links.alive(0, world.clock.mono)
    world.run(1.0)
    assert reads(world) == before + 1 and world.quantity() == 10
    assert len(links.lines) == 1


def test_one_whose_making_was_counted_before_it_was_seen_to_stand() -> None:
    """The count changes first: the first look fell in between."""
    links = Links(up=False)
    links.links[0] = links.links[0]._replace(connects=1, alive_ns=0)
    world = made(links).start()
    world.send(1)
    world.run(1.0)
    before = reads(world)
    filled_unheard(world)
    links.links[0] = links.links[0]._replace(up=True)
    world.run(1.0)
    assert reads(world) == before + 1 and world.quantity() == 10
