"""The word of ORDERS of the exits that it tends."""

from __future__ import annotations

import json
from typing import Any

from exits_tools import armed, at, exits, holding
from orders_world import PX


def test_the_watchdog_is_told_every_second_which_orders_at_a_target_become_stops_again() -> None:
    said: list[tuple[int, Any]] = []

    def put(read: str, body: bytes, asked_ns: int) -> None:
        if read == "exits":
            said.append((asked_ns, json.loads(body)))

    world = holding(more={"on_book": put})
    exits(world, trigger_px=PX - 100, px=PX + 200)
    order = armed(world)
    at(world, PX, 3.0)
    assert not said  # a stop speaks for itself
    at(world, PX + 200, 3.0)
    assert {json.dumps(rows) for _, rows in said} == {
        json.dumps([{"order_id": order.order_id, "stop": (PX - 100) / 100}])
    }
    assert 3 <= len(said) <= 5
    at(world, PX + 100, 3.0)
    assert said[-1][1] == [] and len(said) <= 6
