"""probe: a PROBE on every N-th tick, whatever the batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kite_hft.engine.market.strategies import StrategyError, make_strategy
from kite_hft.layout import INTENT, TICK, IntentKind
from kite_hft.settings import Settings
from kite_hft.strategies.hosts import CompiledHost, new_batch
from kite_hft.strategies.probe import ProbeCompiled
from kite_hft.strategies.registry import strategy_class


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numba")
    folder.chmod(0o700)
    return folder


def probes(cache_dir: Path, every: int, batch_size: int, n: int = 100) -> np.ndarray:
    """The intents of n ticks, numbered from 7 on, in batches of `batch_size`."""
    batch = new_batch(batch_size, np.arange(3, dtype=np.uint32), np.full(3, 100.0))
    host = CompiledHost(ProbeCompiled(every=every), 1, batch, cache_dir=cache_dir)
    ticks = np.zeros(n, TICK)
    ticks["seq"], ticks["slot"] = np.arange(7, 7 + n), np.arange(n) % 3
    ticks["recv_ns"], ticks["last_px"] = 1000 + np.arange(n), 50
    made = [np.zeros(0, INTENT)]
    batch.rows["tick_no"] = 1
    for start in range(0, n, batch_size):
        part = ticks[start : start + batch_size]
        batch.ticks[: len(part)] = part
        host.outbox.begin(1000)
        host.run(len(part))
        made.append(host.outbox.records[: host.outbox.n].copy())
    return np.concatenate(made)


def test_every_nth_number_of_the_ring(cache_dir: Path) -> None:
    made = probes(cache_dir, 10, 100)
    assert made["tick_seq"].tolist() == list(range(10, 107, 10))
    assert set(made["kind"]) == {IntentKind.PROBE} and set(made["qty"]) == {0}
    assert made["tick_recv_ns"].tolist() == [1000 + seq - 7 for seq in made["tick_seq"].tolist()]
    assert made["slot"].tolist() == [(seq - 7) % 3 for seq in made["tick_seq"].tolist()]
    assert made["strategy_seq"].tolist() == list(range(1, 11))
    assert len(probes(cache_dir, 1, 100)) == 100


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_change_nothing(cache_dir: Path, batch_size: int) -> None:
    assert probes(cache_dir, 3, batch_size).tobytes() == probes(cache_dir, 3, 100).tobytes()


def test_it_is_registered_and_its_parameter_checked() -> None:
    assert strategy_class("probe", "B") is ProbeCompiled
    assert ProbeCompiled().params["every"].tolist() == [100]
    for params in ({"every": 0}, {"every": 1.5}, {"often": 3}):
        settings = Settings.model_validate({"strategies": [{"name": "probe", "form": "B", "params": params}]})
        with pytest.raises(StrategyError, match="probe"):
            make_strategy(settings, settings.strategies[0], print)
