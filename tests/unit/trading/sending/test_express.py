"""The express way is made of the parts that it was written for, and of no others."""

from __future__ import annotations

from typing import Any

import pytest
from express_twins import without
from orders_world import World, limits

from kite_hft.trading.gate.judging import Gate
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.budget import Budget
from kite_hft.trading.sending.desk import Desk
from kite_hft.trading.sending.throttle import EgressGate, Throttle


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Gate, "judge"), (Desk, "_journal"), (Throttle, "offer"), (Budget, "left"), (EgressGate, "_too_many")],
)
def test_beside_a_part_that_was_replaced_there_is_none(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *words, **more: old(*words, **more))
    assert World().stage.express is None


def test_orders_that_wait_for_the_disk_go_the_long_way() -> None:
    assert World(config=OrdersConfig(limits(), fsync_before_send=True)).stage.express is None
    assert World().stage.express is not None and without(World()).stage.express is None
