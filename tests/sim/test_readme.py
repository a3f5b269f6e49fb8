"""The strategy in the README is a strategy: it runs, and buys the dip exactly once."""

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
    """The README's indented block that defines a strategy."""
    text = Path("README.md").read_text()
    start = text.index("    from kite_hft.strategies.base import BaseStrategy")
    return textwrap.dedent(text[start : text.index("\n## ", start)])


def test_the_strategy_of_the_readme_trades(tmp_path: Path) -> None:
    # The dip is made shallow, so that a seeded market of a few seconds has one.
    source = example().replace("-2.0", "0.0")
    names: dict[str, type] = {}
    exec(compile(source, "README.md", "exec"), names)
    limits = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))

    def hosts(batch: Batch, instruments: InstrumentTable) -> Sequence[Host]:
        return [PythonHost(names["BuyTheDip"](), 1, batch, [0])]

    world = World(WorldConfig(seed=5, limits=limits), hosts, tmp_path)
    while not world.orders.active:  # as the engine does: ORDERS is ready before the first tick comes
        world.clock.advance(1_000_000)
        world.orders.step(world.clock.mono_ns())
    world.run(20)
    orders = world.orders.report()["orders"]
    assert orders["sent"] == orders["filled"] == 1, orders
    world.close()
