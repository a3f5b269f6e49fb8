"""The example configurations: read as they stand, and their strategies over a seeded market, end to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.engine.market.strategies import check_strategies, make_strategy
from kite_hft.engine.orders.settings import NO_LIMITS
from kite_hft.layout import IntentKind, Side
from kite_hft.settings import Settings, load_settings
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.world import World, WorldConfig
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.classic import trade_row
from kite_hft.strategies.hosts import Batch, CompiledHost, Host, PythonHost
from kite_hft.strategies.slots import SlotFacts
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.instruments import InstrumentTable

EXAMPLES = sorted(Path("examples").glob("*.yaml"))


class Kept:
    """A voice that writes down."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rows: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def tick(self, number: int, line: str) -> None:
        self.lines.append(line)

    def trade(self, action: str, price: float, estimate: float) -> None:
        self.rows.append(trade_row(action, price, estimate))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_configuration(path: Path) -> None:
    settings = load_settings(path)
    check_strategies(settings)
    assert f"kite-hft run {path}" in path.read_text(), "its first lines say how to run it"
    for name in ("calendar", "rules", "market", "charges"):
        assert getattr(settings.trading, name).is_file(), name


def test_the_two_examples_on_the_simulator_name_what_it_has() -> None:
    for name in ("kalman_simple", "kalman_ml"):
        settings = load_settings(Path(f"examples/{name}.yaml"))
        table, _ = default_instruments(settings.simulator.instruments, settings.simulator.seed)
        for section in settings.strategies:
            for key in section.instruments:
                row = table.resolve(key)
                assert int(section.params["quantity"]) % row.lot_size == 0


def days(settings: Settings, form: str, seconds: float, folder: Path) -> tuple[World, Kept]:
    """The example's strategy in a world of its own. x0 and rate are the world's."""
    section = settings.strategies[0].model_copy(update={"form": form})
    (folder / "numba").mkdir(mode=0o700, exist_ok=True)
    voice = Kept()

    def hosts(batch: Batch, instruments: InstrumentTable) -> Sequence[Host]:
        slots = [instruments.resolve(name).slot for name in section.instruments]
        strategy = make_strategy(settings, section, voice if form == "A" else None)
        grids = np.array([row.tick_px for row in instruments], np.int64)
        strategy.prepare(SlotFacts(instruments.scales(), grids))
        if isinstance(strategy, BaseStrategy):
            return [PythonHost(strategy, 1, batch, slots)]
        return [CompiledHost(strategy, 1, batch, slots, cache_dir=folder / "numba")]

    limits = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))
    risk = RiskLimits(**settings.risk.model_dump(exclude=NO_LIMITS))
    config = WorldConfig(seed=7, limits=limits, instruments=10, rate=20.0, risk=risk)
    (folder / form).mkdir()
    world = World(config, hosts, folder / form)
    while not world.orders.active:  # as the engine does: ORDERS is ready before the first tick comes
        world.clock.advance(1_000_000)
        world.orders.step(world.clock.mono_ns())
    world.run(seconds)
    return world, voice


@pytest.mark.parametrize(("name", "ticks"), [("kalman_simple", 600), ("kalman_ml", 600)])
def test_some_hundred_ticks_end_to_end(tmp_path: Path, name: str, ticks: int) -> None:
    """Trades are made, filled and told; nothing is rejected; both forms wish the same, byte for byte."""
    settings = load_settings(Path(f"examples/{name}.yaml"))
    world, voice = days(settings, "A", ticks / 20, tmp_path)
    intents = world.intents()
    lines = [line for line in voice.lines if line.startswith("Tick")]
    assert len(lines) >= ticks - 50 and lines[0].startswith("Tick 1 | Price ₹")
    sides = [int(i["side"]) for i in intents if i["kind"] == IntentKind.PLACE]
    assert len(sides) >= 4 and sides == ([int(Side.BUY), int(Side.SELL)] * len(sides))[: len(sides)]
    orders = world.orders.report()["orders"]
    assert orders["filled"] >= 4 and orders["rejected"] == 0 and not sum(orders["refused"].values())
    assert len(voice.rows) == len(sides)
    assert [row.split(",")[0] for row in voice.rows] == [Side(side).name for side in sides]
    said = [line for line in voice.lines if "ORDER RESPONSE" in line]
    assert len(said) >= len(sides) - 1 and all('"status":"success"' in line for line in said)
    if name == "kalman_ml":
        assert IntentKind.EXITS in intents["kind"], "each purchase is protected"
        assert "No model: every signal passes." in voice.lines
        bought, protected = sides.count(int(Side.BUY)), int((intents["kind"] == IntentKind.EXITS).sum())
        assert protected in (bought, bought - 1)
    compiled, _ = days(settings, "B", ticks / 20, tmp_path)
    assert compiled.intents().tobytes() == intents.tobytes()
    assert compiled.trace_hash() == world.trace_hash()
    for one in (world, compiled):
        one.close()
