"""The whole engine under a seeded clock: same seed, same trace; money adds up; nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.sim.world import World, WorldConfig
from kite_hft.strategies.hosts import Batch, CompiledHost, Host, PythonHost
from kite_hft.strategies.kalman_simple import KalmanSimple, KalmanSimpleCompiled
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.instruments import InstrumentTable

PARAMS = {"threshold": 0.0004, "warmup": 20, "quantity": 120, "retry_ticks": 10}
LIMITS = limits_from_mapping(yaml.safe_load(Path("config/rules/kite_2026-04-01.yaml").read_text()))
CONFIG = WorldConfig(
    seed=5,
    limits=LIMITS,
    risk=RiskLimits(max_order_value=5e5, max_position_size=5e5, max_exposure=5e6, max_positions=4),
)


def form_a(batch: Batch, instruments: InstrumentTable) -> Sequence[Host]:
    return [PythonHost(KalmanSimple(**PARAMS), 1, batch)]


def run(config: WorldConfig, directory: Path, seconds: float = 20, hosts=form_a) -> World:
    directory.mkdir(exist_ok=True)
    world = World(config, hosts, directory)
    world.run(seconds)
    return world


def test_the_same_seed_gives_the_same_trace_and_another_seed_another(tmp_path: Path) -> None:
    hashes = []
    for n, seed in enumerate((5, 5, 6)):
        world = run(replace(CONFIG, seed=seed), tmp_path / str(n))
        hashes.append(world.trace_hash())
        assert len(world.intents()) > 20
        world.close()
    assert hashes[0] == hashes[1] != hashes[2]


def test_every_tick_of_the_market_is_computed(tmp_path: Path) -> None:
    world = run(CONFIG, tmp_path)
    feed, compute = world.counts("feed"), world.counts("compute")
    assert feed["received"] == feed["decoded"] == feed["published"] == compute["computed"] > 1000
    assert compute["lost"] == 0 and feed["checksum_decoded"] == compute["checksum_computed"]
    world.close()


def test_orders_trades_positions_and_cash_agree_with_the_broker(tmp_path: Path) -> None:
    """Recomputed here from trades.csv rows alone, against what the broker holds."""
    world = run(CONFIG, tmp_path, seconds=40)
    account = world.broker.exchange.account
    ours: dict[tuple[str, str], int] = {}
    cash = CONFIG.cash_paise
    for row in world.trades:
        sign = 1 if row["side"] == "BUY" else -1
        key = (row["instrument"], row["product"])
        ours[key] = ours.get(key, 0) + sign * row["quantity"]
        rupees, paise = row["value"].split(".")
        cash -= sign * (int(rupees) * 100 + int(paise))
    theirs = {
        (world.instruments[slot].key, product.name): position.net
        for (slot, product), position in account.positions.items()
    }
    assert ours == theirs and any(ours.values())
    assert cash == account.cash_paise
    orders = world.orders.report()["orders"]
    assert orders["sent"] == len(world.broker.exchange.orders) > 10
    assert orders["partial_fills"] > 0 and sum(orders["refused"].values()) > 0
    world.close()


def test_the_price_path_comes_from_the_seed_not_from_the_strategy(tmp_path: Path) -> None:
    idle = run(CONFIG, tmp_path / "idle", hosts=lambda batch, instruments: [])
    busy = run(CONFIG, tmp_path / "busy")
    assert len(busy.intents()) > 20 and len(idle.intents()) == 0
    assert idle.counts("feed")["checksum_decoded"] == busy.counts("feed")["checksum_decoded"]
    idle.close()
    busy.close()


@pytest.mark.parametrize("batch", [1, 7])
def test_the_batch_size_is_invisible(tmp_path: Path, batch: int) -> None:
    whole = run(CONFIG, tmp_path / "1000")
    small = run(replace(CONFIG, batch=batch), tmp_path / str(batch))
    assert small.trace_hash() == whole.trace_hash()
    small.close()
    whole.close()


def test_both_forms_of_the_strategy_give_the_same_trace(tmp_path: Path) -> None:
    def form_b(batch: Batch, instruments: InstrumentTable) -> Sequence[Host]:
        strategy = KalmanSimpleCompiled(**PARAMS)
        return [CompiledHost(strategy, 1, batch, cache_dir=tmp_path / "numba")]

    a = run(CONFIG, tmp_path / "a")
    b = run(CONFIG, tmp_path / "b", hosts=form_b)
    assert a.intents().tobytes() == b.intents().tobytes() and len(a.intents()) > 20
    assert a.trace_hash() == b.trace_hash()
    a.close()
    b.close()
