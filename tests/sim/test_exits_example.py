"""The strategy of docs/orders.md is a strategy: it buys once, and what it holds is protected."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.sim.world import World, WorldConfig
from kite_hft.strategies.hosts import Batch, Host, PythonHost
from kite_hft.trading.instruments import InstrumentTable


def example() -> str:
    """The indented block that defines the strategy."""
    text = Path("docs/orders.md").read_text()
    start = text.index("    from kite_hft.strategies.base import BaseStrategy")
    return textwrap.dedent(text[start : text.index("\n`exits(token", start)])


def test_the_strategy_of_the_page_is_protected(tmp_path: Path) -> None:
    # The dip is made shallow, so that a seeded market of a few seconds has one.
    source = example().replace("-2.0", "0.0")
    names: dict[str, type] = {}
    exec(compile(source, "docs/orders.md", "exec"), names)
    limits = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))

    def hosts(batch: Batch, instruments: InstrumentTable) -> Sequence[Host]:
        return [PythonHost(names["DipWithStop"](), 1, batch, [0])]

    world = World(WorldConfig(seed=5, limits=limits), hosts, tmp_path)
    while not world.orders.active:  # as the engine does: ORDERS is ready before the first tick comes
        world.clock.advance(1_000_000)
        world.orders.step(world.clock.mono_ns())
    world.run(20)
    exchange = world.broker.exchange
    sells = [o for o in exchange.orders.values() if o.request.side == 2]
    held = exchange.account.net_all(0)
    assert sells and not any(o.now.status == "REJECTED" for o in exchange.orders.values())
    assert held in (0, 10) and sum(o.remaining for o in sells) == held
    assert world.orders.keeper.plans.alive == bool(held)
    world.close()
